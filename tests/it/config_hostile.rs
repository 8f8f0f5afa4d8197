//! Files that were made to hurt (bombs, depth, size, bytes) are refused at once, without a stack overflow.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sidegate::config::load_text;

use crate::config::{PLAIN, checked, environment, rendered, with_plan};

/// The parser has a limit of its own.
const TOO_DEEP: &[&str] = &["yaml-syntax", "too-deep"];

/// What this thread has used of a processor so far; other programs do not count.
fn processor_time() -> Duration {
    let used = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(used.split(' ').next().unwrap().parse().unwrap())
}

/// Refused with one of these codes, without a stack overflow, and soon even in a build without optimisation.
fn refused_soon(what: &str, text: &str, wanted: &[&str]) {
    let start = processor_time();
    let (loaded, plan) = with_plan(load_text("a.yaml", text, Path::new("."), &environment()));
    let codes: Vec<&str> = loaded.diagnostics.sorted().iter().map(|d| d.code).collect();
    assert!(plan.is_none() && codes.iter().any(|c| wanted.contains(c)), "{what}: {codes:?}");
    assert!(!rendered(&loaded, PLAIN).is_empty(), "{what}");
    let used = processor_time().saturating_sub(start);
    assert!(used < Duration::from_secs(10), "{what}: {used:?}");
}

#[test]
fn hostile_texts_are_refused_at_once() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    for level in 1..1000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    refused_soon("alias bomb", &bomb, &["too-many-aliases"]);
    refused_soon("alias chain", &chain, TOO_DEEP);
    refused_soon("brackets", &"[".repeat(100_000), TOO_DEEP);
    refused_soon("closed brackets", &format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)), TOO_DEEP);
    refused_soon("flow maps", &"{a: ".repeat(20_000), TOO_DEEP);
    let mut deep = String::new();
    for level in 0..20_000 {
        deep.push_str(&" ".repeat(level.min(300)));
        deep.push_str("a:\n");
    }
    let stairs: String = (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    refused_soon("stairs", &stairs, TOO_DEEP);
    refused_soon("lists", &"- ".repeat(20_000), TOO_DEEP);
    refused_soon("twenty thousand levels", &deep, TOO_DEEP);
    refused_soon("empty", "", &["empty-file"]);
    refused_soon("spaces", " \n\n", &["empty-file"]);
    refused_soon("two documents", "a: 1\n---\nb: 2\n", &["second-document"]);
    refused_soon("too large", &format!("a: {}", "x".repeat(33 << 20)), &["too-large"]);
    refused_soon("a zero byte", "server: { name: \"a\0b\" }", &["yaml-syntax"]);
}

#[test]
fn a_file_with_thousands_of_mistakes_is_still_answered_soon() {
    let mut text = "tools:\n".to_owned();
    for n in 0..3000 {
        text.push_str(&format!("  t{n}: {{ description: [a], static: {{ text: a }}, nmae: b }}\n"));
    }
    refused_soon("thousands of mistakes", &text, &["wrong-type"]);
}

#[test]
fn hostile_files_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yaml");
    fs::File::create(&large).unwrap().set_len(50 << 20).unwrap();
    let binary = folder.path().join("binary.yaml");
    fs::write(&binary, b"server:\n  name: \xff\xfe\n").unwrap();
    let missing = folder.path().join("missing.yaml");
    for (path, code, says) in [
        (&large, "file-unreadable", "larger than 16 MiB"),
        (&binary, "not-utf8", "not UTF-8 text (line 2)"),
        (&missing, "file-unreadable", "there is no such file"),
        (&folder.path().to_owned(), "file-unreadable", "gateway.yaml`: there is no such file"),
    ] {
        let start = processor_time();
        let (loaded, plan) = checked(path);
        let text = rendered(&loaded, PLAIN);
        assert!(plan.is_none() && loaded.diagnostics.errors() == 1, "{text}");
        assert!(text.starts_with(&format!("error[{code}]")) && text.contains(says), "{text}");
        assert!(
            processor_time().saturating_sub(start) < Duration::from_secs(1),
            "{:?}",
            processor_time().saturating_sub(start)
        );
    }
}
