//! The body of a request: JSON, a form, parts, a text, XML, or what a jq program makes of the arguments.

use std::borrow::Cow;

use reqwest::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::config::RestOpConfig;
use super::multipart::Multipart;
use super::pairs::Pairs;
use super::plan::{Method, RestPlan};
use super::xml;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::output::Jq;
use crate::params::{Arguments, Scope};
use crate::source::{OpCx, SourceError};
use crate::template::{JsonTemplate, Template};

/// A JSON body that a program makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MadeBody")]
pub struct BodyConfig {
    /// A jq program over the object of all arguments; absent ones are not in it. Its result is the JSON body: none is
    /// `null`, several are a list.
    pub jq: Spanned<String>,
}

/// A compiled body.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Body {
    Json(JsonTemplate),
    Form(Pairs),
    Multipart(Multipart),
    Text(Template),
    Xml(Template),
    Made {
        jq: Jq,
        /// The names of all arguments, in their order.
        names: Vec<String>,
    },
}

impl Body {
    /// The outer `None` is a mistake.
    #[allow(clippy::option_option, reason = "a mistake, and no body, are different things here")]
    pub(super) fn compile(
        config: &RestOpConfig,
        source: Option<&RestPlan>,
        method: Method,
        cx: &mut OpCx<'_>,
    ) -> Option<Option<Self>> {
        match (places(config).as_slice(), method) {
            ([first, second, ..], _) => {
                let message = "a request has one body: `json`, `form`, `multipart`, `text`, `xml` or `body`";
                let problem = Diagnostic::error("two-bodies", message);
                cx.diagnostics.push(problem.at(*second, "the second one").at(*first, "the first one"));
                return None;
            }
            ([at], Method::Get | Method::Head) => {
                let problem = Diagnostic::error("body-on-get", "GET and HEAD have no body").at(*at, "");
                cx.diagnostics.push(problem.help("put the values under `query:`"));
                return None;
            }
            _ => {}
        }
        let (scope, diagnostics) = (&mut *cx.scope, &mut *cx.diagnostics);
        Some(if let Some(json) = &config.json {
            Some(Self::Json(JsonTemplate::compile(json, scope, diagnostics)?))
        } else if let Some(form) = &config.form {
            Some(Self::Form(Pairs::compile(form, scope, diagnostics)?))
        } else if let Some(parts) = &config.multipart {
            Some(Self::Multipart(Multipart::compile(parts, scope, diagnostics)?))
        } else if let Some(text) = &config.text {
            let template = Template::compile(text, scope, diagnostics)?;
            if !stays_text(&template, text, media_type(config, source), scope, diagnostics) {
                return None;
            }
            Some(Self::Text(template))
        } else if let Some(written) = &config.xml {
            Some(Self::Xml(xml::compile(written, scope, diagnostics)?))
        } else if let Some(made) = &config.body {
            let names: Vec<String> = scope.names().map(str::to_owned).collect();
            // The program sees all of them.
            for name in &names {
                scope.resolve(name);
            }
            Some(Self::Made { jq: Jq::compile(&made.jq, diagnostics)?, names })
        } else {
            None
        })
    }

    /// The `Content-Type` and the bytes.
    pub(super) async fn render(
        &self,
        arguments: &Arguments,
        deadline: Instant,
    ) -> Result<(Cow<'static, str>, Vec<u8>), SourceError> {
        Ok(match self {
            Self::Json(template) => json(&template.render(arguments).unwrap_or_default()),
            Self::Form(pairs) => {
                let mut text = String::new();
                pairs.write(&mut text, arguments);
                ("application/x-www-form-urlencoded".into(), text.into_bytes())
            }
            Self::Multipart(parts) => {
                let (kind, body) = parts.render(arguments)?;
                (kind.into(), body)
            }
            Self::Text(template) => {
                let text = template.render(arguments).unwrap_or_default();
                ("text/plain; charset=utf-8".into(), text.into_bytes())
            }
            Self::Xml(template) => ("application/xml".into(), xml::render(template, arguments)?.into_bytes()),
            Self::Made { jq, names } => {
                let all = names.iter().enumerate();
                let given =
                    all.filter_map(|(index, name)| Some((name.clone(), arguments.get(index)?.clone())));
                let input = Value::Object(given.collect::<Map<_, _>>()).to_string();
                json(&jq.run(&input, deadline).await.map_err(|error| {
                    tracing::warn!(%error, "the program of a body failed");
                    let message = "These arguments cannot be made into the request's body.";
                    SourceError::Argument(message.to_owned())
                })?)
            }
        })
    }
}

fn json(value: &Value) -> (Cow<'static, str>, Vec<u8>) {
    ("application/json".into(), value.to_string().into_bytes())
}

/// The media type that a text body is sent as, where the route or its source writes one, and the place in the route.
fn media_type<'a>(config: &'a RestOpConfig, source: Option<&'a RestPlan>) -> Option<(&'a str, Option<Span>)> {
    let own = config.headers.iter().find(|(name, _)| name.value.eq_ignore_ascii_case("content-type"));
    if let Some((_, value)) = own {
        return Some((value.as_str(), Some(value.span)));
    }
    let header = source?.headers.iter().find(|header| header.name == CONTENT_TYPE)?;
    Some((header.value.to_str().ok()?, None))
}

/// Whether no argument of a text body can become a part of the syntax of what the text is sent as. Numbers and truth values never do.
fn stays_text(
    template: &Template,
    text: &Spanned<String>,
    media_type: Option<(&str, Option<Span>)>,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> bool {
    let Some((media_type, at)) = media_type else { return true };
    let Some((syntax, help)) = syntax(media_type) else { return true };
    let harmless = |index: usize| {
        let types = scope.types(index);
        let figures = |t: &String| matches!(t.as_str(), "integer" | "number" | "boolean");
        scope.is_pinned(index) || !types.is_empty() && types.iter().all(figures)
    };
    let Some(index) = template.params().find(|index| !harmless(*index)) else { return true };
    let name = scope.names().nth(index).unwrap_or_default();
    let message = format!("`{{{name}}}` could become syntax of the {syntax} that this text is sent as");
    let problem = Diagnostic::error("unsafe-text", message).within(text.span, format!("{{{name}}}"), "");
    let problem = match at {
        Some(at) => problem.at(at, "sent as this"),
        None => problem,
    };
    diagnostics.push(problem.help(help));
    false
}

/// What a text of this media type is written in, and how to write it so that arguments stay values.
fn syntax(media_type: &str) -> Option<(&'static str, &'static str)> {
    let name = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match name.as_str() {
        "application/x-www-form-urlencoded" => {
            Some(("form", "write it under `form:`, where an argument stays a value whatever is in it"))
        }
        "application/json" | "text/json" => Some(JSON_TEXT),
        "application/xml" | "text/xml" => Some(XML_TEXT),
        name if name.ends_with("+json") => Some(JSON_TEXT),
        name if name.ends_with("+xml") => Some(XML_TEXT),
        _ => None,
    }
}

const JSON_TEXT: (&str, &str) = (
    "JSON",
    "write it under `json:`, where an argument stays a value whatever is in it; `body: { jq: … }` makes JSON of another form",
);
const XML_TEXT: (&str, &str) =
    ("XML", "write it under `xml:`, where an argument stays text whatever is in it");

/// Where each body that is written stands.
fn places(config: &RestOpConfig) -> Vec<Span> {
    let first = |name: Option<&Spanned<String>>| name.map_or(config.source.span, |name| name.span);
    let all = [
        config.json.as_ref().map(|json| json.span),
        config.form.as_ref().map(|form| first(form.iter().next().map(|(name, _)| name))),
        config.multipart.as_ref().map(|parts| first(parts.iter().next().map(|(name, _)| name))),
        config.text.as_ref().map(|text| text.span),
        config.xml.as_ref().map(|xml| xml.span),
        config.body.as_ref().map(|made| made.jq.span),
    ];
    all.into_iter().flatten().collect()
}
