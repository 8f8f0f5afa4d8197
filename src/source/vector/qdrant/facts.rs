//! What Qdrant says of a collection: the length of its vectors, how they are measured, whether words can be searched.

use serde_json::Value;

use super::QdrantPlan;
use crate::source::SourceError;
use crate::source::vector::config::DistanceConfig;

/// What is known of a collection.
#[derive(Debug)]
pub(super) struct Facts {
    pub length: Option<usize>,
    /// Whether the text has a full-text index.
    pub words: bool,
    /// In Qdrant's words.
    distance: String,
}

impl Facts {
    /// Reads `result` of `GET /collections/{name}`.
    pub(super) fn read(plan: &QdrantPlan, said: &Value) -> Result<Self, SourceError> {
        let unfit = |reason, detail| Err(SourceError::Unfit { reason, detail });
        let Some(vectors) = said.pointer("/config/params/vectors").filter(|v| v.is_object()) else {
            return unfit("its collection has no vectors", String::new());
        };
        let vector = match &plan.vector_name {
            Some(name) => vectors.get(name).filter(|v| v.get("size").is_some()),
            None => Some(vectors).filter(|v| v.get("size").is_some_and(Value::is_number)),
        };
        let Some(vector) = vector else {
            let names: Vec<&String> = vectors.as_object().into_iter().flat_map(|map| map.keys()).collect();
            return unfit(
                "its collection has no vector of the name that `vector_name` says",
                format!("there are {names:?}"),
            );
        };
        let index = said.get("payload_schema").and_then(|keys| keys.get(&plan.columns.text));
        Ok(Self {
            length: vector.get("size").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()),
            words: index.and_then(|index| index.get("data_type")).is_some_and(|kind| kind == "text"),
            distance: vector.get("distance").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
    }

    /// Refuses to read the scores of one distance as those of another.
    pub(super) fn measured_by(&self, distance: DistanceConfig) -> Result<(), SourceError> {
        let wanted = match distance {
            DistanceConfig::Cosine => "Cosine",
            DistanceConfig::L2 => "Euclid",
            DistanceConfig::InnerProduct => "Dot",
        };
        if self.distance == wanted {
            return Ok(());
        }
        let detail = format!("the collection has {}, and `distance` says {wanted}", self.distance);
        Err(SourceError::Unfit { reason: "its collection has another distance than `distance` says", detail })
    }
}
