//! The committed table of differences: Markdown that is read, compared and rewritten.

use std::path::PathBuf;

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub request: String,
    pub ours: String,
    pub theirs: String,
    pub clause: String,
    pub verdict: String,
}

/// The words that a verdict begins with.
pub const VERDICTS: [&str; 4] = ["ours", "rmcp", "both", "neither"];

const HEAD: &str = "| request | ours | rmcp | clause that decides | verdict |\n|---|---|---|---|---|\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/differential/differences.md")
}

/// Everything before the table, and its rows.
pub fn read() -> (String, Vec<Row>) {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let Some((before, table)) = text.split_once(HEAD) else { return (text, Vec::new()) };
    (before.to_owned(), table.lines().map(parse).collect())
}

pub fn write(before: &str, rows: &[Row]) {
    let lines = rows.iter().map(|row| {
        let cells = [&row.request, &row.ours, &row.theirs, &row.clause, &row.verdict];
        let cells = cells.map(|c| c.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    });
    std::fs::write(path(), format!("{before}{HEAD}{}", lines.collect::<String>())).unwrap();
}

fn parse(line: &str) -> Row {
    let cells = line.replace("\\|", "\u{1}");
    let cells: Vec<String> =
        cells.split('|').map(|c| c.trim().replace('\u{1}', "|")).skip(1).take(5).collect();
    let [request, ours, theirs, clause, verdict] =
        cells.try_into().unwrap_or_else(|_| panic!("not a row: {line}"));
    Row { request, ours, theirs, clause, verdict }
}

#[test]
fn rows_survive_being_written() {
    let row = parse("| a \\| b | 200 | 400; text | 5.1 | ours |");
    assert_eq!(row.request, "a | b");
    assert_eq!(row.verdict, "ours");
}
