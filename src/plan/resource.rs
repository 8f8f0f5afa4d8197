//! Resources and templates after compile: a route under a URI, whose variables are its parameters.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::complete::{self, CompletionPlan};
use super::listed::{self, ListedPlan};
use super::route::{self, Noun, RouteParts, RoutePlan};
use crate::config::{Config, ResourceConfig};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{self, ParamConfig};
use crate::source::SourcePlans;
use crate::template::UriTemplate;
use crate::units::Size;
use crate::yaml::{Entries, JsonNode};

/// A compiled resource or template.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourcePlan {
    /// Its route.
    pub route: Arc<RoutePlan>,
    /// The URI or URI template as written.
    pub uri: String,
    /// The same, split.
    pub template: UriTemplate,
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Media type of its content.
    pub mime_type: Option<String>,
    /// How large its content is, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Hints about how it is used, in the names of the protocol.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
    /// What else the list says.
    #[serde(flatten)]
    pub listed: ListedPlan,
    /// Suggestions for its variables.
    pub completions: Vec<(String, CompletionPlan)>,
}

impl ResourcePlan {
    /// Whether the URI has variables.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.template.variables().next().is_some()
    }
}

pub(super) fn compile_resource(
    uri: &Spanned<String>,
    resource: &ResourceConfig,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Option<ResourcePlan> {
    let template = match UriTemplate::parse(uri) {
        Ok(template) => template,
        Err((why, near)) => {
            let message = format!("this URI template cannot be used: {why}");
            diagnostics.push(Diagnostic::error("bad-uri-template", message).within(uri.span, near, ""));
            return None;
        }
    };
    let scheme = uri.split(':').next().filter(|s| s.len() < uri.len());
    let scheme_fits = scheme.is_some_and(|s| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    if !scheme_fits || uri.contains(char::is_whitespace) {
        let message = format!("`{}` is not a URI", uri.value);
        let help = "a scheme, `:`, and the rest: `shop://orders/{id}`";
        diagnostics.push(Diagnostic::error("bad-uri", message).at(uri.span, "").help(help));
        return None;
    }
    let owner = format!("resource `{}`", uri.value);
    let listed = listed::compile(&resource.icons, &resource.meta, diagnostics);
    let annotations = listed::annotations(&resource.annotations, diagnostics);
    let params = params::compile(&uri_params(uri, &template, resource, diagnostics)?, &owner, diagnostics)?;
    let of = complete::Owner { what: &owner, params: &params, policy: &resource.policy };
    let completions = complete::compile(&resource.complete, &of, config, sources, diagnostics);
    let parts = RouteParts {
        noun: Noun::Resource,
        name: uri,
        at: uri.span,
        owner,
        params,
        ops: resource.ops(),
        output: &resource.output,
        policy: &resource.policy,
        confirm: None,
        declared: Some(&resource.params),
    };
    let route = route::compile_route(parts, config, sources, diagnostics)?;
    Some(ResourcePlan {
        size: listed::size(resource, &template, &route.output, diagnostics),
        annotations,
        listed,
        route: Arc::new(route),
        uri: uri.value.clone(),
        name: resource.name.clone().unwrap_or_else(|| uri.value.clone()),
        title: resource.title.clone(),
        description: resource.description.clone(),
        completions,
        mime_type: resource
            .mime_type
            .clone()
            .or_else(|| resource.fixed.as_ref().and_then(|f| f.mime_type.clone())),
        template,
    })
}

/// The URI's variables as parameters: texts, unless `params` says more of them.
fn uri_params(
    uri: &Spanned<String>,
    template: &UriTemplate,
    resource: &ResourceConfig,
    diagnostics: &mut Diagnostics,
) -> Option<Entries<ParamConfig>> {
    let mut sound = true;
    for (name, param) in resource.params.iter() {
        if param.hidden() && template.variables().any(|v| v == name.value) {
            sound = false;
            let message =
                format!("`{}` is a variable of the URI, and cannot be bound to something else", name.value);
            diagnostics.push(Diagnostic::error("bound-variable", message).at(name.span, ""));
        }
        if !param.hidden() && !template.variables().any(|v| v == name.value) {
            sound = false;
            let message = format!("`{}` is not a variable of the URI", name.value);
            let help = crate::name::did_you_mean(name, template.variables(), "variables");
            diagnostics
                .push(Diagnostic::error("unknown-param", message).absence().at(name.span, "").help(help));
        }
    }
    let variables = template.variables().map(|name| {
        let written = resource.params.iter().find(|(n, _)| n.value == name).cloned();
        written.unwrap_or_else(|| {
            let name = Spanned::new(name.to_owned(), uri.span);
            let text = Spanned::new(JsonNode::Text("string".to_owned()), uri.span);
            let kind = Spanned::new("type".to_owned(), uri.span);
            (name, ParamConfig { schema: vec![(kind, text)], ..ParamConfig::default() })
        })
    });
    let pinned = resource.params.iter().filter(|(_, p)| p.hidden()).cloned();
    let all = variables.chain(pinned).collect();
    sound.then_some(Entries(all))
}
