//! Who hears at a reload that a list has changed: those for whom there is another one, whatever their role and their way to listen, and
//! nobody else. The real program, and real edits of its file.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::message::{headers, initialize, modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::{Connection, until};

type Headers = Vec<(String, String)>;

/// How long somebody who hears nothing is listened to.
const SILENCE: Duration = Duration::from_millis(150);

/// Tools, prompts and resources for everybody, for those with `orders` and for those with `stock`.
fn config() -> String {
    let mut text = "
auth:
  api_keys:
    - { name: ada, key: key-of-ada, scopes: [orders] }
    - { name: bob, key: key-of-bob, scopes: [stock] }
tools:
  all: { description: All., static: { text: all } }
  orders: { description: Orders., static: { text: o }, policy: { auth: { scopes: [orders] } } }
  stock: { description: Stock., static: { text: s }, policy: { auth: { when: \"'stock' in caller.scopes\" } } }
prompts:
  orders: { description: Orders., messages: [{ user: Hi }], policy: { auth: { scopes: [orders] } } }
resources:
"
    .to_owned();
    for scope in ["orders", "stock"] {
        let rule = format!("policy: {{ auth: {{ scopes: [{scope}] }} }}");
        let one = format!("name: {scope}, description: One., static: {{ text: {scope} }}, {rule}");
        text += &format!("  'shop://{scope}': {{ {one} }}\n  'shop://{scope}/{{id}}': {{ {one} }}\n");
    }
    text
}

fn proof(key: &str) -> Headers {
    headers(&[("Authorization", &format!("Bearer {key}"))])
}

async fn listen(address: SocketAddr, proof: &Headers) -> Connection {
    let all = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
    let request = modern("subscriptions/listen", json!({ "notifications": all })).to_string();
    let mut stream = Connection::open(address).await.unwrap();
    let head = [modern_headers("subscriptions/listen", None), proof.clone()].concat();
    assert_eq!(stream.open_stream("POST", &head, request.as_bytes()).await.status, 200);
    assert_eq!(stream.event().await.unwrap()["params"]["notifications"], all);
    stream
}

/// The headers of a new session.
async fn session(address: SocketAddr, proof: &Headers) -> Headers {
    let mut all = [plain_headers(), proof.clone()].concat();
    let opening = initialize("2025-11-25").to_string();
    let mut connection = Connection::open(address).await.unwrap();
    let reply = connection.send("POST", "/mcp", &all, opening.as_bytes()).await.unwrap();
    let id = reply.header("mcp-session-id").unwrap();
    all.extend(headers(&[("Mcp-Session-Id", id), ("MCP-Protocol-Version", "2025-11-25")]));
    all
}

async fn news_of(address: SocketAddr, session: &Headers) -> Connection {
    let mut stream = Connection::open(address).await.unwrap();
    assert_eq!(stream.open_stream("GET", session, b"").await.status, 200);
    stream
}

/// A running program whose file is edited.
struct Edited {
    folder: tempfile::TempDir,
    process: Process,
    generation: u32,
}

impl Edited {
    async fn serve(text: &str) -> (Self, SocketAddr) {
        let folder = tempfile::tempdir().unwrap();
        let (process, address) = Process::serve(folder.path(), text).await;
        (Self { folder, process, generation: 1 }, address)
    }

    /// Writes another text, and waits until it is in use.
    async fn edit(&mut self, text: &str) {
        std::fs::write(self.folder.path().join("gateway.yaml"), text).unwrap();
        self.generation += 1;
        let said = format!("reloaded, generation {}", self.generation);
        until("the edit is in use", async || self.process.log().contains(&said)).await;
    }
}

fn lists(event: &Value) -> &str {
    let method = event["method"].as_str().unwrap_or_else(|| panic!("no news: {event}"));
    method.strip_prefix("notifications/").and_then(|m| m.strip_suffix("/list_changed")).unwrap_or(method)
}

#[tokio::test]
async fn each_role_hears_of_the_lists_that_it_sees_change_and_of_no_other() {
    let (mut gateway, address) = Edited::serve(&config()).await;
    let mut open = Vec::new();
    for name in ["ada", "bob"] {
        let proof = proof(&format!("key-of-{name}"));
        let session = session(address, &proof).await;
        open.push((name, "listens", listen(address, &proof).await));
        open.push((name, "has a session", news_of(address, &session).await));
    }
    type Told<'a> = &'a [&'a str];
    let steps: [(&str, &str, Told<'_>, Told<'_>); 8] = [
        ("description: Orders., static", "description: Orders of all., static", &["tools"], &[]),
        ("description: Stock.", "description: Stock of all.", &[], &["tools"]),
        ("description: All.", "description: For all.", &["tools"], &["tools"]),
        ("description: Orders., messages", "description: Ask., messages", &["prompts"], &[]),
        // What a call does is not what a list says.
        ("text: all", "text: everything", &[], &[]),
        // A template belongs to the list of resources for those who hear.
        ("name: stock, description: One.", "name: stock, description: Two.", &[], &["resources"]),
        // The rules stay, and somebody comes under them who did not.
        (
            "key: key-of-bob, scopes: [stock]",
            "key: key-of-bob, scopes: [stock, orders]",
            &[],
            &["tools", "resources", "prompts"],
        ),
        // The list stays, and a rule goes.
        (", policy: { auth: { when: \"'stock' in caller.scopes\" } }", "", &["tools"], &[]),
    ];
    let mut text = config();
    for (old, new, ada, bob) in steps {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
        gateway.edit(&text).await;
        for (name, how, stream) in &mut open {
            let wanted = if *name == "ada" { ada } else { bob };
            for list in wanted {
                let event = stream.event().await.unwrap_or_else(|| panic!("{name} {how}: {new}"));
                assert_eq!(lists(&event), *list, "{name} {how}: {new}");
            }
            assert!(stream.no_event(SILENCE).await, "{name} {how}: {new}");
        }
    }
}

#[tokio::test]
async fn a_session_hears_what_it_missed_between_two_streams_if_it_can_see_it() {
    let (mut gateway, address) = Edited::serve(&config()).await;
    let sessions =
        [session(address, &proof("key-of-ada")).await, session(address, &proof("key-of-bob")).await];
    for session in &sessions {
        assert!(news_of(address, session).await.no_event(SILENCE).await, "nothing has changed");
    }
    gateway.edit(&config().replace("description: Orders.", "description: Others.")).await;
    let mut ada = news_of(address, &sessions[0]).await;
    assert_eq!(lists(&ada.event().await.unwrap()), "tools");
    assert_eq!(lists(&ada.event().await.unwrap()), "prompts");
    assert!(ada.no_event(SILENCE).await);
    assert!(news_of(address, &sessions[1]).await.no_event(SILENCE).await, "bob sees what he saw");
    drop(ada);
    assert!(news_of(address, &sessions[0]).await.no_event(SILENCE).await, "told once");
}

#[tokio::test]
async fn over_stdio_what_is_hidden_there_is_no_news_and_what_is_seen_is_told_in_both_eras() {
    let text = "
tools:
  seen: { description: Seen., static: { text: a } }
  hidden: { description: Hidden., static: { text: b }, policy: { auth: { when: \"caller.sub == 'ada'\" } } }
";
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::stdio(folder.path(), text);
    process
        .say(&modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })))
        .await;
    assert_eq!(process.message().await["method"], "notifications/subscriptions/acknowledged");
    process.say(&initialize("2025-11-25")).await;
    assert!(process.message().await["result"].is_object());
    let edit = |text: &str| std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    let text = text.replace("Hidden.", "Other.");
    edit(&text);
    until("the edit is in use", async || process.log().contains("reloaded, generation 2")).await;
    assert!(process.is_silent(SILENCE).await, "what nobody sees here has changed");
    edit(&text.replace("Seen.", "Other."));
    let mut told = [process.message().await, process.message().await];
    told.sort_by_key(|message| message["params"].get("_meta").is_some());
    assert_eq!(told.each_ref().map(lists), ["tools", "tools"]);
    let subscriptions = told.each_ref().map(|message| message.pointer("/params/_meta").is_some());
    assert_eq!(subscriptions, [false, true]);
    assert!(process.is_silent(SILENCE).await);
}
