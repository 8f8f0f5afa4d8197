//! The same surface twice: as a configuration of the gateway, and as the types and lists of its twin.

use rmcp::model::Tool;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The gateway's side.
pub const CONFIG: &str = r#"
server: { name: differ, instructions: Try it. }
tools:
  say: { description: Says hello., static: { text: hello } }
  fail: { description: Always fails., static: { error: It failed. } }
  picture: { description: Shows a dot., static: { image: { data: iVBORw0KGgo=, mime_type: image/png } } }
  facts: { description: Tells facts., static: { json: { count: 3, names: [a, b] } } }
  order:
    description: Takes typed arguments.
    params:
      id: { type: string }
      count: { type: integer, minimum: 1, maximum: 10 }
      size: { type: string, enum: [small, large] }
      note: { type: string, optional: true }
    static: { text: ordered }
  route:
    description: Repeats arguments in headers.
    params:
      region: { type: string, x-mcp-header: Region }
      number: { type: integer, optional: true, x-mcp-header: Number }
      flag: { type: boolean, optional: true, x-mcp-header: Flag }
    static: { text: routed }
  work:
    description: Says what it does.
    static:
      steps:
        - progress: { progress: 1, total: 2, message: Half }
        - log: { data: Working }
      text: done
  change:
    description: Says that things changed.
    static:
      steps:
        - announce: tools
        - announce: prompts
        - announce: resources
        - announce: "test://text"
      text: changed
resources:
  "test://text": { name: text, description: A text., mime_type: text/plain, static: { text: one } }
  "test://blob": { name: blob, description: A dot., mime_type: image/png, static: { blob: iVBORw0KGgo= } }
  "test://items/{id}":
    name: item
    description: An item.
    mime_type: text/plain
    params: { id: { type: string, pattern: "^[0-9]+$" } }
    complete: { id: { values: ["10", "11", "20"] } }
    static: { text: item }
prompts:
  greet:
    description: Greets.
    params: { who: { description: Whom }, tone: { default: kind, enum: [kind, stern] } }
    messages: [{ user: "Greet {{ who }} in a {{ tone }} way." }]
    complete: { who: { values: [paris, park, party] } }
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only their reading is of interest")]
pub struct Order {
    id: String,
    count: i64,
    size: Size,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    Small,
    Large,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only their reading is of interest")]
pub struct Routed {
    region: String,
    number: Option<i64>,
    flag: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Greeting {
    pub who: String,
    pub tone: Option<Tone>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    #[default]
    Kind,
    Stern,
}

pub fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn tool(name: &str, description: &str, properties: &Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "additionalProperties": false });
    if !required.is_empty() {
        schema["properties"] = properties.clone();
        schema["required"] = json!(required);
    }
    json!({
        "name": name,
        "description": description,
        "inputSchema": schema,
        "annotations": { "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false },
    })
}

pub fn tools() -> Vec<Tool> {
    let order = json!({
        "id": { "type": "string" },
        "count": { "type": "integer", "minimum": 1, "maximum": 10 },
        "size": { "type": "string", "enum": ["small", "large"] },
        "note": { "type": "string" },
    });
    let route = json!({
        "region": { "type": "string", "x-mcp-header": "Region" },
        "number": { "type": "integer", "x-mcp-header": "Number" },
        "flag": { "type": "boolean", "x-mcp-header": "Flag" },
    });
    of(json!([
        tool("say", "Says hello.", &json!({}), &[]),
        tool("fail", "Always fails.", &json!({}), &[]),
        tool("picture", "Shows a dot.", &json!({}), &[]),
        tool("facts", "Tells facts.", &json!({}), &[]),
        tool("order", "Takes typed arguments.", &order, &["id", "count", "size"]),
        tool("route", "Repeats arguments in headers.", &route, &["region"]),
        tool("work", "Says what it does.", &json!({}), &[]),
        tool("change", "Says that things changed.", &json!({}), &[]),
    ]))
}
