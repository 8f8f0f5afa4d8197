//! Which failure is a protocol error and which is a result with `isError`: decided here and nowhere else. What the model can
//! act on is a result; what cannot be routed is an error.

use serde_json::{Value, json};

use super::Era;
use crate::call::{CallError, Code, Origin, RequestId, whole_seconds};
use crate::policy::Denied;
use crate::units::milliseconds;

/// A JSON-RPC error with the HTTP status it travels with in the modern era (MCP 2026-07-28, basic/index and
/// transports/streamable-http).
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// JSON-RPC code.
    pub code: i32,
    /// One sentence.
    pub message: String,
    /// Members that the specification asks for.
    pub data: Option<Value>,
    /// HTTP status.
    pub status: u16,
    /// After how many seconds another try can pass.
    pub retry_after: Option<u64>,
}

impl RpcError {
    fn new(code: i32, status: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, status, retry_after: None }
    }

    /// -32700: not JSON.
    pub fn parse(message: impl Into<String>) -> Self {
        Self::new(-32700, 400, message)
    }

    /// -32600: not a request.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(-32600, 400, message)
    }

    /// -32601: a method that is not served.
    #[must_use]
    pub fn unknown_method(method: &str) -> Self {
        let shown: String = method.chars().take(80).filter(|c| !c.is_control()).collect();
        Self::new(-32601, 404, format!("the method `{shown}` is not served here"))
    }

    /// -32603: our own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(-32603, 200, message)
    }

    /// Too much at once. The code is outside JSON-RPC's reserved range (MCP 2026-07-28, basic/index).
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new(1503, 503, message)
    }

    /// Called too often: HTTP 429 with `Retry-After`.
    #[must_use]
    pub fn rate_limited(error: &CallError) -> Self {
        let wait = error.retry_after.unwrap_or_default();
        let beyond = milliseconds(wait).saturating_add(1);
        let seconds = whole_seconds(wait).max(1);
        let data = json!({ "retryAfter": seconds, "retryAfterMs": beyond });
        Self { data: Some(data), retry_after: Some(seconds), ..Self::new(1429, 429, &error.message) }
    }

    /// A caller who may not use what the request names. The codes are outside JSON-RPC's reserved range.
    #[must_use]
    pub fn denied(denied: &Denied) -> Self {
        let error = CallError::denied(denied);
        match denied {
            Denied::Unknown => Self::new(1401, 401, error.message),
            Denied::Scopes(_) | Denied::Condition => Self::new(1403, 403, error.message),
        }
    }

    /// -32602 about the values of a call: HTTP 200.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(-32602, 200, message)
    }

    /// -32602 about the envelope: HTTP 400.
    pub fn envelope(message: impl Into<String>) -> Self {
        Self::new(-32602, 400, message)
    }

    /// -32020: a header is absent, malformed, or differs from the body.
    pub fn header_mismatch(message: impl Into<String>) -> Self {
        Self::new(-32020, 400, message)
    }

    /// -32021: the client did not declare what processing needs.
    #[must_use]
    pub fn missing_capability(required: &Value) -> Self {
        let data = json!({ "requiredCapabilities": required });
        let message = "this request needs capabilities that the client did not declare";
        Self { data: Some(data), ..Self::new(-32021, 400, message) }
    }

    /// -32022: a protocol version that is not spoken.
    #[must_use]
    pub fn unsupported_version(requested: &str) -> Self {
        let requested: String = requested.chars().take(80).collect();
        let data = json!({ "supported": [super::MODERN], "requested": requested });
        Self { data: Some(data), ..Self::new(-32022, 400, "this protocol version is not supported") }
    }

    /// A resource that is not there: -32602 with its URI; -32002 in the legacy era.
    #[must_use]
    pub fn resource_not_found(uri: &str, era: Era) -> Self {
        let code = match era {
            Era::Modern => -32602,
            Era::Legacy => -32002,
        };
        let uri: String = uri.chars().take(2000).collect();
        Self { data: Some(json!({ "uri": uri })), ..Self::new(code, 200, "there is no such resource") }
    }

    /// The same for a caller who may read such resources, with the reason why there is none.
    #[must_use]
    pub fn resource_refused(uri: &str, era: Era, error: &CallError) -> Self {
        Self { message: error.message.clone(), ..Self::resource_not_found(uri, era) }
    }

    /// A failed call where no result can carry it: resources and prompts.
    #[must_use]
    pub fn from_call(error: &CallError, id: RequestId) -> Self {
        let told = match error.code {
            Code::RateLimited => return Self::rate_limited(error),
            Code::InvalidArguments | Code::NotFound => Self::invalid_params(&error.message),
            Code::Unauthenticated => Self::new(1401, 200, &error.message),
            Code::Forbidden => Self::new(1403, 200, &error.message),
            _ => Self::internal(sentence(error, id)),
        };
        Self { data: retry_after(error).map(|seconds| json!({ "retryAfter": seconds })), ..told }
    }
}

/// In how many seconds it is worth trying again, for programs.
#[must_use]
pub(super) fn retry_after(error: &CallError) -> Option<u64> {
    error.retry_after.map(whole_seconds)
}

/// The text of a failed call, naming the id under which the log has the rest.
#[must_use]
pub(super) fn sentence(error: &CallError, id: RequestId) -> String {
    match error.code.origin() {
        Origin::Caller => error.message.clone(),
        Origin::Gateway | Origin::Upstream => format!("{} (request {id})", error.message),
    }
}
