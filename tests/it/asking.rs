//! Questions to the client: by rounds with a signed state in the modern era, on the session's stream in the legacy one, on the pipe
//! over stdio; and tools that run only after a yes.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::message::{initialize, legacy, modern, modern_headers};
use crate::support::process::Process;
use crate::support::{Gateway, Reply, failure, text};

const CONFIG: &str = r#"
sources:
  db: { sql: { url: "sqlite:orders.db", init: orders.sql, read_only: false } }
tools:
  book:
    description: Rehearses a booking.
    params: { city: { type: string } }
    static:
      steps:
        - progress: { progress: 1, total: 2, message: before the first question }
        - ask:
            guest: { form: { message: "Who travels to {city}?", fields: { name: { type: string, minLength: 1 } } } }
        - progress: { progress: 2, total: 2, message: before the second question }
        - ask:
            greeting: { optional: true, sample: { messages: [{ user: "Greet in {city}" }], max_tokens: 9 } }
            places: { optional: true, roots: {} }
      template: "{{ guest.action }} {{ guest.content.name or 'nobody' }} {{ greeting.content.text if greeting else '' }} {{ places.roots | length if places else 'nowhere' }}"
  needy: { description: Needs more., static: { steps: [{ require: { sampling: { tools: {} } } }], text: met } }
  cancel:
    description: Cancels an order.
    params: { id: { type: integer }, why: { type: string, default: none } }
    sql: { source: db, query: "UPDATE orders SET cancelled = cancelled + 1, why = :why WHERE id = :id", write: true }
    confirm: "Cancel order {id} ({why})?"
  count: { description: Counts., sql: { source: db, query: "SELECT cancelled FROM orders WHERE id = 7", row: one } }
prompts:
  letter:
    description: Asks first.
    params: { to: { description: Whom } }
    data:
      tone: { static: { steps: [{ ask: { tone: { form: { message: "Tone for {to}?", fields: { tone: { type: string } } } } } }], template: "{{ tone.content.tone }}" } }
    messages: [{ user: "Write to {{ to }}, {{ tone }}." }]
"#;

async fn gateway() -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    write_orders(&folder);
    Gateway::start_in(folder, CONFIG).await
}

fn write_orders(folder: &TempDir) {
    let sql = "CREATE TABLE orders (id INTEGER, cancelled INTEGER, why TEXT); INSERT INTO orders VALUES (7, 0, '');";
    std::fs::write(folder.path().join("orders.sql"), sql).unwrap();
}

/// One round of a modern request.
async fn round(gateway: &Gateway, method: &str, name: &str, capabilities: Value, more: Value) -> Reply {
    let mut request = modern(method, json!({ "name": name }));
    request["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    for (key, value) in more.as_object().unwrap() {
        request["params"][key] = value.clone();
    }
    gateway.post(&modern_headers(method, Some(name)), request.to_string().as_bytes()).await
}

/// The result of a round that went well.
fn result(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut answer = reply.json();
    assert!(answer.get("error").is_none(), "{answer}");
    answer["result"].take()
}

fn keys(asked: &Value) -> Vec<&str> {
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    asked["inputRequests"].as_object().unwrap().keys().map(String::as_str).collect()
}

fn accepted(content: &Value) -> Value {
    json!({ "action": "accept", "content": content })
}

fn sampled(said: &str) -> Value {
    json!({ "role": "assistant", "content": { "type": "text", "text": said }, "model": "m" })
}

fn form() -> Value {
    json!({ "elicitation": {} })
}

#[tokio::test]
async fn rounds_ask_one_step_after_the_other_and_keep_the_answers() {
    let gateway = gateway().await;
    let able = json!({ "elicitation": { "form": {} }, "sampling": {}, "roots": {} });
    let arguments = json!({ "city": "Graz" });
    let book = |more: Value| {
        let mut all = json!({ "arguments": arguments });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        round(&gateway, "tools/call", "book", able.clone(), all)
    };
    let first = result(&book(json!({})).await);
    assert_eq!(keys(&first), ["guest"]);
    let question = &first["inputRequests"]["guest"];
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["message"], "Who travels to Graz?");
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string", "minLength": 1 } }, "required": ["name"] });
    assert_eq!(question["params"]["requestedSchema"], schema);

    let given = json!({ "guest": accepted(&json!({ "name": "Ada" })), "unknown": 1 });
    let second =
        result(&book(json!({ "inputResponses": given, "requestState": first["requestState"] })).await);
    assert_eq!(keys(&second), ["greeting", "places"]);
    assert_ne!(second["requestState"], first["requestState"]);

    // Half of the answers: the other half is asked for again.
    let half = json!({ "inputResponses": { "greeting": sampled("Servus") }, "requestState": second["requestState"] });
    let third = result(&book(half).await);
    assert_eq!(keys(&third), ["places"]);
    let rest = json!({ "inputResponses": { "places": { "roots": [{ "uri": "file:///a" }] } }, "requestState": third["requestState"] });
    assert_eq!(text(&result(&book(rest).await)), "accept Ada Servus 1");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_again() {
    let gateway = gateway().await;
    let arguments = json!({ "city": "Graz" });
    for wrong in [
        json!(5),
        json!(null),
        json!({}),
        json!({ "action": "perhaps" }),
        accepted(&json!({ "name": "" })),
        accepted(&json!({ "name": 5 })),
        accepted(&json!({})),
    ] {
        let more = json!({ "arguments": arguments, "inputResponses": { "guest": wrong } });
        let asked = result(&round(&gateway, "tools/call", "book", form(), more).await);
        assert_eq!(keys(&asked), ["guest"], "{wrong}");
    }
    for wrong in [json!(5), json!(null), json!([])] {
        let more = json!({ "arguments": arguments, "inputResponses": wrong });
        let asked = result(&round(&gateway, "tools/call", "book", form(), more).await);
        assert_eq!(keys(&asked), ["guest"], "{wrong}");
    }
    let declined = json!({ "arguments": arguments, "inputResponses": { "guest": { "action": "decline" } } });
    assert_eq!(
        text(&result(&round(&gateway, "tools/call", "book", form(), declined).await)),
        "decline nobody  nowhere"
    );
}

#[tokio::test]
async fn a_client_is_asked_only_what_it_declared() {
    let gateway = gateway().await;
    let arguments = json!({ "city": "Graz" });
    for capabilities in [json!({}), json!({ "sampling": {} }), json!({ "elicitation": { "url": {} } })] {
        let reply =
            round(&gateway, "tools/call", "book", capabilities, json!({ "arguments": arguments })).await;
        assert_eq!((reply.status, reply.code()), (400, -32021));
        let data = reply.json()["error"]["data"].take();
        assert_eq!(data, json!({ "requiredCapabilities": { "elicitation": { "form": {} } } }));
    }
    let more =
        json!({ "arguments": arguments, "inputResponses": { "guest": accepted(&json!({ "name": "Ada" })) } });
    let asked =
        result(&round(&gateway, "tools/call", "book", json!({ "elicitation": {}, "roots": {} }), more).await);
    assert_eq!(keys(&asked), ["places"], "sampling was not declared");
    let reply = round(&gateway, "tools/call", "needy", json!({ "sampling": {} }), json!({})).await;
    assert_eq!(
        reply.json()["error"]["data"],
        json!({ "requiredCapabilities": { "sampling": { "tools": {} } } })
    );
    let met = round(&gateway, "tools/call", "needy", json!({ "sampling": { "tools": {} } }), json!({})).await;
    assert_eq!(text(&result(&met)), "met");
}

#[tokio::test]
async fn a_state_of_another_request_is_refused() {
    let gateway = gateway().await;
    let state = |reply: &Reply| reply.json()["result"]["requestState"].as_str().unwrap().to_owned();
    let arguments = json!({ "city": "Graz" });
    let graz = state(&round(&gateway, "tools/call", "book", form(), json!({ "arguments": arguments })).await);
    let letter = json!({ "arguments": { "to": "Ada" } });
    let prompt = state(&round(&gateway, "prompts/get", "letter", form(), letter).await);
    let half = &graz[..graz.len() / 2];
    for wrong in [
        json!(format!("{graz}x")),
        json!(half),
        json!(prompt),
        json!(""),
        json!("a.b"),
        json!(5),
        json!(null),
    ] {
        let more = json!({ "arguments": arguments, "requestState": wrong });
        let reply = round(&gateway, "tools/call", "book", form(), more).await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{wrong}");
    }
    let linz = json!({ "arguments": { "city": "Linz" }, "requestState": graz });
    assert_eq!(round(&gateway, "tools/call", "book", form(), linz).await.code(), -32602);
    let same = json!({ "arguments": arguments, "requestState": graz });
    assert_eq!(keys(&result(&round(&gateway, "tools/call", "book", form(), same).await)), ["guest"]);
}

#[tokio::test]
async fn a_prompt_asks_before_it_is_rendered() {
    let gateway = gateway().await;
    let arguments = json!({ "to": "Ada" });
    let asked =
        result(&round(&gateway, "prompts/get", "letter", form(), json!({ "arguments": arguments })).await);
    assert_eq!(asked["inputRequests"]["tone"]["params"]["message"], "Tone for Ada?");
    let more = json!({ "arguments": arguments, "requestState": asked["requestState"],
        "inputResponses": { "tone": accepted(&json!({ "tone": "kindly" })) } });
    let done = result(&round(&gateway, "prompts/get", "letter", form(), more).await);
    assert_eq!(done["messages"][0]["content"]["text"], "Write to Ada, kindly.");
}

async fn cancelled(gateway: &Gateway) -> i64 {
    gateway.call("count", json!({})).await["structuredContent"]["cancelled"].as_i64().unwrap()
}

#[tokio::test]
async fn a_confirmed_tool_runs_once_for_each_yes_and_never_without() {
    let gateway = gateway().await;
    let arguments = json!({ "id": 7 });
    let cancel = |more: Value| {
        let mut all = json!({ "arguments": arguments });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        round(&gateway, "tools/call", "cancel", form(), all)
    };
    let yes = || accepted(&json!({}));
    let asked = result(&cancel(json!({})).await);
    assert_eq!(keys(&asked), ["confirm"]);
    assert_eq!(asked["inputRequests"]["confirm"]["params"]["message"], "Cancel order 7 (none)?");
    assert_eq!(cancelled(&gateway).await, 0);

    // A yes that nobody was asked for is none.
    assert_eq!(keys(&result(&cancel(json!({ "inputResponses": { "confirm": yes() } })).await)), ["confirm"]);
    // Nor is one to another question.
    let other = json!({ "arguments": { "id": 7, "why": "spite" }, "inputResponses": { "confirm": yes() },
        "requestState": asked["requestState"] });
    assert_eq!(round(&gateway, "tools/call", "cancel", form(), other).await.code(), -32602);
    assert_eq!(cancelled(&gateway).await, 0);

    let answered = json!({ "inputResponses": { "confirm": yes() }, "requestState": asked["requestState"] });
    assert!(result(&cancel(answered.clone()).await).get("isError").is_none());
    assert_eq!(cancelled(&gateway).await, 1);
    // The same yes again is not a second one.
    let again = result(&cancel(answered).await);
    assert_eq!(keys(&again), ["confirm"]);
    assert_eq!(cancelled(&gateway).await, 1);

    for no in ["decline", "cancel"] {
        let asked = result(&cancel(json!({})).await);
        let more = json!({ "inputResponses": { "confirm": { "action": no } }, "requestState": asked["requestState"] });
        let refused = result(&cancel(more).await);
        assert!(failure(&refused).contains("did not confirm"), "{refused}");
    }
    let reply = round(&gateway, "tools/call", "cancel", json!({}), json!({ "arguments": arguments })).await;
    assert_eq!((reply.status, reply.code()), (400, -32021));
    assert_eq!(cancelled(&gateway).await, 1);

    // Wrong arguments are refused before anybody is bothered.
    let wrong = round(&gateway, "tools/call", "cancel", form(), json!({ "arguments": { "id": "x" } })).await;
    assert!(failure(&result(&wrong)).contains("id"));
    let long = json!({ "arguments": { "id": 7, "why": "w".repeat(9000) } });
    let long = result(&round(&gateway, "tools/call", "cancel", form(), long).await);
    assert!(failure(&long).contains("confirm"), "{long}");
}

#[tokio::test]
async fn one_yes_sent_many_times_at_once_runs_once() {
    let gateway = gateway().await;
    let arguments = json!({ "id": 7 });
    let asked =
        result(&round(&gateway, "tools/call", "cancel", form(), json!({ "arguments": arguments })).await);
    let more = json!({ "arguments": arguments, "requestState": asked["requestState"],
        "inputResponses": { "confirm": accepted(&json!({})) } });
    let all = (0..20).map(|_| round(&gateway, "tools/call", "cancel", form(), more.clone()));
    let done = futures_util::future::join_all(all).await;
    let ran = done.iter().filter(|r| r.json()["result"]["resultType"] == "complete").count();
    assert_eq!((ran, cancelled(&gateway).await), (1, 1));
}

#[tokio::test]
async fn a_legacy_client_is_asked_on_the_stream_of_its_call() {
    let gateway = gateway().await;
    let session = gateway.session("2025-11-25", json!({ "elicitation": {}, "sampling": {} })).await;
    let mut call = legacy("tools/call", &json!({ "name": "book", "arguments": { "city": "Graz" } }));
    call["id"] = json!("call");
    let mut stream = gateway.connect().await;
    let head = stream.open_stream("POST", &session, call.to_string().as_bytes()).await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));

    let asked = stream.event().await.unwrap();
    assert_eq!(
        (&asked["method"], &asked["params"]["message"]),
        (&json!("elicitation/create"), &json!("Who travels to Graz?"))
    );
    // An answer without the session, and one to nothing, change nothing.
    let answer =
        json!({ "jsonrpc": "2.0", "id": asked["id"], "result": accepted(&json!({ "name": "Ada" })) });
    let stray = crate::support::message::plain_headers();
    assert_eq!(gateway.post(&stray, answer.to_string().as_bytes()).await.status, 202);
    let nothing = json!({ "jsonrpc": "2.0", "id": "sidegate-999", "result": {} });
    assert_eq!(gateway.post(&session, nothing.to_string().as_bytes()).await.status, 202);
    assert_eq!(gateway.post(&session, answer.to_string().as_bytes()).await.status, 202);

    let asked = stream.event().await.unwrap();
    assert_eq!(asked["method"], "sampling/createMessage", "roots were not declared");
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": sampled("Servus") });
    assert_eq!(gateway.post(&session, answer.to_string().as_bytes()).await.status, 202);
    let done = stream.event().await.unwrap();
    assert_eq!((&done["id"], text(&done["result"])), (&json!("call"), "accept Ada Servus nowhere"));
    assert_eq!(stream.event().await, None);
}

#[tokio::test]
async fn a_legacy_call_that_cannot_ask_says_so_and_does_nothing() {
    let gateway = gateway().await;
    let call = legacy("tools/call", &json!({ "name": "cancel", "arguments": { "id": 7 } })).to_string();
    let without = gateway.post(&crate::support::message::plain_headers(), call.as_bytes()).await;
    assert!(failure(&without.json()["result"]).contains("no way to reach"), "{}", without.text());
    let session = gateway.session("2025-11-25", json!({})).await;
    let undeclared = gateway.post(&session, call.as_bytes()).await;
    assert!(failure(&undeclared.json()["result"]).contains("did not declare"), "{}", undeclared.text());

    let session = gateway.session("2025-06-18", form()).await;
    for (answer, sentence) in [
        (json!({ "error": { "code": -1, "message": "User rejected" } }), "refused"),
        (json!({ "result": { "action": "decline" } }), "did not confirm"),
        (json!({ "result": { "action": 1 } }), "not of the form"),
    ] {
        let mut stream = gateway.connect().await;
        stream.open_stream("POST", &session, call.as_bytes()).await;
        let asked = stream.event().await.unwrap();
        let mut answer = answer;
        answer["jsonrpc"] = json!("2.0");
        answer["id"] = asked["id"].clone();
        gateway.post(&session, answer.to_string().as_bytes()).await;
        let done = stream.event().await.unwrap();
        assert!(failure(&done["result"]).contains(sentence), "{done}");
    }
    assert_eq!(cancelled(&gateway).await, 0);
}

#[tokio::test]
async fn over_stdio_questions_and_answers_share_the_pipe() {
    let folder = tempfile::tempdir().unwrap();
    write_orders(&folder);
    let mut process = Process::stdio(folder.path(), CONFIG);
    let mut hands = initialize("2025-11-25");
    hands["params"]["capabilities"] = form();
    process.say(&hands).await;
    process.message().await;
    let mut call = legacy("tools/call", &json!({ "name": "cancel", "arguments": { "id": 7 } }));
    call["id"] = json!(2);
    process.say(&call).await;
    let asked = process.message().await;
    assert_eq!(
        (&asked["method"], &asked["params"]["message"]),
        (&json!("elicitation/create"), &json!("Cancel order 7 (none)?"))
    );
    // Others are served in the meantime.
    process.say(&legacy("ping", &json!({}))).await;
    assert_eq!(process.message().await["result"], json!({}));
    process.say(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": accepted(&json!({})) })).await;
    let done = process.message().await;
    assert_eq!((&done["id"], &done["result"]["isError"]), (&json!(2), &Value::Null), "{done}");

    // A call that is cancelled takes its question back.
    call["id"] = json!(3);
    process.say(&call).await;
    let asked = process.message().await;
    process
        .say(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 3 } }))
        .await;
    let back = process.message().await;
    assert_eq!(
        (&back["method"], &back["params"]["requestId"]),
        (&json!("notifications/cancelled"), &asked["id"])
    );

    // The same process by rounds, as a modern client has it.
    let mut round = modern("tools/call", json!({ "name": "cancel", "arguments": { "id": 7 } }));
    round["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = form();
    process.say(&round).await;
    let asked = process.message().await;
    round["params"]["requestState"] = asked["result"]["requestState"].clone();
    round["params"]["inputResponses"] = json!({ "confirm": accepted(&json!({})) });
    process.say(&round).await;
    assert_eq!(process.message().await["result"]["resultType"], "complete");
    process.say(&modern("tools/call", json!({ "name": "count" }))).await;
    assert_eq!(process.message().await["result"]["structuredContent"]["cancelled"], 2);
}

/// A gateway with two places for calls, and a client that is asked in two of them.
async fn crowded() -> (Gateway, Vec<(String, String)>, [(crate::support::Connection, Value); 2]) {
    let folder = tempfile::tempdir().unwrap();
    write_orders(&folder);
    let config = format!("server: {{ http: {{ max_concurrent_calls: 2 }} }}\n{CONFIG}");
    let gateway = Gateway::start_in(folder, &config).await;
    let session = gateway.session("2025-11-25", form()).await;
    let mut asked = Vec::new();
    for id in 1..=2 {
        let mut call = legacy("tools/call", &json!({ "name": "cancel", "arguments": { "id": 7 } }));
        call["id"] = json!(id);
        let mut stream = gateway.connect().await;
        stream.open_stream("POST", &session, call.to_string().as_bytes()).await;
        let question = stream.event().await.unwrap();
        asked.push((stream, question));
    }
    (gateway, session, asked.try_into().ok().unwrap())
}

#[tokio::test]
async fn people_who_think_hold_up_nobody() {
    let (gateway, session, [(mut first, question), (mut second, _)]) = crowded().await;
    for _ in 0..5 {
        assert_eq!(cancelled(&gateway).await, 0);
    }
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": accepted(&json!({})) });
    assert_eq!(gateway.post(&session, answer.to_string().as_bytes()).await.status, 202);
    assert!(first.event().await.unwrap()["result"].get("isError").is_none());
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 2 } });
    assert_eq!(gateway.post(&session, cancel.to_string().as_bytes()).await.status, 202);
    assert_eq!(
        second.event().await.unwrap()["method"],
        "notifications/cancelled",
        "the question is taken back"
    );
    assert_eq!(second.event().await, None, "and the call has no answer");
    assert_eq!(cancelled(&gateway).await, 1);
}

#[tokio::test]
async fn a_question_ends_with_its_stream_and_with_its_session() {
    let (gateway, session, [(first, question), (mut second, _)]) = crowded().await;
    drop(first);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let late = json!({ "jsonrpc": "2.0", "id": question["id"], "result": accepted(&json!({})) });
    assert_eq!(gateway.post(&session, late.to_string().as_bytes()).await.status, 202);
    let delete = gateway.connect().await.send("DELETE", "/mcp", &session, b"").await.unwrap();
    assert_eq!(delete.status, 204);
    let done = second.event().await.unwrap();
    assert!(failure(&done["result"]).contains("nothing was done"), "{done}");
    assert_eq!(cancelled(&gateway).await, 0);
}
