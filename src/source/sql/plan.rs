//! SQL after compile: connection options, and statements with numbered binds.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::config::{RowConfig, SqlConfig, SqlOpConfig};
use super::page::{self, PagePlan};
use super::statement::{self, Effect};
use crate::caller::CallerField;
use crate::diag::{Diagnostic, Diagnostics};
use crate::output::NEXT;
use crate::source::database::{DatabasePlan, Engine, PoolPlan, SqlText};
use crate::source::{Described, OpCx, SourceCx, time_limit};
use crate::units::Period;

/// A compiled SQL source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SqlPlan {
    pub(super) database: DatabasePlan,
    pub(super) read_only: bool,
    pub(super) statement_timeout: Period,
    /// Variables of the call's transaction and what of the caller they hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) session: Vec<(Arc<str>, CallerField)>,
}

impl SqlPlan {
    /// What of the caller is put into every session.
    pub fn session_fields(&self) -> impl Iterator<Item = &CallerField> {
        self.session.iter().map(|(_, field)| field)
    }
}

/// A compiled statement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SqlOp {
    pub(super) text: SqlText,
    pub(super) binds: Vec<usize>,
    pub(super) row: RowConfig,
    pub(super) write: bool,
    /// Pages of its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page: Option<Arc<PagePlan>>,
}

impl SqlOp {
    /// Whether it is declared to write.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.write
    }

    /// The columns that pages are made by.
    #[must_use]
    pub fn paged_by(&self) -> &[String] {
        self.page.as_ref().map_or(&[], |page| &page.by)
    }

    /// The columns of its rows, where its text names them all.
    #[must_use]
    pub fn columns(&self) -> Option<Vec<String>> {
        super::columns::columns(&self.text.whole)
    }

    /// Whether clients get its rows, rather than how many there were.
    #[must_use]
    pub fn gives_rows(&self) -> bool {
        !self.write && self.row != RowConfig::Count
    }

    /// The parameters in the order of the statement's binds.
    #[must_use]
    pub fn binds(&self) -> &[usize] {
        &self.binds
    }

    /// The range of the statement as it was written for a range of it as the engine takes it.
    #[must_use]
    pub fn written(&self, range: &Range<usize>, names: &[&str]) -> Range<usize> {
        self.text.written(range, names)
    }

    /// The schema of its result, as far as it is known without the database.
    #[must_use]
    pub fn output_schema(&self) -> Option<Value> {
        self.schema_of(&json!({ "type": "object" }))
    }

    /// The schema of its result with the columns that the database names.
    #[must_use]
    pub fn described_schema(&self, described: &Described) -> Option<Value> {
        if described.columns.is_empty() {
            return None;
        }
        let columns = described.columns.iter().map(|c| (c.name.clone(), c.schema.clone()));
        let columns: Map<String, Value> = columns.collect();
        self.schema_of(&json!({ "type": "object", "properties": columns }))
    }

    fn schema_of(&self, row: &Value) -> Option<Value> {
        match (self.row, self.write) {
            (RowConfig::Count, _) => Some(json!({
                "type": "object",
                "properties": { "count": { "type": "integer" } },
                "required": ["count"]
            })),
            // A write may give its count in the place of a row.
            (RowConfig::One, true) => Some(json!({ "type": "object" })),
            (RowConfig::One, false) => Some(row.clone()),
            (RowConfig::Many, false) => {
                let mut schema = rows_schema("rows", row);
                if let (Some(_), Some(properties)) = (&self.page, schema.pointer_mut("/properties")) {
                    let about = "Give this as `next` to see the rows after these. There are no more where it is missing.";
                    properties[NEXT] = json!({ "type": "string", "description": about });
                }
                Some(schema)
            }
            (RowConfig::Many, true) => None,
        }
    }
}

/// The schema of a list of objects that may be cut.
pub(in crate::source) fn rows_schema(member: &str, item: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            member: { "type": "array", "items": item },
            "truncated": { "type": "boolean", "description": "Whether some were left out." },
            "note": { "type": "string", "description": "What was left out, and how to see it." }
        },
        "required": [member]
    })
}

pub(super) fn compile(config: &SqlConfig, cx: &mut SourceCx<'_>) -> Option<SqlPlan> {
    let pool = PoolPlan::compile(&config.pool, cx.diagnostics)?;
    let statement_timeout = time_limit(config.statement_timeout, 10, "statement_timeout", cx.diagnostics);
    let database = DatabasePlan::compile(&config.url, config.init.as_ref(), pool, cx)?;
    let session = session(config, database.engine(), cx.diagnostics)?;
    let read_only = config.read_only.is_none_or(|r| r.value);
    Some(SqlPlan { database, read_only, statement_timeout, session })
}

fn session(
    config: &SqlConfig,
    engine: Engine,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(Arc<str>, CallerField)>> {
    let mut sound = true;
    let mut refuse = |code, message: String, at, help: String| {
        sound = false;
        diagnostics.push(Diagnostic::error(code, message).at(at, "").help(help));
    };
    let mut variables = Vec::new();
    for (name, value) in config.session.iter() {
        if engine == Engine::Sqlite {
            let message = "SQLite has no variables of a session".to_owned();
            let help = "bind a parameter to the caller instead: `params: { user: { from: caller.sub } }`";
            refuse("session-not-here", message, name.span, help.to_owned());
        } else if !engine.may_set(name) {
            let message = format!("`{}` cannot be set for a caller", name.value);
            let help = match engine {
                Engine::Mysql => {
                    "a user variable of letters, digits, `_` and dots, without its `@`: `app_user`"
                }
                _ => "a name of your own with a dot, such as `app.user_id`, or `role`",
            };
            refuse("bad-session", message, name.span, help.to_owned());
        }
        match CallerField::parse(value) {
            Some(field) => variables.push((Arc::from(name.as_str()), field)),
            None => {
                let message = format!("`{}` is not a part of the caller's identity", value.value);
                refuse("bad-caller-field", message, value.span, CallerField::FORMS.to_owned());
            }
        }
    }
    sound.then_some(variables)
}

/// The word of a statement that SQLite refuses in every route.
fn never(text: &str, engine: Engine) -> Option<&'static str> {
    let first = text.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next()?;
    let words = ["PRAGMA", "ATTACH", "DETACH", "VACUUM"].into_iter();
    words.filter(|_| engine == Engine::Sqlite).find(|word| word.eq_ignore_ascii_case(first))
}

pub(super) fn compile_op(config: &SqlOpConfig, source: Option<&SqlPlan>, cx: &mut OpCx<'_>) -> Option<SqlOp> {
    let engine = source.map(|s| s.database.engine()).unwrap_or_default();
    let prepared = statement::prepare(&config.query, engine, cx.scope, cx.diagnostics)?;
    let write = config.write.is_some_and(|w| w.value);
    if let (true, true, Some(at)) = (write, source.is_some_and(|s| s.read_only), &config.write) {
        let message = format!("this route writes, but the source `{}` is read-only", config.source.value);
        let problem = Diagnostic::error("write-on-read-only", message)
            .at(at.span, "")
            .at(cx.source_at, "the source")
            .help("say `read_only: false` on the source if it may be written");
        cx.diagnostics.push(problem);
        return None;
    }
    if let (true, Some(word)) = (source.is_some(), never(&prepared.text.whole, engine)) {
        let message = format!("no route may run `{word}`, whether it reads or writes");
        let help = match word {
            "PRAGMA" => "read `pragma_table_info('table')` and its like; settings stand in the `init` script",
            _ => "it belongs into the `init` script, or into the database's own tools",
        };
        cx.diagnostics
            .push(Diagnostic::error("not-in-a-route", message).at(config.query.span, "").help(help));
        return None;
    }
    if !write && prepared.effect == Effect::Writes {
        let message = "this statement does more than read";
        let problem = Diagnostic::error("write-not-declared", message)
            .absence()
            .at(config.query.span, "")
            .help("say `write: true` beside the query, and `read_only: false` on the source");
        cx.diagnostics.push(problem);
        return None;
    }
    let (text, binds) = (prepared.text, prepared.binds);
    let page = page::compile(config, &text, binds.len(), engine, cx).map(Arc::new);
    if config.page.is_some() && page.is_none() {
        return None;
    }
    Some(SqlOp { text, binds, row: config.row.unwrap_or_default(), write, page })
}
