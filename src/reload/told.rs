//! What the log says of a reload, in one line, and of what was found on the way, in a line each.

use std::collections::HashSet;

use tracing::warn;

use crate::diag::{self, Severity};
use crate::live::Warning;
use crate::plan::{Changes, Checked, Named, Plan};
use crate::policy::RouteAuthPlan;
use crate::telemetry::one_line;

/// Names that one list tells.
const MAX_NAMES: usize = 10;

/// All warnings, in the order of their places.
pub(super) fn warnings(checked: &Checked) -> Vec<Warning> {
    let sorted = checked.diagnostics.sorted().into_iter();
    let warnings = sorted.filter(|problem| problem.severity == Severity::Warning);
    let warning = |problem: &diag::Diagnostic| Warning {
        code: problem.code,
        place: diag::place_of(problem, &checked.sources),
        message: problem.message.clone(),
        help: problem.help.join("; "),
    };
    warnings.map(warning).collect()
}

/// The warnings of the configuration in use, which have been told.
#[derive(Debug, Default)]
pub struct Warned(Vec<Warning>);

impl Warned {
    /// Tells those of a configuration that is about to be used.
    #[must_use]
    pub fn of(checked: &Checked) -> Self {
        let mut warned = Self::default();
        warned.tell(warnings(checked));
        warned
    }

    /// Tells those that were not told of the configuration before, by code and sentence: an edit above them moves their places.
    pub(super) fn tell(&mut self, warnings: Vec<Warning>) {
        let known = |warning: &Warning| (warning.code, warning.message.clone());
        let mut told: HashSet<_> = self.0.iter().map(known).collect();
        for warning in &warnings {
            if told.insert(known(warning)) {
                let Warning { code, place, message, help } = warning;
                let at = place.as_deref().map(one_line);
                let help = Some(one_line(help)).filter(|help| !help.is_empty());
                warn!(code, at, help, "{}", one_line(message));
            }
        }
        self.0 = warnings;
    }

    /// What was told.
    pub(super) fn list(&self) -> Vec<Warning> {
        self.0.clone()
    }
}

/// What callers have without proof that they did not have before, a sentence each: it is told aloud, as one edit too many is enough.
pub(super) fn opened(old: &Plan, new: &Plan) -> Vec<String> {
    if new.server.auth.known().is_none() {
        let sentence = "callers no longer have to prove who they are: whoever reaches this server may call";
        return old.server.auth.known().map(|_| sentence.to_owned()).into_iter().collect();
    }
    let free = |auth: &RouteAuthPlan| auth.public && auth.known;
    let lists = |plan: &Plan| -> [Vec<String>; 3] {
        let tools = plan.tools.iter().filter(|tool| free(&tool.route.policy.auth));
        let resources = plan.resources.iter().filter(|resource| free(&resource.route.policy.auth));
        let prompts = plan.prompts.iter().filter(|prompt| free(&prompt.policy.auth));
        [
            tools.map(|tool| tool.route.name.clone()).collect(),
            resources.map(|resource| resource.uri.clone()).collect(),
            prompts.map(|prompt| prompt.name.clone()).collect(),
        ]
    };
    let all = lists(old).into_iter().zip(lists(new)).zip(["tools", "resources", "prompts"]);
    let sentences = all.filter_map(|((before, mut now), what)| {
        let before: HashSet<String> = before.into_iter().collect();
        now.retain(|name| !before.contains(name));
        let tell = || format!("callers without any credentials may use more {what} now: {}", list("", &now));
        (!now.is_empty()).then(tell)
    });
    sentences.collect()
}

/// `tools: +added -removed ~changed; sources opened: db; …`
pub(super) fn changes(changes: &Changes) -> String {
    let Changes { sources, tools, resources, prompts, server, fixed: _, order } = changes;
    let mut parts = Vec::new();
    for (what, named) in [("tools", tools), ("resources", resources), ("prompts", prompts)] {
        if !named.is_empty() {
            parts.push(format!("{what}: {}", signed(named)));
        }
    }
    for (what, names) in [
        ("sources opened", &sources.added),
        ("sources reopened", &sources.changed),
        ("sources closed", &sources.removed),
    ] {
        if !names.is_empty() {
            parts.push(format!("{what}: {}", list("", names)));
        }
    }
    if *server {
        parts.push("the server's settings".to_owned());
    }
    if *order {
        parts.push("the order of the lists".to_owned());
    }
    parts.join("; ")
}

fn signed(named: &Named) -> String {
    let Named { added, removed, changed } = named;
    let lists =
        [("+", added), ("-", removed), ("~", changed)].into_iter().filter(|(_, names)| !names.is_empty());
    lists.map(|(sign, names)| list(sign, names)).collect::<Vec<_>>().join(" ")
}

fn list(sign: &str, names: &[String]) -> String {
    let mut shown: Vec<String> =
        names.iter().take(MAX_NAMES).map(|name| format!("{sign}{}", one_line(name))).collect();
    if names.len() > MAX_NAMES {
        shown.push(format!("{sign}{} more", names.len() - MAX_NAMES));
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, load_text};
    use crate::diag::Diagnostics;

    fn plan(auth: &str, tool: &str) -> Plan {
        let text = format!(
            "{auth}\ntools:\n  a: {{ description: A., static: {{ text: a }}, {tool} }}\n  b: {{ description: B., static: {{ text: b }} }}\n"
        );
        let loaded = load_text("gateway.yaml", &text, Path::new("."), &Environment::default());
        let mut diagnostics = Diagnostics::default();
        crate::plan::compile(&loaded.config.unwrap(), &mut diagnostics).unwrap()
    }

    #[test]
    fn what_is_open_from_now_on_is_told() {
        let keys = "auth: { api_keys: [{ name: ci, key: \"0123456789abcdef0123456789abcdef\" }] }";
        let (known, free, none) =
            (plan(keys, ""), plan(keys, "policy: { auth: none }"), plan("auth: none", ""));
        let aloud = ["callers no longer have to prove who they are: whoever reaches this server may call"];
        assert_eq!(opened(&known, &none), aloud);
        assert_eq!(opened(&free, &plan("", "")), aloud);
        assert_eq!(opened(&known, &free), ["callers without any credentials may use more tools now: a"]);
        for (old, new) in [(&free, &known), (&none, &known), (&none, &none), (&free, &free)] {
            assert_eq!(opened(old, new), [""; 0]);
        }
    }

    #[test]
    fn a_change_is_told_in_one_line_of_bounded_length() {
        let names = |prefix: &str, n: usize| (0..n).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        let all = Changes {
            sources: Named { added: names("s", 1), removed: names("t", 2), ..Named::default() },
            tools: Named { added: names("a", 12), removed: names("b", 1), changed: names("c", 1) },
            resources: Named { added: vec!["shop://{n}\n".to_owned()], ..Named::default() },
            server: true,
            ..Changes::default()
        };
        assert_eq!(
            changes(&all),
            "tools: +a0 +a1 +a2 +a3 +a4 +a5 +a6 +a7 +a8 +a9 +2 more -b0 ~c0; resources: +shop://{n}\\n; \
             sources opened: s0; sources closed: t0 t1; the server's settings"
        );
    }
}
