//! `examples/handbook.sql` is generated from `examples/handbook/*.md`: one row per section.
//! `UPDATE_EXAMPLES=1` writes it anew.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sidegate::source::vector::hash::HashEmbedder;

const DIMENSIONS: usize = 512;

const HEAD: &str = "\
-- The sample staff handbook, one row per section, with the vectors of the built-in embedder.
-- Generated from examples/handbook/*.md by tests/it/handbook_sql.rs, not edited by hand.
BEGIN;

CREATE TABLE chunks (
  id        INTEGER PRIMARY KEY,
  path      TEXT NOT NULL,
  topic     TEXT NOT NULL,
  content   TEXT NOT NULL,
  embedding BLOB NOT NULL -- float32, little-endian
);

";

const TAIL: &str = "
CREATE VIRTUAL TABLE chunks_fts USING fts5(content, content='chunks', content_rowid='id');
INSERT INTO chunks_fts(chunks_fts) VALUES ('rebuild');

COMMIT;
";

struct Section {
    path: String,
    topic: String,
    content: String,
}

#[test]
fn the_handbook_script_is_what_its_pages_say() -> Result<(), Box<dyn Error>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let script = script(&sections(&examples.join("handbook"))?)?;
    let file = examples.join("handbook.sql");
    if env::var_os("UPDATE_EXAMPLES").is_some() {
        fs::write(&file, &script)?;
    }
    assert!(
        fs::read_to_string(&file)? == script,
        "examples/handbook.sql is not what its pages say; UPDATE_EXAMPLES=1 writes it anew"
    );
    Ok(())
}

/// The sections of all pages, in the order of the file names.
fn sections(folder: &Path) -> Result<Vec<Section>, Box<dyn Error>> {
    let mut pages = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>, std::io::Error>>()?;
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    let mut sections = Vec::new();
    for page in pages {
        let topic = page.file_stem().and_then(|stem| stem.to_str()).ok_or("a page without a name")?;
        for section in fs::read_to_string(&page)?.split("\n## ").skip(1) {
            let (heading, text) = section.split_once('\n').ok_or("a heading without a text")?;
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            sections.push(Section {
                path: format!("handbook/{topic}.md"),
                topic: topic.to_owned(),
                content: format!("{}. {text}", heading.trim()),
            });
        }
    }
    Ok(sections)
}

fn script(sections: &[Section]) -> Result<String, std::fmt::Error> {
    let embedder = HashEmbedder::new(DIMENSIONS);
    let mut script = HEAD.to_owned();
    for (id, section) in (1..).zip(sections) {
        writeln!(
            script,
            "INSERT INTO chunks VALUES ({id}, {}, {}, {},\n  X'{}');",
            quoted(&section.path),
            quoted(&section.topic),
            quoted(&section.content),
            hex(&embedder.embed(&section.content))?
        )?;
    }
    script.push_str(TAIL);
    Ok(script)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn hex(vector: &[f32]) -> Result<String, std::fmt::Error> {
    let mut hex = String::new();
    for byte in vector.iter().flat_map(|number| number.to_le_bytes()) {
        write!(hex, "{byte:02x}")?;
    }
    Ok(hex)
}
