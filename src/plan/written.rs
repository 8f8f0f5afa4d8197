//! Plans as JSON, by one writer: the code that writes a plan is made anew for each of them.

use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::Value;

use super::Plan;
use crate::units::to_hex;

/// What waits to be hashed at the most.
const ROOM: usize = 64 << 10;

/// Takes JSON: into a hash piece by piece, or whole.
struct Sink {
    text: Vec<u8>,
    hash: Option<Context>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    // For each name and value of a plan there is a call of this.
    #[inline(never)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= ROOM
            && let Some(hash) = &mut self.hash
        {
            hash.update(&self.text);
            self.text.clear();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `sha256:…` of a plan as JSON, where secrets are masked: nobody can find one by trying.
pub(super) fn digest(plan: &Plan) -> String {
    let mut sink = Sink { text: Vec::with_capacity(ROOM), hash: Some(Context::new(&SHA256)) };
    // A plan is written as JSON by tests and by `plan`; what could not be would be told apart by its length.
    match (serde_json::to_writer(&mut sink, plan), sink.hash) {
        (Ok(()), Some(mut hash)) => {
            hash.update(&sink.text);
            format!("sha256:{}", to_hex(hash.finish().as_ref()))
        }
        _ => "unknown".to_owned(),
    }
}

/// A part of a plan as a value; nothing where it cannot be written.
pub fn value<T: Serialize>(part: &T) -> Value {
    let mut sink = Sink { text: Vec::new(), hash: None };
    let written = serde_json::to_writer(&mut sink, part);
    written.and_then(|()| serde_json::from_slice(&sink.text)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::{Environment, load_text};
    use crate::diag::Diagnostics;

    fn hash(text: &str, secret: &str) -> String {
        let given = [("TOKEN".to_owned(), secret.to_owned())].into();
        let environment = Environment { given, ..Environment::default() };
        let loaded = load_text("gateway.yaml", text, Path::new("."), &environment);
        let plan = crate::plan::compile(&loaded.config.unwrap(), &mut Diagnostics::default());
        digest(&plan.unwrap())
    }

    #[test]
    fn a_hash_is_that_of_what_is_served_and_says_nothing_of_secrets() {
        let text = r#"
auth: { api_keys: [{ name: a, key: "${TOKEN}" }, { name: b, key: bbbbbbbbbbbbbbbbbbbbbbbb }] }
sources:
  api: { rest: { base_url: "http://localhost:1", headers: { a: b, c: d }, credentials: { bearer: "${TOKEN}" } } }
  db: { sql: { url: "postgres://u:${TOKEN}@localhost/x" } }
tools:
  a: { description: A., params: { x: { type: string } }, rest: { source: api, get: "/a/{x}" } }
"#;
        let [one, two] = ["s3cr3t-0123456789-0123456789", "an0ther-0123456789-0123456789"];
        let first = hash(text, one);
        assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
        assert_eq!(first, hash(text, one), "the same in every process");
        assert_eq!(first, hash(&text.replace("\ntools:", "\n# here\ntools:"), two));
        assert_ne!(first, hash(&text.replace("A.", "B."), one));
    }

    #[test]
    fn what_is_hashed_in_pieces_has_the_hash_of_the_whole() {
        let long = "x".repeat(3 * ROOM);
        let mut sink = Sink { text: Vec::new(), hash: Some(Context::new(&SHA256)) };
        serde_json::to_writer(&mut sink, &[&long, &long]).unwrap();
        assert!(sink.text.len() < ROOM);
        let mut hash = sink.hash.unwrap();
        hash.update(&sink.text);
        let whole = serde_json::to_vec(&[&long, &long]).unwrap();
        assert_eq!(hash.finish().as_ref(), aws_lc_rs::digest::digest(&SHA256, &whole).as_ref());
    }

    #[test]
    fn a_value_is_what_was_written() {
        let part = json!({ "b": [0.1, 1e300, -7, null, "é\n"], "a": { "c": true } });
        assert_eq!(value(&part).to_string(), part.to_string());
    }
}
