//! The lists: every member of their entries, and what the server says of itself, in both eras.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::message::{initialize, plain_headers};
use crate::support::{Gateway, Reply};

/// A picture of 1x1 and its URI.
const LOGO: &[u8] = include_bytes!("../config/logo.png");

const CONFIG: &str = r#"
server:
  name: shop
  title: Shop
  version: 1.2.3
  description: Orders and products.
  website: https://shop.example
  icons: [{ file: logo.png }, { src: "https://shop.example/logo.svg", mime_type: image/svg+xml, sizes: [any], theme: light }]
  lists: { ttl: 7s }
tools:
  hello:
    title: Hello
    description: Says hello.
    static: { text: hello }
    icons: [{ file: logo.png, sizes: [1x1], theme: dark }]
    meta: { shop.example/owner: { team: [sales, 7] }, b: null, a: 1.5 }
  bare: { description: Says nothing more., static: { text: hello } }
resources:
  "shop://terms":
    name: terms
    title: Terms
    description: The terms.
    mime_type: text/markdown
    static: { text: Größe. }
    annotations: { audience: [user, assistant], priority: 0.5, last_modified: 2026-11-20T09:30:00Z }
    icons: [{ src: "data:image/png;base64,AAAA" }]
    meta: { kind: text }
  "shop://logo": { static: { file: logo.png } }
  "shop://bytes": { static: { blob: aGVsbG8= } }
  "shop://cut": { static: { text: REPEATED }, output: { max_bytes: 256B } }
  "shop://prices": { static: { json: { tea: 3 } } }
  "shop://estimate": { static: { json: { tea: 3 } }, size: 4KiB }
  "shop://items/{id}":
    name: item
    title: Item
    static: { text: item }
    annotations: { audience: [assistant], last_modified: 2026-11-20 }
    icons: [{ src: "https://shop.example/item.png" }]
    meta: { kind: item }
prompts:
  greet:
    title: Greeting
    description: Greets.
    params: { who: { title: Whom, description: Whom to greet }, tone: { optional: true } }
    messages: [{ user: "Greet {{ who }}{% if tone %} {{ tone }}{% endif %}." }]
    icons: [{ src: "https://shop.example/greet.webp", mime_type: image/webp, sizes: [48x48, 96x96] }]
    meta: { kind: greeting }
"#;

async fn gateway() -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logo.png"), LOGO).unwrap();
    Gateway::start_in(folder, &CONFIG.replace("REPEATED", &"x".repeat(300))).await
}

fn logo() -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(LOGO))
}

/// A request in one era.
pub async fn ask(gateway: &Gateway, modern: bool, method: &str, params: Value) -> Reply {
    if modern { gateway.modern(method, params).await } else { gateway.legacy(method, &params).await }
}

/// The result of a request in one era.
pub async fn result(gateway: &Gateway, modern: bool, method: &str, params: Value) -> Value {
    let reply = ask(gateway, modern, method, params).await;
    assert_eq!((reply.status, reply.code()), (200, 0), "{method}: {}", reply.text());
    reply.json()["result"].take()
}

/// The one member of a result that is the list.
pub fn entries(result: &Value) -> &Vec<Value> {
    result.as_object().unwrap().values().find_map(Value::as_array).unwrap()
}

#[tokio::test]
async fn an_entry_has_every_member_that_was_written_in_both_eras() {
    let gateway = gateway().await;
    for modern in [true, false] {
        let tools = result(&gateway, modern, "tools/list", json!({})).await;
        let hello = &tools["tools"][0];
        assert_eq!(hello["title"], "Hello");
        assert_eq!(hello["annotations"]["title"], "Hello", "older clients look there");
        assert_eq!(hello["annotations"]["readOnlyHint"], true);
        let icon = json!({ "src": logo(), "mimeType": "image/png", "sizes": ["1x1"], "theme": "dark" });
        assert_eq!(hello["icons"], json!([icon]));
        let meta = r#"{"shop.example/owner":{"team":["sales",7]},"b":null,"a":1.5}"#;
        assert_eq!(hello["_meta"].to_string(), meta, "in the written order");
        let bare = tools["tools"][1].as_object().unwrap();
        let keys: Vec<&String> = bare.keys().collect();
        assert_eq!(keys, ["name", "description", "inputSchema", "annotations"]);
        assert!(bare["annotations"].get("title").is_none());

        let resources = result(&gateway, modern, "resources/list", json!({})).await;
        let terms = json!({
            "uri": "shop://terms", "name": "terms", "title": "Terms", "description": "The terms.",
            "mimeType": "text/markdown",
            "annotations": { "audience": ["user", "assistant"], "priority": 0.5, "lastModified": "2026-11-20T09:30:00Z" },
            "size": "Größe.".len(),
            "icons": [{ "src": "data:image/png;base64,AAAA" }], "_meta": { "kind": "text" },
        });
        assert_eq!(resources["resources"][0], terms);

        let templates = result(&gateway, modern, "resources/templates/list", json!({})).await;
        let item = json!({
            "uriTemplate": "shop://items/{id}", "name": "item", "title": "Item",
            "annotations": { "audience": ["assistant"], "lastModified": "2026-11-20T00:00:00Z" },
            "icons": [{ "src": "https://shop.example/item.png" }], "_meta": { "kind": "item" },
        });
        assert_eq!(templates["resourceTemplates"], json!([item]));

        let prompts = result(&gateway, modern, "prompts/list", json!({})).await;
        let who = json!({ "name": "who", "title": "Whom", "description": "Whom to greet", "required": true });
        let icon = json!({
            "src": "https://shop.example/greet.webp", "mimeType": "image/webp", "sizes": ["48x48", "96x96"],
        });
        let greet = json!({
            "name": "greet", "title": "Greeting", "description": "Greets.",
            "arguments": [who, { "name": "tone", "required": false }],
            "icons": [icon], "_meta": { "kind": "greeting" },
        });
        assert_eq!(prompts["prompts"], json!([greet]));
    }
}

#[tokio::test]
async fn a_size_is_what_reading_gives() {
    let gateway = gateway().await;
    let resources = result(&gateway, true, "resources/list", json!({})).await;
    let mut sizes = Vec::new();
    for entry in entries(&resources) {
        let uri = entry["uri"].as_str().unwrap();
        let read = result(&gateway, true, "resources/read", json!({ "uri": uri })).await;
        let content = &read["contents"][0];
        let length = match content["text"].as_str() {
            Some(text) => text.len(),
            None => STANDARD.decode(content["blob"].as_str().unwrap()).unwrap().len(),
        };
        let size = entry.get("size").map(|s| usize::try_from(s.as_u64().unwrap()).unwrap());
        if uri != "shop://estimate" {
            assert!(size.is_none_or(|s| s == length), "{uri}: {size:?}, and {length} are read");
        }
        sizes.push((uri.to_owned(), size));
    }
    let known = sizes.iter().filter_map(|(uri, size)| Some((uri.as_str(), (*size)?)));
    let wanted =
        [("shop://terms", 8), ("shop://logo", LOGO.len()), ("shop://bytes", 5), ("shop://estimate", 4096)];
    assert_eq!(known.collect::<Vec<_>>(), wanted, "what is cut or JSON is not measured");
}

#[tokio::test]
async fn the_server_says_what_it_is_and_repeats_its_picture_only_where_it_is_read_once() {
    let gateway = gateway().await;
    let small = json!({
        "src": "https://shop.example/logo.svg", "mimeType": "image/svg+xml", "sizes": ["any"], "theme": "light",
    });
    let whole = json!({
        "name": "shop", "title": "Shop", "version": "1.2.3", "description": "Orders and products.",
        "websiteUrl": "https://shop.example",
        "icons": [{ "src": logo(), "mimeType": "image/png" }, small],
    });
    let reply = gateway.post(&plain_headers(), initialize("2025-11-25").to_string().as_bytes()).await;
    assert_eq!(reply.json()["result"]["serverInfo"], whole);
    let info = async |method: &str, params: Value| {
        let mut result = result(&gateway, true, method, params).await;
        result["_meta"]["io.modelcontextprotocol/serverInfo"].take()
    };
    for method in
        ["server/discover", "tools/list", "resources/list", "resources/templates/list", "prompts/list"]
    {
        assert_eq!(info(method, json!({})).await, whole, "{method}");
    }
    let called = info("tools/call", json!({ "name": "hello", "arguments": {} })).await;
    let mut without_picture = whole.clone();
    without_picture["icons"] = json!([small]);
    assert_eq!(called, without_picture, "no picture goes along with a call");
}
