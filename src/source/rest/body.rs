//! The body of a request: JSON, a form, parts, a text, XML, or what a jq program makes of the arguments.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::config::RestOpConfig;
use super::multipart::Multipart;
use super::pairs::Pairs;
use super::plan::Method;
use super::xml;
use crate::diag::{Diagnostic, Span, Spanned};
use crate::output::Jq;
use crate::params::Arguments;
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
    pub(super) fn compile(config: &RestOpConfig, method: Method, cx: &mut OpCx<'_>) -> Option<Option<Self>> {
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
            Some(Self::Text(Template::compile(text, scope, diagnostics)?))
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
