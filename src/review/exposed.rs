//! What a plan exposes: to whom, with which parameters, and what stands behind it. Its JSON form is an interface (`version` 1).

use serde::Serialize;
use serde_json::Value;

use super::access::{condition, limit};
use super::words::shown;
use crate::auth::AuthPlan;
use crate::params::ParamsPlan;
use crate::plan::{Plan, PromptPlan, ResourcePlan, RoutePlan, ServerPlan, ToolPlan, value};
use crate::policy::{PolicyPlan, RouteAuthPlan};
use crate::source::{OpPlan, SourcePlan};

/// What a plan exposes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exposed {
    /// The server.
    pub server: ExposedServer,
    /// Its sources.
    pub sources: Vec<ExposedSource>,
    /// Its tools.
    pub tools: Vec<ExposedRoute>,
    /// Its resources and templates.
    pub resources: Vec<ExposedRoute>,
    /// Its prompts.
    pub prompts: Vec<ExposedRoute>,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedServer {
    /// `serverInfo.name`
    pub name: String,
    /// `serverInfo.version`
    pub version: String,
    /// Where it listens over HTTP.
    pub url: String,
    /// The address of those who run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Who may call, in words.
    pub callers: Vec<String>,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedSource {
    /// Its name.
    pub name: String,
    /// `rest`, `sql` or `vector`.
    pub kind: &'static str,
    /// Whether it refuses to write, where that is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// A tool, a resource or a prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedRoute {
    /// Its name; of a resource its URI.
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the model or the person reads of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What stands behind it; of a prompt, what is fetched for it.
    pub operations: Vec<ExposedOp>,
    /// Its parameters.
    pub params: Vec<ExposedParam>,
    /// Who may use it.
    pub access: ExposedAccess,
    /// Its policies in words.
    pub policy: Vec<String>,
    /// The hints of a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<ExposedHints>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedOp {
    /// The value that it fetches for a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `rest`, `sql`, `vector` or `static`.
    pub kind: &'static str,
    /// Its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it does, in a few words.
    pub does: String,
    /// Whether it only reads.
    pub reads_only: bool,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedParam {
    /// Its name.
    pub name: String,
    /// Its JSON types; empty if it may be anything.
    pub types: Vec<String>,
    /// Whether a call needs it.
    pub required: bool,
    /// Its value where a call has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What fills it, where the model neither sees nor sets it: `const`, or a part of the caller's identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<String>,
}

/// Who may use something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedAccess {
    /// Whether callers without credentials may, though the server wants them of others.
    pub public: bool,
    /// Scopes that a caller needs, all of them.
    pub scopes: Vec<String>,
    /// The condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// Hints of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are the hints of the protocol")]
pub struct ExposedHints {
    /// It changes nothing.
    pub read_only: bool,
    /// It may destroy.
    pub destructive: bool,
    /// A second call changes nothing more.
    pub idempotent: bool,
    /// It reaches beyond the server.
    pub open_world: bool,
}

/// What a plan exposes.
#[must_use]
pub fn exposed(plan: &Plan) -> Exposed {
    Exposed {
        server: server(&plan.server),
        sources: plan.sources.iter().map(|(name, plan)| source(name, plan)).collect(),
        tools: plan.tools.iter().map(|plan| tool(plan)).collect(),
        resources: plan.resources.iter().map(resource).collect(),
        prompts: plan.prompts.iter().map(prompt).collect(),
    }
}

fn server(plan: &ServerPlan) -> ExposedServer {
    ExposedServer {
        name: plan.name.clone(),
        version: plan.version.clone(),
        url: format!("{}://{}{}", plan.scheme(), plan.listen, plan.path),
        admin: plan.admin.map(|address| address.to_string()),
        callers: callers(&plan.auth),
    }
}

fn callers(auth: &AuthPlan) -> Vec<String> {
    let known = match auth {
        AuthPlan::Unsaid => return vec!["everybody on this machine".to_owned()],
        AuthPlan::Open => return vec!["everybody who reaches the port".to_owned()],
        AuthPlan::Known(known) => known,
    };
    let keys = known.keys.iter().map(|key| {
        let scopes = &key.identity.scopes;
        let scopes = if scopes.is_empty() { "no scopes".to_owned() } else { scopes.join(" ") };
        format!("API key {} ({scopes})", key.identity.sub)
    });
    let certificates =
        known.certificates.iter().map(|certificate| format!("certificate of {}", certificate.identity.sub));
    keys.chain(certificates)
        .chain(known.issuers.iter().map(|issuer| format!("tokens of {}", issuer.issuer)))
        .collect()
}

fn source(name: &str, plan: &SourcePlan) -> ExposedSource {
    let read_only = value(plan).pointer(&format!("/{}/read_only", plan.kind())).and_then(Value::as_bool);
    ExposedSource { name: name.to_owned(), kind: plan.kind(), read_only }
}

fn tool(plan: &ToolPlan) -> ExposedRoute {
    let [read_only, destructive, idempotent, open_world] = plan.annotations;
    let mut policy = policy(&plan.route.policy);
    if plan.route.confirm.is_some() {
        policy.push("asks a person first".to_owned());
    }
    ExposedRoute {
        name: plan.route.name.clone(),
        title: plan.title.clone(),
        description: plan.description.clone(),
        operations: vec![operation(None, &plan.route)],
        params: params(&plan.route.params),
        access: access(&plan.route.policy.auth),
        policy,
        annotations: Some(ExposedHints { read_only, destructive, idempotent, open_world }),
    }
}

fn resource(plan: &ResourcePlan) -> ExposedRoute {
    ExposedRoute {
        name: plan.uri.clone(),
        title: plan.title.clone(),
        description: plan.description.clone(),
        operations: vec![operation(None, &plan.route)],
        params: params(&plan.route.params),
        access: access(&plan.route.policy.auth),
        policy: policy(&plan.route.policy),
        annotations: None,
    }
}

fn prompt(plan: &PromptPlan) -> ExposedRoute {
    ExposedRoute {
        name: plan.name.clone(),
        title: plan.title.clone(),
        description: plan.description.clone(),
        operations: plan.data.iter().map(|(name, route)| operation(Some(name), route)).collect(),
        params: params(&plan.params),
        access: access(&plan.policy.auth),
        policy: policy(&plan.policy),
        annotations: None,
    }
}

fn params(plan: &ParamsPlan) -> Vec<ExposedParam> {
    let one = |param: &crate::params::Param| {
        let from = param.from.as_ref().map(|from| from.field.to_string());
        ExposedParam {
            name: param.name.clone(),
            types: param.types.clone(),
            required: param.required,
            default: param.default.as_deref().cloned(),
            hidden: from.or_else(|| param.fixed.is_some().then(|| "const".to_owned())),
        }
    };
    plan.params.iter().map(one).collect()
}

fn access(auth: &RouteAuthPlan) -> ExposedAccess {
    ExposedAccess {
        public: auth.public && auth.known,
        scopes: auth.scopes.clone(),
        when: auth.when.as_ref().map(condition),
    }
}

fn policy(plan: &PolicyPlan) -> Vec<String> {
    let mut words = vec![format!("{} at the most", plan.timeout)];
    if let Some(rate) = &plan.rate_limit {
        words.push(super::Sentence::from(limit(rate)).to_string().replace('`', ""));
    }
    if let Some(cache) = &plan.cache {
        words.push(format!("answers kept for {}", cache.ttl));
    }
    if let Some(retry) = &plan.retry {
        words.push(format!("{} attempts", retry.attempts));
    }
    if let Some(most) = plan.concurrency {
        words.push(format!("{most} at the same time"));
    }
    words
}

/// The kind's key in the configuration.
pub(super) const fn kind(op: &OpPlan) -> &'static str {
    match op {
        OpPlan::Rest(..) => "rest",
        OpPlan::Sql(..) => "sql",
        OpPlan::Vector(..) => "vector",
        OpPlan::Fixed(_) => "static",
    }
}

fn operation(value_name: Option<&str>, route: &RoutePlan) -> ExposedOp {
    let op = &route.op;
    let names: Vec<&str> = route.params.params.iter().map(|param| param.name.as_str()).collect();
    let inner = value(op);
    let does = match op {
        OpPlan::Rest(..) => request(inner.pointer("/rest/1").unwrap_or(&Value::Null), &names),
        OpPlan::Sql(..) if op.reads_only() => "reads".to_owned(),
        OpPlan::Sql(..) => "writes".to_owned(),
        OpPlan::Vector(..) => "searches".to_owned(),
        OpPlan::Fixed(_) => "says what stands in the configuration".to_owned(),
    };
    ExposedOp {
        value: value_name.map(str::to_owned),
        kind: kind(op),
        source: op.source().map(str::to_owned),
        does,
        reads_only: op.reads_only(),
    }
}

/// `GET /orders/{id}`
fn request(op: &Value, names: &[&str]) -> String {
    let method = op.get("method").and_then(Value::as_str).unwrap_or_default();
    let name = |piece: &Value| {
        let index = piece.get("param").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| names.get(index)).map(|name| format!("{{{name}}}"))
    };
    let piece = |piece: &Value| match piece.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => name(piece).unwrap_or_else(|| "…".to_owned()),
    };
    let segment = |segment: &Value| match segment.pointer("/filled/pieces").and_then(Value::as_array) {
        Some(pieces) => pieces.iter().map(piece).collect(),
        None => piece(segment),
    };
    let segments = op.pointer("/path/segments").and_then(Value::as_array);
    let path: Vec<String> = segments.into_iter().flatten().map(segment).collect();
    shown(&format!("{method} /{}", path.join("/")))
}
