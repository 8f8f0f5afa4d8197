//! The contract of a source kind, and what its parts are handed: contexts of compile, limits of a try, errors.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::diag::{Diagnostics, Span, Spanned};
use crate::output::Reply;
use crate::params::{Arguments, Scope};
use crate::talk::{Talk, Unanswered};

/// What every kind of source provides. Never a trait object: the enums below store the kinds.
pub trait SourceKind: Sized + Send + Sync {
    /// The source as written.
    type Config;
    /// The source after compile: checked, comparable, no I/O.
    type Plan: Clone + PartialEq + Serialize + std::fmt::Debug;
    /// An operation on it as written.
    type OpConfig;
    /// A prepared operation.
    type Op: Clone + PartialEq + Serialize + std::fmt::Debug;

    /// Compiles a source. Pure.
    fn compile(config: &Self::Config, cx: &mut SourceCx<'_>) -> Option<Self::Plan>;

    /// Compiles an operation on a source. Pure. Where the source did not compile, all that can be said without it is said.
    fn compile_op(
        config: &Self::OpConfig,
        source: Option<&Self::Plan>,
        cx: &mut OpCx<'_>,
    ) -> Option<Self::Op>;

    /// Makes the live source. A source that is down opens all the same and heals by itself.
    ///
    /// # Errors
    /// Only what no later moment can heal, such as a TLS stack that does not start.
    fn open(name: &str, plan: &Self::Plan) -> Result<Self, OpenError>;

    /// One try of an operation. The only upstream I/O of a call.
    fn execute(
        &self,
        op: &Self::Op,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> impl Future<Output = Result<Reply, SourceError>> + Send;

    /// Whether the source answers now.
    fn probe(&self) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// Limits of one try.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Where the call says how far it is.
    pub talk: &'a Talk,
    /// Who calls.
    pub caller: &'a Caller,
    /// When the whole call must be over.
    pub deadline: Instant,
    /// How many rows or matches may be read.
    pub max_rows: usize,
    /// About how many bytes of rows may be read.
    pub max_bytes: usize,
}

impl Attempt<'_> {
    /// The time left, shortened to `limit`.
    #[must_use]
    pub fn left(&self, limit: Duration) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(limit)
    }
}

/// What compiling a source needs.
pub struct SourceCx<'a> {
    /// The source's name.
    pub name: &'a Spanned<String>,
    /// The folder that relative paths start from.
    pub base: &'a Path,
    /// Where problems go.
    pub diagnostics: &'a mut Diagnostics,
}

/// What compiling an operation needs.
pub struct OpCx<'a> {
    /// The parameters that placeholders may name.
    pub scope: &'a mut Scope,
    /// The place of the source's definition, for second carets.
    pub source_at: Span,
    /// Where problems go.
    pub diagnostics: &'a mut Diagnostics,
}

/// A live source could not be made.
#[derive(Debug, Error)]
#[error("source `{name}`: {reason}")]
pub struct OpenError {
    /// The source.
    pub name: String,
    /// Why, for the log.
    pub reason: String,
}

/// Why one try failed. The texts in it are for the log; what the caller reads is decided in `call`.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The argument cannot stand in its slot; the sentence is for the caller.
    #[error("{0}")]
    Argument(String),
    /// Nothing there: no row, a 404.
    #[error("nothing found")]
    NotFound,
    /// It cannot be reached or is not ready.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// All its connections are in use, and none became free in this time.
    #[error("no connection became free within {0:?}")]
    Busy(Duration),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It answered with a failure status.
    #[error("status {status}: {body}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The start of the body, for the log.
        body: String,
    },
    /// The same, and there are words about it that the caller may read.
    #[error("status {status}: {body}")]
    Answered {
        /// HTTP status.
        status: u16,
        /// The words.
        said: Said,
        /// The start of the body, for the log.
        body: String,
    },
    /// It answered with something that cannot be used.
    #[error("unusable answer: {reason}: {detail}")]
    BadReply {
        /// What is wrong with it, in words that give nothing away.
        reason: &'static str,
        /// For the log.
        detail: String,
    },
    /// It is not what the configuration takes it for.
    #[error("unfit: {reason}: {detail}")]
    Unfit {
        /// What does not fit, in words that give nothing away.
        reason: &'static str,
        /// For the log.
        detail: String,
    },
    /// Not the source itself but its embedder.
    #[error("embedder: {0}")]
    Embedder(Box<SourceError>),
    /// Not the source itself but the endpoint that gives it tokens.
    #[error("token endpoint: {0}")]
    Tokens(Box<SourceError>),
    /// Its answer is larger than the source may give.
    #[error("answer larger than {0} bytes")]
    TooLarge(usize),
    /// It refused the operation (a constraint, a write on a read-only source).
    #[error("refused: {0}")]
    Refused(String),
    /// The client was asked, or has to be.
    #[error("unanswered: {0:?}")]
    Unanswered(Unanswered),
    /// Our own fault.
    #[error("internal: {0}")]
    Internal(String),
}

impl SourceError {
    /// The same failure for each of those who waited for one answer.
    pub(super) fn copy(&self) -> Self {
        match self {
            Self::Unavailable(why) => Self::Unavailable(why.clone()),
            Self::Timeout(limit) => Self::Timeout(*limit),
            Self::Status { status, body } => Self::Status { status: *status, body: body.clone() },
            Self::BadReply { reason, detail } => Self::BadReply { reason, detail: detail.clone() },
            Self::Unfit { reason, detail } => Self::Unfit { reason, detail: detail.clone() },
            Self::TooLarge(max) => Self::TooLarge(*max),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// Words about a failure that the caller may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The sentence of the configuration.
    Configured(String),
    /// The upstream's own: one short line without control characters or double quotes.
    Upstream(String),
}

impl From<Unanswered> for SourceError {
    fn from(why: Unanswered) -> Self {
        Self::Unanswered(why)
    }
}
