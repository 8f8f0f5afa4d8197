//! The lists that clients read, serialised once when the plan is built: a list request is a copy of bytes.

use serde_json::{Map, Value, json};

use super::{List, ListedPlan, PromptPlan, ResourcePlan, ServerPlan, ToolPlan};

/// The results of one era's list methods; `None` where nothing of the kind is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// `tools/list`
    pub tools: Option<List>,
    /// `resources/list`
    pub resources: Option<List>,
    /// `resources/templates/list`
    pub templates: Option<List>,
    /// `prompts/list`
    pub prompts: Option<List>,
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
    /// `"resultType":"complete","_meta":{…}` of every modern result, without pictures: they would go along with every call.
    pub complete: String,
    /// The same with all that the server says of itself, for what is read once: lists.
    pub introduction: String,
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
        let ttl = server.list_ttl.0.as_millis();
        // What one caller reads is not for another's eyes.
        let scope = if server.auth.known().is_some() { "private" } else { "public" };
        let whole = server_info(server, true);
        let mut catalog = Self {
            capabilities: super::capabilities::capabilities(tools, resources, prompts),
            complete: complete(&server_info(server, false)),
            introduction: complete(&whole),
            server_info: whole,
            // Nothing here depends on who asks.
            cache: format!("\"ttlMs\":{ttl},\"cacheScope\":\"{scope}\""),
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
        let tail = format!(",{},{}", catalog.cache, catalog.introduction);
        for (member, entries) in lists {
            let Some(entries) = entries else { continue };
            let entries: Vec<String> = entries.iter().map(Value::to_string).collect();
            let list = |tail| List::new(member, &entries, server.list_page, tail);
            for (lists, list) in [(&mut catalog.modern, list(&tail)), (&mut catalog.legacy, list(""))] {
                let slot = match member {
                    "tools" => &mut lists.tools,
                    "resources" => &mut lists.resources,
                    "resourceTemplates" => &mut lists.templates,
                    _ => &mut lists.prompts,
                };
                *slot = Some(list);
            }
        }
        catalog
    }
}

fn complete(server_info: &Value) -> String {
    let meta = json!({ "io.modelcontextprotocol/serverInfo": server_info });
    format!("\"resultType\":\"complete\",\"_meta\":{meta}")
}

/// What the server says of itself; pictures that stand in it themselves only if wanted.
fn server_info(server: &ServerPlan, pictures: bool) -> Value {
    let mut info = Map::new();
    info.insert("name".to_owned(), json!(server.name));
    insert_some(&mut info, "title", server.title.as_ref());
    info.insert("version".to_owned(), json!(server.version));
    insert_some(&mut info, "description", server.description.as_ref());
    insert_some(&mut info, "websiteUrl", server.website.as_ref());
    let icons: Vec<_> = server.icons.iter().filter(|icon| pictures || !icon.is_inline()).collect();
    if !icons.is_empty() {
        info.insert("icons".to_owned(), json!(icons));
    }
    Value::Object(info)
}

fn insert_some(map: &mut Map<String, Value>, key: &str, text: Option<&String>) {
    if let Some(text) = text {
        map.insert(key.to_owned(), json!(text.trim_end()));
    }
}

fn insert_listed(map: &mut Map<String, Value>, listed: &ListedPlan) {
    if !listed.icons.is_empty() {
        map.insert("icons".to_owned(), json!(listed.icons));
    }
    if !listed.meta.is_empty() {
        map.insert("_meta".to_owned(), Value::Object(listed.meta.clone()));
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
    let mut annotations = Map::new();
    // Clients of 2025-03-26 look for it here only.
    insert_some(&mut annotations, "title", tool.title.as_ref());
    for (hint, value) in [
        ("readOnlyHint", read_only),
        ("destructiveHint", destructive),
        ("idempotentHint", idempotent),
        ("openWorldHint", open_world),
    ] {
        annotations.insert(hint.to_owned(), json!(value));
    }
    entry.insert("annotations".to_owned(), Value::Object(annotations));
    insert_listed(&mut entry, &tool.listed);
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
    if !resource.annotations.is_empty() {
        entry.insert("annotations".to_owned(), Value::Object(resource.annotations.clone()));
    }
    if let Some(size) = resource.size {
        entry.insert("size".to_owned(), json!(size.0));
    }
    insert_listed(&mut entry, &resource.listed);
    Value::Object(entry)
}

fn prompt(prompt: &PromptPlan) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(prompt.name));
    insert_some(&mut entry, "title", prompt.title.as_ref());
    insert_some(&mut entry, "description", prompt.description.as_ref());
    let seen = prompt.params.params.iter().zip(&prompt.about).filter(|(param, _)| !param.hidden());
    let arguments = seen.map(|(param, (title, description))| {
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
    insert_listed(&mut entry, &prompt.listed);
    Value::Object(entry)
}
