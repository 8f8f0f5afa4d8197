//! Vector sources and searches after compile.

use serde::Serialize;
use serde_json::{Value, json};

use super::collection::CollectionPlan;
use super::config::{DistanceConfig, ModeConfig, VectorConfig, VectorOpConfig};
use super::embed::EmbedderPlan;
use super::filter::{self, Condition};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::source::sql::rows_schema;
use crate::source::{OpCx, SourceCx};
use crate::template::{JsonTemplate, Template};
use crate::yaml::JsonNode;

/// The most matches of one search.
pub(super) const MAX_LIMIT: usize = 1000;

/// A compiled vector source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorPlan {
    pub(super) collection: Box<CollectionPlan>,
    pub(super) distance: DistanceConfig,
    pub(super) embedder: EmbedderPlan,
}

/// A compiled search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorOp {
    pub(super) search: Template,
    pub(super) limit: JsonTemplate,
    pub(super) filter: Vec<Condition>,
    pub(super) mode: ModeConfig,
    pub(super) min_score: Option<f64>,
    pub(super) ef_search: Option<u32>,
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

pub(super) fn compile(config: &VectorConfig, cx: &mut SourceCx<'_>) -> Option<VectorPlan> {
    let collection = CollectionPlan::compile(config, cx);
    let embedder = EmbedderPlan::compile(&config.embedder, cx.diagnostics);
    let distance = config.distance.map_or_else(DistanceConfig::default, |d| d.value);
    Some(VectorPlan { collection: Box::new(collection?), distance, embedder: embedder? })
}

pub(super) fn compile_op(
    config: &VectorOpConfig,
    source: Option<&VectorPlan>,
    cx: &mut OpCx<'_>,
) -> Option<VectorOp> {
    let search = Template::compile(&config.search, cx.scope, cx.diagnostics);
    let limit = limit(config.limit.as_ref(), cx);
    let filter = filter::compile(&config.filter, source.map(|s| &*s.collection), cx);
    let ef_search = ef_search(config.ef_search, source, cx.diagnostics);
    source?;
    Some(VectorOp {
        search: search?,
        limit: limit?,
        filter: filter?,
        mode: config.mode.unwrap_or_default(),
        min_score: config.min_score,
        ef_search: ef_search?,
    })
}

/// `None` is a wrong one.
#[expect(clippy::option_option, reason = "the outer is the failure of a compile, as everywhere")]
fn ef_search(
    written: Option<Spanned<u32>>,
    source: Option<&VectorPlan>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<u32>> {
    let Some(written) = written else { return Some(None) };
    let message = match source.map(|s| &*s.collection) {
        _ if !(1..=1000).contains(&written.value) => "`ef_search` is a number from 1 to 1000",
        Some(CollectionPlan::Sqlite(_)) => {
            "SQLite reads every row: there is no index that `ef_search` could set"
        }
        _ => return Some(Some(written.value)),
    };
    diagnostics.push(Diagnostic::error("bad-ef-search", message).at(written.span, ""));
    None
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
