//! What differs between two plans: for the log, for clients, and for what cannot change while the program runs.

use std::collections::HashMap;
use std::sync::Arc;

use super::{LogPlan, Plan, RoutePlan, ServerPlan, ToolPlan};

/// Whether two plans say the same; those that are one do.
#[must_use]
pub fn same<T: PartialEq>(one: &Arc<T>, other: &Arc<T>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

impl Plan {
    /// Takes over from `old` what is equal to its own, so that it is there once and is not compared again.
    pub fn share(&mut self, old: &Self) {
        let before: HashMap<&str, &Arc<ToolPlan>> =
            old.tools.iter().map(|tool| (tool.route.name.as_str(), tool)).collect();
        for tool in &mut self.tools {
            let Some(old) = before.get(tool.route.name.as_str()) else { continue };
            if same(&tool.route, &old.route) && !Arc::ptr_eq(&tool.route, &old.route) {
                Arc::make_mut(tool).route = old.route.clone();
            }
            if tool == *old {
                *tool = Arc::clone(old);
            }
        }
        let before: HashMap<&str, &Arc<RoutePlan>> =
            old.resources.iter().map(|resource| (resource.uri.as_str(), &resource.route)).collect();
        for resource in &mut self.resources {
            let old = before.get(resource.uri.as_str()).filter(|old| same(old, &resource.route));
            if let Some(old) = old {
                resource.route = Arc::clone(old);
            }
        }
    }
}

/// The names that differ, in written order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Only in the new plan.
    pub added: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

impl Named {
    fn between<'a, T: 'a>(
        old: impl Iterator<Item = (&'a str, &'a T)>,
        new: impl Iterator<Item = (&'a str, &'a T)>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let mut named = Self::default();
        let old: Vec<_> = old.collect();
        let mut before: HashMap<&str, &T> = old.iter().copied().collect();
        for (name, one) in new {
            match before.remove(name) {
                None => named.added.push(name.to_owned()),
                Some(other) if !same(other, one) => named.changed.push(name.to_owned()),
                Some(_) => {}
            }
        }
        let gone = old.iter().filter(|(name, _)| before.contains_key(name));
        named.removed = gone.map(|(name, _)| (*name).to_owned()).collect();
        named
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What differs between two plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sources.
    pub sources: Named,
    /// Tools.
    pub tools: Named,
    /// Resources and templates, by URI.
    pub resources: Named,
    /// Prompts.
    pub prompts: Named,
    /// Whether the server's own settings differ.
    pub server: bool,
    /// Those of them that cannot change while the program runs, by their keys.
    pub fixed: Vec<&'static str>,
    /// Whether anything is written in another order.
    pub order: bool,
}

impl Changes {
    /// What differs. `http` says whether the plan is served over HTTP, whose address cannot change then.
    #[must_use]
    pub fn between(old: &Plan, new: &Plan, http: bool) -> Self {
        let mut changes = Self {
            sources: Named::between(
                old.sources.iter().map(|(name, plan)| (name.as_str(), plan)),
                new.sources.iter().map(|(name, plan)| (name.as_str(), plan)),
                PartialEq::eq,
            ),
            tools: Named::between(
                old.tools.iter().map(|t| (t.route.name.as_str(), t)),
                new.tools.iter().map(|t| (t.route.name.as_str(), t)),
                same,
            ),
            resources: Named::between(
                old.resources.iter().map(|r| (r.uri.as_str(), r)),
                new.resources.iter().map(|r| (r.uri.as_str(), r)),
                PartialEq::eq,
            ),
            prompts: Named::between(
                old.prompts.iter().map(|p| (p.name.as_str(), p)),
                new.prompts.iter().map(|p| (p.name.as_str(), p)),
                PartialEq::eq,
            ),
            server: old.server != new.server,
            fixed: fixed(&old.server, &new.server, http),
            order: false,
        };
        let equal = changes.is_empty();
        let tools = || old.tools.iter().zip(&new.tools).all(|(old, new)| same(old, new));
        changes.order = equal
            && (!tools() || !old.resources.iter().eq(&new.resources) || !old.prompts.iter().eq(&new.prompts));
        changes
    }

    /// Whether the same is served in the same way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { sources, tools, resources, prompts, server, fixed, order } = self;
        let parts = [sources, tools, resources, prompts];
        parts.into_iter().all(Named::is_empty) && !server && fixed.is_empty() && !order
    }
}

/// The settings that hold from the start of the program to its end. A new setting has its place here: below if it is looked up anew
/// by every request.
fn fixed(old: &ServerPlan, new: &ServerPlan, http: bool) -> Vec<&'static str> {
    let ServerPlan {
        listen,
        path,
        max_concurrent_calls,
        log,
        audit,
        admin,
        tls,
        lists_frozen,
        metrics: _,
        otlp: _,
        name: _,
        title: _,
        version: _,
        description: _,
        website: _,
        icons: _,
        instructions: _,
        allowed_hosts: _,
        allowed_origins: _,
        max_body: _,
        drain: _,
        max_sessions: _,
        session_idle: _,
        list_ttl: _,
        list_page: _,
        lists_limit: _,
        cache_max: _,
        trusted_proxies: _,
        status: _,
        auth: _,
        reloads: _,
    } = old;
    // How much is written is looked up anew; where and how is not.
    let LogPlan { level: _, levels: _, format, file, max_size, keep } = log;
    [
        ("server.http.listen", http && *listen != new.listen),
        ("server.http.path", http && *path != new.path),
        ("server.http.tls", http && tls.is_some() != new.tls.is_some()),
        ("server.http.max_concurrent_calls", *max_concurrent_calls != new.max_concurrent_calls),
        ("server.log.format", *format != new.log.format),
        ("server.log.file", *file != new.log.file),
        ("server.log.max_size", *max_size != new.log.max_size),
        ("server.log.keep", *keep != new.log.keep),
        ("server.lists.frozen", *lists_frozen != new.lists_frozen),
        ("server.audit", *audit != new.audit),
        ("server.admin.listen", http && *admin != new.admin),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load_text};
    use crate::diag::Diagnostics;
    use std::path::Path;

    fn plan(text: &str) -> Plan {
        let loaded = load_text("gateway.yaml", text, Path::new("."), &Environment::default());
        super::super::compile(&loaded.config.unwrap(), &mut Diagnostics::default()).unwrap()
    }

    const TEXT: &str = r#"
sources:
  api: { rest: { base_url: "http://localhost:1" } }
  db: { sql: { url: "sqlite::memory:" } }
tools:
  a: { description: A., rest: { source: api, get: /a } }
  b: { description: B., static: { text: b } }
"#;

    #[test]
    fn a_plan_does_not_differ_from_itself() {
        assert!(Changes::between(&plan(TEXT), &plan(TEXT), true).is_empty());
        assert_eq!(plan(TEXT), plan(TEXT));
    }

    #[test]
    fn a_comment_or_another_order_of_sources_is_no_change_of_anything() {
        let commented = TEXT.replace("\ntools:", "\n\n# about the tools\ntools:  # here");
        assert!(Changes::between(&plan(TEXT), &plan(&commented), true).is_empty());
        let turned = r#"
tools:
  a: { rest: { get: /a, source: api }, description: A. }
  b: { static: { text: b }, description: B. }
sources:
  db: { sql: { url: "sqlite::memory:" } }
  api: { rest: { base_url: "http://localhost:1" } }
"#;
        assert!(Changes::between(&plan(TEXT), &plan(turned), true).is_empty());
    }

    #[test]
    fn what_is_equal_in_two_plans_is_there_once() {
        let old = plan(TEXT);
        let mut new = plan(&TEXT.replace("B.", "Another."));
        let before = new.clone();
        new.share(&old);
        assert!(Arc::ptr_eq(&old.tools[0], &new.tools[0]));
        assert!(!Arc::ptr_eq(&old.tools[1], &new.tools[1]));
        assert!(Arc::ptr_eq(&old.tools[1].route, &new.tools[1].route), "its description is another one only");
        assert_eq!(before, new);
        assert_eq!(Changes::between(&old, &new, true).tools.changed, ["b"]);
    }

    #[test]
    fn names_that_come_go_and_change_are_told_apart() {
        let other = TEXT.replace("localhost:1", "localhost:2").replace("  b: {", "  c: {");
        let other = other.replace("A.", "Another.").replace("\ntools:", "\nserver: { name: x }\ntools:");
        let changes = Changes::between(&plan(TEXT), &plan(&other), true);
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(changes.sources, Named { changed: names(&["api"]), ..Named::default() });
        let tools = Named { added: names(&["c"]), removed: names(&["b"]), changed: names(&["a"]) };
        assert_eq!(changes.tools, tools);
        assert!(changes.server && changes.fixed.is_empty() && !changes.order);
        let turned = "tools:\n  b: { description: B., static: { text: b } }\n  a: { description: A., static: { text: a } }\n";
        let straight = "tools:\n  a: { description: A., static: { text: a } }\n  b: { description: B., static: { text: b } }\n";
        assert!(Changes::between(&plan(straight), &plan(turned), true).order);
    }

    #[test]
    fn what_holds_from_start_to_end_is_named() {
        let with = |server: &str| plan(&format!("server: {server}\n{}", TEXT.trim_start()));
        for (server, http, stdio) in [
            ("{ http: { listen: 127.0.0.1:9 } }", &["server.http.listen"][..], &[][..]),
            ("{ http: { path: /other } }", &["server.http.path"], &[]),
            (
                "{ http: { tls: { cert: tests/config/tls/tls.crt, key: tests/config/tls/tls.key } } }",
                &["server.http.tls"],
                &[],
            ),
            (
                "{ http: { max_concurrent_calls: 3 }, log: { format: json } }",
                &["server.http.max_concurrent_calls", "server.log.format"],
                &["server.http.max_concurrent_calls", "server.log.format"],
            ),
            (
                "{ log: { file: x.log, max_size: 1MiB, keep: 1 } }",
                &["server.log.file", "server.log.max_size", "server.log.keep"],
                &["server.log.file", "server.log.max_size", "server.log.keep"],
            ),
            ("{ log: { level: debug, levels: { sqlx: warn } } }", &[], &[]),
            ("{ lists: { frozen: true } }", &["server.lists.frozen"], &["server.lists.frozen"]),
            ("{ http: { drain: 3s, max_body: 1MB } }", &[], &[]),
        ] {
            for (over_http, wanted) in [(true, http), (false, stdio)] {
                assert_eq!(Changes::between(&plan(TEXT), &with(server), over_http).fixed, wanted, "{server}");
                assert_eq!(Changes::between(&with(server), &plan(TEXT), over_http).fixed, wanted, "{server}");
            }
        }
    }
}
