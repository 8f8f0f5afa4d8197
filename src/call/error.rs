//! Why a call failed: a stable code, a sentence for the caller, and the detail for the log.

use std::time::Duration;

use super::code::Code;
use crate::output::ShapeError;
use crate::params::BadArguments;
use crate::policy::cache::Failed;
use crate::policy::{Denied, Refusal};
use crate::source::{Said, SourceError};
use crate::talk::Unanswered;
use crate::units::Period;

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// What kind of failure.
    pub code: Code,
    /// A sentence for the caller: what was wrong and what would work. No hosts, no SQL, no upstream bodies.
    pub message: String,
    /// For the log only.
    pub detail: String,
    /// What the client has to be asked, or cannot be.
    pub unanswered: Option<Box<Unanswered>>,
    /// When another try can pass.
    pub retry_after: Option<Duration>,
    /// Whether the source itself is ill, and has not merely refused what it was asked.
    pub ill: bool,
}

impl CallError {
    fn new(code: Code, message: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: detail.into(),
            unanswered: None,
            retry_after: None,
            ill: false,
        }
    }

    /// Called too often; the next call passes after `wait`.
    #[must_use]
    pub fn rate_limited(wait: Duration) -> Self {
        let seconds = whole_seconds(wait);
        let plural = if seconds == 1 { "" } else { "s" };
        let message = format!("This was called too often. Try again in {seconds} second{plural}.");
        Self { retry_after: Some(wait), ..Self::new(Code::RateLimited, message, "") }
    }

    /// What happened to the call of somebody else for the same answer.
    #[must_use]
    pub fn shared(failed: Failed) -> Self {
        let code = Code::ALL.into_iter().find(|code| code.as_str() == failed.code);
        let told = Self::new(code.unwrap_or(Code::Internal), failed.message, failed.detail);
        Self { retry_after: failed.retry_after, ill: failed.ill, ..told }
    }

    /// The same, for others who want the same answer.
    #[must_use]
    pub fn share(&self) -> Failed {
        let Self { code, message, detail, retry_after, .. } = self;
        Failed {
            code: code.as_str(),
            message: message.clone(),
            detail: detail.clone(),
            retry_after: *retry_after,
            ill: self.ill,
            late: false,
        }
    }

    /// Nothing found, in the words of the first time.
    #[must_use]
    pub fn not_found(sentence: String) -> Self {
        Self::new(Code::NotFound, sentence, "")
    }

    /// Refused arguments.
    #[must_use]
    pub fn arguments(bad: BadArguments) -> Self {
        Self::new(Code::InvalidArguments, bad.0, "")
    }

    /// Our own fault, with the detail for the log.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        let message =
            "This server failed on its side. Another try will hardly help; tell the person who runs it.";
        Self::new(Code::Internal, message, detail)
    }

    /// A question without an answer.
    #[must_use]
    pub fn unanswered(why: Unanswered) -> Self {
        let (code, message) = match &why {
            Unanswered::Open(_) => (Code::InputRequired, "This call waits for answers."),
            Unanswered::Missing(_) => (Code::CannotAsk, ""),
            Unanswered::Nobody => (
                Code::CannotAsk,
                "This call has to ask the person first, and there is no way to reach them from this client.",
            ),
            Unanswered::Crowded => (
                Code::CannotAsk,
                "This call has to ask the person first, and too many questions are open. Try again in a minute.",
            ),
            Unanswered::Refused => {
                (Code::CannotAsk, "The client refused to pass on a question, so nothing was done.")
            }
            Unanswered::Unfit => {
                (Code::CannotAsk, "The answer is not of the form that was asked for, so nothing was done.")
            }
            Unanswered::Late => (Code::CannotAsk, "Nobody answered in time, so nothing was done."),
        };
        let message = match &why {
            Unanswered::Missing(capabilities) => {
                let names: Vec<&str> =
                    capabilities.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                format!(
                    "This call has to ask first, and this client did not declare `{}`. Use a client that does, or do \
                     it another way.",
                    names.join("`, `")
                )
            }
            _ => message.to_owned(),
        };
        let detail = format!("{why:?}");
        Self { unanswered: Some(Box::new(why)), ..Self::new(code, message, detail) }
    }

    /// The person did not confirm.
    #[must_use]
    pub fn declined() -> Self {
        let message =
            "The person did not confirm this, so nothing was done. Do not try again unless they ask for it.";
        Self::new(Code::Declined, message, "")
    }

    /// A caller who may not use the route.
    #[must_use]
    pub fn denied(denied: &Denied) -> Self {
        match denied {
            Denied::Unknown => Self::new(
                Code::Unauthenticated,
                "This is for callers who prove who they are, with a token or a key.",
                "",
            ),
            Denied::Scopes(scopes) => {
                let message = format!(
                    "This needs the scopes `{}`, and this caller does not have all of them.",
                    scopes.join("`, `")
                );
                Self::new(Code::Forbidden, message, "")
            }
            Denied::Condition => Self::new(
                Code::Forbidden,
                "This caller may not do this, at least not with these arguments. The person who runs this server says who may.",
                "",
            ),
        }
    }

    /// Arguments that cannot be shown to a person as a whole.
    #[must_use]
    pub fn not_confirmable(max: usize) -> Self {
        let message = format!(
            "A person has to confirm this, and with these arguments the question is longer than {max} bytes. Use \
             shorter ones."
        );
        Self::new(Code::InvalidArguments, message, "")
    }

    /// An attempt that was not made; `party` says by whom.
    #[must_use]
    pub fn refused(refusal: Refusal, party: &str) -> Self {
        let (retry_after, why) = match refusal {
            Refusal::Crowded => (None, "is busy: too many calls wait for it already.".to_owned()),
            Refusal::Late(limit) => {
                (None, format!("is busy: no place became free within {}.", Period(round(limit))))
            }
            Refusal::Open(left) => {
                (Some(left), "fails, so it is left alone for now and was not asked.".to_owned())
            }
        };
        let message = format!("{party} {why} {}", come_back(retry_after));
        Self { retry_after, ill: true, ..Self::new(Code::Unavailable, message, format!("{refusal:?}")) }
    }

    /// A failed attempt on the named source. Where it changes something each time that it is made, `again` is false, and what may have been
    /// done is not just tried again.
    #[must_use]
    pub fn source(error: SourceError, source: &str, again: bool) -> Self {
        let ill = error.ill();
        let told = match error {
            SourceError::Embedder(error) => {
                Self::party(*error, &format!("embedder of the source `{source}`"), true)
            }
            SourceError::Tokens(error) => {
                Self::party(*error, &format!("token endpoint of the source `{source}`"), true)
            }
            error => Self::party(error, &format!("source `{source}`"), again),
        };
        Self { ill, ..told }
    }

    /// A failed attempt; `party` says whose failure it is, and `again` whether the same may be tried again whatever came of it.
    fn party(error: SourceError, party: &str, again: bool) -> Self {
        let detail = error.to_string();
        match error {
            SourceError::Argument(sentence) => Self::new(Code::InvalidArguments, sentence, ""),
            SourceError::NotFound => Self::new(
                Code::NotFound,
                "Nothing was found for these arguments. Check them, or look for others.",
                "",
            ),
            SourceError::Lost(_) if !again => {
                let message = format!("The connection to the {party} ended before it answered. {UNSURE}");
                Self::new(Code::Unavailable, message, detail)
            }
            SourceError::Unavailable(_) | SourceError::Lost(_) => {
                let message = format!("The {party} cannot be reached right now. Try again in a moment.");
                Self::new(Code::Unavailable, message, detail)
            }
            SourceError::Busy(limit) => {
                let message = format!(
                    "The {party} is busy: no connection became free within {}. Try again in a moment.",
                    Period(round(limit))
                );
                Self::new(Code::Unavailable, message, detail)
            }
            SourceError::Timeout(limit) => {
                let then = if again { "Try again, or ask for less." } else { UNSURE };
                let message = format!("The {party} gave no answer within {}. {then}", Period(round(limit)));
                Self::new(Code::Timeout, message, detail)
            }
            SourceError::Status { status, .. } => {
                Self::new(Code::UpstreamStatus, status_sentence(status, party, again), detail)
            }
            SourceError::Answered { status, said: Said::Configured(sentence), .. } => {
                // Credentials and quotas are no fault of the arguments, whatever is said about them.
                let code = match status {
                    404 | 410 => Code::NotFound,
                    401 | 403 | 407 | 429 => Code::UpstreamStatus,
                    400..=499 => Code::InvalidArguments,
                    _ => Code::UpstreamStatus,
                };
                Self::new(code, sentence, detail)
            }
            SourceError::Answered { status, said: Said::Upstream(words), .. } => {
                let (code, sentence) = match status {
                    404 | 410 => (Code::NotFound, "Nothing was found for these arguments.".to_owned()),
                    _ => (Code::UpstreamStatus, status_sentence(status, party, again)),
                };
                Self::new(code, format!("{sentence} The source says: \"{words}\""), detail)
            }
            SourceError::BadReply { reason, .. } => {
                let then = if again { String::new() } else { format!(" {UNSURE}") };
                let message = format!("The {party} gave an answer that cannot be used: {reason}.{then}");
                Self::new(Code::UpstreamReply, message, detail)
            }
            SourceError::Unfit { reason, .. } => {
                let message =
                    format!("The {party} cannot be used: {reason}. Tell the person who runs this server.");
                Self::new(Code::Internal, message, detail)
            }
            SourceError::Embedder(error) | SourceError::Tokens(error) => Self::party(*error, party, true),
            SourceError::Later { error, after } => {
                // It did nothing, and says when it would.
                let mut failed = Self::party(*error, party, true);
                let vague = [come_back(None), " Wait before trying again.".to_owned()];
                let told = vague.iter().find_map(|end| failed.message.strip_suffix(end.as_str()));
                let told = told.unwrap_or(&failed.message).trim_end();
                failed.message = format!("{told} {}", come_back(Some(after)));
                failed.retry_after = Some(after);
                failed
            }
            SourceError::TooLarge(max) => {
                let then = if again { "Ask for less." } else { UNSURE };
                let message = format!("The answer of the {party} is larger than {max} bytes. {then}");
                Self::new(Code::TooLarge, message, detail)
            }
            SourceError::Refused(_) => {
                let message = format!("The {party} refused this operation. Check the arguments.");
                Self::new(Code::Refused, message, detail)
            }
            SourceError::Unanswered(why) => Self::unanswered(why),
            SourceError::Internal(_) => {
                let message =
                    format!("The operation on the {party} failed. Tell the person who runs this server.");
                Self::new(Code::Internal, message, detail)
            }
        }
    }

    /// A reply that could not be shaped. Where the operation may have changed something, it is told that this was done.
    #[must_use]
    pub fn shape(error: &ShapeError, reads_only: bool) -> Self {
        let detail = error.to_string();
        let told = |read: &str, changed: &str| if reads_only { read.to_owned() } else { changed.to_owned() };
        match error {
            ShapeError::TooLarge { max } => {
                let message = told(
                    &format!("The result is larger than {max} bytes and cannot be shortened. Ask for less."),
                    &format!(
                        "The operation was done, but its result is larger than {max} bytes and cannot be shortened. Do not \
                         repeat it if it changes something; otherwise ask for less."
                    ),
                );
                Self::new(Code::TooLarge, message, "")
            }
            ShapeError::Spent => {
                let message = told(
                    "The answer was there, but could not be prepared in time. Ask for less.",
                    "The operation was done, but its answer could not be prepared in time. Do not repeat it if it changes \
                     something; otherwise ask for less.",
                );
                Self::new(
                    Code::Timeout,
                    message,
                    "a jq program, or what else is done with the answer, did not end in time",
                )
            }
            ShapeError::Select(_) | ShapeError::Schema(_) => {
                let message = told(
                    "The answer does not have the form this tool expects. Tell the person who runs this server.",
                    "The operation was done, but its answer does not have the form this tool expects. Do not repeat it; tell \
                     the person who runs this server.",
                );
                Self::new(Code::UpstreamReply, message, detail)
            }
        }
    }
}

/// What ends a sentence about what passes.
fn come_back(after: Option<Duration>) -> String {
    match after {
        Some(after) => format!("Try again in {}.", Period::seconds(whole_seconds(after))),
        None => "Try again in a moment.".to_owned(),
    }
}

/// A wait in whole seconds, as `Retry-After` says it: not a moment too early.
#[must_use]
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Whole milliseconds below a second, whole seconds above.
fn round(limit: Duration) -> Duration {
    if limit.as_millis() < 990 {
        Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(0))
    } else {
        Duration::from_secs_f64(limit.as_secs_f64().round())
    }
}

/// What is said where nobody knows whether something was changed.
const UNSURE: &str = "It may have been done all the same: see whether it was before you try again.";

fn status_sentence(status: u16, party: &str, again: bool) -> String {
    match status {
        401 | 403 => format!(
            "The {party} refused this server's own credentials (status {status}). Tell the person who runs it."
        ),
        429 => format!("The {party} takes no more requests for now (status 429). Wait before trying again."),
        400..=499 => {
            format!("The {party} refused the request (status {status}). Check the arguments.")
        }
        200..=299 => {
            format!("The {party} answered with status {status}, which is not expected here.")
        }
        300..=399 => {
            format!("The {party} answered with a redirect (status {status}), which is not followed.")
        }
        _ if again => format!("The {party} failed (status {status}). Try again in a moment."),
        _ => format!("The {party} failed (status {status}). {UNSURE}"),
    }
}
