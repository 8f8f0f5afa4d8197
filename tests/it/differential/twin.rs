//! The gateway's twin: the same surface served by the official Rust SDK.
#![allow(deprecated, reason = "log lines are deprecated by the specification, and still part of it")]

use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rmcp::ServerHandler;
use rmcp::handler::server::tool::parse_json_object;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
    CompleteResult, CompletionInfo, ContentBlock, DiscoverResult, ErrorData, GetPromptRequestParams,
    GetPromptResponse, Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, LoggingLevel, LoggingMessageNotificationParam, PaginatedRequestParams,
    ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    Reference, ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::net::TcpListener;

use super::surface::{Greeting, Order, Routed, Tone, of, tools};

#[derive(Clone)]
struct Twin;

/// The SDK's server with both eras and legacy sessions, on a free port; it ends with the test's runtime.
pub async fn start() -> SocketAddr {
    let local = ["http://localhost:*", "https://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];
    let config = StreamableHttpServerConfig::default().with_json_response(true).with_allowed_origins(local);
    let sessions = LocalSessionManager::default().into();
    let service = StreamableHttpService::new(|| Ok(Twin), sessions, config);
    let service = TowerToHyperService::new(service);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// Every list is one page, so no cursor is right.
fn one_page(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|r| r.cursor) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params("no such cursor", None)),
    }
}

type Context = RequestContext<RoleServer>;

fn is_modern(cx: &Context) -> bool {
    cx.protocol_version().is_some_and(|v| v.as_str() >= "2026-07-28")
}

/// What the gateway says by default of how long a list may be kept; the legacy era has no such members.
fn hints(cx: &Context) -> (Option<u64>, Option<CacheScope>) {
    if is_modern(cx) { (Some(30_000), Some(CacheScope::Public)) } else { (None, None) }
}

impl ServerHandler for Twin {
    fn get_info(&self) -> ServerConfig {
        let mut info: ServerConfig = of(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {
                "tools": { "listChanged": true },
                "resources": { "listChanged": true, "subscribe": true },
                "prompts": { "listChanged": true },
                "completions": {},
                "logging": {},
            },
            "serverInfo": { "name": "differ", "version": "0.1.0" },
            "instructions": "Try it.",
        }));
        info.server_info = Implementation::new("differ", "0.1.0");
        info
    }

    async fn discover(&self, cx: Context) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let mut found = DiscoverResult::from_server_info(versions, self.get_info());
        (found.ttl_ms, found.cache_scope) = (30_000, CacheScope::Public);
        let _ = cx;
        Ok(found)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools().into_iter().find(|t| t.name == name)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        one_page(request)?;
        let mut list = ListToolsResult::with_all_items(tools());
        (list.ttl_ms, list.cache_scope) = hints(&cx);
        Ok(list)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let said = |text: &str| CallToolResult::success(vec![ContentBlock::text(text)]);
        let result = match request.name.as_ref() {
            "say" => said("hello"),
            "fail" => CallToolResult::error(vec![ContentBlock::text("It failed.")]),
            "picture" => CallToolResult::success(vec![ContentBlock::image("iVBORw0KGgo=", "image/png")]),
            "facts" => CallToolResult::structured(json!({ "count": 3, "names": ["a", "b"] })),
            "order" => parse_json_object::<Order>(arguments).map(|_| said("ordered"))?,
            "route" => parse_json_object::<Routed>(arguments).map(|_| said("routed"))?,
            "work" => {
                work(&cx).await;
                said("done")
            }
            // It has no stream to tell: no request of the comparison listens while another calls.
            "change" => said("changed"),
            _ => return Err(ErrorData::invalid_params("tool not found", None)),
        };
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        one_page(request)?;
        let mut list = ListResourcesResult::with_all_items(of(json!([
            { "uri": "test://text", "name": "text", "description": "A text.", "mimeType": "text/plain", "size": 3 },
            { "uri": "test://blob", "name": "blob", "description": "A dot.", "mimeType": "image/png", "size": 8 },
        ])));
        (list.ttl_ms, list.cache_scope) = hints(&cx);
        Ok(list)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        one_page(request)?;
        let mut list = ListResourceTemplatesResult::with_all_items(of(json!([
            { "uriTemplate": "test://items/{id}", "name": "item", "description": "An item.", "mimeType": "text/plain" },
        ])));
        (list.ttl_ms, list.cache_scope) = hints(&cx);
        Ok(list)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        cx: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let item = uri.strip_prefix("test://items/");
        let content = match uri {
            "test://text" => json!({ "uri": uri, "mimeType": "text/plain", "text": "one" }),
            "test://blob" => json!({ "uri": uri, "mimeType": "image/png", "blob": "iVBORw0KGgo=" }),
            _ if item.is_some_and(|i| !i.is_empty() && i.bytes().all(|b| b.is_ascii_digit())) => {
                json!({ "uri": uri, "mimeType": "text/plain", "text": "item" })
            }
            _ => {
                return Err(ErrorData::resource_not_found("no such resource", Some(json!({ "uri": uri }))));
            }
        };
        let mut read: ReadResourceResult = of(json!({ "resultType": "complete", "contents": [content] }));
        (read.ttl_ms, read.cache_scope) = hints(&cx);
        Ok(read.into())
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        cx: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        one_page(request)?;
        let mut list = ListPromptsResult::with_all_items(of(json!([{
            "name": "greet",
            "description": "Greets.",
            "arguments": [
                { "name": "who", "description": "Whom", "required": true },
                { "name": "tone", "required": false },
            ],
        }])));
        (list.ttl_ms, list.cache_scope) = hints(&cx);
        Ok(list)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name != "greet" {
            return Err(ErrorData::invalid_params("prompt not found", None));
        }
        let greeting: Greeting = parse_json_object(request.arguments.unwrap_or_default())?;
        let tone = match greeting.tone.unwrap_or_default() {
            Tone::Kind => "kind",
            Tone::Stern => "stern",
        };
        let text = format!("Greet {} in a {tone} way.", greeting.who);
        Ok(GetPromptResponse::Complete(of(json!({
            "resultType": "complete",
            "description": "Greets.",
            "messages": [{ "role": "user", "content": { "type": "text", "text": text } }],
        }))))
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: Context,
    ) -> Result<CompleteResult, ErrorData> {
        let argument = request.argument.name.as_str();
        let all: &[&str] = match &request.r#ref {
            Reference::Prompt(prompt) if prompt.name == "greet" && argument == "who" => {
                &["paris", "park", "party"]
            }
            Reference::Prompt(prompt) if prompt.name == "greet" && argument == "tone" => &["kind", "stern"],
            Reference::Resource(resource) if resource.uri == "test://items/{id}" && argument == "id" => {
                &["10", "11", "20"]
            }
            _ => return Err(ErrorData::invalid_params("nothing to complete", None)),
        };
        let found = all.iter().filter(|v| v.starts_with(&request.argument.value));
        let values: Vec<String> = found.map(|v| (*v).to_owned()).collect();
        let total = u32::try_from(values.len()).ok();
        Ok(CompleteResult::new(CompletionInfo::with_pagination(values, total, false).unwrap()))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }
}

/// Progress to a client that gave a token, a log line to one that wants some.
async fn work(cx: &Context) {
    if let Some(token) = cx.meta.get_progress_token() {
        let progress = ProgressNotificationParam::new(token, 1.0).with_total(2.0).with_message("Half");
        cx.peer.notify_progress(progress).await.unwrap();
    }
    if !is_modern(cx) || cx.meta.log_level().is_some() {
        let line = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!("Working"));
        cx.peer.notify_logging_message(line).await.unwrap();
    }
}
