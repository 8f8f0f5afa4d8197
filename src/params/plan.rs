//! Parameters after compile: the schema the model sees, its validator, and the order of the values.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::plain::Plain;
use super::secrets;
use super::shared;
use super::{Checks, Misfit, ParamConfig, PromptParamConfig};
use crate::caller::CallerField;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::yaml::{Entries, JsonNode, Outside};

/// How many subschemas and levels one schema may have.
const MAX_SUBSCHEMAS: usize = 2_000;
const MAX_SCHEMA_DEPTH: usize = 32;
const UNKNOWN_DIALECT: &str = "declares a `$schema` that is not known here: known are \
    `https://json-schema.org/draft/2020-12/schema`, as without one, the same of 2019-09, and \
    `http://json-schema.org/draft-07/schema#`, the same of draft-06 and draft-04";

/// One parameter in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Whether a call without it is refused.
    pub required: bool,
    /// The value when absent.
    pub default: Option<Box<Value>>,
    /// The pinned value; such a parameter is hidden from the model.
    pub fixed: Option<Box<Value>>,
    /// What of the caller it is; such a parameter is hidden too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<CallerParam>>,
    /// The JSON types it may have; empty if the schema does not say.
    pub types: Vec<String>,
    /// Whether the schema says that nobody shows it: `writeOnly`, or the format of a password.
    #[serde(skip)]
    pub secret: bool,
}

impl Param {
    /// Whether the model neither sees nor sets it.
    #[must_use]
    pub const fn hidden(&self) -> bool {
        self.fixed.is_some() || self.from.is_some()
    }
}

/// A parameter that the caller's identity fills.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallerParam {
    /// What of it.
    pub field: CallerField,
    /// What the value must be.
    pub schema: InputSchema,
}

/// A JSON Schema and what checks values against it. Equality and output are those of the schema.
#[derive(Clone)]
pub struct InputSchema {
    /// Kept as text, which takes a fifth of what its value takes.
    text: Box<RawValue>,
    checks: Checks,
}

impl InputSchema {
    /// The schema as the model sees it.
    #[must_use]
    pub fn value(&self) -> Value {
        // It was written from one.
        serde_json::from_str(self.text.get()).unwrap_or_default()
    }

    /// The schema as the model sees it, as JSON.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        &self.text
    }

    /// Whether a value fits.
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        self.checks.is_valid(value)
    }

    /// The first reasons why a value does not fit, at most `most`.
    #[must_use]
    pub fn misfits<'a>(&'a self, value: &'a Value, most: usize) -> Vec<Misfit<'a>> {
        self.checks.misfits(value, most)
    }
}

impl std::fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value().fmt(f)
    }
}

impl PartialEq for InputSchema {
    fn eq(&self, other: &Self) -> bool {
        // Keys may be written in another order.
        self.text.get() == other.text.get() || self.value() == other.value()
    }
}

impl Serialize for InputSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

/// All parameters of a route, in the order in which arguments are kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamsPlan {
    /// The parameters.
    pub params: Vec<Param>,
    /// The schema of the visible ones.
    pub schema: InputSchema,
    /// Whether arguments that are not declared are refused.
    pub closed: bool,
}

/// The names that templates of one route may use, and which of them were used.
#[derive(Debug)]
pub struct Scope {
    /// What the names belong to, for messages: `tool get_order`.
    pub owner: String,
    params: Vec<(String, Vec<String>, bool)>,
    /// Which of them are pinned.
    pinned: Vec<bool>,
    used: Vec<bool>,
    outside: Outside,
}

impl Scope {
    /// The scope of a route's parameters.
    #[must_use]
    pub fn new(owner: String, params: &ParamsPlan) -> Self {
        let list = params.params.iter();
        let pinned = list.clone().map(|p| p.fixed.is_some()).collect();
        let params: Vec<_> = list
            .map(|p| {
                let always = p.required || p.default.is_some() || p.hidden();
                (p.name.clone(), p.types.clone(), always)
            })
            .collect();
        Self { owner, used: vec![false; params.len()], params, pinned, outside: Outside::default() }
    }

    /// Says which parts of the texts are values of `${…}`, in which nothing is a name.
    #[must_use]
    pub fn with_outside(mut self, outside: &Outside) -> Self {
        self.outside = outside.clone();
        self
    }

    /// Which parts of the texts are values of `${…}`.
    #[must_use]
    pub const fn outside(&self) -> &Outside {
        &self.outside
    }

    /// The place of a parameter among the arguments; marks it as used.
    pub fn resolve(&mut self, name: &str) -> Option<usize> {
        let index = self.params.iter().position(|p| p.0 == name)?;
        if let Some(used) = self.used.get_mut(index) {
            *used = true;
        }
        Some(index)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|p| p.0.as_str())
    }

    /// Names that nothing resolved.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let pairs = self.params.iter().zip(&self.used);
        pairs.filter(|(_, used)| !**used).map(|(p, _)| p.0.as_str())
    }

    /// The declared JSON types of a parameter.
    #[must_use]
    pub fn types(&self, index: usize) -> &[String] {
        self.params.get(index).map_or(&[], |p| p.1.as_slice())
    }

    /// Whether its value stands in the configuration, so that no caller gives it.
    #[must_use]
    pub fn is_pinned(&self, index: usize) -> bool {
        self.pinned.get(index).is_some_and(|pinned| *pinned)
    }

    /// Whether a call always has a value for it.
    #[must_use]
    pub fn always_present(&self, index: usize) -> bool {
        self.params.get(index).is_some_and(|p| p.2)
    }
}

/// Compiles the parameters of a tool or resource.
pub fn compile(
    config: &Entries<ParamConfig>,
    owner: &str,
    diagnostics: &mut Diagnostics,
) -> Option<ParamsPlan> {
    let mut params = Vec::with_capacity(config.iter().count());
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut sound = true;
    for (name, param) in config.iter() {
        if !crate::name::is_valid(name) {
            sound = false;
            let message = format!("`{}` cannot be the name of a parameter", name.value);
            let help = "a letter or `_`, then letters, digits, `_`, `-`, `.`";
            diagnostics.push(Diagnostic::error("bad-name", message).at(name.span, "").help(help));
        }
        sound &= check_param(name, param, diagnostics);
        let default = param.keyword("default").map(|v| Box::new(v.to_value()));
        let fixed = param.fixed.as_ref().map(|v| Box::new(v.to_value()));
        let hidden = param.hidden();
        let is_required = !param.optional && default.is_none() && !hidden;
        let schema: Map<String, Value> =
            param.schema.iter().map(|(k, v)| (k.value.clone(), v.to_value())).collect();
        let from = param.from.as_ref().and_then(|from| from_caller(from, &schema, name, diagnostics));
        sound &= param.from.is_none() || from.is_some();
        let mut types = param.keyword("type").map(|t| types(&t.to_value())).unwrap_or_default();
        if let (true, Some(kind)) = (types.is_empty(), from.as_ref().and_then(|f| f.field.kind())) {
            types.push(kind.to_owned());
        }
        if !hidden {
            properties.insert(name.value.clone(), Value::Object(schema));
            if is_required {
                required.push(Value::from(name.value.as_str()));
            }
        }
        params.push(Param {
            name: name.value.clone(),
            required: is_required,
            default,
            fixed,
            from: from.map(Box::new),
            types,
            // Known once all are there, as one may refer to another.
            secret: false,
        });
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    let schema = Value::Object(schema);
    for param in &mut params {
        let own = schema.get("properties").and_then(|all| all.get(&param.name));
        param.secret = own.is_some_and(|own| secrets::within(own, &schema));
    }
    let at = config.iter().next().map(|(n, _)| n.span).unwrap_or_default();
    sound &= check_defaults(config, &params, diagnostics);
    if !sound {
        return None;
    }
    let schema = match validator(&schema, owner) {
        Ok(schema) => schema,
        Err((message, path)) => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let at = place(config, &path).unwrap_or(at);
            diagnostics.push(Diagnostic::error("bad-schema", message).at(at, ""));
            return None;
        }
    };
    Some(ParamsPlan { params, schema, closed: true })
}

/// Parameters from a verbatim `input_schema`.
pub fn compile_verbatim(
    config: &Spanned<JsonNode>,
    owner: &str,
    diagnostics: &mut Diagnostics,
) -> Option<ParamsPlan> {
    let value = config.to_value();
    if value.get("type") != Some(&json!("object")) {
        let message = "an input schema has `type: object` at its root";
        diagnostics.push(Diagnostic::error("bad-schema", message).at(config.at(&["type"]), ""));
        return None;
    }
    let required: Vec<&str> = value
        .get("required")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = value.get("properties").and_then(Value::as_object);
    let all_secret = secrets::beside(&value);
    let params = properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| Param {
            name: name.clone(),
            required: required.contains(&name.as_str()),
            default: schema.get("default").cloned().map(Box::new),
            fixed: None,
            from: None,
            types: schema.get("type").map(types).unwrap_or_default(),
            secret: all_secret || secrets::within(schema, &value),
        })
        .collect();
    let closed = value.get("additionalProperties") == Some(&json!(false));
    match validator(&value, owner) {
        Ok(schema) => Some(ParamsPlan { params, schema, closed }),
        Err((message, path)) => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            diagnostics.push(Diagnostic::error("bad-schema", message).at(config.at(&path), ""));
            None
        }
    }
}

/// The place in `config` of what stands at `path` in the schema made from it.
#[must_use]
pub fn place(config: &Entries<ParamConfig>, path: &[&str]) -> Option<Span> {
    let ["properties", name, rest @ ..] = path else { return None };
    let (key, param) = config.iter().find(|(k, _)| k.value == *name)?;
    let inner = rest.split_first().and_then(|(keyword, rest)| Some(param.keyword(keyword)?.at(rest)));
    Some(inner.unwrap_or(key.span))
}

/// Parameters of a prompt: all texts.
pub fn compile_prompt(
    config: &Entries<PromptParamConfig>,
    owner: &str,
    diagnostics: &mut Diagnostics,
) -> Option<ParamsPlan> {
    let as_params = config.iter().map(|(name, p)| {
        let text = |t: &str| Spanned::new(JsonNode::Text(t.to_owned()), name.span);
        let key = |k: &str| Spanned::new(k.to_owned(), name.span);
        let mut schema = vec![(key("type"), text("string"))];
        if let Some(description) = &p.description {
            schema.push((key("description"), text(description)));
        }
        if let Some(default) = &p.default {
            let value = Spanned::new(JsonNode::Text(default.value.clone()), default.span);
            schema.push((key("default"), value));
        }
        if let Some(allowed) = &p.allowed {
            let list = JsonNode::List(allowed.iter().map(|a| text(a)).collect());
            schema.push((key("enum"), Spanned::new(list, name.span)));
        }
        let param = ParamConfig { optional: p.optional, fixed: None, from: p.from.clone(), schema };
        (name.clone(), param)
    });
    compile(&Entries(as_params.collect()), owner, diagnostics)
}

fn types(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The types of JSON Schema 2020-12, section 6.1.1.
const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "array", "object", "null"];

/// What of the caller a parameter is, and what it must be.
fn from_caller(
    from: &Spanned<String>,
    schema: &Map<String, Value>,
    name: &Spanned<String>,
    diagnostics: &mut Diagnostics,
) -> Option<CallerParam> {
    let Some(field) = CallerField::parse(from) else {
        let message = format!("`{}` is not a part of the caller's identity", from.value);
        let help = CallerField::FORMS;
        diagnostics.push(Diagnostic::error("bad-caller-field", message).at(from.span, "").help(help));
        return None;
    };
    match validator(&Value::Object(schema.clone()), &format!("`{}`", name.value)) {
        Ok(schema) => Some(CallerParam { field, schema }),
        Err((message, _)) => {
            diagnostics.push(Diagnostic::error("bad-schema", message).at(name.span, ""));
            None
        }
    }
}

/// What the keys of one parameter must not say together.
fn check_param(name: &Spanned<String>, param: &ParamConfig, diagnostics: &mut Diagnostics) -> bool {
    let before = diagnostics.errors();
    if let Some(fixed) = &param.fixed {
        for (key, clash) in [("optional", param.optional), ("default", param.keyword("default").is_some())] {
            if clash {
                let message = format!("`{}` is pinned by `const`, so `{key}` says nothing", name.value);
                diagnostics.push(Diagnostic::error("const-and-more", message).at(fixed.span, "pinned here"));
            }
        }
    }
    if let Some(from) = &param.from {
        let clashes = [
            ("const", param.fixed.is_some()),
            ("optional", param.optional),
            ("default", param.keyword("default").is_some()),
        ];
        for (key, _) in clashes.iter().filter(|(_, clash)| *clash) {
            let message =
                format!("`{}` comes from the caller alone, so `{key}` cannot stand with it", name.value);
            diagnostics.push(Diagnostic::error("from-and-more", message).at(from.span, "bound here"));
        }
    }
    if let (true, Some(default)) = (param.optional, param.keyword("default")) {
        let message = format!("`{}` has both `optional` and `default`", name.value);
        let help = "with a default it is never absent: drop `optional`";
        diagnostics.push(Diagnostic::error("optional-and-default", message).at(default.span, "").help(help));
    }
    if let Some(kind) = param.keyword("type") {
        for wrong in types(&kind.to_value()).iter().filter(|t| !TYPES.contains(&t.as_str())) {
            let message = format!("`{wrong}` is not a JSON Schema type");
            let help = crate::name::did_you_mean(wrong, TYPES, "types");
            diagnostics.push(Diagnostic::error("bad-type", message).at(kind.span, "").help(help));
        }
    }
    diagnostics.errors() == before
}

/// A default or constant that its own schema refuses would fail on every call.
fn check_defaults(config: &Entries<ParamConfig>, params: &[Param], diagnostics: &mut Diagnostics) -> bool {
    let before = diagnostics.errors();
    for ((name, param), planned) in config.iter().zip(params) {
        let (Some(value), Some(written)) = (
            planned.default.as_ref().or(planned.fixed.as_ref()),
            param.keyword("default").or(param.fixed.as_ref()),
        ) else {
            continue;
        };
        let schema: Map<String, Value> =
            param.schema.iter().map(|(k, v)| (k.value.clone(), v.to_value())).collect();
        let schema = Value::Object(schema);
        if Plain::of(&schema).is_some_and(|plain| plain.is_valid(value)) {
            continue;
        }
        // The library tells the first thing that it meets, which is not always the first of all.
        if let Ok(one) = jsonschema::draft202012::new(&schema)
            && let Err(error) = one.validate(value)
        {
            let message =
                format!("the value given for `{}` does not fit its own schema: {error}", name.value);
            diagnostics.push(Diagnostic::error("bad-default", message).at(written.span, ""));
        }
    }
    diagnostics.errors() == before
}

/// Compiles a schema; references out of the document, and schemas too large to be meant, are refused with a sentence and
/// the path of what is wrong.
pub(super) fn validator(value: &Value, owner: &str) -> Result<InputSchema, (String, Vec<String>)> {
    if let Err((why, path)) = sound_schema(value) {
        return Err((format!("the schema of {owner} {why}"), path));
    }
    match Checks::input(value) {
        Ok(checks) => match serde_json::value::to_raw_value(value) {
            Ok(text) => Ok(InputSchema { text, checks }),
            Err(error) => Err((format!("the schema of {owner} cannot be written: {error}"), Vec::new())),
        },
        Err(error) => {
            let path = error.instance_path().to_string();
            let path = path.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
            Err((format!("the schema of {owner} is not valid JSON Schema: {error}"), path))
        }
    }
}

/// Whether a schema is of a dialect that is known here, small enough, and refers to nothing but itself.
///
/// # Errors
/// Why not, as the end of a sentence, and the place of it.
pub fn sound_schema(schema: &Value) -> Result<(), (&'static str, Vec<String>)> {
    if shared::dialect(schema).is_none() {
        return Err((UNKNOWN_DIALECT, vec!["$schema".to_owned()]));
    }
    let mut path = Vec::new();
    bounded(schema, &mut path, &mut 0).map_err(|why| (why, path))
}

/// Leaves `path` at the place of what is refused.
fn bounded(value: &Value, path: &mut Vec<String>, count: &mut usize) -> Result<(), &'static str> {
    if path.len() > MAX_SCHEMA_DEPTH {
        return Err("nests more than 32 levels");
    }
    match value {
        Value::Object(map) => {
            *count += 1;
            if *count > MAX_SUBSCHEMAS {
                return Err("has more than 2000 subschemas");
            }
            for (key, inner) in map {
                path.push(key.clone());
                if key == "$ref" && inner.as_str().is_some_and(|r| !r.starts_with('#')) {
                    return Err("refers outside itself; only `#/…` references are followed");
                }
                bounded(inner, path, count)?;
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                path.push(index.to_string());
                bounded(inner, path, count)?;
                path.pop();
            }
        }
        _ => {}
    }
    Ok(())
}
