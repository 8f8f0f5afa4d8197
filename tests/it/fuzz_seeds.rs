//! The committed inputs of the fuzz targets, held to the same laws without a fuzzer, so that neither can rot.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

fn each(target: &str, hold: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert!((8..=30).contains(&entries.len()), "{} inputs for {target}", entries.len());
    let breaks = |path: &std::path::PathBuf| {
        let input = std::fs::read(path).unwrap();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hold(&input))).is_err()
    };
    let broken: Vec<_> = entries.iter().filter(|p| breaks(p)).collect();
    assert!(broken.is_empty(), "what was printed above was broken by {broken:#?}");
}

#[test]
fn messages_of_the_decoder_keep_the_laws() {
    each("decoder", fuzz::decoder);
}

#[test]
fn headers_of_calls_keep_the_laws() {
    each("headers", fuzz::headers_of_calls);
}

#[test]
fn whole_exchanges_keep_the_laws() {
    each("answer", fuzz::answer);
}
