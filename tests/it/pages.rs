//! Lists in pages: all of it, in order, in both eras, and cursors that are good for nothing else.

use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::json;

use crate::lists::{ask, entries, result};
use crate::support::Gateway;

/// A gateway with this many tools that differ in their number.
async fn with_tools(count: usize, page: &str) -> Gateway {
    let tools: String = (0..count)
        .map(|n| format!("  t{n}: {{ description: Tool {n}., static: {{ text: x }} }}\n"))
        .collect();
    Gateway::start(&format!("server: {{ lists: {{ ttl: 7s{page} }} }}\ntools:\n{tools}")).await
}

/// The names on each page, following the cursors; in the modern era every page says how long it may be kept.
async fn walk(gateway: &Gateway, modern: bool, method: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut params = json!({});
    loop {
        let page = result(gateway, modern, method, params).await;
        let hints = [&page["ttlMs"], &page["cacheScope"], &page["resultType"]];
        let wanted =
            if modern { [json!(7000), json!("public"), json!("complete")] } else { Default::default() };
        assert_eq!(hints, wanted.each_ref());
        pages.push(entries(&page).iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect());
        match page.get("nextCursor") {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return pages,
        }
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{n}")).collect()
}

#[tokio::test]
async fn many_tools_come_on_pages_of_a_thousand_in_the_written_order() {
    let gateway = with_tools(2500, "").await;
    for modern in [true, false] {
        let pages = walk(&gateway, modern, "tools/list").await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert_eq!(pages.concat(), numbered(2500));
    }
}

#[tokio::test]
async fn the_official_rust_client_reads_all_pages() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let gateway = with_tools(2500, "").await;
    let modern = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    for lifecycle in [ClientLifecycleMode::Initialize, modern] {
        let endpoint = format!("http://{}/mcp", gateway.address);
        let transport = StreamableHttpClientTransport::from_uri(endpoint);
        let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        assert_eq!(tools.iter().map(|t| t.name.to_string()).collect::<Vec<_>>(), numbered(2500));
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_page_may_have_any_size() {
    for size in 1..=7 {
        let gateway = with_tools(15, &format!(", page: {size}")).await;
        for modern in [true, false] {
            let pages = walk(&gateway, modern, "tools/list").await;
            assert_eq!(pages.len(), 15_usize.div_ceil(size), "{size}");
            assert_eq!(pages.concat(), numbered(15), "{size}");
        }
    }
}

const FOUR_LISTS: &str = r#"
server: { lists: { page: 2, ttl: 7s } }
tools:
  a: { description: A., static: { text: x } }
  b: { description: B., static: { text: x } }
  c: { description: C., static: { text: x } }
resources:
  "x://{v}/a": { name: a, static: { text: x } }
  "x://a": { name: a, static: { text: x } }
  "x://{v}/b": { name: b, static: { text: x } }
  "x://b": { name: b, static: { text: x } }
  "x://{v}/c": { name: c, static: { text: x } }
  "x://c": { name: c, static: { text: x } }
prompts:
  a: { messages: [user: x] }
  b: { messages: [user: x] }
  c: { messages: [user: x] }
"#;
const LISTS: [&str; 4] = ["tools/list", "resources/list", "resources/templates/list", "prompts/list"];

#[tokio::test]
async fn every_list_has_pages_and_takes_its_own_cursors_only() {
    let gateway = Gateway::start(FOUR_LISTS).await;
    let changed = Gateway::start(&FOUR_LISTS.replace("description: C.", "description: D.")).await;
    for modern in [true, false] {
        for method in LISTS {
            assert_eq!(walk(&gateway, modern, method).await, [vec!["a", "b"], vec!["c"]], "{method}");
            let cursor = result(&gateway, modern, method, json!({})).await["nextCursor"].take();
            let own = LISTS.map(|other| (&gateway, other, other == method));
            // Only the tools are others there.
            for (server, other, taken) in own.into_iter().chain([(&changed, method, method != "tools/list")])
            {
                let params = json!({ "cursor": cursor });
                let reply = ask(server, modern, other, params).await;
                let code = if taken { 0 } else { -32602 };
                assert_eq!((reply.status, reply.code()), (200, code), "{cursor} of {method} at {other}");
                let why = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
                assert!(taken || why.ends_with("start again without a cursor"), "{why}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_cursor_is_refused_and_none_is_the_first_page() {
    let gateway = Gateway::start(FOUR_LISTS).await;
    for modern in [true, false] {
        for method in LISTS {
            for cursor in
                [json!(""), json!("0"), json!("1"), json!("dG9vbHM6MTow"), json!(1), json!([]), json!({})]
            {
                let params = json!({ "cursor": cursor });
                let reply = ask(&gateway, modern, method, params).await;
                assert_eq!((reply.status, reply.code()), (200, -32602), "{method} {cursor}");
                let why = reply.json()["error"]["message"].as_str().unwrap().to_owned();
                assert!(why.ends_with("start again without a cursor"), "{why}");
            }
            let first = result(&gateway, modern, method, json!({ "cursor": null })).await;
            assert_eq!(first, result(&gateway, modern, method, json!({})).await);
        }
    }
}
