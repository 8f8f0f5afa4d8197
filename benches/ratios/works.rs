//! The works that are measured: for each the request, a fragment that proves the right answer, the
//! floor beside it; and the configuration that the gateway does all of them with.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::bare::Asked;
use crate::load::Message;
use crate::policies::{self, Policed};

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-06-18";
/// Routes of a small file, and of a large one.
pub const FEW: usize = 10;
pub const MANY: usize = 10_000;
pub const TEXT: &str = "The returns desk takes goods back for thirty days after delivery, with the \
                    invoice, unworn and in their box. Refunds go to the card that paid; shipping \
                    is ours when the fault is.";

pub struct Work {
    pub name: &'static str,
    pub floor: Floor,
    pub message: Message,
    /// Part of every right answer of the gateway.
    pub proof: &'static str,
    /// Serve so many tools rather than one of each kind.
    pub routes: Option<usize>,
    /// Serve one tool alone, with a policy.
    pub policed: Option<Policed>,
    /// Both sides may use the load's core, too.
    pub cores: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    Fixed,
    Forward,
    Bare(Asked),
    /// The gateway itself with [`FEW`] routes.
    Itself,
}

impl Floor {
    pub fn role(self) -> &'static str {
        match self {
            Self::Fixed => "floor-fixed",
            Self::Forward => "floor-forward",
            Self::Bare(_) => "floor-sqlx",
            Self::Itself => "few routes",
        }
    }

    /// Whether it takes a PostgreSQL.
    pub fn postgres(self) -> bool {
        matches!(self, Self::Bare(asked) if asked.postgres())
    }
}

/// All works: those of the goals, and others that are measured by name only.
pub fn all() -> Vec<Work> {
    let work = |name, floor, message, proof| Work {
        name,
        floor,
        message,
        proof,
        routes: None,
        policed: None,
        cores: false,
    };
    let routes = |routes, work| Work { routes: Some(routes), ..work };
    let cores = |work| Work { cores: true, ..work };
    let order = || modern_call("get_order", &json!({ "id": "ORD-1001" }));
    let mut works = vec![
        work("static", Floor::Fixed, hello(), "The returns desk"),
        work("static-legacy", Floor::Fixed, legacy_call("hello", &json!({})), "The returns desk"),
        work("rest", Floor::Forward, order(), "ORD-1001"),
        work(
            "rest-select",
            Floor::Forward,
            modern_call("get_lines", &json!({ "id": "ORD-1001" })),
            "SKU-0008",
        ),
        work("sqlite", Floor::Bare(Asked::SqliteItem), by_key("item"), "item 4242"),
        work("sqlite-direct", Floor::Bare(Asked::SqliteDirect), by_key("item"), "item 4242"),
        work("postgres", Floor::Bare(Asked::PostgresItem), by_key("pg_item"), "item 4242"),
        work("postgres-100", Floor::Bare(Asked::PostgresItems), by_key("pg_items"), "item 4342"),
        work(
            "pgvector",
            Floor::Bare(Asked::Nearest),
            modern_call("nearest", &json!({ "question": "a copper kettle by the garden window" })),
            "Passage",
        ),
        routes(FEW, work("list-10", Floor::Fixed, list(), "get_order_9")),
        routes(1000, work("list-1000", Floor::Fixed, list(), "get_order_999")),
        routes(MANY, work("list-10000", Floor::Fixed, list(), "get_order_9999")),
        routes(MANY, work("call-10000", Floor::Itself, hello(), "The returns desk")),
        cores(work("static-cores", Floor::Fixed, hello(), "The returns desk")),
        cores(work("rest-cores", Floor::Forward, order(), "ORD-1001")),
        cores(work("sqlite-cores", Floor::Bare(Asked::SqliteItem), by_key("item"), "item 4242")),
        cores(work("postgres-cores", Floor::Bare(Asked::PostgresItem), by_key("pg_item"), "item 4242")),
    ];
    works.extend(policies::works());
    works
}

/// What a client asks for first.
pub fn list() -> Message {
    modern("tools/list", None, &json!({ "_meta": meta() }))
}

/// The call of the fixed text.
pub fn hello() -> Message {
    modern_call("hello", &json!({}))
}

fn by_key(tool: &str) -> Message {
    modern_call(tool, &json!({ "id": 4242 }))
}

pub fn modern_call(tool: &str, arguments: &Value) -> Message {
    modern("tools/call", Some(tool), &json!({ "name": tool, "arguments": arguments, "_meta": meta() }))
}

fn modern(method: &'static str, name: Option<&str>, params: &Value) -> Message {
    let mut headers = vec![("mcp-protocol-version", MODERN.to_owned()), ("mcp-method", method.to_owned())];
    headers.extend(name.map(|name| ("mcp-name", name.to_owned())));
    Message::new(headers, &request(method, params))
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "ratios", "version": "1.0.0" },
    })
}

fn legacy_call(tool: &str, arguments: &Value) -> Message {
    let body = request("tools/call", &json!({ "name": tool, "arguments": arguments }));
    Message::new(vec![("mcp-protocol-version", LEGACY.to_owned())], &body)
}

fn request(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// Writes the gateway's files into `folder` and answers the name of the YAML file.
pub fn write(folder: &Path, work: &Work, upstream: SocketAddr) -> Result<&'static str> {
    if let Some(policed) = work.policed {
        return policies::write(folder, policed, upstream);
    }
    if let Some(routes) = work.routes {
        fs::write(folder.join("bench.yaml"), many(routes, TEXT, upstream))?;
        return Ok("bench.yaml");
    }
    let mut tools = one_of_each();
    let mut postgres = "";
    if work.floor.postgres() {
        tools += &postgres_tools();
        postgres = r#"  pg: { sql: { url: "${TEST_POSTGRES_URL}" } }
  passages:
    vector:
      pgvector: { url: "${TEST_POSTGRES_URL}", table: sidegate_ratios.passages }
      embedder: { hash: { dimensions: 384 } }"#;
    }
    fs::write(
        folder.join("bench.yaml"),
        format!(
            r#"server: {{ name: bench, http: {{ listen: 127.0.0.1:0 }}, log: {{ level: warn }} }}
sources:
  up: {{ rest: {{ base_url: "http://{upstream}" }} }}
  db: {{ sql: {{ url: "sqlite:bench.db", init: bench.sql }} }}
{postgres}
tools:
{tools}"#
        ),
    )?;
    fs::write(
        folder.join("bench.sql"),
        "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT NOT NULL, price REAL NOT NULL);
WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 10000)
INSERT INTO items SELECT id, 'item ' || id, 'kept on shelf ' || (id % 97), id % 89 + 0.5 FROM n;
",
    )?;
    Ok("bench.yaml")
}

/// A file of so many routes: a fixed text, and orders of branches. Its lists have one page.
pub fn many(routes: usize, text: &str, upstream: SocketAddr) -> String {
    let tools: String = (1..routes).map(listed_tool).collect();
    format!(
        r#"server: {{ name: bench, http: {{ listen: 127.0.0.1:0 }}, log: {{ level: warn }}, lists: {{ page: {routes} }} }}
sources:
  up: {{ rest: {{ base_url: "http://{upstream}" }} }}
tools:
  hello: {{ description: Fixed text., static: {{ text: "{text}" }} }}
{tools}"#
    )
}

fn one_of_each() -> String {
    format!(
        r#"  hello: {{ description: Fixed text., static: {{ text: "{TEXT}" }} }}
  get_order:
    description: One order.
    params: {{ id: {{ type: string }} }}
    rest: {{ source: up, get: "/orders/{{id}}" }}
  get_lines:
    description: The lines of one order.
    params: {{ id: {{ type: string }} }}
    rest: {{ source: up, get: "/orders/{{id}}" }}
    output: {{ select: "{{id, status, lines: [.lines[] | {{sku, qty}}]}}" }}
  item:
    description: One row.
    params: {{ id: {{ type: integer }} }}
    sql: {{ source: db, query: "{}", row: one }}
"#,
        Asked::SqliteItem.statement(":id")
    )
}

fn postgres_tools() -> String {
    format!(
        r#"  pg_item:
    description: One row.
    params: {{ id: {{ type: integer }} }}
    sql: {{ source: pg, query: "{}", row: one }}
  pg_items:
    description: A hundred rows.
    params: {{ id: {{ type: integer }} }}
    sql: {{ source: pg, query: "{}" }}
  nearest:
    description: Five passages.
    params: {{ question: {{ type: string }} }}
    vector: {{ source: passages, search: "{{question}}", limit: 5 }}
"#,
        Asked::PostgresItem.statement(":id"),
        Asked::PostgresItems.statement(":id"),
    )
}

fn listed_tool(number: usize) -> String {
    format!(
        r#"  get_order_{number}:
    description: One order of branch {number}.
    params: {{ id: {{ type: string, description: "Order number, as printed on the invoice." }} }}
    rest: {{ source: up, get: "/orders/{{id}}" }}
"#
    )
}
