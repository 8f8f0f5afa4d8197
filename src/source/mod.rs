//! Sources and what they execute. The kinds are closed enums over one contract, [`SourceKind`]; a new kind is a folder
//! here and one line in each match of this file.

mod contract;
mod database;
pub mod fixed;
mod http;
mod mask;
mod mysql;
mod plain;
mod postgres;
mod public;
pub mod rest;
pub mod sql;
mod sqlite;
pub mod vector;

pub use contract::{Attempt, Begun, CallKey, OpCx, OpenError, Said, SourceCx, SourceError, SourceKind};
pub use database::{Class, Column, Described, Fit, ParamType, Undescribed, Wrong};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::caller::CallerField;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::output::Reply;
use crate::params::{Arguments, Scope};
use crate::policy::{Guard, GuardPlan, Unrepeatable};
use crate::talk::Change;
use crate::telemetry::span::About;
use crate::units::Period;
use crate::yaml::Entries;

use fixed::{Fixed, FixedConfig};
use rest::{Rest, RestConfig, RestOp, RestOpConfig, RestPlan};
pub use sql::SqlOp;
use sql::{Sql, SqlConfig, SqlOpConfig, SqlPlan};
use vector::{Vector, VectorConfig, VectorOp, VectorOpConfig, VectorPlan};

/// A configured connection of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Source")]
pub struct SourceConfig {
    /// An HTTP API.
    pub rest: Option<RestConfig>,
    /// A database.
    pub sql: Option<SqlConfig>,
    /// A collection for vector search.
    pub vector: Option<VectorConfig>,
}

/// The operation of a route as written: exactly one of the kinds.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpConfigs<'a> {
    /// A request.
    pub rest: Option<&'a RestOpConfig>,
    /// A statement.
    pub sql: Option<&'a SqlOpConfig>,
    /// A search.
    pub vector: Option<&'a VectorOpConfig>,
    /// Content of its own.
    pub fixed: Option<&'a FixedConfig>,
}

/// A compiled source.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there is one for a source, and it is seldom moved")]
pub enum SourcePlan {
    /// An HTTP API.
    Rest(RestPlan),
    /// A database.
    Sql(SqlPlan),
    /// A collection.
    Vector(VectorPlan),
}

/// A compiled operation, with the name of its source.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OpPlan {
    /// A request.
    Rest(String, Arc<RestOp>),
    /// A statement.
    Sql(String, Arc<SqlOp>),
    /// A search.
    Vector(String, Arc<VectorOp>),
    /// Content of its own.
    Fixed(Arc<Fixed>),
}

/// A live source.
#[derive(Clone, Debug)]
pub enum Source {
    /// An HTTP API.
    Rest(Arc<Rest>),
    /// A database.
    Sql(Arc<Sql>),
    /// A collection.
    Vector(Arc<Vector>),
}

/// An operation bound to its live source: what an attempt executes.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A request.
    Rest(Arc<Rest>, Arc<RestOp>),
    /// A statement.
    Sql(Arc<Sql>, Arc<SqlOp>),
    /// A search.
    Vector(Arc<Vector>, Arc<VectorOp>),
    /// Content of its own.
    Fixed(Arc<Fixed>),
}

/// Says that exactly one kind is wanted where none or several were written.
fn one_kind(what: &str, at: Span, written: &[&str], kinds: &str) -> Diagnostic {
    let message = match written {
        [] => format!("{what} has no kind"),
        _ => format!("{what} has more than one kind: `{}`", written.join("`, `")),
    };
    Diagnostic::error("one-kind", message).absence().at(at, "").help(format!("give exactly one of {kinds}"))
}

/// Compiles a source of any kind.
pub fn compile(
    name: &Spanned<String>,
    config: &SourceConfig,
    base: &Path,
    diagnostics: &mut Diagnostics,
) -> Option<SourcePlan> {
    let mut cx = SourceCx { name, base, diagnostics };
    match (&config.rest, &config.sql, &config.vector) {
        (Some(c), None, None) => Rest::compile(c, &mut cx).map(SourcePlan::Rest),
        (None, Some(c), None) => Sql::compile(c, &mut cx).map(SourcePlan::Sql),
        (None, None, Some(c)) => Vector::compile(c, &mut cx).map(SourcePlan::Vector),
        (rest, sql, vector) => {
            let written = [
                rest.is_some().then_some("rest"),
                sql.is_some().then_some("sql"),
                vector.is_some().then_some("vector"),
            ];
            let written: Vec<&str> = written.into_iter().flatten().collect();
            let what = format!("source `{}`", name.value);
            diagnostics.push(one_kind(&what, name.span, &written, "`rest`, `sql`, `vector`"));
            None
        }
    }
}

/// The sources that operations may name: their plans if they compiled, and where they are defined.
pub type SourcePlans = Entries<Option<SourcePlan>>;

/// The source of an operation: where it is defined, and its plan. An operation whose source is wrong is read all the same, so that
/// what is wrong in itself is said too.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceOf<'a> {
    at: Span,
    plan: Option<&'a SourcePlan>,
}

impl<'a> SourceOf<'a> {
    /// Finds the source that an operation names.
    pub fn find(configs: OpConfigs<'_>, sources: &'a SourcePlans, diagnostics: &mut Diagnostics) -> Self {
        match (configs.rest, configs.sql, configs.vector, configs.fixed) {
            (Some(op), None, None, None) => find(&op.source, "rest", sources, diagnostics),
            (None, Some(op), None, None) => find(&op.source, "sql", sources, diagnostics),
            (None, None, Some(op), None) => find(&op.source, "vector", sources, diagnostics),
            _ => Self::default(),
        }
    }
}

/// Compiles an operation of any kind. `owner_at` is the place of the route's name.
pub fn compile_op(
    configs: OpConfigs<'_>,
    owner_at: Span,
    source: SourceOf<'_>,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<OpPlan> {
    let SourceOf { at, plan } = source;
    match (configs.rest, configs.sql, configs.vector, configs.fixed) {
        (Some(op), None, None, None) => {
            let plan = plan.and_then(|p| if let SourcePlan::Rest(p) = p { Some(p) } else { None });
            let mut cx = OpCx { scope, source_at: at, diagnostics };
            Some(OpPlan::Rest(op.source.value.clone(), Arc::new(Rest::compile_op(op, plan, &mut cx)?)))
        }
        (None, Some(op), None, None) => {
            let plan = plan.and_then(|p| if let SourcePlan::Sql(p) = p { Some(p) } else { None });
            let mut found = Diagnostics::default();
            let mut cx = OpCx { scope, source_at: at, diagnostics: &mut found };
            let compiled = Sql::compile_op(op, plan, &mut cx);
            // Without its source nobody knows in which dialect a statement is that cannot be read.
            if plan.is_some() || !found.has("bad-sql") {
                diagnostics.append(found);
            }
            Some(OpPlan::Sql(op.source.value.clone(), Arc::new(compiled?)))
        }
        (None, None, Some(op), None) => {
            let plan = plan.and_then(|p| if let SourcePlan::Vector(p) = p { Some(p) } else { None });
            let mut cx = OpCx { scope, source_at: at, diagnostics };
            Some(OpPlan::Vector(op.source.value.clone(), Arc::new(Vector::compile_op(op, plan, &mut cx)?)))
        }
        (None, None, None, Some(op)) => {
            Fixed::compile(op, owner_at, scope, diagnostics).map(|fixed| OpPlan::Fixed(Arc::new(fixed)))
        }
        (rest, sql, vector, fixed) => {
            let written = [
                rest.is_some().then_some("rest"),
                sql.is_some().then_some("sql"),
                vector.is_some().then_some("vector"),
                fixed.is_some().then_some("static"),
            ];
            let written: Vec<&str> = written.into_iter().flatten().collect();
            let kinds = "`rest`, `sql`, `vector`, `static`";
            diagnostics.push(one_kind(&scope.owner, owner_at, &written, kinds));
            None
        }
    }
}

/// Finds a source by name and checks its kind. A source that did not compile was complained about already, and one that is wrong has
/// no plan.
fn find<'a>(
    name: &Spanned<String>,
    kind: &str,
    sources: &'a SourcePlans,
    diagnostics: &mut Diagnostics,
) -> SourceOf<'a> {
    let Some((defined, plan)) = sources.iter().find(|(n, _)| n.value == name.value) else {
        let help = crate::name::did_you_mean(&name.value, sources.names(), "sources");
        let message = format!("there is no source `{}`", name.value);
        diagnostics.push(Diagnostic::error("unknown-source", message).absence().at(name.span, "").help(help));
        return SourceOf { at: name.span, plan: None };
    };
    let Some(plan) = plan else { return SourceOf { at: defined.span, plan: None } };
    if plan.kind() != kind {
        let message =
            format!("`{}` is a {} source, but a `{kind}` operation names it", name.value, plan.kind());
        let of_kind = sources.iter().filter(|(_, p)| p.as_ref().is_some_and(|p| p.kind() == kind));
        let names: Vec<&str> = of_kind.map(|(n, _)| n.value.as_str()).collect();
        let problem = Diagnostic::error("wrong-kind", message)
            .at(name.span, format!("used for `{kind}` here"))
            .at(defined.span, "defined here");
        let help = (!names.is_empty()).then(|| format!("`{kind}` sources: `{}`", names.join("`, `")));
        diagnostics.push(problem.maybe_help(help));
        return SourceOf { at: defined.span, plan: None };
    }
    SourceOf { at: defined.span, plan: Some(plan) }
}

impl SourcePlan {
    /// The kind's key in the configuration.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Rest(_) => "rest",
            Self::Sql(_) => "sql",
            Self::Vector(_) => "vector",
        }
    }

    /// What of the caller every operation on it uses, whatever its parameters are: parts of its identity.
    #[must_use]
    pub fn identity(&self) -> Vec<CallerField> {
        match self {
            Self::Sql(plan) => plan.session_fields().cloned().collect(),
            Self::Rest(_) | Self::Vector(_) => Vec::new(),
        }
    }

    /// Whether it is asked with credentials of the caller's own.
    #[must_use]
    pub fn acts_for_caller(&self) -> bool {
        match self {
            Self::Rest(plan) => plan.acts_for_caller(),
            Self::Sql(_) | Self::Vector(_) => false,
        }
    }

    /// What guards the live source.
    #[must_use]
    pub fn guard(&self, name: &str) -> Guard {
        match self {
            Self::Rest(plan) => plan.guard(name),
            // Their pools say how much they get at the same time, and notice by themselves when a server is away.
            Self::Sql(_) | Self::Vector(_) => Guard::new(name, &GuardPlan::default(), Period::seconds(0)),
        }
    }

    /// Makes the live source.
    ///
    /// # Errors
    /// As [`SourceKind::open`].
    pub fn open(&self, name: &str) -> Result<Source, OpenError> {
        Ok(match self {
            Self::Rest(plan) => Source::Rest(Arc::new(Rest::open(name, plan)?)),
            Self::Sql(plan) => Source::Sql(Arc::new(Sql::open(name, plan)?)),
            Self::Vector(plan) => Source::Vector(Arc::new(Vector::open(name, plan)?)),
        })
    }
}

impl OpPlan {
    /// The source's name, if it has one.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Rest(name, _) | Self::Sql(name, _) | Self::Vector(name, _) => Some(name),
            Self::Fixed(_) => None,
        }
    }

    /// Whether the operation only reads, as far as its kind can tell (GET, a statement on a read-only connection).
    #[must_use]
    pub fn reads_only(&self) -> bool {
        match self {
            Self::Rest(_, op) => op.reads_only(),
            Self::Sql(_, op) => !op.writes(),
            Self::Vector(..) | Self::Fixed(_) => true,
        }
    }

    /// Whether what it gives never has any content.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Rest(_, op) if op.is_silent())
    }

    /// Whether a second run changes nothing more.
    #[must_use]
    pub fn idempotent(&self) -> bool {
        match self {
            Self::Rest(_, op) => op.idempotent(),
            _ => self.reads_only(),
        }
    }

    /// Why one call must not run it twice; `None` if it may.
    #[must_use]
    pub fn unrepeatable(&self) -> Option<Unrepeatable> {
        let (why, help) = match self {
            Self::Rest(_, op) if op.polls() => {
                ("the job would be started twice", "remove it; looking at the job is tried again by itself")
            }
            Self::Rest(_, op) if !op.repeatable() => (
                "a POST or PATCH that is sent twice may do its work twice",
                "remove it; or, if the API knows keys for that, name their header in the request: `idempotency_key: Idempotency-Key`",
            ),
            Self::Sql(_, op) if op.writes() => {
                ("a statement that writes may do its work twice", "remove it; only reads are tried again")
            }
            Self::Fixed(_) => ("static content never fails for the moment", "remove it"),
            Self::Rest(..) | Self::Sql(..) | Self::Vector(..) => return None,
        };
        Some(Unrepeatable { why, help })
    }

    /// Whether it reaches beyond what this gateway holds itself.
    #[must_use]
    pub const fn open_world(&self) -> bool {
        matches!(self, Self::Rest(..))
    }

    /// Whether it says something of its own while it runs.
    #[must_use]
    pub fn talks(&self) -> bool {
        matches!(self, Self::Fixed(fixed) if fixed.talks())
    }

    /// Whether it asks the client something.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(self, Self::Fixed(fixed) if fixed.asks())
    }

    /// How long it may take besides the time of a call.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Rest(_, op) => op.patience(),
            _ => Duration::ZERO,
        }
    }

    /// Whether it writes log lines to the client.
    #[must_use]
    pub fn logs(&self) -> bool {
        matches!(self, Self::Fixed(fixed) if fixed.logs())
    }

    /// What it tells every client that listens.
    pub fn announces(&self) -> impl Iterator<Item = &Change> {
        let fixed = if let Self::Fixed(fixed) = self { Some(fixed) } else { None };
        fixed.into_iter().flat_map(|fixed| fixed.announces())
    }

    /// The names of the questions it asks.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        let fixed = if let Self::Fixed(fixed) = self { Some(fixed) } else { None };
        fixed.into_iter().flat_map(|fixed| fixed.questions())
    }

    /// The JSON Schema of what it gives, where the kind knows it.
    #[must_use]
    pub fn output_schema(&self) -> Option<Value> {
        match self {
            Self::Sql(_, op) => op.output_schema(),
            Self::Vector(_, op) => Some(op.output_schema()),
            Self::Rest(..) | Self::Fixed(_) => None,
        }
    }

    /// Binds the operation to its live source; `None` if the source is of another kind (compile refuses that).
    #[must_use]
    pub fn bind(&self, source: Option<&Source>) -> Option<Backend> {
        match (self, source) {
            (Self::Rest(_, op), Some(Source::Rest(s))) => Some(Backend::Rest(s.clone(), op.clone())),
            (Self::Sql(_, op), Some(Source::Sql(s))) => Some(Backend::Sql(s.clone(), op.clone())),
            (Self::Vector(_, op), Some(Source::Vector(s))) => Some(Backend::Vector(s.clone(), op.clone())),
            (Self::Fixed(fixed), None) => Some(Backend::Fixed(fixed.clone())),
            _ => None,
        }
    }
}

impl Source {
    /// Whether the source answers now.
    ///
    /// # Errors
    /// Why not, for the log.
    pub async fn probe(&self) -> Result<(), SourceError> {
        match self {
            Self::Rest(source) => source.probe().await,
            Self::Sql(source) => source.probe().await,
            Self::Vector(source) => source.probe().await,
        }
    }

    /// The connections of its pool, if it has one of its own: open, and idle ones among them.
    #[must_use]
    pub fn connections(&self) -> Option<(u32, u32)> {
        match self {
            Self::Sql(source) => Some(source.connections()),
            Self::Rest(_) | Self::Vector(_) => None,
        }
    }
}

impl Backend {
    /// One try of the operation.
    ///
    /// # Errors
    /// [`SourceError`] as described there.
    pub async fn execute(&self, arguments: &Arguments, attempt: Attempt<'_>) -> Result<Reply, SourceError> {
        match self {
            // Apart, so that a call carries only what its own kind needs.
            Self::Rest(source, op) => Box::pin(source.execute(op, arguments, attempt)).await,
            Self::Sql(source, op) => Box::pin(source.execute(op, arguments, attempt)).await,
            Self::Vector(source, op) => Box::pin(source.execute(op, arguments, attempt)).await,
            Self::Fixed(fixed) => fixed.run(arguments, attempt.talk, attempt.deadline).await,
        }
    }

    /// What a span of a try says; nothing where nobody else is asked.
    #[must_use]
    pub fn about(&self) -> Option<About> {
        match self {
            Self::Rest(source, op) => Some(source.about(op)),
            Self::Sql(source, op) => Some(source.about(op)),
            Self::Vector(source, _) => Some(source.about()),
            Self::Fixed(_) => None,
        }
    }

    /// The attribute that counts the tries before this one.
    #[must_use]
    pub const fn resent(&self) -> &'static str {
        match self {
            Self::Rest(..) => "http.request.resend_count",
            Self::Sql(..) | Self::Vector(..) | Self::Fixed(_) => "sidegate.resend_count",
        }
    }
}

/// A limit with its default. None would be no limit but a source that gives up before it begins.
fn limit<T: Copy>(
    written: Option<Spanned<T>>,
    default: T,
    is_zero: impl FnOnce(T) -> bool,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> T {
    if let Some(zero) = written.filter(|w| is_zero(w.value)) {
        let message = format!("`{key}` is zero: nothing could ever succeed");
        diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
    }
    written.map_or(default, |w| w.value)
}

/// [`limit`] for a length of time.
fn time_limit(
    written: Option<Spanned<Period>>,
    seconds: u64,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Period {
    limit(written, Period::seconds(seconds), |p| p.0.is_zero(), key, diagnostics)
}

/// A path from the configuration, from the folder of its file if it is relative.
fn resolve(base: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { base.join(path) }
}
