//! Whether the time that a wrong API key takes says how near it is to a right one: the real check, by Welch's t-test over interleaved
//! samples, after dudect (Reparaz, Balasch, Verbauwhede, 2017). `cargo bench --bench key_timing` fails if it does, or if the
//! measurement would not see a comparison that stops early.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program that prints its measurements, and ends where one cannot be taken"
)]

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use sidegate::auth::Authentication;
use sidegate::config::{Environment, load_text};
use sidegate::plan::compile;

/// Samples of one contest, of both kinds together.
const SAMPLES: usize = 100_000;
/// Checks of the same key in one sample: what one check gives away is seen as often.
const CHECKS: usize = 8;
/// What |t| has to stay below.
const LIMIT: f64 = 4.5;
/// A leak is there each time; noise is not.
const ROUNDS: usize = 3;
/// Samples above these shares are left out, as dudect does: what interrupts a sample says nothing about it.
const CROPS: [f64; 4] = [0.5, 0.9, 0.99, 1.0];
const LENGTH: usize = 43;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

type Key = [u8; LENGTH];

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("key_timing: skipped, it measures only under `cargo bench`");
        return ExitCode::SUCCESS;
    }
    let keys: Vec<Key> = (0..4).map(|_| random()).collect();
    let authentication = open(&keys);
    let right = keys[0];
    assert!(holds(&authentication, text(&right)), "the right key comes in");
    let near = move || {
        let mut key = right;
        while key == right {
            key[LENGTH - 1] = letter();
        }
        key
    };
    let half = move || {
        let mut key: Key = random();
        key[..LENGTH / 2].copy_from_slice(&right[..LENGTH / 2]);
        key
    };
    let check = |key: &Key| holds(&authentication, text(key));
    // The same check, after a comparison that stops at the first byte that differs.
    let early = |key: &Key| same_until(key, &right) | holds(&authentication, text(key));
    println!("{SAMPLES} samples of {CHECKS} checks, {} keys known; |t| at the crops {CROPS:?}", keys.len());
    let mut failed = false;
    for (what, class, leaks) in [
        ("a key that differs in its last byte, against random ones", &near as &dyn Fn() -> Key, false),
        ("a key whose first half is right, against random ones", &half, false),
        ("CONTROL, a comparison that stops early: last byte, against random ones", &near, true),
        ("CONTROL, a comparison that stops early: first half, against random ones", &half, true),
    ] {
        let subject: &dyn Fn(&Key) -> bool = if leaks { &early } else { &check };
        let seen = contest(what, class, subject);
        if seen != leaks {
            failed = true;
            println!("FAIL  {}", if leaks { "the measurement does not see it" } else { "its time tells" });
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether one kind of key takes another time than random ones, in each round.
fn contest(what: &str, class: &dyn Fn() -> Key, subject: &dyn Fn(&Key) -> bool) -> bool {
    for round in 1..=ROUNDS {
        let samples = sample(class, subject);
        let t = CROPS.map(|crop| welch(&samples, crop));
        let most = t.into_iter().fold(0.0, |most: f64, t| most.max(t.abs()));
        println!("{what}: round {round}, |t| = {most:.2} ({t:.2?})");
        if most < LIMIT {
            return false;
        }
    }
    true
}

/// Nanoseconds of each sample, and whether it is one of the class.
fn sample(class: &dyn Fn() -> Key, subject: &dyn Fn(&Key) -> bool) -> Vec<(bool, f64)> {
    // Made before, and laid in the same place, so that where a key is says nothing.
    let inputs: Vec<(bool, Key)> = (0..SAMPLES + SAMPLES / 10)
        .map(|_| {
            let chosen = fastrand::bool();
            (chosen, if chosen { class() } else { random() })
        })
        .collect();
    let mut place: Key = [0; LENGTH];
    let mut samples = Vec::with_capacity(inputs.len());
    for (chosen, key) in &inputs {
        place.copy_from_slice(key);
        let begun = Instant::now();
        for _ in 0..CHECKS {
            black_box(subject(black_box(&place)));
        }
        samples.push((*chosen, begun.elapsed().as_nanos() as f64));
    }
    // The first ones find everything cold.
    samples.split_off(SAMPLES / 10)
}

/// Welch's t of those samples that are not above the crop.
fn welch(samples: &[(bool, f64)], crop: f64) -> f64 {
    let mut sorted: Vec<f64> = samples.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    let highest = sorted[((sorted.len() - 1) as f64 * crop) as usize];
    let of = |class: bool| {
        let times: Vec<f64> =
            samples.iter().filter(|(c, t)| *c == class && *t <= highest).map(|(_, t)| *t).collect();
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((first, a), (second, b)) = (of(true), of(false));
    (first - second) / (a + b).sqrt().max(f64::MIN_POSITIVE)
}

fn open(keys: &[Key]) -> Arc<Authentication> {
    let listed =
        keys.iter().enumerate().map(|(n, key)| format!("    - {{ name: k{n}, key: {:?} }}", text(key)));
    let listed = listed.collect::<Vec<_>>().join("\n");
    let yaml =
        format!("auth:\n  api_keys:\n{listed}\ntools:\n  t: {{ description: D., static: {{ text: x }} }}\n");
    let mut loaded = load_text("g.yaml", &yaml, Path::new("."), &Environment::default());
    let plan = loaded.config.as_ref().and_then(|config| compile(config, &mut loaded.diagnostics));
    Authentication::open(&plan.expect("a plan").server.auth, None).expect("it opens")
}

/// The check of the server. Where there are no slow hashes it never waits.
fn holds(authentication: &Authentication, key: &str) -> bool {
    authentication.key(key).now_or_never().expect("it does not wait").is_ok()
}

/// What nobody should do.
fn same_until(given: &Key, known: &Key) -> bool {
    given.iter().zip(known).all(|(one, other)| black_box(*one) == black_box(*other))
}

fn random() -> Key {
    std::array::from_fn(|_| letter())
}

fn letter() -> u8 {
    ALPHABET[fastrand::usize(..ALPHABET.len())]
}

fn text(key: &Key) -> &str {
    std::str::from_utf8(key).expect("ASCII")
}
