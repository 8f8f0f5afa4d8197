//! The demo: the example configuration with its data and a sample orders service, all embedded in the binary and run from
//! a temporary folder.

pub mod orders;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::{self, AppError, Stop};
use crate::config::Environment;
use crate::plan::Plan;
use crate::talk::News;

/// The example, as in the repository.
pub const EXAMPLE: &str = include_str!("../../gateway.example.yaml");
const SHOP: &str = include_str!("../../examples/shop.sql");
const HANDBOOK: &str = include_str!("../../examples/handbook.sql");
const RETURNS: &str = include_str!("../../examples/returns.md");
/// What the sample service wants to see; the example's own default.
const TOKEN: &str = "demo-token";

/// Runs until a signal; `say` prints lines for the person who started it.
///
/// # Errors
/// If the folder cannot be written or no address can be had.
pub async fn run(listen: Option<SocketAddr>, say: fn(&str)) -> Result<(), AppError> {
    let io = |e: std::io::Error| AppError::Io(format!("cannot prepare the demo's folder: {e}"));
    // Before there is anything that has to go at the end.
    let signal = Stop::hear();
    let folder = tempfile::Builder::new().prefix("sidegate-demo-").tempdir().map_err(io)?;
    let config = write(folder.path()).map_err(io)?;

    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let orders = app::bind(loopback).await?;
    let orders_url = format!("http://{}/v1", orders.local_addr().map_err(io)?);
    let given = HashMap::from([
        ("ORDERS_API".to_owned(), orders_url.clone()),
        ("ORDERS_TOKEN".to_owned(), TOKEN.to_owned()),
    ]);
    let (mut plan, _) = app::plan(&config, &Environment { process: false, given })?;
    let listener = listener(listen, &mut plan).await?;
    let endpoint = format!("http://{}{}", listener.local_addr().map_err(io)?, plan.server.path);
    app::install_log(&plan)?;

    let (stop, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|s| *s).await;
    };
    let database = folder.path().join("orders-service.db");
    let service = orders::serve(orders, database, SHOP, TOKEN.to_owned(), until(stopped.clone()));
    let service = crate::tasks::spawn(service);
    let text = welcome(&plan, &endpoint, &orders_url, &config);
    let live = app::open(plan)?;
    app::describe(&live).await?;
    say(&text);
    crate::tasks::spawn(async move {
        signal.asked().await;
        let _ = stop.send(true);
    });
    app::serve_http(live, News::default(), listener, None, until(stopped)).await?;
    match service.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(AppError::Io(format!("the sample orders service failed: {error}"))),
        Err(error) => Err(AppError::Io(format!("the sample orders service failed: {error}"))),
    }
}

/// Writes the example and its files; gives the configuration's path.
fn write(folder: &Path) -> std::io::Result<std::path::PathBuf> {
    let examples = folder.join("examples");
    std::fs::create_dir_all(&examples)?;
    for (name, text) in [("shop.sql", SHOP), ("handbook.sql", HANDBOOK), ("returns.md", RETURNS)] {
        std::fs::write(examples.join(name), text)?;
    }
    let config = folder.join("gateway.yaml");
    std::fs::write(&config, EXAMPLE)?;
    Ok(config)
}

/// The asked address, else the example's, else any free port.
async fn listener(asked: Option<SocketAddr>, plan: &mut Plan) -> Result<TcpListener, AppError> {
    if let Some(address) = asked {
        plan.server.listen_on(address).map_err(|d| AppError::Usage(d.message.clone()))?;
        return app::bind(address).await;
    }
    match app::bind(plan.server.listen).await {
        Ok(listener) => Ok(listener),
        Err(_) => app::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await,
    }
}

fn welcome(plan: &Plan, endpoint: &str, orders_url: &str, config: &Path) -> String {
    let names = |list: Vec<&str>| list.join(", ");
    let tools = names(plan.tools.iter().map(|t| t.route.name.as_str()).collect());
    let resources = names(plan.resources.iter().map(|r| r.uri.as_str()).collect());
    let prompts = names(plan.prompts.iter().map(|p| p.name.as_str()).collect());
    let program = std::env::current_exe().map_or_else(|_| "sidegate".to_owned(), |p| p.display().to_string());
    let snippet = json!({ "mcpServers": { "shop": {
        "command": program,
        "args": ["stdio", "-c", config.display().to_string()],
        "env": { "ORDERS_API": orders_url, "ORDERS_TOKEN": TOKEN },
    } } });
    let header = "-H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream'";
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    format!(
        r#"MCP endpoint   {endpoint}
  tools        {tools}
  resources    {resources}
  prompts      {prompts}
Orders service {orders_url} (a sample; stands for your API)

Try it:

1. The current protocol, a REST tool:
curl -s {endpoint} {header} -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: get_order' -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"get_order","arguments":{{"id":"ORD-1001"}},{meta}}}}}'

2. The protocol up to 2025-11-25, an SQL tool:
curl -s {endpoint} {header} -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"open_orders","arguments":{{"customer":7}}}}}}'

3. A desktop client, while this runs; put into its configuration:
{snippet:#}

Ctrl-C stops it."#
    )
}
