//! The official Rust SDK as a client of the demo: over HTTP and as a child process, in both eras.

mod news;
mod peer;
mod rehearsal;

use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, ProtocolVersion, ReadResourceRequestParams,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RoleClient, RunningService};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Value, json};

use crate::support::process::{PROGRAM, Process};
use crate::support::text;

/// The running demo, and what it says of itself.
struct Demo {
    process: Process,
    endpoint: String,
    /// The entry for a desktop client.
    snippet: Value,
}

impl Demo {
    async fn start() -> Self {
        let folder = std::env::temp_dir();
        let mut process = Process::start(&folder, &["demo", "--listen", "127.0.0.1:0"]);
        let mut lines = Vec::new();
        while let Some(line) = process.line().await {
            if line.starts_with("Ctrl-C") {
                break;
            }
            lines.push(line);
        }
        let endpoint = lines[0].split_whitespace().last().unwrap().to_owned();
        let from = lines.iter().position(|l| l == "{").unwrap_or_else(|| panic!("no snippet: {lines:?}"));
        let to = lines.iter().rposition(|l| l == "}").unwrap();
        let snippet: Value = serde_json::from_str(&lines[from..=to].join("\n")).unwrap();
        Self { process, endpoint, snippet: snippet["mcpServers"]["shop"].clone() }
    }

    async fn stop(mut self) {
        self.process.signal("TERM");
        assert_eq!(self.process.end(crate::support::LATE).await.code(), Some(0));
    }
}

fn eras() -> [(ClientLifecycleMode, &'static str); 3] {
    let modern = vec![ProtocolVersion::V_2026_07_28];
    [
        (ClientLifecycleMode::Initialize, "2025-11-25"),
        (ClientLifecycleMode::Discover { preferred_versions: modern.clone() }, "2026-07-28"),
        (ClientLifecycleMode::Auto { preferred_versions: modern, legacy_version: None }, "2026-07-28"),
    ]
}

async fn exercise(client: &RunningService<RoleClient, ()>, version: &str) {
    let info = serde_json::to_value(client.peer_info().unwrap()).unwrap();
    assert!(info.to_string().contains(version), "{version}: {info}");

    let tools = client.list_all_tools().await.unwrap();
    let names: Vec<_> = tools.iter().map(|t| t.name.as_ref()).collect();
    assert_eq!(names, ["get_order", "create_note", "open_orders", "search_handbook"]);
    assert!(tools.iter().all(|t| t.description.is_some() && t.annotations.is_some()));
    assert_eq!(client.list_all_resources().await.unwrap().len(), 1);
    assert_eq!(client.list_all_resource_templates().await.unwrap().len(), 1);
    assert_eq!(client.list_all_prompts().await.unwrap().len(), 1);

    let call = async |name: &'static str, arguments: Value| {
        let arguments = arguments.as_object().unwrap().clone();
        let result = client.call_tool(CallToolRequestParams::new(name).with_arguments(arguments)).await;
        serde_json::to_value(result.unwrap()).unwrap()
    };
    let order = call("get_order", json!({ "id": "ORD-1001", "expand": "customer" })).await;
    assert_eq!(order["structuredContent"]["id"], "ORD-1001", "{order}");
    let note = call("create_note", json!({ "id": "ORD-1001", "text": "Call back." })).await;
    assert_ne!(note["isError"], true, "{note}");
    let open = call("open_orders", json!({ "customer": 7, "limit": 2 })).await;
    assert_eq!(open["structuredContent"]["rows"].as_array().unwrap().len(), 2, "{open}");
    assert!(text(&open).starts_with("| id |"), "{open}");
    let found =
        call("search_handbook", json!({ "question": "How long can goods be returned?", "topic": "returns" }))
            .await;
    assert_eq!(found["structuredContent"]["matches"][0]["metadata"]["topic"], "returns", "{found}");

    let wrong = call("get_order", json!({ "id": "1001" })).await;
    assert!(wrong["isError"] == true && text(&wrong).contains("Argument `id`"), "{wrong}");
    let missing = call("get_order", json!({ "id": "ORD-9999" })).await;
    assert!(missing["isError"] == true && text(&missing).contains("Nothing was found"), "{missing}");
    assert!(client.call_tool(CallToolRequestParams::new("nope")).await.is_err());

    for (uri, part) in [("shop://orders/ORD-1001", "ORD-1001"), ("shop://policies/returns", "eturn")] {
        let read = client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        let read = serde_json::to_value(read).unwrap();
        assert!(read["contents"][0]["text"].as_str().unwrap().contains(part), "{read}");
    }
    assert!(client.read_resource(ReadResourceRequestParams::new("shop://orders/ORD-9999")).await.is_err());
    let arguments = json!({ "order": "ORD-1001", "tone": "formal" }).as_object().unwrap().clone();
    let prompt =
        client.get_prompt(GetPromptRequestParams::new("triage").with_arguments(arguments)).await.unwrap();
    let prompt = serde_json::to_value(prompt).unwrap();
    assert_eq!(prompt["messages"].as_array().unwrap().len(), 2, "{prompt}");
    assert!(prompt["messages"][0]["content"]["text"].as_str().unwrap().contains("Order ORD-1001 is shipped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_rust_client_uses_the_demo_over_http() {
    // The SDK's HTTP client brings no TLS of its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let demo = Demo::start().await;
    for (lifecycle, version) in eras() {
        let transport = StreamableHttpClientTransport::from_uri(demo.endpoint.as_str());
        let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
        exercise(&client, version).await;
        client.cancel().await.unwrap();
    }
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_rust_client_uses_the_demo_over_stdio() {
    let demo = Demo::start().await;
    for (lifecycle, version) in eras() {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.env_clear().current_dir(std::env::temp_dir());
        for argument in demo.snippet["args"].as_array().unwrap() {
            command.arg(argument.as_str().unwrap());
        }
        for (name, value) in demo.snippet["env"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        let client =
            ().serve_with_lifecycle(TokioChildProcess::new(command).unwrap(), lifecycle).await.unwrap();
        exercise(&client, version).await;
        client.cancel().await.unwrap();
    }
    demo.stop().await;
}
