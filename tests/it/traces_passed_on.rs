//! Where requests come from, by W3C Trace Context: continued from headers and from `_meta` in both eras, passed on to REST sources, and
//! ignored where it is not of its form.

use serde_json::{Value, json};

use crate::support::collector::{Link, Span};
use crate::support::message::{headers, legacy, modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::{Collector, Gateway, Upstream};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

/// What no `traceparent` is, as a header can carry it.
const GARBAGE: [&str; 17] = [
    "",
    "garbage",
    "00",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
    "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
];

fn config(url: &str, telemetry: &Value) -> String {
    json!({
        "server": { "telemetry": telemetry },
        "sources": { "api": { "rest": { "base_url": url } } },
        "tools": {
            "get": { "description": "D.", "rest": { "source": "api", "get": "/" } },
            "own": { "description": "D.", "rest": { "source": "api", "get": "/", "headers": { "Traceparent": OTHER } } },
        },
    })
    .to_string()
}

async fn start() -> (Gateway, Upstream, Collector) {
    let (upstream, collector) = (Upstream::recorder().await, Collector::start().await);
    let gateway = Gateway::start(&config(&upstream.url(), &json!({ "otlp": collector.url() }))).await;
    (gateway, upstream, collector)
}

#[derive(Clone, Copy, Debug)]
enum Era {
    Modern,
    Legacy,
}

/// Calls a tool with headers and members of `_meta`.
async fn call(gateway: &Gateway, era: Era, tool: &str, sent: &[(&str, &str)], meta: &[(&str, Value)]) {
    let params = json!({ "name": tool });
    let (mut list, mut body) = match era {
        Era::Modern => (modern_headers("tools/call", Some(tool)), modern("tools/call", params)),
        Era::Legacy => (plain_headers(), legacy("tools/call", &params)),
    };
    list.extend(headers(sent));
    for (name, value) in meta {
        body["params"]["_meta"][*name] = value.clone();
    }
    let reply = gateway.post(&list, body.to_string().as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("\"content\""), "{}", reply.text());
}

/// The spans of one call, and what the upstream was told.
async fn traced(
    gateway: &Gateway,
    upstream: &Upstream,
    collector: &Collector,
) -> (Span, Span, Option<String>, Option<String>) {
    let spans = collector.spans(gateway).await;
    let [call, attempt] = &spans[..] else { panic!("{spans:#?}") };
    let sent = upstream.take().remove(0);
    (call.clone(), attempt.clone(), sent.header("traceparent"), sent.header("tracestate"))
}

#[tokio::test]
async fn a_trace_goes_on_from_the_headers_and_from_meta_in_both_eras() {
    let (gateway, upstream, collector) = start().await;
    let members = [("traceparent", json!(SAMPLED)), ("tracestate", json!(STATE))];
    let sent = [("traceparent", SAMPLED), ("tracestate", STATE)];
    for era in [Era::Modern, Era::Legacy] {
        for (sent, members) in [(&sent[..], &[][..]), (&[], &members)] {
            call(&gateway, era, "get", sent, members).await;
            let (request, attempt, parent, state) = traced(&gateway, &upstream, &collector).await;
            assert_eq!((request.trace.as_str(), request.parent.as_deref()), (TRACE, Some(PARENT)), "{era:?}");
            // The parent is another process, and that is known.
            assert_eq!((request.flags, attempt.flags), (0x301, 0x101));
            assert_eq!((&attempt.trace, attempt.parent.as_ref()), (&request.trace, Some(&request.id)));
            assert_eq!(parent, Some(format!("00-{TRACE}-{}-01", attempt.id)));
            assert_eq!(state.as_deref(), Some(STATE));
            assert_eq!((request.state.as_deref(), attempt.state.as_deref()), (Some(STATE), Some(STATE)));
            assert!(request.links.is_empty());
        }
    }
}

#[tokio::test]
async fn meta_wins_over_the_headers_and_the_trace_of_these_is_linked() {
    let (gateway, upstream, collector) = start().await;
    let sent = [("traceparent", OTHER), ("tracestate", "theirs=1")];
    call(&gateway, Era::Modern, "get", &sent, &[("traceparent", json!(SAMPLED))]).await;
    let (request, _, parent, state) = traced(&gateway, &upstream, &collector).await;
    assert_eq!((request.trace.as_str(), state), (TRACE, None));
    assert!(parent.unwrap().contains(TRACE));
    let (trace_id, span_id) = ("0af7651916cd43dd8448eb211c80319c".to_owned(), "b7ad6b7169203331".to_owned());
    assert_eq!(request.links, [Link { trace_id, span_id, flags: 0x301 }]);
    // The same in both places is one.
    call(&gateway, Era::Modern, "get", &[("traceparent", SAMPLED)], &[("traceparent", json!(SAMPLED))]).await;
    assert!(traced(&gateway, &upstream, &collector).await.0.links.is_empty());
    // What is none does not stand in the way of the header.
    call(&gateway, Era::Modern, "get", &[("traceparent", OTHER)], &[("traceparent", json!(7))]).await;
    assert_eq!(traced(&gateway, &upstream, &collector).await.0.parent.as_deref(), Some("b7ad6b7169203331"));
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_passed_on_and_not_recorded() {
    let (gateway, upstream, collector) = start().await;
    for era in [Era::Modern, Era::Legacy] {
        call(&gateway, era, "get", &[("traceparent", UNSAMPLED)], &[]).await;
        assert!(collector.spans(&gateway).await.is_empty());
        let parent = upstream.take().remove(0).header("traceparent").unwrap();
        assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"), "{parent}");
    }
    assert_eq!(gateway.live.load().metrics.spans_exported.get(), 0);
    // Of those that begin here none is recorded either, if none is wanted; those of others still are.
    let otlp = json!({ "otlp": { "endpoint": collector.url(), "sample": 0 } });
    let gateway = Gateway::start(&config(&upstream.url(), &otlp)).await;
    call(&gateway, Era::Modern, "get", &[], &[]).await;
    assert!(collector.spans(&gateway).await.is_empty());
    assert!(upstream.take().remove(0).header("traceparent").unwrap().ends_with("-00"));
    call(&gateway, Era::Modern, "get", &[("traceparent", SAMPLED)], &[]).await;
    assert_eq!(collector.spans(&gateway).await.len(), 2);
}

#[tokio::test]
async fn what_is_no_traceparent_is_ignored_and_another_trace_begins() {
    let (gateway, upstream, collector) = start().await;
    let plain = Gateway::start(&config(&upstream.url(), &json!({}))).await;
    for bad in GARBAGE {
        for (sent, members) in [(&[("traceparent", bad)][..], &[][..]), (&[], &[("traceparent", json!(bad))])]
        {
            call(&gateway, Era::Modern, "get", sent, members).await;
            let (request, ..) = traced(&gateway, &upstream, &collector).await;
            assert!(request.parent.is_none() && request.trace != TRACE, "{bad:?}");
            call(&plain, Era::Modern, "get", sent, members).await;
            assert_eq!(upstream.take().remove(0).header("traceparent"), None, "{bad:?}");
        }
    }
    for bad in
        [json!(null), json!(1), json!({}), json!([SAMPLED]), json!("\u{0}"), json!(SAMPLED.repeat(1000))]
    {
        call(&gateway, Era::Legacy, "get", &[], &[("traceparent", bad.clone())]).await;
        assert!(traced(&gateway, &upstream, &collector).await.0.parent.is_none(), "{bad}");
    }
    // Twice is none; a bad state leaves its trace as it is.
    call(&gateway, Era::Modern, "get", &[("traceparent", SAMPLED), ("traceparent", SAMPLED)], &[]).await;
    assert!(traced(&gateway, &upstream, &collector).await.0.parent.is_none());
    call(&gateway, Era::Modern, "get", &[("traceparent", SAMPLED), ("tracestate", "A=1")], &[]).await;
    let (request, _, _, state) = traced(&gateway, &upstream, &collector).await;
    assert_eq!((request.trace.as_str(), state), (TRACE, None));
    // A state may come in several headers.
    let two = [("traceparent", SAMPLED), ("tracestate", "a=1"), ("tracestate", "b=2")];
    call(&gateway, Era::Modern, "get", &two, &[]).await;
    assert_eq!(traced(&gateway, &upstream, &collector).await.3.as_deref(), Some("a=1,b=2"));
}

#[tokio::test]
async fn without_a_collector_a_trace_is_passed_on_as_it_came() {
    let upstream = Upstream::recorder().await;
    let gateway = Gateway::start(&config(&upstream.url(), &json!({}))).await;
    for parent in [SAMPLED, UNSAMPLED] {
        call(&gateway, Era::Modern, "get", &[("traceparent", parent), ("tracestate", STATE)], &[]).await;
        let sent = upstream.take().remove(0);
        assert_eq!(
            (sent.header("traceparent").as_deref(), sent.header("tracestate").as_deref()),
            (Some(parent), Some(STATE))
        );
    }
    call(&gateway, Era::Legacy, "get", &[], &[("traceparent", json!(OTHER))]).await;
    assert_eq!(upstream.take().remove(0).header("traceparent").as_deref(), Some(OTHER));
    call(&gateway, Era::Modern, "get", &[], &[]).await;
    assert_eq!(upstream.take().remove(0).header("traceparent"), None);
}

#[tokio::test]
async fn a_header_that_the_route_sets_itself_wins() {
    let (gateway, upstream, collector) = start().await;
    call(&gateway, Era::Modern, "own", &[("traceparent", SAMPLED), ("tracestate", STATE)], &[]).await;
    let sent = upstream.take().remove(0);
    assert_eq!(sent.all("traceparent"), [OTHER.as_bytes()]);
    assert_eq!(sent.header("tracestate"), None, "it belongs to the other one");
    assert_eq!(collector.spans(&gateway).await.len(), 2);
}

#[tokio::test]
async fn over_stdio_a_trace_comes_in_meta_and_is_sent_before_the_end() {
    let (upstream, collector) = (Upstream::recorder().await, Collector::start().await);
    let folder = tempfile::tempdir().unwrap();
    let yaml = config(&upstream.url(), &json!({ "otlp": collector.url() }));
    let mut process = Process::stdio(folder.path(), &yaml);
    let mut request = modern("tools/call", json!({ "name": "get" }));
    request["params"]["_meta"]["traceparent"] = json!(SAMPLED);
    process.say(&request).await;
    assert!(process.message().await["result"].is_object());
    process.close_input();
    assert!(process.end(std::time::Duration::from_secs(10)).await.success());
    let spans = crate::support::collector::read(&collector.0.take());
    let request = spans.iter().find(|s| s.server).unwrap();
    assert_eq!((spans.len(), request.trace.as_str(), request.parent.as_deref()), (2, TRACE, Some(PARENT)));
    assert_eq!(
        (request.get("network.transport"), request.get("network.protocol.name")),
        (Some("pipe"), None)
    );
    let parent = upstream.take().remove(0).header("traceparent").unwrap();
    assert!(parent.contains(TRACE));
}
