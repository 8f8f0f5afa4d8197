//! A pgvector collection after compile: its server, its names, and how its words are read.

use serde::Serialize;

use super::{Columns, quoted};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::source::database::{PoolPlan, ServerPlan};
use crate::source::vector::config::PgvectorCollectionConfig;
use crate::source::{SourceCx, time_limit};
use crate::units::Period;

/// PostgreSQL cuts longer names off, and then means another column.
const MAX_NAME: usize = 63;

/// A compiled table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::source::vector) struct PgvectorPlan {
    pub(super) server: ServerPlan,
    /// Quoted, with its schema if it was given.
    pub(super) table: String,
    pub(in crate::source::vector) columns: Columns,
    pub(super) language: String,
    /// The column of words.
    pub(super) words: Option<String>,
    pub(super) statement_timeout: Period,
}

fn sound(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains('\0')
}

fn refuse(written: &Spanned<String>, what: &str, diagnostics: &mut Diagnostics) {
    let message = format!("`{}` cannot be the name of {what}", written.value);
    let help = format!("1 to {MAX_NAME} bytes; a schema and a dot may stand before a table's name");
    diagnostics.push(Diagnostic::error("bad-identifier", message).at(written.span, "").help(help));
}

/// The name of a column, which may be any.
pub(in crate::source::vector) fn column(
    written: &Spanned<String>,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    if !sound(&written.value) {
        refuse(written, "a column", diagnostics);
        return None;
    }
    Some(written.value.clone())
}

/// `name`, `schema.name`; a part in double quotes may hold dots. Gives it quoted.
fn table(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let parts = parts(&written.value).filter(|parts| parts.len() <= 2 && parts.iter().all(|p| sound(p)));
    let Some(parts) = parts else {
        refuse(written, "a table", diagnostics);
        return None;
    };
    Some(parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join("."))
}

/// Splits at the dots outside quotes; `""` in quotes is one quote.
fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![];
    let mut rest = text;
    loop {
        let mut part = String::new();
        if let Some(inner) = rest.strip_prefix('"') {
            let mut inner = inner;
            loop {
                let (before, after) = inner.split_once('"')?;
                part.push_str(before);
                let Some(more) = after.strip_prefix('"') else {
                    rest = after;
                    break;
                };
                part.push('"');
                inner = more;
            }
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (before, after) = rest.split_at(end);
            part.push_str(before);
            rest = after;
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(parts),
        }
    }
}

impl PgvectorPlan {
    pub(in crate::source::vector) fn compile(
        written: &PgvectorCollectionConfig,
        cx: &mut SourceCx<'_>,
    ) -> Option<Self> {
        let mut name = |name: &Option<Spanned<String>>, default: &str| match name {
            Some(name) => column(name, cx.diagnostics),
            None => Some(default.to_owned()),
        };
        let id = name(&written.id, "id");
        let text = name(&written.text, "content");
        let embedding = name(&written.embedding, "embedding");
        let language = name(&written.language, "simple");
        let words = written.words.as_ref().map(|words| column(words, cx.diagnostics));
        let metadata = written.metadata.as_ref().map(|names| {
            let names: Vec<_> = names.iter().map(|name| column(name, cx.diagnostics)).collect();
            names.into_iter().collect::<Option<Vec<_>>>()
        });
        let table = table(&written.table, cx.diagnostics);
        let statement_timeout =
            time_limit(written.statement_timeout, 10, "statement_timeout", cx.diagnostics);
        if !matches!(written.url.expose().split(':').next(), Some("postgres" | "postgresql")) {
            let message = "the database of a pgvector collection is PostgreSQL";
            let help = "write `postgres://user:password@host:port/database`";
            cx.diagnostics.push(Diagnostic::error("bad-url", message).at(written.url.span, "").help(help));
            return None;
        }
        let pool = PoolPlan::compile(&written.pool, cx.diagnostics)?;
        let server = ServerPlan::compile(&written.url, 5432, pool, cx);
        let metadata = match metadata {
            Some(names) => Some(names?),
            None => None,
        };
        let words = match words {
            Some(words) => Some(words?),
            None => None,
        };
        let columns = Columns { id: id?, text: text?, embedding: embedding?, metadata };
        Some(Self { server: server?, table: table?, columns, language: language?, words, statement_timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_split_outside_quotes_and_quoted() {
        let quote = |text: &str| {
            let diagnostics = &mut Diagnostics::default();
            table(&Spanned::new(text.to_owned(), crate::diag::Span::default()), diagnostics)
        };
        for (written, wanted) in [
            ("chunks", Some(r#""chunks""#)),
            ("My Docs.the \"best\" chunks", Some(r#""My Docs"."the ""best"" chunks""#)),
            (r#"a."b.c""#, Some(r#""a"."b.c""#)),
            (r#""a""b""#, Some(r#""a""b""#)),
            ("x; DROP TABLE y", Some(r#""x; DROP TABLE y""#)),
            ("a.b.c", None),
            ("a.", None),
            (".a", None),
            ("", None),
            (r#""a"b"#, None),
            (r#""a"#, None),
        ] {
            assert_eq!(quote(written).as_deref(), wanted, "{written}");
        }
        assert_eq!(quote(&"x".repeat(64)), None);
    }
}
