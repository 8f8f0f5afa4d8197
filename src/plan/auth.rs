//! What the callers of a server mean for its routes: what nobody could ever use is told.

use crate::auth::AuthPlan;
use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::ParamsPlan;
use crate::policy::{self, PolicyConfig, RouteAuthPlan};
use crate::yaml::TextOr;

/// Who may use a route, with what the server's `auth` means for it.
pub(super) fn of_route(
    auth: RouteAuthPlan,
    written: &PolicyConfig,
    config: &Config,
    params: &ParamsPlan,
    owner: &str,
    diagnostics: &mut Diagnostics,
) -> RouteAuthPlan {
    let written = written.auth(&config.defaults.policy);
    let names: Vec<&str> = params.params.iter().map(|param| param.name.as_str()).collect();
    policy::check_args(written, &auth, &names, owner, diagnostics);
    let known = config.auth.as_ref().is_some_and(|auth| matches!(auth.value, TextOr::Block(_)));
    RouteAuthPlan { known, ..auth }
}

/// Warns of routes whose scopes nobody has who calls over HTTP.
pub(super) fn check_scopes(config: &Config, auth: Option<&AuthPlan>, diagnostics: &mut Diagnostics) {
    let Some(auth) = auth.filter(|_| !config.losses.touch(&["auth"], &[])) else { return };
    let known = auth.known();
    if known.is_some_and(|known| !known.issuers.is_empty()) {
        return;
    }
    let policies = config.tools.iter().map(|(_, tool)| &tool.policy);
    let policies = policies.chain(config.resources.iter().map(|(_, resource)| &resource.policy));
    let policies = policies.chain(config.prompts.iter().map(|(_, prompt)| &prompt.policy));
    let routes =
        policies.chain([&config.defaults.policy]).filter_map(|policy| match &policy.auth.as_ref()?.value {
            TextOr::Block(route) => Some(&route.scopes),
            TextOr::Text(_) => None,
        });
    let mut told = Vec::new();
    for scopes in routes.chain(config.server.admin.as_ref().map(|admin| &admin.scopes)) {
        let names: Vec<&String> = scopes.iter().map(|scope| &scope.value).collect();
        let has = |scopes: &[String]| names.iter().all(|name| scopes.contains(name));
        let Some(first) = scopes.first() else { continue };
        if known.is_some_and(|known| known.identities().any(|identity| has(&identity.scopes)))
            || told.contains(&names)
        {
            continue;
        }
        let (message, help) = match known {
            Some(_) => (
                "no key and no certificate of `auth` has these scopes: nobody can use it over HTTP",
                "give them to a key or a certificate under `scopes`",
            ),
            None => (
                "nobody who calls over HTTP has scopes: this is for stdio only",
                "give `auth.api_keys` or `auth.jwt`",
            ),
        };
        diagnostics.push(Diagnostic::warning("nobody-may", message).at(first.span, "").help(help));
        told.push(names);
    }
}

/// Says that nobody has the token that a source exchanges.
pub(super) fn check_exchange(config: &Config, auth: Option<&AuthPlan>, diagnostics: &mut Diagnostics) {
    let Some(auth) = auth.filter(|_| !config.losses.touch(&["auth"], &[])) else { return };
    if auth.known().is_some_and(|known| !known.issuers.is_empty()) {
        return;
    }
    let rest = config.sources.iter().filter_map(|(_, source)| source.rest.as_ref());
    let mut all = rest.filter_map(|rest| rest.credentials.as_ref()?.token_exchange.as_ref());
    if let Some(first) = all.next() {
        let message =
            "this source acts in the name of who calls, by their tokens, and nobody calls with a token";
        let help = "give `auth.jwt`; until then every call of this source is refused";
        let at = first.token_url.span;
        diagnostics.push(Diagnostic::warning("no-tokens", message).at(at, "").help(help));
    }
}

/// Says that nobody has the identity that a route is bound to.
pub(super) fn check_unknown(config: &Config, diagnostics: &mut Diagnostics) {
    let keys = config.auth.as_ref().is_some_and(|a| matches!(a.value, TextOr::Block(_)));
    if keys || config.losses.touch(&["auth"], &[]) {
        return;
    }
    if let Some(first) = bound(config).flatten().next() {
        let message = format!("`{}` is used, and nobody who calls over HTTP has an identity", first.value);
        let help = "give `auth.api_keys` or `auth.jwt`; until then such calls are refused over HTTP, and over stdio the caller is `local`";
        diagnostics.push(Diagnostic::warning("no-identity", message).at(first.span, "").help(help));
    }
}

/// Warns of a subject that tells callers apart, where several issuers may have given the same one to two people
/// (OpenID Connect Core 1.0, section 2: `sub` is unique within its issuer).
pub(super) fn check_subjects(config: &Config, auth: Option<&AuthPlan>, diagnostics: &mut Diagnostics) {
    let Some(issuers) = auth.and_then(AuthPlan::known).map(|known| known.issuers.len()) else { return };
    if issuers < 2 || config.losses.touch(&["auth"], &[]) {
        return;
    }
    for parts in bound(config) {
        let parts: Vec<_> = parts.collect();
        let first = parts.iter().find(|part| part.value == "caller.sub");
        let Some(first) = first.filter(|_| !parts.iter().any(|part| part.value == "caller.claims.iss"))
        else {
            continue;
        };
        let message = format!(
            "`caller.sub` is used alone, and {issuers} issuers say who calls: one `sub` may be two people"
        );
        let help = "use `caller.claims.iss` beside it";
        diagnostics.push(Diagnostic::warning("shared-subject", message).at(first.span, "").help(help));
        return;
    }
}

/// The parts of the caller's identity that are used together: by the session of a source, or by the parameters of a route.
fn bound(config: &Config) -> impl Iterator<Item = impl Iterator<Item = &Spanned<String>>> {
    type Parts<'a> = Box<dyn Iterator<Item = &'a Spanned<String>> + 'a>;
    let sources = config.sources.iter().filter_map(|(_, source)| source.sql.as_ref());
    let sessions = sources.map(|sql| Box::new(sql.session.iter().map(|(_, value)| value)) as Parts<'_>);
    let params = config.tools.iter().map(|(_, tool)| &tool.params);
    let params = params.chain(config.resources.iter().map(|(_, resource)| &resource.params));
    let params = params
        .map(|params| Box::new(params.iter().filter_map(|(_, param)| param.from.as_ref())) as Parts<'_>);
    let prompts = config.prompts.iter().map(|(_, prompt)| {
        Box::new(prompt.params.iter().filter_map(|(_, param)| param.from.as_ref())) as Parts<'_>
    });
    sessions.chain(params).chain(prompts)
}
