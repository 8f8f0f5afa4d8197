//! What the callers of a server mean for its routes: what nobody could ever use is told.

use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics};
use crate::yaml::{Entries, TextOr};

/// Says that nobody has the identity that a route is bound to.
pub(super) fn check_unknown(config: &Config, diagnostics: &mut Diagnostics) {
    let keys = config.auth.as_ref().is_some_and(|a| matches!(a.value, TextOr::Block(_)));
    if keys || config.losses.touch(&["auth"], &[]) {
        return;
    }
    let sessions = config.sources.iter().filter_map(|(_, s)| s.sql.as_ref()).flat_map(|s| s.session.iter());
    let sessions = sessions.map(|(_, value)| value);
    let params = config.tools.iter().map(|(_, t)| &t.params);
    let params = params.chain(config.resources.iter().map(|(_, r)| &r.params));
    let params = params.flat_map(Entries::iter).filter_map(|(_, p)| p.from.as_ref());
    let prompts =
        config.prompts.iter().flat_map(|(_, p)| p.params.iter()).filter_map(|(_, p)| p.from.as_ref());
    if let Some(first) = sessions.chain(params).chain(prompts).next() {
        let message = format!("`{}` is used, and nobody who calls over HTTP has an identity", first.value);
        let help = "give `auth.api_keys` or `auth.jwt`; until then such calls are refused over HTTP, and over stdio the caller is `local`";
        diagnostics.push(Diagnostic::warning("no-identity", message).at(first.span, "").help(help));
    }
}
