//! Rows as CSV or as a Markdown table, for the text the model reads.

use serde_json::Value;

/// Column names in the order of first appearance.
fn columns(rows: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows.iter().filter_map(Value::as_object) {
        for name in row.keys() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// RFC 4180, `\n` line ends; `None` if these are not objects.
pub(super) fn csv(rows: &[Value]) -> Option<String> {
    table(rows, |cells| {
        let quoted = cells.iter().map(|c| {
            if c.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", c.replace('"', "\"\""))
            } else {
                c.clone()
            }
        });
        quoted.collect::<Vec<_>>().join(",")
    })
}

/// A Markdown table; `None` if these are not objects.
pub(super) fn markdown(rows: &[Value]) -> Option<String> {
    let mut first = true;
    table(rows, |cells| {
        let escaped =
            cells.iter().map(|c| c.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " "));
        let line = format!("| {} |", escaped.collect::<Vec<_>>().join(" | "));
        if std::mem::take(&mut first) { format!("{line}\n|{}", " --- |".repeat(cells.len())) } else { line }
    })
}

fn table(rows: &[Value], mut line: impl FnMut(&[String]) -> String) -> Option<String> {
    if rows.is_empty() || !rows.iter().all(Value::is_object) {
        return None;
    }
    let columns = columns(rows);
    let header: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
    let mut out = line(&header);
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|c| cell(row.get(*c))).collect();
        out.push('\n');
        out.push_str(&line(&cells));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_become_tables_that_cells_cannot_break() {
        let rows = vec![json!({ "a": 1, "b": "x|y\nz" }), json!({ "a": null, "c": "q\"," })];
        assert_eq!(
            markdown(&rows).unwrap(),
            "| a | b | c |\n| --- | --- | --- |\n| 1 | x\\|y z |  |\n|  |  | q\", |"
        );
        assert_eq!(csv(&rows).unwrap(), "a,b,c\n1,\"x|y\nz\",\n,,\"q\"\",\"");
        assert_eq!(markdown(&[json!(1)]), None);
    }
}
