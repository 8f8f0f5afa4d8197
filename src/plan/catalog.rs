//! The lists that clients read, serialised once when the plan is built: a list request is a copy of bytes.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{PromptPlan, ResourcePlan, ServerPlan, ToolPlan};

/// The results of one era's list methods, each a whole JSON object; `None` where nothing of the kind is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// `tools/list`
    pub tools: Option<Bytes>,
    /// `resources/list`
    pub resources: Option<Bytes>,
    /// `resources/templates/list`
    pub templates: Option<Bytes>,
    /// `prompts/list`
    pub prompts: Option<Bytes>,
}

/// Everything that is said about the server and what it serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// 2026-07-28 and later.
    pub modern: Lists,
    /// Up to 2025-11-25.
    pub legacy: Lists,
    /// `serverInfo`, a JSON object.
    pub server_info: Value,
    /// `capabilities`, a JSON object.
    pub capabilities: Value,
    /// `"resultType":"complete","_meta":{…}` of every modern result.
    pub complete: String,
    /// `"ttlMs":…,"cacheScope":"…"` of modern results that clients may keep.
    pub cache: String,
}

impl Catalog {
    /// Serialises all lists.
    #[must_use]
    pub fn build(
        server: &ServerPlan,
        tools: &[ToolPlan],
        resources: &[ResourcePlan],
        prompts: &[PromptPlan],
    ) -> Self {
        let server_info = server_info(server);
        let meta = json!({ "io.modelcontextprotocol/serverInfo": server_info });
        let ttl = server.list_ttl.0.as_millis();
        let mut catalog = Self {
            server_info,
            capabilities: super::capabilities::capabilities(tools, resources, prompts),
            complete: format!("\"resultType\":\"complete\",\"_meta\":{meta}"),
            // Nothing here depends on who asks.
            cache: format!("\"ttlMs\":{ttl},\"cacheScope\":\"public\""),
            ..Self::default()
        };
        let (templates, plain): (Vec<_>, Vec<_>) = resources.iter().partition(|r| r.is_template());
        let lists = [
            ("tools", (!tools.is_empty()).then(|| tools.iter().map(tool).collect::<Vec<_>>())),
            ("resources", (!resources.is_empty()).then(|| plain.iter().map(|r| resource(r)).collect())),
            (
                "resourceTemplates",
                (!resources.is_empty()).then(|| templates.iter().map(|r| resource(r)).collect()),
            ),
            ("prompts", (!prompts.is_empty()).then(|| prompts.iter().map(prompt).collect())),
        ];
        for (member, items) in lists {
            let Some(items) = items else { continue };
            let items = Value::Array(items).to_string();
            let modern =
                Bytes::from(format!("{{\"{member}\":{items},{},{}}}", catalog.cache, catalog.complete));
            let legacy = Bytes::from(format!("{{\"{member}\":{items}}}"));
            for (lists, bytes) in [(&mut catalog.modern, modern), (&mut catalog.legacy, legacy)] {
                let slot = match member {
                    "tools" => &mut lists.tools,
                    "resources" => &mut lists.resources,
                    "resourceTemplates" => &mut lists.templates,
                    _ => &mut lists.prompts,
                };
                *slot = Some(bytes);
            }
        }
        catalog
    }
}

fn server_info(server: &ServerPlan) -> Value {
    let mut info = Map::new();
    info.insert("name".to_owned(), json!(server.name));
    insert_some(&mut info, "title", server.title.as_ref());
    info.insert("version".to_owned(), json!(server.version));
    Value::Object(info)
}

fn insert_some(map: &mut Map<String, Value>, key: &str, text: Option<&String>) {
    if let Some(text) = text {
        map.insert(key.to_owned(), json!(text.trim_end()));
    }
}

fn tool(tool: &ToolPlan) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(tool.route.name));
    insert_some(&mut entry, "title", tool.title.as_ref());
    insert_some(&mut entry, "description", tool.description.as_ref());
    entry.insert("inputSchema".to_owned(), tool.route.params.schema.value.clone());
    if let Some(schema) = &tool.output_schema {
        entry.insert("outputSchema".to_owned(), schema.clone());
    }
    let [read_only, destructive, idempotent, open_world] = tool.annotations;
    let annotations = json!({
        "readOnlyHint": read_only, "destructiveHint": destructive,
        "idempotentHint": idempotent, "openWorldHint": open_world,
    });
    entry.insert("annotations".to_owned(), annotations);
    Value::Object(entry)
}

fn resource(resource: &ResourcePlan) -> Value {
    let mut entry = Map::new();
    let key = if resource.is_template() { "uriTemplate" } else { "uri" };
    entry.insert(key.to_owned(), json!(resource.uri));
    entry.insert("name".to_owned(), json!(resource.name));
    insert_some(&mut entry, "title", resource.title.as_ref());
    insert_some(&mut entry, "description", resource.description.as_ref());
    insert_some(&mut entry, "mimeType", resource.mime_type.as_ref());
    Value::Object(entry)
}

fn prompt(prompt: &PromptPlan) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(prompt.name));
    insert_some(&mut entry, "title", prompt.title.as_ref());
    insert_some(&mut entry, "description", prompt.description.as_ref());
    let arguments = prompt.params.params.iter().zip(&prompt.about).map(|(param, (title, description))| {
        let mut argument = Map::new();
        argument.insert("name".to_owned(), json!(param.name));
        insert_some(&mut argument, "title", title.as_ref());
        insert_some(&mut argument, "description", description.as_ref());
        argument.insert("required".to_owned(), json!(param.required));
        Value::Object(argument)
    });
    let arguments: Vec<Value> = arguments.collect();
    if !arguments.is_empty() {
        entry.insert("arguments".to_owned(), Value::Array(arguments));
    }
    Value::Object(entry)
}
