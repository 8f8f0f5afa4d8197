//! YAML blocks of a Markdown page: found, completed to whole configurations, compiled, and held against the schema.

use std::collections::HashMap;
use std::path::Path;

use sidegate::app::Checked;
use sidegate::config::{Environment, load_text, schema};
use sidegate::diag::{self, Diagnostics, FileId, Format, Spanned};
use sidegate::plan;
use sidegate::yaml::{JsonNode, from_tree, parse};

/// The sources that fragments may name, as in `gateway.example.yaml`.
const SOURCES: &str = r#"sources:
  orders_api: { rest: { base_url: "http://127.0.0.1:9000/v1" } }
  shop_db: { sql: { url: "sqlite::memory:" } }
  shop_rw: { sql: { url: "sqlite:shop.db", read_only: false } }
  handbook:
    vector:
      sqlite: { url: "sqlite:handbook.db", table: chunks }
      embedder: { hash: { dimensions: 512 } }
"#;

/// Something to serve, for fragments that serve nothing.
const TOOL: &str = "tools:\n  a_tool: { description: A tool., static: { text: x } }\n";

/// One YAML block of a page.
pub(super) struct Block {
    pub page: String,
    /// The line of its first fence.
    pub line: usize,
    pub text: String,
    /// The key that it stands under.
    pub within: Option<String>,
    /// The file that it shows.
    pub file: Option<String>,
    /// The folder of the files that it names.
    pub beside: Option<String>,
    /// It must fail.
    pub wrong: bool,
    /// The `text` block right after it.
    pub report: Option<String>,
}

/// The YAML blocks of a page.
pub(super) fn find(page: &str, text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks: Vec<Block> = Vec::new();
    let mut marks: Vec<&str> = Vec::new();
    // Whether only blank lines came since the last YAML block.
    let mut follows = false;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let start = at;
        at += 1;
        if let Some(language) = line.strip_prefix("```") {
            let length = lines[at..].iter().position(|l| *l == "```").expect("a fence that is never closed");
            let body: String = lines[at..at + length].iter().flat_map(|l| [l, "\n"]).collect();
            at += length + 1;
            match language {
                "yaml" => blocks.push(Block {
                    page: page.to_owned(),
                    line: start + 1,
                    text: body,
                    within: value(&marks, "within"),
                    file: value(&marks, "file"),
                    beside: value(&marks, "beside"),
                    wrong: marks.contains(&"wrong"),
                    report: None,
                }),
                "text" if follows => blocks.last_mut().unwrap().report = Some(body),
                _ => {}
            }
            follows = language == "yaml";
            marks.clear();
        } else if let Some(mark) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
            marks.push(mark);
        } else if !line.trim().is_empty() {
            follows = false;
            marks.clear();
        }
    }
    blocks
}

fn value(marks: &[&str], name: &str) -> Option<String> {
    marks.iter().find_map(|m| m.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
}

impl Block {
    /// The block as a whole configuration.
    fn whole(&self) -> String {
        let indented = |by: usize| -> String {
            let blank = " ".repeat(by);
            self.text
                .lines()
                .map(|l| if l.is_empty() { "\n".to_owned() } else { format!("{blank}{l}\n") })
                .collect()
        };
        match self.within.as_deref() {
            None => self.text.clone(),
            Some("params") => format!(
                "tools:\n  a_tool:\n    description: A tool.\n    static: {{ text: x }}\n    params:\n{}",
                indented(6)
            ),
            Some(key @ ("sources" | "server" | "defaults")) => format!("{key}:\n{}{TOOL}", indented(2)),
            Some(key) => format!("{SOURCES}{key}:\n{}", indented(2)),
        }
    }

    pub(super) fn compiles_as_said(&self) -> Result<(), String> {
        let root = super::root();
        let folder = self.beside.as_deref().map(Path::new);
        let folder = folder.or_else(|| Path::new(self.file.as_deref()?).parent());
        let base = folder.map_or(root.to_owned(), |folder| root.join(folder));
        let text = self.whole();
        let mut loaded = load_text("gateway.yaml", &text, &base, &environment(&text));
        let compiled = loaded.config.as_ref().and_then(|c| plan::compile(c, &mut loaded.diagnostics));
        let plan = compiled.filter(|_| !loaded.diagnostics.has_errors());
        let checked =
            Checked { plan, diagnostics: loaded.diagnostics, sources: loaded.sources, ..Checked::default() };
        let found = report(&checked);
        if !self.wrong {
            let fine = checked.plan.is_some() && found.is_empty();
            return if fine { Ok(()) } else { Err(format!("this is not a clean configuration:\n{found}")) };
        }
        if checked.plan.is_some() {
            return Err("this should fail, and does not".to_owned());
        }
        match &self.report {
            None => Err(format!("show what is said about it:\n{found}")),
            Some(shown) if shown.trim() == found.trim() => Ok(()),
            Some(_) => Err(format!("something else is said about it:\n{found}")),
        }
    }

    pub(super) fn fits_the_schema(&self) -> Result<(), String> {
        fits(&self.whole())
    }
}

/// Holds a configuration against the JSON Schema.
pub(super) fn fits(text: &str) -> Result<(), String> {
    let tree = parse(text, FileId(0), &mut Diagnostics::default()).map_err(|problem| problem.message)?;
    let mut diagnostics = Diagnostics::default();
    let node: Spanned<JsonNode> =
        from_tree(&tree, vec![], &mut diagnostics).value.ok_or("this cannot be read as JSON")?;
    let validator = jsonschema::draft202012::new(&schema()).map_err(|e| e.to_string())?;
    let wrong: Vec<String> = validator
        .iter_errors(&node.to_value())
        .map(|e| format!("the schema refuses `{}`: {e}", e.instance_path()))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What `check` prints about a configuration.
pub(super) fn report(checked: &Checked) -> String {
    diag::render(&checked.diagnostics, &checked.sources, Format::Text { colour: false })
}

/// Variables that a text uses, each with a value that is an address and can be a secret, or a password that can stand in a URL.
pub(super) fn environment(text: &str) -> Environment {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split(['}', ':']).next());
    let given: HashMap<String, String> = names
        .filter(|name| text.contains(&format!("${{{name}}}")))
        .map(|name| {
            let value = if name.ends_with("PASSWORD") { "secret" } else { "http://127.0.0.1:9000" };
            (name.to_owned(), value.to_owned())
        })
        .collect();
    Environment { process: false, given }
}
