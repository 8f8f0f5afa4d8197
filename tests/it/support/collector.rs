//! A collector of traces on loopback that reads OTLP's JSON as the protocol defines it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sidegate::app;

use super::upstream::{Seen, Step, json};
use super::{Gateway, Upstream};

/// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest` in its JSON mapping, as far as it is used here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    trace_state: Option<String>,
    flags: u32,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<KeyValue>,
    #[serde(default)]
    links: Vec<Link>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    key: String,
    value: AnyValue,
}

/// Exactly one of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum AnyValue {
    StringValue(String),
    /// A 64-bit number is a text in JSON.
    IntValue(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Link {
    pub trace_id: String,
    pub span_id: String,
    pub flags: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    code: u8,
}

/// A span, checked.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    pub state: Option<String>,
    pub flags: u32,
    pub name: String,
    /// Of a request, not of a try.
    pub server: bool,
    pub attributes: BTreeMap<String, String>,
    pub links: Vec<Link>,
    pub failed: bool,
}

impl Span {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

fn is_id(text: &str, digits: usize) -> bool {
    let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    text.len() == digits && hex && text.bytes().any(|b| b != b'0')
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for KeyValue { key, value } in pairs {
        let value = match value {
            AnyValue::StringValue(text) => text,
            AnyValue::IntValue(number) => number.parse::<i64>().unwrap().to_string(),
        };
        assert!(all.insert(key.clone(), value).is_none(), "`{key}` twice");
    }
    all
}

fn span(written: Written) -> Span {
    let Written { trace_id: trace, span_id: id, parent_span_id: parent, name, kind, .. } = written;
    assert!(is_id(&trace, 32) && is_id(&id, 16) && parent.iter().all(|p| is_id(p, 16)), "{trace} {id}");
    assert!(matches!(kind, 2 | 3) && !name.is_empty());
    let time = |text: &str| text.parse::<u64>().unwrap();
    let (began, ended) = (time(&written.start_time_unix_nano), time(&written.end_time_unix_nano));
    let year = 365 * 86400 * 1_000_000_000;
    assert!(began <= ended && began > 50 * year && ended - began < year, "{began} to {ended}");
    let status = written.status.map(|s| s.code);
    assert!(matches!(status, None | Some(2)));
    Span {
        trace,
        id,
        parent,
        state: written.trace_state,
        flags: written.flags,
        name,
        server: kind == 2,
        attributes: attributes(written.attributes),
        links: written.links,
        failed: status.is_some(),
    }
}

/// The spans of what was sent, and that its sender says who it is.
pub fn read(sent: &[Seen]) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in sent {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.header("content-type").as_deref(), Some("application/json"));
        let body: Request = serde_json::from_slice(&request.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&request.body)));
        for of in body.resource_spans {
            let resource = attributes(of.resource.attributes);
            let keys: Vec<&str> = resource.keys().map(String::as_str).collect();
            let sdk = ["telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"];
            assert_eq!(keys, [&["service.name", "service.version"], &sdk[..]].concat());
            for scope in of.scope_spans {
                let version = env!("CARGO_PKG_VERSION");
                assert_eq!((scope.scope.name.as_str(), scope.scope.version.as_str()), ("sidegate", version));
                assert!(!scope.spans.is_empty() && scope.spans.len() <= 512, "{} spans", scope.spans.len());
                spans.extend(scope.spans.into_iter().map(span));
            }
        }
    }
    let ids: BTreeSet<&str> = spans.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "an id twice");
    spans
}

/// A collector that takes everything.
pub struct Collector(pub Upstream);

impl Collector {
    pub async fn start() -> Self {
        Self(Upstream::start(|_| json("{}")).await)
    }

    /// One that answers what a script says.
    pub async fn scripted(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self(Upstream::start(script).await)
    }

    pub fn url(&self) -> String {
        self.0.url()
    }

    /// The spans that came since the last time, those of requests first.
    pub async fn spans(&self, gateway: &Gateway) -> Vec<Span> {
        app::flush(&gateway.live).await;
        let mut spans = read(&self.0.take());
        spans.sort_by_key(|span| !span.server);
        spans
    }
}
