//! The live vector source.

use std::time::Duration;

use super::collection::{Collection, Query};
use super::config::{VectorConfig, VectorOpConfig};
use super::embed::Embedder;
use super::plan::{self, VectorOp, VectorPlan};
use crate::caller::Caller;
use crate::output::Reply;
use crate::params::Arguments;
use crate::source::{Attempt, Begun, CallKey, OpCx, OpenError, SourceCx, SourceError, SourceKind};
use crate::talk::Talk;
use crate::telemetry::span::{About, Onward, text};

/// A live collection with its embedder.
#[derive(Debug)]
pub struct Vector {
    pub(super) plan: VectorPlan,
    pub(super) collection: Collection,
    pub(super) embedder: Embedder,
}

impl SourceKind for Vector {
    type Config = VectorConfig;
    type Plan = VectorPlan;
    type OpConfig = VectorOpConfig;
    type Op = VectorOp;

    fn compile(config: &VectorConfig, cx: &mut SourceCx<'_>) -> Option<VectorPlan> {
        plan::compile(config, cx)
    }

    fn compile_op(
        config: &VectorOpConfig,
        source: Option<&VectorPlan>,
        cx: &mut OpCx<'_>,
    ) -> Option<VectorOp> {
        plan::compile_op(config, source, cx)
    }

    fn open(name: &str, plan: &VectorPlan) -> Result<Self, OpenError> {
        let embedder =
            Embedder::open(&plan.embedder).map_err(|reason| OpenError { name: name.to_owned(), reason })?;
        Ok(Self { plan: plan.clone(), collection: plan.collection.open(name)?, embedder })
    }

    async fn execute(
        &self,
        op: &VectorOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, SourceError> {
        // The future of every call would be as large as this one.
        Box::pin(self.search(op, arguments, attempt)).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.collection.probe(self.plan.embedder.length(), self.plan.distance).await
    }
}

impl Vector {
    /// What a span of a search says.
    pub(in crate::source) fn about(&self) -> About {
        let attributes =
            vec![text("db.system.name", self.collection.system()), text("db.operation.name", "search")];
        About { name: "search".into(), attributes }
    }

    /// Embeds a word and compares it with the collection; gives what makes searches slow.
    ///
    /// # Errors
    /// What would fail every search: an embedder that is down, vectors of different lengths, another distance.
    pub(crate) async fn inspect(&self, limit: Duration) -> Result<Option<String>, SourceError> {
        let vector = self.embedder.embed("length", limit).await?;
        self.collection.probe(Some(vector.len()), self.plan.distance).await?;
        let attempt = Attempt {
            talk: &Talk::silent(),
            caller: &Caller::Local,
            key: &CallKey::default(),
            begun: &Begun::default(),
            onward: &Onward::default(),
            deadline: tokio::time::Instant::now() + limit,
            max_rows: 1,
            max_bytes: 64 << 10,
        };
        let query = Query { limit: 1, checks: &[], ef_search: None, distance: self.plan.distance, attempt };
        self.collection.try_out(&vector, &query).await?;
        self.collection.advice(self.plan.distance, limit).await
    }
}
