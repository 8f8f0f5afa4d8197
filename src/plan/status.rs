//! Who may read what the server says of itself.

use serde::Serialize;

use crate::auth::AuthPlan;
use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics};
use crate::policy::{self, RouteAuthPlan};

/// The URI of the resource that holds it.
pub const STATUS_URI: &str = "sidegate://status";

/// `server.admin.scopes` and `server.admin.resource` after compile.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StatusPlan {
    /// What a caller needs.
    pub auth: RouteAuthPlan,
    /// Whether it is a resource, too.
    pub resource: bool,
}

impl StatusPlan {
    /// Whether nothing is written of it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.auth.is_plain() && !self.resource
    }
}

pub(super) fn compile(config: &Config, auth: Option<&AuthPlan>, diagnostics: &mut Diagnostics) -> StatusPlan {
    let known = auth.is_some_and(|auth| auth.known().is_some());
    let Some(written) = &config.server.admin else {
        return StatusPlan { auth: RouteAuthPlan { known, ..RouteAuthPlan::default() }, resource: false };
    };
    let scopes = policy::scopes(&written.scopes, diagnostics);
    StatusPlan {
        auth: RouteAuthPlan { known, scopes, ..RouteAuthPlan::default() },
        resource: written.resource,
    }
}

/// The resource's URI is not somebody else's.
pub(super) fn check(config: &Config, diagnostics: &mut Diagnostics) {
    if !config.server.admin.as_ref().is_some_and(|admin| admin.resource) {
        return;
    }
    if let Some((uri, _)) = config.resources.iter().find(|(uri, _)| uri.value == STATUS_URI) {
        let message = format!("`{STATUS_URI}` is what `server.admin.resource` serves");
        let help = "give it another URI, or leave `resource` out";
        diagnostics.push(Diagnostic::error("taken-name", message).at(uri.span, "").help(help));
    }
}
