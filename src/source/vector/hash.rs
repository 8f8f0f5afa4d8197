//! The built-in embedder: words and word parts hashed into buckets, with no model and no network.
//! Stored vectors depend on it, so the vector of a text stays the same for ever.

use std::collections::BTreeMap;
use std::iter::once;

/// The length of all parts of a word together, when the word itself has length 1.
const PARTS: f32 = 0.8;

/// Kinds of features: they keep a word apart from a word part with the same letters.
const WORD: u8 = b'w';
const PART: u8 = b'p';

/// Words that say nothing about a text: left out unless it has no others. Sorted, to be searched.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "can", "could", "did", "do", "does", "for",
    "from", "had", "has", "have", "how", "i", "if", "in", "is", "it", "its", "me", "my", "of", "on", "or",
    "our", "should", "so", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "to", "us", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would",
    "you", "your",
];

/// Turns text into a vector by feature hashing: it finds shared words and word parts, not meaning.
///
/// Deterministic for ever: vectors are stored in databases and compared with those that a later
/// version makes. So the splitting, the stop words, the weights and the hash are a file format, and
/// a change to any of them needs a new embedder under a new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashEmbedder {
    dimensions: usize,
}

impl HashEmbedder {
    /// An embedder whose vectors have `dimensions` numbers.
    ///
    /// More of them mean fewer collisions: 256 are small, 512 find noticeably better.
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions }
    }

    /// How many numbers a vector has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The vector of a text: of Euclidean length 1, or all zeros if the text has no letters and no digits.
    ///
    /// The order of the words does not count; a word that comes four times has twice the weight.
    #[must_use]
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; self.dimensions];
        for (word, count) in words(text) {
            let weight = f32::from(count).sqrt();
            add(&mut vector, WORD, &word, weight);
            let parts = parts(&word);
            let each = weight * PARTS / f32::from(u16::try_from(parts.len()).unwrap_or(u16::MAX)).sqrt();
            for part in &parts {
                add(&mut vector, PART, part, each);
            }
        }
        normalise(&mut vector);
        vector
    }
}

/// The words of a text with how often they come. Sorted, because sums of floats depend on their
/// order and the vector must not depend on the order of the words.
fn words(text: &str) -> BTreeMap<String, u16> {
    let lowered: String = text.chars().flat_map(char::to_lowercase).filter(|c| !is_silent(*c)).collect();
    let mut words = BTreeMap::<String, u16>::new();
    for word in lowered.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let count = words.entry(word.to_owned()).or_default();
        *count = count.saturating_add(1);
    }
    let is_stop = |word: &String| STOP_WORDS.binary_search(&word.as_str()).is_ok();
    if !words.keys().all(is_stop) {
        words.retain(|word, _| !is_stop(word));
    }
    words
}

/// Characters that do not end a word: apostrophes, combining accents, soft hyphens, joiners.
fn is_silent(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200c}' | '\u{200d}')
}

/// All runs of three and of four characters of a word with a mark at either end.
fn parts(word: &str) -> Vec<String> {
    let marked: Vec<char> = once('<').chain(word.chars()).chain(once('>')).collect();
    [3, 4].into_iter().flat_map(|size| marked.windows(size).map(|run| run.iter().collect())).collect()
}

/// Adds a feature to its bucket. Half of them count negative: collisions cancel out on average.
fn add(vector: &mut [f32], kind: u8, feature: &str, weight: f32) {
    let hash = hash(kind, feature);
    let bucket = u64::try_from(vector.len()).ok().and_then(|buckets| hash.checked_rem(buckets));
    let slot =
        bucket.and_then(|bucket| usize::try_from(bucket).ok()).and_then(|bucket| vector.get_mut(bucket));
    if let Some(slot) = slot {
        *slot += if hash >> 63 == 0 { weight } else { -weight };
    }
}

/// 64-bit FNV-1a, then the finalizer of `MurmurHash3`, because FNV alone mixes its bits badly.
fn hash(kind: u8, feature: &str) -> u64 {
    let fnv = once(kind).chain(feature.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

fn normalise(vector: &mut [f32]) {
    let length = vector.iter().fold(0.0_f32, |sum, x| sum + x * x).sqrt();
    if length > 0.0 {
        for x in vector {
            *x /= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(a: &str, b: &str) -> f32 {
        let embedder = HashEmbedder::new(256);
        embedder.embed(a).iter().zip(embedder.embed(b)).map(|(x, y)| x * y).sum()
    }

    fn length(vector: &[f32]) -> f32 {
        vector.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    #[test]
    fn a_vector_has_length_one_and_the_dimensions_asked_for() {
        for dimensions in [3, 64, 256, 1000] {
            let embedder = HashEmbedder::new(dimensions);
            assert_eq!(embedder.dimensions(), dimensions);
            for text in ["returns", "Parcels go out on the same day.", "the of and", "42"] {
                let vector = embedder.embed(text);
                assert_eq!(vector.len(), dimensions);
                assert!((length(&vector) - 1.0).abs() < 1e-5, "{text}: {}", length(&vector));
            }
        }
    }

    #[test]
    fn a_text_without_words_is_all_zeros() {
        for text in ["", "   ", "?! -- ...", "\u{301}"] {
            assert!(HashEmbedder::new(16).embed(text).iter().all(|x| x.to_bits() == 0));
        }
        assert!(HashEmbedder::new(0).embed("returns").is_empty());
    }

    #[test]
    fn the_order_of_words_their_case_and_their_punctuation_do_not_count() {
        let embedder = HashEmbedder::new(256);
        assert_eq!(
            embedder.embed("Refunds go back to the card"),
            embedder.embed("to the card! -- BACK go, refunds")
        );
        let unrelated = likeness("Refunds go back to the card", "Kettles hold one litre of water");
        assert!(likeness("Refunds go back to the card", "The card, back to go refunds") > unrelated + 0.5);
    }

    #[test]
    fn more_shared_words_are_nearer() {
        let question = "how long does a refund take";
        let near = likeness(question, "A refund takes five working days.");
        let far = likeness(question, "Gift cards never expire.");
        assert!(near > far + 0.2, "{near} {far}");
    }

    #[test]
    fn word_parts_make_returning_near_return() {
        assert!(likeness("returning", "return") > 0.2);
        assert!(likeness("returning", "return") > likeness("returning", "kettle") + 0.15);
        assert!(likeness("Lieferung", "Lieferungen") > likeness("Lieferung", "Rechnung"));
    }

    #[test]
    fn stop_words_count_only_where_there_is_nothing_else() {
        assert!((likeness("the return", "a return") - 1.0).abs() < 1e-5);
        assert!((likeness("to be or", "or to be") - 1.0).abs() < 1e-5);
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn any_script_will_do() {
        for text in
            ["返品はできますか", "Возврат", "إرجاع", "İstanbul", "e\u{301}te\u{301}", "👩‍🚀 1 🚀", "\u{0}x"]
        {
            let vector = HashEmbedder::new(64).embed(text);
            assert!((length(&vector) - 1.0).abs() < 1e-5, "{text}");
        }
        assert!((likeness("It’s late", "its late") - 1.0).abs() < 1e-5);
        assert!(likeness("返品はできますか", "返品はいつ") > 0.05);
    }

    /// If this fails, every stored vector is wrong. Do not change the numbers.
    #[test]
    fn a_known_text_has_its_known_vector() {
        assert_eq!(hash(WORD, ""), 4_857_985_041_689_552_413);
        assert_eq!(hash(PART, "<re"), 9_377_816_193_690_978_623);
        assert_eq!(
            HashEmbedder::new(8).embed("Returning the mug, and the mug."),
            [
                -0.201_502_2,
                0.0,
                -0.480_507_6,
                0.067_167_394,
                0.134_334_79,
                0.201_502_2,
                -0.525_453_4,
                -0.623_897_1
            ]
        );
    }
}
