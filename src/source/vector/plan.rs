//! Vector search after compile: the statements of each mode, ready but for their values.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::config::{DistanceConfig, EmbedderConfig, ModeConfig, VectorConfig, VectorOpConfig};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::secret::Secret;
use crate::source::database::PoolPlan;
use crate::source::sql::{PoolConfig, rows_schema};
use crate::source::sqlite::SqlitePlan;
use crate::source::{OpCx, SourceCx, limit as limit_of, time_limit};
use crate::template::{JsonTemplate, Template};
use crate::units::Period;
use crate::yaml::JsonNode;

/// The most matches of one search.
pub(super) const MAX_LIMIT: usize = 1000;

/// A compiled vector source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorPlan {
    pub(super) sqlite: SqlitePlan,
    pub(super) columns: Columns,
    pub(super) distance: DistanceConfig,
    pub(super) embedder: EmbedderPlan,
}

/// The table and its columns; all are plain identifiers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Columns {
    pub table: String,
    pub id: String,
    pub text: String,
    pub embedding: String,
    pub metadata: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EmbedderPlan {
    OpenAi { url: String, model: String, api_key: Option<Secret>, dimensions: Option<u32>, timeout: Period },
    Hash { dimensions: usize },
}

/// A compiled search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorOp {
    pub(super) search: Template,
    pub(super) limit: JsonTemplate,
    /// Values of the conditions, in the order of the statements' binds; each may be absent.
    pub(super) filter: Vec<JsonTemplate>,
    pub(super) mode: ModeConfig,
    pub(super) min_score: Option<f64>,
    /// Nearest by vector: ?1 vector, ?2 limit, then two binds a condition.
    pub(super) by_vector: Arc<str>,
    /// Best by words over `<table>_fts`: ?1 query, ?2 limit, then two binds a condition.
    pub(super) by_index: Arc<str>,
    /// Best by words without an index: ?1 list of words as JSON, ?2 limit, then two binds a condition.
    pub(super) by_scan: Arc<str>,
}

impl VectorOp {
    /// The schema of its result.
    #[must_use]
    pub fn output_schema(&self) -> Value {
        let item = json!({
            "type": "object",
            "properties": {
                "id": { "description": "The row's id." },
                "score": { "type": "number", "description": "Higher is nearer." },
                "text": { "type": ["string", "null"] },
                "metadata": { "type": "object" }
            },
            "required": ["id", "score", "text"]
        });
        rows_schema("matches", &item)
    }
}

fn identifier(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = &written.value;
    let plain = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain {
        let message = format!("`{text}` cannot be the name of a table or column here");
        let help = "letters, digits and `_`; make a view for anything else";
        diagnostics.push(Diagnostic::error("bad-identifier", message).at(written.span, "").help(help));
    }
    plain.then(|| text.clone())
}

pub(super) fn compile(config: &VectorConfig, cx: &mut SourceCx<'_>) -> Option<VectorPlan> {
    let written = &config.sqlite;
    let mut column = |name: &Option<Spanned<String>>, default: &str| match name {
        Some(name) => identifier(name, cx.diagnostics),
        None => Some(default.to_owned()),
    };
    let id = column(&written.id, "id");
    let text = column(&written.text, "content");
    let embedding = column(&written.embedding, "embedding");
    let table = identifier(&written.table, cx.diagnostics);
    let metadata = match &written.metadata {
        None => Some(None),
        Some(names) => {
            let names: Vec<_> = names.iter().map(|n| identifier(n, cx.diagnostics)).collect();
            names.into_iter().collect::<Option<Vec<_>>>().map(Some)
        }
    };
    let pool = PoolPlan::compile(&PoolConfig::default(), cx.diagnostics)?;
    let sqlite = SqlitePlan::compile(&written.url, written.init.as_ref(), pool, cx);
    let embedder = embedder(&config.embedder, cx.diagnostics);
    Some(VectorPlan {
        sqlite: sqlite?,
        columns: Columns { table: table?, id: id?, text: text?, embedding: embedding?, metadata: metadata? },
        distance: config.distance,
        embedder: embedder?,
    })
}

fn embedder(config: &Spanned<EmbedderConfig>, diagnostics: &mut Diagnostics) -> Option<EmbedderPlan> {
    match (&config.openai, &config.hash) {
        (Some(openai), None) => {
            let fits = Url::parse(&openai.base_url).is_ok_and(|u| {
                matches!(u.scheme(), "http" | "https")
                    && u.username().is_empty()
                    && u.password().is_none()
                    && u.query().is_none()
            });
            if !fits {
                let message = "the base URL of an embedder starts with `http://` or `https://` and holds no user, password or query";
                diagnostics.push(Diagnostic::error("bad-url", message).at(openai.base_url.span, ""));
                return None;
            }
            Some(EmbedderPlan::OpenAi {
                url: format!("{}/embeddings", openai.base_url.trim_end_matches('/')),
                model: openai.model.clone(),
                api_key: openai.api_key.as_ref().map(|k| k.value.clone()),
                dimensions: openai
                    .dimensions
                    .map(|d| limit_of(Some(d), 1, |d| d == 0, "dimensions", diagnostics)),
                timeout: time_limit(openai.timeout, 10, "timeout", diagnostics),
            })
        }
        (None, Some(hash)) => {
            let dimensions = hash.dimensions.value;
            if !(16..=4096).contains(&dimensions) {
                let message = "the built-in embedder makes vectors of 16 to 4096 numbers";
                diagnostics.push(Diagnostic::error("bad-dimensions", message).at(hash.dimensions.span, ""));
                return None;
            }
            Some(EmbedderPlan::Hash { dimensions: dimensions as usize })
        }
        _ => {
            let message = "an embedder is exactly one of `openai`, `hash`";
            diagnostics.push(Diagnostic::error("one-of", message).absence().at(config.span, ""));
            None
        }
    }
}

pub(super) fn compile_op(
    config: &VectorOpConfig,
    source: Option<&VectorPlan>,
    cx: &mut OpCx<'_>,
) -> Option<VectorOp> {
    let search = Template::compile(&config.search, cx.scope, cx.diagnostics);
    let limit = limit(config.limit.as_ref(), cx);
    let mut filter = Some(Vec::new());
    let mut conditions = String::new();
    for (index, (name, value)) in config.filter.iter().enumerate() {
        let column = condition_column(name, source, cx.diagnostics);
        let value = JsonTemplate::compile(value, cx.scope, cx.diagnostics);
        // `?a` is 1 where the condition applies; a condition left out is true.
        let (applies, operand) = (3 + index * 2, 4 + index * 2);
        match (column, value, &mut filter) {
            (Some(column), Some(value), Some(list)) => {
                conditions.push_str(&format!(" AND (?{applies} = 0 OR t.\"{column}\" = ?{operand})"));
                list.push(value);
            }
            _ => filter = None,
        }
    }
    let statements = statements(source?, &conditions);
    Some(VectorOp {
        search: search?,
        limit: limit?,
        filter: filter?,
        mode: config.mode.unwrap_or_default(),
        min_score: config.min_score,
        by_vector: statements.0,
        by_index: statements.1,
        by_scan: statements.2,
    })
}

fn condition_column(
    name: &Spanned<String>,
    source: Option<&VectorPlan>,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let column = identifier(name, diagnostics)?;
    if let Some(columns) = source.map(|s| &s.columns)
        && let Some(known) = &columns.metadata
        && !known.contains(&column)
        && column != columns.id
    {
        let message = format!("`{column}` is not among the source's metadata columns");
        let help = crate::name::did_you_mean(&column, known.iter().map(String::as_str), "metadata columns");
        diagnostics.push(Diagnostic::error("unknown-column", message).at(name.span, "").help(help));
        return None;
    }
    Some(column)
}

fn limit(written: Option<&Spanned<JsonNode>>, cx: &mut OpCx<'_>) -> Option<JsonTemplate> {
    let Some(written) = written else {
        return Some(JsonTemplate::Literal(json!(10)));
    };
    let template = JsonTemplate::compile(written, cx.scope, cx.diagnostics)?;
    let sound = match &template {
        JsonTemplate::Literal(value) => value.as_u64().is_some_and(|n| (1..=MAX_LIMIT as u64).contains(&n)),
        JsonTemplate::Param(index) => cx.scope.types(*index).iter().all(|t| t == "integer"),
        _ => false,
    };
    if !sound {
        let message =
            format!("`limit` is a number from 1 to {MAX_LIMIT}, or a placeholder of an integer parameter");
        cx.diagnostics.push(Diagnostic::error("bad-limit", message).at(written.span, ""));
    }
    sound.then_some(template)
}

/// The statements by vector, by index and by scan. Every result has the row's columns and `"$rank"`, nearest first by it.
fn statements(source: &VectorPlan, conditions: &str) -> (Arc<str>, Arc<str>, Arc<str>) {
    let Columns { table, id, text, embedding, metadata } = &source.columns;
    let listed = match metadata {
        None => "t.*".to_owned(),
        Some(names) => {
            let names = [id, text].into_iter().chain(names);
            names.map(|n| format!("t.\"{n}\"")).collect::<Vec<_>>().join(", ")
        }
    };
    let distance = match source.distance {
        DistanceConfig::Cosine => "vec_distance_cosine",
        DistanceConfig::L2 => "vec_distance_L2",
    };
    let by_vector = format!(
        "SELECT {listed}, {distance}(t.\"{embedding}\", ?1) AS \"$rank\" FROM \"{table}\" AS t \
         WHERE t.\"{embedding}\" IS NOT NULL{conditions} ORDER BY \"$rank\", t.\"{id}\" LIMIT ?2"
    );
    let by_index = format!(
        "SELECT {listed}, f.rank AS \"$rank\" FROM \"{table}_fts\" AS f JOIN \"{table}\" AS t ON t.\"{id}\" = f.rowid \
         WHERE \"{table}_fts\" MATCH ?1{conditions} ORDER BY f.rank, t.\"{id}\" LIMIT ?2"
    );
    let by_scan = format!(
        "SELECT * FROM (SELECT {listed}, -(SELECT count(*) FROM json_each(?1) AS w \
         WHERE instr(lower(t.\"{text}\"), w.value) > 0) AS \"$rank\" FROM \"{table}\" AS t WHERE 1{conditions}) \
         WHERE \"$rank\" < 0 ORDER BY \"$rank\" LIMIT ?2"
    );
    (by_vector.into(), by_index.into(), by_scan.into())
}
