//! What a plan exposes and what differs, as tables for a review comment. Every text of the configuration is written so that it stays one.

use std::fmt::Write as _;

use super::compare::Comparison;
use super::exposed::{Exposed, ExposedRoute};
use super::text::{access, counts, operation, param};
use super::words::{markdown_word, shown};

fn code(text: &str) -> String {
    let mut out = String::new();
    markdown_word(&shown(text), &mut out);
    out
}

impl Exposed {
    /// As markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let server = &self.server;
        let callers: Vec<String> = server.callers.iter().map(|callers| code(callers)).collect();
        let mut out =
            format!("### {} at {}\n\nFor {}\n", code(&server.name), code(&server.url), callers.join(", "));
        for (what, routes) in
            [("Tools", &self.tools), ("Resources", &self.resources), ("Prompts", &self.prompts)]
        {
            if routes.is_empty() {
                continue;
            }
            let _ = write!(
                out,
                "\n#### {what}\n\n| name | operation | parameters | callers | policy |\n|---|---|---|---|---|\n"
            );
            for route in routes {
                row(route, &mut out);
            }
        }
        out
    }
}

fn row(route: &ExposedRoute, out: &mut String) {
    let list = |texts: Vec<String>| texts.iter().map(|text| code(text)).collect::<Vec<_>>().join("<br>");
    let _ = writeln!(
        out,
        "| {} | {} | {} | {} | {} |",
        code(&route.name),
        list(route.operations.iter().map(operation).collect()),
        list(route.params.iter().map(param).collect()),
        access(&route.access).map(|access| code(&access)).unwrap_or_default(),
        route.policy.join(", "),
    );
}

impl Comparison {
    /// As markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let against = code(&self.against);
        if self.items.is_empty() {
            return format!("No change against {against}.\n");
        }
        let mut out = format!("Against {against}: {}.\n\n", counts(self));
        out.push_str("| effect | what | change | difference |\n|---|---|---|---|\n");
        for item in &self.items {
            let name = if item.name.is_empty() { String::new() } else { format!(" {}", code(&item.name)) };
            let from = item.from.as_ref().map(|from| format!(" (was {})", code(from))).unwrap_or_default();
            for difference in &item.differences {
                let _ = writeln!(
                    out,
                    "| {} | {}{name} | {}{from} | {} |",
                    difference.effect.as_str(),
                    item.what,
                    item.change.as_str(),
                    difference.sentence.markdown()
                );
            }
        }
        if !self.restart.is_empty() {
            let _ = write!(
                out,
                "\nNeeds a restart: {}.\n",
                self.restart.iter().map(|key| code(key)).collect::<Vec<_>>().join(", ")
            );
        }
        out
    }
}
