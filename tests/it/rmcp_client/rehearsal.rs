//! The official Rust SDK against the configuration that the other clients rehearse with: questions, progress, log lines,
//! cancelling, suggestions and news, over HTTP and as a child process, in both eras.
#![allow(
    deprecated,
    reason = "log levels and subscriptions are deprecated in the newer era, and still served"
)]

use std::path::Path;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CompletionContext, ElicitResult, ElicitationAction, ErrorData,
    GetPromptRequestParams, LoggingLevel, RequestParamsMeta as _, SetLevelRequestParams,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, ServiceError};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::eras;
use super::news::{legacy_news, modern_news, until};
use super::peer::{Peer, Person};
use crate::support::failure;
use crate::support::process::{PROGRAM, Process};

const CONFIG: &str = include_str!("../../clients/rehearsal.yaml");
const INIT: &str = include_str!("../../clients/rehearsal.sql");
const SHELF: &str = "note://shelf/{box}/{title}";
const MODERN: &str = "2026-07-28";

fn accept(content: Value) -> ElicitResult {
    ElicitResult::new(ElicitationAction::Accept).with_content(content)
}

async fn questions(able: &Peer) {
    able.says([accept(json!({ "name": "Ada", "age": 36 }))]);
    let said = able.said("register", json!({ "event": "the fair" })).await;
    assert_eq!(said, r#"the fair: accept {"age": 36, "name": "Ada"}"#);
    let asked = able.take().asked;
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["message"], "Who comes to the fair?");
    assert_eq!(asked[0]["requestedSchema"]["properties"]["age"]["type"], "integer");

    for (action, name) in [(ElicitationAction::Decline, "decline"), (ElicitationAction::Cancel, "cancel")] {
        able.says([ElicitResult::new(action)]);
        let said = able.said("register", json!({ "event": "the fair" })).await;
        assert!(said.starts_with(&format!("the fair: {name} ")), "{said}");
    }

    able.take();
    able.says([accept(json!({ "name": "Ada" })), accept(json!({ "color": "blue" }))]);
    assert_eq!(able.said("ask_twice", json!({})).await, "About Greet somebody., Ada likes blue.");
    assert_eq!(able.take().asked.len(), 3);

    let said = able.said("ask_model", json!({ "question": "whales" })).await;
    assert_eq!(said, "assistant parrot: About whales");
    let asked = &able.take().asked[0];
    assert_eq!((&asked["maxTokens"], &asked["systemPrompt"]), (&json!(50), &json!("Be brief.")), "{asked}");
    assert_eq!(able.said("folders", json!({})).await, "home=file:///home/ada;srv=file:///srv;");
    assert_eq!(able.take().asked, [json!("roots")]);

    able.says([accept(json!({ "topic": "whales" }))]);
    let prompt = able.get_prompt(GetPromptRequestParams::new("brief")).await.unwrap();
    let prompt = serde_json::to_value(prompt).unwrap();
    assert_eq!(prompt["messages"][0]["content"]["text"], "Write a brief about whales.");
}

async fn refusals(unable: &Peer, version: &str) {
    let note = format!("{version} unable");
    for (tool, arguments, capability) in [
        ("register", json!({ "event": "the fair" }), "elicitation"),
        ("ask_model", json!({ "question": "whales" }), "sampling"),
        ("folders", json!({}), "roots"),
        ("add_note", json!({ "text": note }), "elicitation"),
    ] {
        let result = unable.try_call(tool, arguments).await;
        if version == MODERN {
            let Err(ServiceError::McpError(error)) = result else { panic!("{tool}: {result:?}") };
            assert_eq!(error.code.0, -32021, "{tool}: {error:?}");
            assert!(error.data.unwrap()["requiredCapabilities"][capability].is_object(), "{tool}");
        } else {
            let result = result.unwrap();
            assert!(failure(&result).contains("this client did not declare `"), "{tool}: {result}");
        }
    }
    assert_eq!(unable.written(&note).await, 0);
}

async fn confirmations(able: &Peer, unable: &Peer, version: &str) {
    able.take();
    let [yes, no, nothing] = [
        accept(json!({})),
        ElicitResult::new(ElicitationAction::Decline),
        ElicitResult::new(ElicitationAction::Cancel),
    ];
    for (name, answers, written) in [
        ("yes", vec![yes.clone()], 1),
        ("no", vec![no.clone()], 0),
        ("no answer", vec![nothing], 0),
        // A yes is for one run.
        ("yes, no", vec![yes, no], 1),
    ] {
        let note = format!("{version} {name}");
        able.says(answers.clone());
        for answer in answers {
            let result = able.call("add_note", json!({ "text": note })).await;
            assert_eq!(
                result["isError"] == true,
                answer.action != ElicitationAction::Accept,
                "{note}: {result}"
            );
        }
        assert_eq!(able.take().asked[0]["message"], format!("Write the note \"{note}\"?"));
        assert_eq!(unable.written(&note).await, written, "{note}");
    }

    let note = format!("{version} failed");
    able.fails(ErrorData::internal_error("no screen", None));
    let result = able.try_call("add_note", json!({ "text": note })).await;
    if version == MODERN {
        assert!(format!("{:?}", result.unwrap_err()).contains("no screen"));
    } else {
        assert!(failure(&result.unwrap()).contains("refused to pass on"));
    }
    assert_eq!(unable.written(&note).await, 0);
}

async fn talking(able: &Peer, unable: &Peer, version: &str) {
    able.take();
    able.call("press", json!({})).await;
    let wanted = [
        json!([0.0, 3.0, "plates"]),
        json!([1.0, 3.0, "ink"]),
        json!([2.5, 3.0, "paper"]),
        json!([3.0, 3.0, null]),
    ];
    until(|| able.progress().len() >= wanted.len()).await;
    // This client hears each notification in a task of its own, so that their order here is that of its tasks.
    let mut heard = able.take().progress;
    heard.sort_by(|a, b| a[0].as_f64().unwrap().total_cmp(&b[0].as_f64().unwrap()));
    assert_eq!(heard, wanted);

    let mut speak = CallToolRequestParams::new("speak");
    if version == MODERN {
        speak.meta_or_default().set_log_level(LoggingLevel::Warning);
    } else {
        able.set_level(SetLevelRequestParams::new(LoggingLevel::Warning)).await.unwrap();
    }
    able.call_tool(speak).await.unwrap();
    until(|| able.logs().len() >= 2).await;
    let wanted = [json!(["warning", "press", { "paper": "low" }]), json!(["error", null, "jammed"])];
    assert_eq!(able.take().logs, wanted);

    unable.call("speak", json!({})).await;
    sleep(Duration::from_millis(50)).await;
    // Up to 2025-11-25 a server chooses what to send to those who set no level; since then it is nothing.
    let chosen = if version == MODERN { vec![] } else { vec!["info", "warning", "error"] };
    let levels: Vec<Value> = unable.take().logs.into_iter().map(|line| line[0].clone()).collect();
    assert_eq!(levels, chosen);
}

async fn cancelling(able: &Peer, version: &str) {
    assert!(timeout(Duration::from_millis(300), able.call("wait", json!({}))).await.is_err());
    assert_eq!(able.said("hello", json!({})).await, "Hello.");

    let [worked, stopped, next] = ["worked", "stopped", "next"].map(|n| format!("{version} {n}"));
    able.call("work_on_note", json!({ "text": worked, "steps": 10 })).await;
    assert_eq!(able.written(&worked).await, 1);

    let long = able.call("work_on_note", json!({ "text": stopped, "steps": 100_000_000 }));
    assert!(timeout(Duration::from_millis(300), long).await.is_err());
    // The next write would wait for the lock, and give up, if the database still worked.
    able.said("jot_note", json!({ "text": next })).await;
    assert_eq!((able.written(&next).await, able.written(&stopped).await), (1, 0));
}

async fn suggestions(able: &Peer) {
    let tones = able.complete_prompt_simple("greet", "tone", "f").await.unwrap();
    assert_eq!(tones, ["formal", "friendly", "funny"]);
    assert_eq!(
        able.complete_resource_simple(SHELF, "title", "a").await.unwrap(),
        ["alpha", "apple", "atlas"]
    );
    let red = CompletionContext::with_arguments([("box".to_owned(), "red".to_owned())].into());
    let titles = able.complete_resource_argument(SHELF, "title", "a", Some(red)).await.unwrap();
    assert_eq!(titles.values, ["apple"]);
}

async fn rehearse(able: Peer, unable: Peer, servers: usize, version: &str) {
    questions(&able).await;
    refusals(&unable, version).await;
    confirmations(&able, &unable, version).await;
    talking(&able, &unable, version).await;
    cancelling(&able, version).await;
    suggestions(&able).await;
    if version == MODERN {
        modern_news(&able, &unable).await;
    } else {
        legacy_news(&able, &unable, servers).await;
    }
    for peer in [able, unable] {
        peer.0.cancel().await.unwrap();
    }
}

/// A folder with the configuration and no database yet.
fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rehearsal.sql"), INIT).unwrap();
    (folder, CONFIG.replace("${NOTES_DB}", "notes.db"))
}

// The SDK handles every notification in a task of its own; one thread keeps them in order.
#[tokio::test]
async fn the_official_rust_client_rehearses_over_http() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for (lifecycle, version) in eras() {
        let (folder, config) = folder();
        let (mut process, address) = Process::serve(folder.path(), &config).await;
        let connect = async |able| {
            let transport = StreamableHttpClientTransport::from_uri(format!("http://{address}/mcp"));
            Peer(Person::new(able).serve_with_lifecycle(transport, lifecycle.clone()).await.unwrap())
        };
        let (able, unable) = (connect(true).await, connect(false).await);
        rehearse(able, unable, 1, version).await;
        process.signal("TERM");
        assert_eq!(process.end(crate::support::LATE).await.code(), Some(0));
    }
}

#[tokio::test]
async fn the_official_rust_client_rehearses_over_stdio() {
    for (lifecycle, version) in eras() {
        let (folder, config) = folder();
        std::fs::write(folder.path().join("gateway.yaml"), config).unwrap();
        let able = child(folder.path(), true, lifecycle.clone()).await;
        let unable = child(folder.path(), false, lifecycle).await;
        rehearse(able, unable, 2, version).await;
    }
}

async fn child(folder: &Path, able: bool, lifecycle: ClientLifecycleMode) -> Peer {
    let mut command = tokio::process::Command::new(PROGRAM);
    command.arg("stdio").env_clear().current_dir(folder);
    let (transport, _) =
        TokioChildProcess::builder(command).stderr(std::process::Stdio::null()).spawn().unwrap();
    Peer(Person::new(able).serve_with_lifecycle(transport, lifecycle).await.unwrap())
}
