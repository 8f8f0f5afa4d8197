//! The gateway in this process: text to server on a free port, as the program does it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sidegate::config::{Environment, load_text};
use sidegate::cores::Cores;
use sidegate::live::{Live, LiveHandle};
use sidegate::server::{self, Limits, Server};
use sidegate::{app, diag, plan};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Connection, Reply, message};

/// A running gateway; it ends with the test's runtime, or at [`Gateway::stop`].
pub struct Gateway {
    pub address: SocketAddr,
    /// The address of those who run it, where the configuration has one.
    pub admin: Option<SocketAddr>,
    /// What it serves.
    pub live: LiveHandle,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// The problems of a text that must not be served; empty if it is fine.
pub fn problems(folder: &Path, yaml: &str) -> String {
    match compile(folder, yaml) {
        Ok(_) => String::new(),
        Err(rendered) => rendered,
    }
}

/// What the sources say of a text without errors.
pub async fn online(folder: &Path, yaml: &str) -> String {
    let mut loaded = load_text("gateway.yaml", yaml, folder, &Environment::default());
    let plan = loaded.config.as_ref().and_then(|c| plan::compile(c, &mut loaded.diagnostics));
    let mut checked = app::Checked {
        config: loaded.config,
        plan: Some(plan.expect("a plan")),
        // What the text itself says is another matter.
        diagnostics: diag::Diagnostics::default(),
        sources: loaded.sources,
        watched: loaded.watched,
        ..app::Checked::default()
    };
    app::check_online(&mut checked, |_, _| {}).await.unwrap();
    diag::render(&checked.diagnostics, &checked.sources, diag::Format::Text { colour: false })
}

fn compile(folder: &Path, yaml: &str) -> Result<plan::Plan, String> {
    let mut loaded = load_text("gateway.yaml", yaml, folder, &Environment::default());
    let plan = loaded.config.as_ref().and_then(|c| plan::compile(c, &mut loaded.diagnostics));
    let format = diag::Format::Text { colour: false };
    plan.filter(|_| !loaded.diagnostics.has_errors())
        .ok_or_else(|| diag::render(&loaded.diagnostics, &loaded.sources, format))
}

impl Gateway {
    /// Starts one in a folder of its own.
    pub async fn start(yaml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), yaml).await
    }

    /// Starts one in a folder that holds its files.
    pub async fn start_in(folder: TempDir, yaml: &str) -> Self {
        Self::start_with(folder, yaml, Limits::default(), Cores::one()).await
    }

    /// Starts one that gives its clients less, or more.
    pub async fn start_limited(yaml: &str, limits: Limits) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), yaml, limits, Cores::one()).await
    }

    /// Starts one on several cores.
    pub async fn start_on(yaml: &str, cores: Cores) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), yaml, Limits::default(), cores).await
    }

    async fn start_with(folder: TempDir, yaml: &str, limits: Limits, cores: Cores) -> Self {
        let plan = compile(folder.path(), yaml).unwrap_or_else(|rendered| panic!("{rendered}"));
        let admin = match plan.server.admin {
            Some(address) => Some(TcpListener::bind(address).await.unwrap()),
            None => None,
        };
        let live = app::open(plan).unwrap();
        app::install_audit(&live).unwrap();
        app::describe(&live).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let admin_address = admin.as_ref().map(|a| a.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = Arc::new(Server::new(live.clone()).with_limits(limits).on(cores));
        if let Some(admin) = admin {
            tokio::spawn(server::admin::run(admin, server.clone()));
        }
        let server = tokio::spawn(server::run(listener, server, shutdown));
        Self { address, admin: admin_address, live, folder, stop, server }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Shuts down as the program does, and waits for the end.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.unwrap();
    }

    /// Puts another text to use, as a reload does.
    pub fn reload(&self, yaml: &str) {
        let plan = compile(self.folder.path(), yaml).unwrap_or_else(|rendered| panic!("{rendered}"));
        let current = self.live.load();
        self.live.store(Live::open(plan, Some(&current)).unwrap());
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    pub async fn post(&self, headers: &[(String, String)], body: &[u8]) -> Reply {
        self.connect().await.send("POST", "/mcp", headers, body).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        let headers = message::headers(&[("Host", "localhost")]);
        self.connect().await.send("GET", path, &headers, b"").await.unwrap()
    }

    /// A modern request with the right headers.
    pub async fn modern(&self, method: &str, params: Value) -> Reply {
        let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
        let headers = message::modern_headers(method, name.as_deref());
        self.post(&headers, message::modern(method, params).to_string().as_bytes()).await
    }

    /// A legacy request.
    pub async fn legacy(&self, method: &str, params: &Value) -> Reply {
        self.post(&message::plain_headers(), message::legacy(method, params).to_string().as_bytes()).await
    }

    /// Opens a legacy session whose client can do `capabilities`; gives the headers of its requests.
    pub async fn session(&self, version: &str, capabilities: Value) -> Vec<(String, String)> {
        let mut request = message::initialize(version);
        request["params"]["capabilities"] = capabilities;
        let reply = self.post(&message::plain_headers(), request.to_string().as_bytes()).await;
        let id = reply.header("mcp-session-id").unwrap().to_owned();
        let mut headers = message::plain_headers();
        headers.extend([
            ("Mcp-Session-Id".to_owned(), id),
            ("MCP-Protocol-Version".to_owned(), version.to_owned()),
        ]);
        headers
    }

    /// A call of a tool that nobody reads the answer of: it is left when the connection is dropped.
    pub async fn call_and_hold(&self, tool: &str) -> Connection {
        self.call_with_and_hold(tool, json!({})).await
    }

    /// The same with arguments.
    pub async fn call_with_and_hold(&self, tool: &str, arguments: Value) -> Connection {
        let mut connection = self.connect().await;
        let headers = message::modern_headers("tools/call", Some(tool));
        let call = message::modern("tools/call", json!({ "name": tool, "arguments": arguments })).to_string();
        connection.begin("POST", "/mcp", &headers, call.as_bytes()).await.unwrap();
        connection
    }

    /// The result of a tool.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        let reply = self.modern("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let mut answer = reply.json();
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].take()
    }
}
