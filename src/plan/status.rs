//! Who may read what the server says of itself, and the hash of a plan that it names there.

use std::io::{self, BufWriter, Write};

use aws_lc_rs::digest;
use serde::Serialize;

use super::Plan;
use crate::auth::AuthPlan;
use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics};
use crate::policy::{self, RouteAuthPlan};
use crate::units::to_hex;

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

/// `sha256:…` of a plan as JSON, where secrets are masked: nobody can find one by trying.
pub(super) fn digest(plan: &Plan) -> String {
    struct Hashing(digest::Context);
    impl Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut out = BufWriter::with_capacity(64 << 10, Hashing(digest::Context::new(&digest::SHA256)));
    // A plan is written as JSON by tests and by `plan`; what could not be would be told apart by its length.
    let written = serde_json::to_writer(&mut out, plan);
    match (written, out.into_inner()) {
        (Ok(()), Ok(hashing)) => format!("sha256:{}", to_hex(hashing.0.finish().as_ref())),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Environment, load_text};
    use crate::diag::Diagnostics;

    fn hash(text: &str, secret: &str) -> String {
        let given = [("TOKEN".to_owned(), secret.to_owned())].into();
        let environment = Environment { given, ..Environment::default() };
        let loaded = load_text("gateway.yaml", text, Path::new("."), &environment);
        let plan = super::super::compile(&loaded.config.unwrap(), &mut Diagnostics::default());
        super::digest(&plan.unwrap())
    }

    #[test]
    fn a_hash_is_that_of_what_is_served_and_says_nothing_of_secrets() {
        let text = r#"
auth: { api_keys: [{ name: a, key: "${TOKEN}" }, { name: b, key: bbbbbbbbbbbbbbbbbbbbbbbb }] }
sources:
  api: { rest: { base_url: "http://localhost:1", headers: { a: b, c: d }, credentials: { bearer: "${TOKEN}" } } }
  db: { sql: { url: "postgres://u:${TOKEN}@localhost/x" } }
tools:
  a: { description: A., params: { x: { type: string } }, rest: { source: api, get: "/a/{x}" } }
"#;
        let [one, two] = ["s3cr3t-0123456789-0123456789", "an0ther-0123456789-0123456789"];
        let first = hash(text, one);
        assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
        assert_eq!(first, hash(text, one), "the same in every process");
        assert_eq!(first, hash(&text.replace("\ntools:", "\n# here\ntools:"), two));
        assert_ne!(first, hash(&text.replace("A.", "B."), one));
    }
}
