//! The contract of a source kind, and what its parts are handed: contexts of compile, limits of a try, errors.

use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::diag::{Diagnostics, Span, Spanned};
use crate::output::Reply;
use crate::params::{Arguments, Scope};
use crate::policy::Health;
use crate::talk::{Talk, Unanswered};
use crate::telemetry::span::Onward;

use super::http::BROKE_OFF;

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
    /// What tells this call from every other.
    pub key: &'a CallKey,
    /// Where an operation says that its source has taken it over.
    pub begun: &'a Begun,
    /// What is passed on of the trace that the call is part of.
    pub onward: &'a Onward,
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

/// Whether the source has taken an operation over and goes on with it by itself. From then on it does not have to be asked all the
/// time, so that its place is free for others, and nothing begins the operation again.
#[derive(Debug, Default)]
pub struct Begun {
    so: AtomicBool,
    told: Notify,
}

impl Begun {
    /// Says so.
    pub fn tell(&self) {
        self.so.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_so(&self) -> bool {
        self.so.load(Ordering::Acquire)
    }

    /// Waits until it is said; for one who waits.
    pub async fn told(&self) {
        self.told.notified().await;
    }
}

/// What tells a call from every other, and is the same in all its tries. It is made when it is first asked for.
#[derive(Debug, Default)]
pub struct CallKey(OnceLock<String>);

impl CallKey {
    /// A random UUID (RFC 9562, version 4).
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get_or_init(|| {
            let mut random = [0; 16];
            if aws_lc_rs::rand::fill(&mut random).is_err() {
                fastrand::fill(&mut random);
            }
            let bits = u128::from_be_bytes(random) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
            let mut text = format!("{bits:032x}");
            for at in [20, 16, 12, 8] {
                text.insert(at, '-');
            }
            text
        })
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
    /// It was reached and may have begun, and the connection ended before there was an answer.
    #[error("unavailable: {0}")]
    Lost(String),
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
    /// A failure that passes, and when by the source's own word.
    #[error("{error}; again after {after:?}")]
    Later {
        /// The failure.
        error: Box<SourceError>,
        /// How long the source wants to be left alone.
        after: Duration,
    },
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
    /// Whether the same may succeed a moment later: what was refused or is wrong in itself never does.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Lost(_) | Self::Timeout(_) => true,
            Self::BadReply { reason, .. } => *reason == BROKE_OFF,
            Self::Status { status, .. } | Self::Answered { status, .. } => {
                matches!(status, 408 | 425 | 429 | 502 | 503 | 504)
            }
            // Nothing was sent to the source itself.
            Self::Later { error, .. } | Self::Tokens(error) => error.passes(),
            // Places and embedders have been waited for and tried again already.
            Self::Busy(_)
            | Self::Embedder(_)
            | Self::Argument(_)
            | Self::NotFound
            | Self::Unfit { .. }
            | Self::TooLarge(_)
            | Self::Refused(_)
            | Self::Unanswered(_)
            | Self::Internal(_) => false,
        }
    }

    /// What it says of the health of the source itself.
    #[must_use]
    pub fn health(&self) -> Health {
        match self {
            Self::Unavailable(_) | Self::Lost(_) | Self::Timeout(_) | Self::BadReply { .. } => Health::Ill,
            Self::Status { status, .. } | Self::Answered { status, .. } if *status >= 500 => Health::Ill,
            Self::Status { .. }
            | Self::Answered { .. }
            | Self::NotFound
            | Self::TooLarge(_)
            | Self::Refused(_) => Health::Well,
            Self::Later { error, .. } => error.health(),
            Self::Busy(_)
            | Self::Embedder(_)
            | Self::Tokens(_)
            | Self::Argument(_)
            | Self::Unfit { .. }
            | Self::Unanswered(_)
            | Self::Internal(_) => Health::Unknown,
        }
    }

    /// Whether it, or what it depends on, is ill or busy, and has not merely refused what it was asked.
    #[must_use]
    pub fn ill(&self) -> bool {
        match self {
            Self::Embedder(error) | Self::Tokens(error) => error.ill(),
            Self::Busy(_) => true,
            error => error.passes() || error.health() == Health::Ill,
        }
    }

    /// The kind of failure in a word, for traces: of one in HTTP its status. That nothing was found is an answer, unless HTTP calls it
    /// a failure.
    #[must_use]
    pub fn kind(&self, status: Option<u16>) -> Option<Cow<'static, str>> {
        let word = match self {
            Self::Later { error, .. } => return error.kind(status),
            Self::NotFound => return status.filter(|s| *s >= 400).map(|s| s.to_string().into()),
            Self::Status { status, .. } | Self::Answered { status, .. } => {
                return Some(status.to_string().into());
            }
            Self::Argument(_) => "invalid_arguments",
            Self::Unavailable(_) | Self::Lost(_) => "unavailable",
            Self::Busy(_) => "busy",
            Self::Timeout(_) => "timeout",
            Self::BadReply { .. } => "bad_reply",
            Self::Unfit { .. } => "unfit",
            Self::Embedder(_) => "embedder",
            Self::Tokens(_) => "token_endpoint",
            Self::TooLarge(_) => "too_large",
            Self::Refused(_) => "refused",
            Self::Unanswered(_) => "unanswered",
            Self::Internal(_) => "internal",
        };
        Some(word.into())
    }

    /// How long the source wants to be left alone, if it says so.
    #[must_use]
    pub const fn after(&self) -> Option<Duration> {
        match self {
            Self::Later { after, .. } => Some(*after),
            _ => None,
        }
    }

    /// The same, and how long the source wants to be left alone.
    #[must_use]
    pub fn later(self, after: Option<Duration>) -> Self {
        match after {
            Some(after) if self.passes() => Self::Later { error: Box::new(self), after },
            _ => self,
        }
    }

    /// What is told where something was begun at the source and goes on there, but this kept its result away: nothing of it is
    /// tried again.
    #[must_use]
    pub fn begun(self) -> Self {
        let body = self.to_string();
        let why = self.reason().map(|why| format!(" ({why})")).unwrap_or_default();
        let sentence = format!(
            "The job was started, but its result could not be read{why}. Do not start it again before you have looked for its \
             result."
        );
        Self::Answered { status: 202, said: Said::Configured(sentence), body }
    }

    /// The failure in a few words that give nothing away.
    fn reason(&self) -> Option<String> {
        match self {
            Self::BadReply { reason, .. } | Self::Unfit { reason, .. } => Some((*reason).to_owned()),
            Self::Status { status, .. } | Self::Answered { status, .. } => Some(format!("status {status}")),
            Self::NotFound => Some("it was not found".to_owned()),
            Self::Timeout(_) => Some("there was no answer in time".to_owned()),
            Self::Unavailable(_) | Self::Lost(_) => Some("the source cannot be reached".to_owned()),
            Self::TooLarge(max) => Some(format!("it is larger than {max} bytes")),
            Self::Later { error, .. } => error.reason(),
            _ => None,
        }
    }

    /// The same failure for each of those who waited for one answer.
    pub(super) fn copy(&self) -> Self {
        match self {
            Self::Unavailable(why) => Self::Unavailable(why.clone()),
            Self::Lost(why) => Self::Lost(why.clone()),
            Self::Argument(sentence) => Self::Argument(sentence.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_call_is_a_random_uuid_that_stays_the_same() {
        let (one, other) = (CallKey::default(), CallKey::default());
        assert_eq!(one.as_str(), one.as_str());
        assert_ne!(one.as_str(), other.as_str());
        for _ in 0..100 {
            let key = CallKey::default();
            let parts: Vec<&str> = key.as_str().split('-').collect();
            assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert!(parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_hexdigit())), "{parts:?}");
            assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{parts:?}");
        }
    }

    #[test]
    fn only_failures_that_pass_are_tried_again() {
        let status = |status| SourceError::Status { status, body: String::new() };
        let again: Vec<u16> = (300..600).filter(|s| status(*s).passes()).collect();
        assert_eq!(again, [408, 425, 429, 502, 503, 504]);
        let reply = |reason| SourceError::BadReply { reason, detail: String::new() };
        assert!(reply(BROKE_OFF).passes() && !reply("JSON that is not valid").passes());
        assert!(SourceError::Unavailable(String::new()).passes());
        assert!(SourceError::Timeout(Duration::ZERO).passes());
        for error in [
            SourceError::NotFound,
            SourceError::Argument(String::new()),
            SourceError::Refused(String::new()),
            SourceError::Internal(String::new()),
            SourceError::TooLarge(1),
            SourceError::Busy(Duration::ZERO),
            SourceError::Embedder(Box::new(SourceError::Unavailable(String::new()))),
        ] {
            assert!(!error.passes(), "{error}");
            assert_eq!(error.later(Some(Duration::ZERO)).after(), None);
        }
    }

    #[test]
    fn a_source_is_ill_by_what_it_did_and_not_by_what_was_asked() {
        let status = |status| SourceError::Status { status, body: String::new() }.health();
        assert!((300..500).all(|s| status(s) == Health::Well));
        assert!((500..600).all(|s| status(s) == Health::Ill));
        let limited = SourceError::Status { status: 429, body: String::new() };
        assert_eq!(limited.later(Some(Duration::ZERO)).health(), Health::Well);
        assert_eq!(SourceError::NotFound.health(), Health::Well);
        assert_eq!(SourceError::Argument(String::new()).health(), Health::Unknown);
        assert_eq!(SourceError::Timeout(Duration::ZERO).health(), Health::Ill);
        assert_eq!(SourceError::Unavailable(String::new()).health(), Health::Ill);
    }
}
