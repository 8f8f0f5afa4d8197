//! The lists that clients read, serialised once when the plan is built: a list request is a copy of bytes, unless there is something
//! in it that this caller may not use.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::frozen::{self, Index};
use super::{IconPlan, List, ListedPlan, PromptPlan, ResourcePlan, STATUS_URI, ServerPlan, ToolPlan, pages};
use crate::caller::Caller;
use crate::policy::{RouteAuthPlan, Viewer};

/// How long clients may keep what has just changed, in milliseconds.
const BRIEF: u128 = 1000;

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

/// The lists that callers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// `tools/list`
    Tools,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
    /// `prompts/list`
    Prompts,
}

impl Member {
    /// The member of the result that holds the list.
    const fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }
}

impl Lists {
    /// The list with everything in it.
    #[must_use]
    pub const fn whole(&self, member: Member) -> Option<&List> {
        match member {
            Member::Tools => self.tools.as_ref(),
            Member::Resources => self.resources.as_ref(),
            Member::Templates => self.templates.as_ref(),
            Member::Prompts => self.prompts.as_ref(),
        }
    }
}

/// One entry of a list, and who sees it.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    text: String,
    /// Of the text.
    digest: u64,
    name: String,
    auth: RouteAuthPlan,
    /// Whether it is for those who run the server.
    operators: bool,
}

impl Entry {
    /// Whether this caller sees it; `operates` says whether they may read the status.
    fn is_seen(&self, viewer: &Viewer<'_>, operates: bool) -> bool {
        (operates || !self.operators) && self.auth.before_viewer(viewer, &self.name).is_ok()
    }
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
    /// Whether callers without credentials may use anything.
    pub public: bool,
    /// The scopes of all routes, in the order of the alphabet.
    pub scopes: Vec<String>,
    /// What stands in the lists, where not every caller sees all of it.
    entries: Vec<(Member, Vec<Entry>)>,
    /// The tools behind a frozen list.
    pub index: Index,
    per_page: usize,
    /// `"ttlMs":…,"cacheScope":"…"` of modern results that clients may keep.
    pub cache: String,
    /// The same, for a second at the most.
    pub brief: String,
    /// For whom: `public` or `private`.
    pub scope: &'static str,
}

impl Catalog {
    /// Serialises all lists.
    #[must_use]
    pub fn build(
        server: &ServerPlan,
        tools: &[Arc<ToolPlan>],
        resources: &[ResourcePlan],
        prompts: &[PromptPlan],
    ) -> Self {
        let ttl = server.list_ttl.0.as_millis();
        // What one caller reads is not for another's eyes.
        let own = server.status.resource.then_some((STATUS_URI, &server.status.auth));
        let mut routes = rules(tools, resources, prompts);
        routes.extend(own);
        let differs = own.is_some() || routes.iter().any(|(_, auth)| auth.hides());
        let scope = if server.auth.known().is_some() || differs { "private" } else { "public" };
        let public = routes.iter().any(|(_, auth)| auth.public);
        let scopes: BTreeSet<&String> = routes.iter().flat_map(|(_, auth)| &auth.scopes).collect();
        let whole = server_info(server, true);
        let mut catalog = Self {
            capabilities: super::capabilities::capabilities(
                (server.reloads, server.lists_frozen),
                tools,
                resources,
                prompts,
            ),
            complete: complete(&server_info(server, false)),
            introduction: complete(&whole),
            server_info: whole,
            public,
            scopes: scopes.into_iter().cloned().collect(),
            per_page: server.list_page,
            cache: format!("\"ttlMs\":{ttl},\"cacheScope\":\"{scope}\""),
            brief: format!("\"ttlMs\":{},\"cacheScope\":\"{scope}\"", ttl.min(BRIEF)),
            scope,
            ..Self::default()
        };
        let (templates, fixed): (Vec<_>, Vec<_>) = resources.iter().partition(|r| r.is_template());
        // What may come later is an empty list until then.
        let any = |empty: bool| server.reloads || !empty;
        let mut shown =
            any(tools.is_empty()).then(|| tools.iter().map(|tool| text(&ToolEntry::new(tool))).collect());
        if server.lists_frozen {
            catalog.index = Index::new(tools, shown.unwrap_or_default());
            shown = Some(frozen::entries().iter().map(text).collect());
        }
        let lists = [
            (Member::Tools, shown),
            (
                Member::Resources,
                any(resources.is_empty() && own.is_none()).then(|| {
                    fixed.iter().map(|r| text(&resource(r))).chain(own.map(|_| text(&status()))).collect()
                }),
            ),
            (
                Member::Templates,
                any(resources.is_empty()).then(|| templates.iter().map(|r| text(&resource(r))).collect()),
            ),
            (
                Member::Prompts,
                any(prompts.is_empty()).then(|| prompts.iter().map(|p| text(&prompt(p))).collect()),
            ),
        ];
        let tail = catalog.tail(&catalog.cache);
        for (member, entries) in lists {
            let Some::<Vec<String>>(entries) = entries else { continue };
            let list = List::new(member.name(), &entries, server.list_page, &tail);
            let plain = list.ending("");
            for (lists, list) in [(&mut catalog.modern, list), (&mut catalog.legacy, plain)] {
                let slot = match member {
                    Member::Tools => &mut lists.tools,
                    Member::Resources => &mut lists.resources,
                    Member::Templates => &mut lists.templates,
                    Member::Prompts => &mut lists.prompts,
                };
                *slot = Some(list);
            }
            let rules: Vec<_> = match member {
                // Everybody sees the two.
                Member::Tools if server.lists_frozen => continue,
                Member::Tools => rules(tools, &[], &[]),
                Member::Resources => fixed.iter().map(|r| rule(r)).chain(own).collect(),
                Member::Templates => templates.iter().map(|r| rule(r)).collect(),
                Member::Prompts => rules(&[], &[], prompts),
            };
            let entry = |(text, (name, auth)): (String, (&str, &RouteAuthPlan))| Entry {
                digest: pages::digest(&text),
                text,
                name: name.to_owned(),
                auth: auth.clone(),
                operators: member == Member::Resources && own.is_some() && name == STATUS_URI,
            };
            // Where everybody sees everything nothing is kept twice.
            let status = member == Member::Resources && own.is_some();
            if status || rules.iter().any(|(_, auth)| auth.hides()) || public && server.auth.known().is_some()
            {
                catalog.entries.push((member, entries.into_iter().zip(rules).map(entry).collect()));
            }
        }
        catalog
    }

    /// The end of a page of a modern list that may be kept for a second at the most.
    #[must_use]
    pub fn brief_tail(&self) -> String {
        self.tail(&self.brief)
    }

    /// The end of a page of a modern list.
    fn tail(&self, keeping: &str) -> String {
        format!(",{keeping},{}", self.introduction)
    }

    /// Whether a list differs for anybody, whatever else the server says of itself.
    #[must_use]
    pub fn lists_differ<'a>(&'a self, other: &'a Self, member: Member) -> bool {
        let list = |lists: &'a Lists| match member {
            Member::Tools => &lists.tools,
            Member::Resources => &lists.resources,
            Member::Templates => &lists.templates,
            Member::Prompts => &lists.prompts,
        };
        list(&self.legacy) != list(&other.legacy) || self.entries(member) != other.entries(member)
    }

    /// What stands in a list that not every caller sees all of.
    fn entries(&self, member: Member) -> Option<&[Entry]> {
        self.entries.iter().find(|(m, _)| *m == member).map(|(_, entries)| &**entries)
    }

    /// Whether one caller may see another list than another does.
    #[must_use]
    pub fn hides(&self, member: Member) -> bool {
        self.entries(member).is_some()
    }

    /// Whether what a known caller sees depends on more than their scopes.
    #[must_use]
    pub fn looks_closely(&self) -> bool {
        let entries = self.entries.iter().flat_map(|(_, entries)| entries);
        entries.into_iter().any(|entry| entry.auth.when.as_ref().is_some_and(|when| !when.needs_args()))
    }

    /// A number that stands for the list that this caller sees: another one where that is another list. `None` where nothing of the
    /// kind is served.
    #[must_use]
    pub fn sum(&self, member: Member, viewer: &Viewer<'_>, operates: bool) -> Option<u64> {
        let whole = self.legacy.whole(member)?;
        Some(self.entries(member).map_or_else(
            || whole.sum(),
            |entries| {
                let seen = entries.iter().filter(|entry| entry.is_seen(viewer, operates));
                pages::sum(seen.map(|entry| entry.digest), self.per_page)
            },
        ))
    }

    /// The list that this caller sees, where it is not the whole one; `operates` says whether they may read the status.
    #[must_use]
    pub fn seen(&self, member: Member, modern: bool, caller: &Caller, operates: bool) -> Option<List> {
        let entries = self.entries(member)?;
        let viewer = Viewer::of_many(caller);
        let kept: Vec<&Entry> = entries.iter().filter(|entry| entry.is_seen(&viewer, operates)).collect();
        (kept.len() < entries.len()).then(|| {
            let texts: Vec<String> = kept.iter().map(|entry| entry.text.clone()).collect();
            let tail = if modern { self.tail(&self.cache) } else { String::new() };
            List::new(member.name(), &texts, self.per_page, &tail)
        })
    }
}

/// The routes of what is listed, by name.
fn rules<'a>(
    tools: &'a [Arc<ToolPlan>],
    resources: &'a [ResourcePlan],
    prompts: &'a [PromptPlan],
) -> Vec<(&'a str, &'a RouteAuthPlan)> {
    let tools = tools.iter().map(|t| (t.route.name.as_str(), &t.route.policy.auth));
    let prompts = prompts.iter().map(|p| (p.name.as_str(), &p.policy.auth));
    tools.chain(resources.iter().map(rule)).chain(prompts).collect()
}

fn rule(resource: &ResourcePlan) -> (&str, &RouteAuthPlan) {
    (&resource.route.name, &resource.route.policy.auth)
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

/// An entry as JSON.
fn text<T: Serialize>(entry: &T) -> String {
    // What stands in it was JSON before.
    serde_json::to_string(entry).unwrap_or_default()
}

/// An entry of `tools/list`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolEntry<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<&'a Value>,
    annotations: Hints<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    icons: &'a [IconPlan],
    #[serde(rename = "_meta", skip_serializing_if = "Map::is_empty")]
    meta: &'a Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the four hints of the protocol")]
struct Hints<'a> {
    /// Clients of 2025-03-26 look for it here only.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
}

impl<'a> ToolEntry<'a> {
    fn new(tool: &'a ToolPlan) -> Self {
        let [read_only_hint, destructive_hint, idempotent_hint, open_world_hint] = tool.annotations;
        let title = tool.title.as_deref().map(str::trim_end);
        Self {
            name: &tool.route.name,
            title,
            description: tool.description.as_deref().map(str::trim_end),
            input_schema: tool.route.params.schema.json(),
            output_schema: tool.output_schema.as_ref(),
            annotations: Hints { title, read_only_hint, destructive_hint, idempotent_hint, open_world_hint },
            icons: &tool.listed.icons,
            meta: &tool.listed.meta,
        }
    }
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

/// What the server says of itself.
fn status() -> Value {
    json!({
        "uri": STATUS_URI,
        "name": "status",
        "title": "Status of this server",
        "description": "What runs: version, configuration and its last change, sources with their state, counters of routes.",
        "mimeType": "application/json",
    })
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
