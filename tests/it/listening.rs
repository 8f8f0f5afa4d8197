//! `subscriptions/listen` and news over stdio: acknowledged first, only what was asked for, each with its subscription, a graceful end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::message::{initialize, legacy, modern, modern_headers, modern_with_id};
use crate::support::process::Process;
use crate::support::{Connection, Gateway, LATE};

const CONFIG: &str = r#"
tools:
  change_tools: { description: Announces., static: { steps: [{ announce: tools }], text: told } }
  change_prompts: { description: Announces., static: { steps: [{ announce: prompts }], text: told } }
  touch_a: { description: Announces., static: { steps: [{ announce: "shop://a" }], text: told } }
  touch_b: { description: Announces., static: { steps: [{ announce: "shop://b" }], text: told } }
resources:
  "shop://{name}": { name: shop, description: S., static: { text: s } }
prompts:
  hi: { description: Hi., messages: [{ user: Hi }] }
"#;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

async fn listen(gateway: &Gateway, id: Value, wanted: Value) -> Connection {
    let request = modern_with_id(&id, "subscriptions/listen", json!({ "notifications": wanted }));
    let mut stream = gateway.connect().await;
    let head = stream
        .open_stream("POST", &modern_headers("subscriptions/listen", None), request.to_string().as_bytes())
        .await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    stream
}

fn subscription(message: &Value) -> &Value {
    message
        .pointer("/params/_meta")
        .or(message.pointer("/result/_meta"))
        .map_or(&Value::Null, |m| &m[SUBSCRIPTION])
}

#[tokio::test]
async fn a_stream_begins_with_what_was_accepted_and_tells_nothing_else() {
    let gateway = Gateway::start(CONFIG).await;
    let wanted = json!({ "toolsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": ["shop://a"] });
    let mut stream = listen(&gateway, json!("sub"), wanted).await;
    let mut prompts =
        listen(&gateway, json!(7), json!({ "promptsListChanged": true, "toolsListChanged": false })).await;
    let mut nothing = listen(&gateway, json!(8), json!({})).await;

    let first = stream.event().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    // Nothing announces the list of resources, so it is not accepted.
    let accepted = json!({ "toolsListChanged": true, "resourceSubscriptions": ["shop://a"] });
    assert_eq!((&first["params"]["notifications"], subscription(&first)), (&accepted, &json!("sub")));
    let other = prompts.event().await.unwrap();
    assert_eq!(
        (&other["params"]["notifications"], subscription(&other)),
        (&json!({ "promptsListChanged": true }), &json!(7))
    );
    assert_eq!(nothing.event().await.unwrap()["params"]["notifications"], json!({}));

    for tool in ["touch_b", "change_prompts", "touch_a", "change_tools"] {
        gateway.call(tool, json!({})).await;
    }
    let updated = stream.event().await.unwrap();
    assert_eq!(
        (&updated["method"], &updated["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!("shop://a"))
    );
    assert_eq!(subscription(&updated), &json!("sub"));
    let changed = stream.event().await.unwrap();
    assert_eq!(
        (&changed["method"], subscription(&changed)),
        (&json!("notifications/tools/list_changed"), &json!("sub"))
    );
    assert_eq!(prompts.event().await.unwrap()["method"], "notifications/prompts/list_changed");
    assert!(prompts.no_event(Duration::from_millis(200)).await);
    assert!(nothing.no_event(Duration::from_millis(100)).await);

    // Graceful: the request is answered, then the stream ends.
    gateway.stop().await;
    let end = stream.event().await.unwrap();
    assert_eq!(
        (&end["id"], &end["result"]["resultType"], subscription(&end)),
        (&json!("sub"), &json!("complete"), &json!("sub"))
    );
    assert_eq!(stream.event().await, None);
    assert_eq!(prompts.event().await.unwrap()["id"], 7);
}

#[tokio::test]
async fn what_cannot_be_listened_for_is_refused() {
    let gateway = Gateway::start(CONFIG).await;
    for wrong in
        [json!({}), json!({ "notifications": [] }), json!({ "notifications": { "toolsListChanged": "yes" } })]
    {
        let reply = gateway.modern("subscriptions/listen", wrong).await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{}", reply.text());
    }
    let padded = json!({ "notifications": {}, "padding": "x".repeat(70 << 10) });
    assert_eq!(gateway.modern("subscriptions/listen", padded).await.status, 413);
    let uris: Vec<String> = (0..1001).map(|n| format!("shop://{n}")).collect();
    let many = json!({ "notifications": { "resourceSubscriptions": uris } });
    assert_eq!(gateway.modern("subscriptions/listen", many).await.code(), -32602);
    assert_eq!(gateway.legacy("subscriptions/listen", &json!({ "notifications": {} })).await.code(), -32601);

    let silent = Gateway::start("tools: { hi: { description: H., static: { text: hi } } }").await;
    let reply =
        silent.modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })).await;
    assert_eq!((reply.status, reply.code()), (404, -32601), "nothing there ever changes");
    let capabilities =
        silent.modern("server/discover", json!({})).await.json()["result"]["capabilities"].take();
    assert_eq!(capabilities, json!({ "tools": {} }));
    let capabilities =
        gateway.modern("server/discover", json!({})).await.json()["result"]["capabilities"].take();
    let all = json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true }, "prompts": { "listChanged": true } });
    assert_eq!(capabilities, all);
}

#[tokio::test]
async fn streams_have_a_cap_and_give_their_places_back() {
    let gateway = Gateway::start(CONFIG).await;
    let mut streams = Vec::new();
    for n in 0..1024 {
        streams.push(listen(&gateway, json!(n), json!({ "toolsListChanged": true })).await);
    }
    let refused = gateway.modern("subscriptions/listen", json!({ "notifications": {} })).await;
    assert_eq!((refused.status, refused.code()), (200, -32603), "{}", refused.text());
    // They take no places from calls.
    gateway.call("change_tools", json!({})).await;
    for stream in &mut streams {
        stream.event().await.unwrap();
        assert_eq!(stream.event().await.unwrap()["method"], "notifications/tools/list_changed");
    }
    streams.clear();
    for _ in 0..100 {
        if gateway.modern("subscriptions/listen", json!({ "notifications": [] })).await.code() == -32602 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    drop(listen(&gateway, json!(1), json!({ "toolsListChanged": true })).await);
}

#[tokio::test]
async fn over_stdio_each_era_hears_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::stdio(folder.path(), CONFIG);
    // Modern: only by a request of its own.
    process.say(&modern("tools/call", json!({ "name": "change_tools" }))).await;
    assert_eq!(process.message().await["id"], 1);
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    process.say(&modern_with_id(&json!("sub"), "subscriptions/listen", wanted)).await;
    assert_eq!(process.message().await["method"], "notifications/subscriptions/acknowledged");
    process.say(&modern("tools/call", json!({ "name": "change_tools" }))).await;
    let mut both = [process.message().await, process.message().await];
    both.sort_by_key(|m| m.get("id").is_some());
    assert_eq!(
        (&both[0]["method"], subscription(&both[0])),
        (&json!("notifications/tools/list_changed"), &json!("sub"))
    );
    // Cancelled: nothing more, no answer either.
    process.say(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "sub" } })).await;
    process.say(&modern("tools/call", json!({ "name": "change_tools" }))).await;
    assert_eq!(process.message().await["id"], 1);

    // Legacy: unasked, after the handshake.
    process.say(&initialize("2025-11-25")).await;
    process.message().await;
    process.say(&legacy("tools/call", &json!({ "name": "change_prompts" }))).await;
    let mut both = [process.message().await, process.message().await];
    both.sort_by_key(|m| m.get("id").is_some());
    assert_eq!(
        (&both[0]["method"], subscription(&both[0])),
        (&json!("notifications/prompts/list_changed"), &Value::Null)
    );

    // The end of the input ends what listens, with an answer.
    process
        .say(&modern_with_id(&json!("last"), "subscriptions/listen", json!({ "notifications": {} })))
        .await;
    assert_eq!(process.message().await["method"], "notifications/subscriptions/acknowledged");
    process.close_input();
    let end = process.message().await;
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!("last"), &json!("complete")));
    assert_eq!(process.end(LATE).await.code(), Some(0));
}
