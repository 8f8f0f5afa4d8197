//! One list as pages that are serialised once, and the cursors that lead from one to the next. Nothing is remembered of who
//! reads: a cursor says by itself of which list it is, and is known only as long as that list stays the same.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

/// The results of a list method, page by page, each a whole JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    pages: Arc<Pages>,
    tail: String,
}

/// The entries page by page, as JSON objects that are open: they may end in several ways.
#[derive(Debug, PartialEq, Eq)]
struct Pages {
    first: Bytes,
    /// The other pages by their cursors.
    others: HashMap<String, Bytes>,
    /// [`sum`] of the entries.
    sum: u64,
}

/// One page, a whole JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    start: &'a Bytes,
    tail: &'a str,
}

impl<'a> Page<'a> {
    /// The object, up to what comes behind the entries.
    #[must_use]
    pub fn start(self) -> &'a Bytes {
        self.start
    }

    /// More members, with a comma before each; the brace that closes the object is not among them.
    #[must_use]
    pub fn tail(self) -> &'a str {
        self.tail
    }
}

impl List {
    /// Puts serialised `entries` under `member`, so many on a page. `tail` is the end of every page: more members, with a
    /// comma before each.
    pub(super) fn new(member: &str, entries: &[String], per_page: usize, tail: &str) -> Self {
        Self { pages: Arc::new(Pages::new(member, entries, per_page)), tail: tail.to_owned() }
    }

    /// The same entries with another end.
    pub(super) fn ending(&self, tail: &str) -> Self {
        Self { pages: self.pages.clone(), tail: tail.to_owned() }
    }

    /// A number that stands for the entries and how they are cut.
    pub(super) fn sum(&self) -> u64 {
        self.pages.sum
    }

    /// The first page, or that of a cursor; `None` if the cursor is not one of this list as it is now.
    #[must_use]
    pub fn page(&self, cursor: Option<&str>) -> Option<Page<'_>> {
        let start = match cursor {
            None => Some(&self.pages.first),
            Some(cursor) => self.pages.others.get(cursor),
        };
        start.map(|start| Page { start, tail: &self.tail })
    }
}

impl Pages {
    fn new(member: &str, entries: &[String], per_page: usize) -> Self {
        let per_page = per_page.max(1);
        let sum = sum(entries.iter().map(|entry| digest(entry)), per_page);
        let cursor = |page: usize| URL_SAFE_NO_PAD.encode(format!("{member}:{page}:{sum:016x}"));
        let page = |number: usize, entries: &[String], last: bool| {
            let next =
                if last { String::new() } else { format!(",\"nextCursor\":\"{}\"", cursor(number + 1)) };
            Bytes::from(
                format!("{{\"{member}\":[{}]{next}", entries.join(",")).into_bytes().into_boxed_slice(),
            )
        };
        let mut chunks = entries.chunks(per_page).enumerate().peekable();
        let (_, start) = chunks.next().unwrap_or_default();
        let first = page(0, start, chunks.peek().is_none());
        let mut others = HashMap::new();
        while let Some((number, entries)) = chunks.next() {
            others.insert(cursor(number), page(number, entries, chunks.peek().is_none()));
        }
        Self { first, others, sum }
    }
}

/// FNV-1a. It is the same in every process, so that several that serve one file understand each other's cursors.
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

/// A number that stands for an entry.
pub(super) fn digest(entry: &str) -> u64 {
    entry.bytes().fold(SEED, mix)
}

/// A number that stands for entries with these digests, in this order, so many on a page.
pub(super) fn sum(digests: impl Iterator<Item = u64>, per_page: usize) -> u64 {
    let per_page = per_page.max(1);
    digests.enumerate().fold(SEED, |hash, (index, digest)| {
        // Where a page begins the hash has one byte more.
        let begun = if index > 0 && index % per_page == 0 { mix(hash, 1) } else { hash };
        digest.to_le_bytes().into_iter().fold(mix(begun, 0), mix)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    impl Page<'_> {
        fn to_vec(self) -> Vec<u8> {
            [self.start, self.tail.as_bytes(), b"}"].concat()
        }
    }

    fn entries(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{{\"name\":\"n{n}\"}}")).collect()
    }

    /// Every page from the first to the last, and the cursors between them.
    fn walk(list: &List) -> (Vec<Value>, Vec<String>) {
        let (mut pages, mut cursors) = (Vec::<Value>::new(), Vec::new());
        loop {
            let bytes = list.page(cursors.last().map(String::as_str)).expect("its own cursor");
            pages.push(serde_json::from_slice(&bytes.to_vec()).unwrap());
            match pages.last().unwrap().get("nextCursor") {
                Some(next) => cursors.push(next.as_str().unwrap().to_owned()),
                None => return (pages, cursors),
            }
        }
    }

    #[test]
    fn the_pages_one_after_the_other_are_the_whole_list() {
        for count in 0..=22 {
            let all = entries(count);
            let whole: Value =
                serde_json::from_slice(&List::new("m", &all, 1000, "").page(None).unwrap().to_vec()).unwrap();
            for size in 1..=7 {
                let (pages, cursors) = walk(&List::new("m", &all, size, ",\"ttlMs\":5"));
                let joined: Vec<Value> =
                    pages.iter().flat_map(|p| p["m"].as_array().unwrap()).cloned().collect();
                assert_eq!(Value::Array(joined), whole["m"], "{count} by {size}");
                assert_eq!(pages.len(), count.div_ceil(size).max(1), "{count} by {size}");
                assert_eq!(cursors.len() + 1, pages.len());
                let full = pages.iter().rev().skip(1).all(|p| p["m"].as_array().unwrap().len() == size);
                assert!(full && pages.iter().all(|p| p["ttlMs"] == 5), "{count} by {size}");
            }
        }
    }

    #[test]
    fn a_list_that_fits_on_a_page_is_that_page_and_knows_no_cursor() {
        let list = List::new("tools", &entries(2), 2, ",\"a\":1");
        let bytes = list.page(None).unwrap();
        assert_eq!(bytes.to_vec(), br#"{"tools":[{"name":"n0"},{"name":"n1"}],"a":1}"#);
        assert_eq!(list.page(Some("")), None);
        assert!(list.pages.others.is_empty());
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_only_and_as_long_as_that_is_the_same() {
        let list = List::new("tools", &entries(9), 4, "");
        let (_, cursors) = walk(&list);
        assert_eq!(cursors.len(), 2);
        assert!(
            cursors.iter().flat_map(|c| c.chars()).all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        );
        let mut changed = entries(9);
        changed[8] = "{\"name\":\"other\"}".to_owned();
        let mut turned = entries(9);
        turned.reverse();
        for (what, other) in [
            ("another list", List::new("prompts", &entries(9), 4, "")),
            ("an entry more", List::new("tools", &entries(10), 4, "")),
            ("an entry less", List::new("tools", &entries(8), 3, "")),
            ("another entry", List::new("tools", &changed, 4, "")),
            ("another order", List::new("tools", &turned, 4, "")),
            ("another cut", List::new("tools", &entries(9), 3, "")),
        ] {
            for cursor in &cursors {
                assert!(list.page(Some(cursor)).is_some());
                assert_eq!(other.page(Some(cursor)), None, "{what}");
            }
        }
        // Another process that serves the same list takes them.
        let same = List::new("tools", &entries(9), 4, "");
        assert!(cursors.iter().all(|c| same.page(Some(c)) == list.page(Some(c))));
    }

    #[test]
    fn anything_else_is_not_a_cursor() {
        let list = List::new("tools", &entries(9), 4, "");
        let (_, cursors) = walk(&list);
        let own = &cursors[0];
        let plain = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let readable = String::from_utf8(URL_SAFE_NO_PAD.decode(own).unwrap()).unwrap();
        for (at, _) in own.char_indices() {
            let mut other = own.clone();
            let letter = if other.as_bytes()[at] == b'A' { "B" } else { "A" };
            other.replace_range(at..=at, letter);
            assert_eq!(list.page(Some(&other)), None, "{other}");
        }
        for cursor in [
            String::new(),
            "0".to_owned(),
            "1".to_owned(),
            format!("{own}="),
            format!(" {own}"),
            own[1..].to_owned(),
            own.to_lowercase(),
            readable.clone(),
            plain(&readable.replace(":1:", ":0:")),
            plain(&readable.replace(":1:", ":3:")),
            plain(&readable.replace(":1:", ":01:")),
            "\u{1F600}".repeat(1000),
        ] {
            assert_eq!(list.page(Some(&cursor)), None, "{cursor}");
        }
    }
}
