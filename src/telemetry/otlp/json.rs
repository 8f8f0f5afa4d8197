//! Spans as OTLP's JSON (OTLP 1.9, section "JSON Protobuf Encoding"): names in lowerCamelCase, ids in hex, enums as numbers, 64-bit whole
//! numbers as texts.

use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::telemetry::span::{Attribute, Kind, Span, Value};
use crate::telemetry::trace::Point;

/// Says of a parent or a link that it is known whether it is remote (`SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`).
const KNOWN_REMOTE: u32 = 0x100;
/// And that it is (`SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`).
const REMOTE: u32 = 0x200;
/// `STATUS_CODE_ERROR`
const ERROR: u32 = 2;

/// An `ExportTraceServiceRequest`.
pub(super) fn request(
    spans: &[Span],
    (service, version): &(String, String),
) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        resource_spans: [ResourceSpans<'a>; 1],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ResourceSpans<'a> {
        resource: serde_json::Value,
        scope_spans: [ScopeSpans<'a>; 1],
    }
    #[derive(Serialize)]
    struct ScopeSpans<'a> {
        scope: serde_json::Value,
        spans: Vec<Written<'a>>,
    }
    let own = env!("CARGO_PKG_VERSION");
    let attributes: Vec<_> = [
        ("service.name", service.as_str()),
        ("service.version", version),
        ("telemetry.sdk.name", "sidegate"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", own),
    ]
    .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }))
    .into();
    let spans = spans.iter().map(Written).collect();
    let scope_spans = [ScopeSpans { scope: json!({ "name": "sidegate", "version": own }), spans }];
    let resource = json!({ "attributes": attributes });
    serde_json::to_vec(&Request { resource_spans: [ResourceSpans { resource, scope_spans }] })
}

/// How many spans an `ExportTraceServiceResponse` says that it did not take.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let said = answer.pointer("/partialSuccess/rejectedSpans");
    said.and_then(|s| s.as_u64().or_else(|| s.as_str()?.parse().ok())).unwrap_or(0)
}

struct Written<'a>(&'a Span);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Span { at, parent, state, link, kind, about, began, ended, failed } = self.0;
        // What a request comes from is another process; what a try comes from is the request.
        let remote = match (parent, *kind) {
            (Some(_), Kind::Server) => REMOTE,
            _ => 0,
        };
        let mut out = serializer.serialize_struct("Span", 12)?;
        out.serialize_field("traceId", &at.trace.to_string())?;
        out.serialize_field("spanId", &at.span.to_string())?;
        if let Some(parent) = parent {
            out.serialize_field("parentSpanId", &parent.to_string())?;
        }
        if let Some(state) = state {
            out.serialize_field("traceState", &**state)?;
        }
        out.serialize_field("flags", &(u32::from(at.flags) | KNOWN_REMOTE | remote))?;
        out.serialize_field("name", &about.name)?;
        out.serialize_field("kind", &(*kind as u32))?;
        out.serialize_field("startTimeUnixNano", &began.to_string())?;
        out.serialize_field("endTimeUnixNano", &ended.to_string())?;
        out.serialize_field("attributes", &about.attributes.iter().map(Pair).collect::<Vec<_>>())?;
        if let Some(Point { trace, span, flags }) = link {
            let flags = u32::from(*flags) | KNOWN_REMOTE | REMOTE;
            let link = json!({ "traceId": trace.to_string(), "spanId": span.to_string(), "flags": flags });
            out.serialize_field("links", &[link])?;
        }
        if *failed {
            out.serialize_field("status", &json!({ "code": ERROR }))?;
        }
        out.end()
    }
}

struct Pair<'a>(&'a Attribute);

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = self.0;
        let value = match value {
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Number(number) => json!({ "intValue": number.to_string() }),
        };
        let mut out = serializer.serialize_map(Some(2))?;
        out.serialize_entry("key", key)?;
        out.serialize_entry("value", &value)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_did_not_take_is_read_in_both_forms() {
        for (answer, wanted) in [
            ("{}", 0),
            ("", 0),
            ("ok", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":3}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":"-1"}}"#, 0),
        ] {
            assert_eq!(rejected(answer.as_bytes()), wanted, "{answer}");
        }
    }
}
