//! Frozen lists: two tools that stay the same and reach every other one, and the words by which tools are found. For clients that read
//! the list once and never hear that it has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ToolPlan;
use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics};
use crate::policy::{RouteAuthPlan, Viewer};

/// Finds tools.
pub const FIND_TOOL: &str = "find_tool";
/// Calls one of them.
pub const CALL_TOOL: &str = "call_tool";
/// The longest text to find tools by, in characters.
pub const MAX_QUERY: usize = 500;
/// The most tools that one answer holds.
pub const MAX_FOUND: usize = 50;
/// How many it holds where nobody says.
pub const DEFAULT_FOUND: usize = 10;

/// Words of a query that count.
const MAX_WORDS: usize = 12;
/// Words of a description that count.
const MAX_DESCRIBED: usize = 100;
/// The longest answer, in bytes; the first tool is always in it.
const MAX_BYTES: usize = 256 << 10;

/// Tools with the words that they are found by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index(Vec<Indexed>);

#[derive(Clone, Debug, PartialEq)]
struct Indexed {
    name: String,
    /// Name, title and description in lower case.
    said: [String; 3],
    /// Their words.
    words: [Vec<String>; 3],
    /// The entry of the list.
    entry: String,
    auth: RouteAuthPlan,
}

/// What was found, best first.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Entries as in `tools/list`.
    pub entries: Vec<&'a str>,
    /// How many more there are.
    pub more: usize,
}

impl Index {
    /// Of tools with their entries.
    pub(super) fn new(tools: &[Arc<ToolPlan>], entries: Vec<String>) -> Self {
        let index = |(tool, entry): (&Arc<ToolPlan>, String)| {
            let text = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
            let said = [tool.route.name.to_lowercase(), text(&tool.title), text(&tool.description)];
            let words = [&said[0], &said[1], &said[2]].map(|said| words(said, MAX_DESCRIBED));
            let auth = tool.route.policy.auth.clone();
            Indexed { name: tool.route.name.clone(), said, words, entry, auth }
        };
        Self(tools.iter().zip(entries).map(index).collect())
    }

    /// The tools that this caller may use and that a text is about, in written order where nothing tells them apart; all of them if it
    /// says nothing.
    #[must_use]
    pub fn find(&self, query: &str, limit: usize, viewer: &Viewer<'_>) -> Found<'_> {
        let query = query.to_lowercase();
        let query = query.trim();
        let wanted = words(query, MAX_WORDS);
        let rank = |tool: &Indexed| if query.is_empty() { Some((0, 0)) } else { tool.rank(query, &wanted) };
        let ranked = self.0.iter().filter_map(|tool| rank(tool).map(|rank| (rank, tool)));
        let seen = ranked.filter(|(_, tool)| tool.auth.before_viewer(viewer, &tool.name).is_ok());
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (_, tool) in seen.iter().take(limit) {
            bytes += tool.entry.len();
            if bytes > MAX_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(tool.entry.as_str());
        }
        Found { more: seen.len() - entries.len(), entries }
    }
}

impl Indexed {
    /// How many words are met, and how well; `None` if nothing is.
    fn rank(&self, query: &str, wanted: &[String]) -> Option<(usize, usize)> {
        if self.said.first().is_some_and(|name| name == query) {
            return Some((usize::MAX, 0));
        }
        let score = |word: &String| {
            let of = |(words, weight): (&Vec<String>, usize)| {
                words.iter().map(|known| closeness(known, word)).max().unwrap_or(0) * weight
            };
            self.words.iter().zip([4, 3, 1]).map(of).sum::<usize>()
        };
        let scores: Vec<usize> = wanted.iter().map(score).filter(|score| *score > 0).collect();
        // What is written without blanks between words is found by its characters.
        let within = || self.said.iter().any(|said| said.contains(query)).then_some((0, 1));
        if scores.is_empty() { within() } else { Some((scores.len(), scores.iter().sum())) }
    }
}

/// 2 for the same word, 1 for one that begins with the other.
fn closeness(a: &str, b: &str) -> usize {
    const SHORT: usize = 3;
    match (a == b, a.len().min(b.len()) >= SHORT && (a.starts_with(b) || b.starts_with(a))) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    }
}

/// The different words of a text in lower case.
fn words(text: &str, max: usize) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.filter(|word| seen.insert(*word)).take(max).map(str::to_owned).collect()
}

/// The entries of the two tools, with hints for a client as careful as the most careless tool behind them wants it.
pub(super) fn entries() -> [Value; 2] {
    let query = format!(
        "Words for what the tool should do, such as `open orders of a customer`; {MAX_QUERY} characters at the most. Without it: all tools, in their order."
    );
    let find = json!({
        "name": FIND_TOOL,
        "title": "Find a tool",
        "description": format!("Finds the tools of this server by words of their names and descriptions. Gives their input schemas; call one with `{CALL_TOOL}`. The tools may change at any time."),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": { "type": "string", "maxLength": MAX_QUERY, "description": query },
                "limit": { "type": "integer", "minimum": 1, "maximum": MAX_FOUND, "default": DEFAULT_FOUND, "description": "How many to give." },
            },
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "tools": { "type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "name": { "type": "string" },
                        "description": { "type": "string" },
                        "inputSchema": { "type": "object" },
                    },
                    "required": ["name", "inputSchema"],
                } },
                "more": { "type": "integer", "minimum": 0, "description": "How many more were found." },
            },
            "required": ["tools", "more"],
        },
        "annotations": { "title": "Find a tool", "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false },
    });
    let call = json!({
        "name": CALL_TOOL,
        "title": "Call a tool",
        "description": format!("Calls a tool that `{FIND_TOOL}` gave, with arguments that its input schema describes. The result is that of the tool."),
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": { "type": "string", "description": "The name of the tool." },
                "arguments": { "type": "object", "description": "Its arguments." },
            },
            "required": ["name"],
            "additionalProperties": false,
        },
        "annotations": { "title": "Call a tool", "readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": true },
    });
    [find, call]
}

/// The two names are nobody else's.
pub(super) fn check(config: &Config, diagnostics: &mut Diagnostics) {
    if !config.server.lists.frozen {
        return;
    }
    let taken = config.tools.iter().filter(|(name, _)| [FIND_TOOL, CALL_TOOL].contains(&name.value.as_str()));
    for (name, _) in taken {
        let message = format!("`{}` is a tool that `server.lists.frozen` serves", name.value);
        let help = "give this one another name, or leave `frozen` out";
        diagnostics.push(Diagnostic::error("taken-name", message).at(name.span, "").help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Caller;

    fn index(tools: &[(&str, &str)]) -> Index {
        let indexed = |(name, description): &(&str, &str)| {
            let said = [name.to_lowercase(), String::new(), description.to_lowercase()];
            let words = [&said[0], &said[1], &said[2]].map(|said| words(said, MAX_DESCRIBED));
            Indexed {
                name: (*name).to_owned(),
                said,
                words,
                entry: (*name).to_owned(),
                auth: RouteAuthPlan::default(),
            }
        };
        Index(tools.iter().map(indexed).collect())
    }

    #[test]
    fn what_meets_more_words_and_in_the_name_comes_first() {
        let index = index(&[
            ("create_note", "Attach a note to an order."),
            ("open_orders", "Open orders of one customer, newest first."),
            ("get_order", "Look up one order by its number."),
            ("search_handbook", "Find passages of the staff handbook."),
            ("注文", "注文番号で注文を調べる。"),
        ]);
        for (query, wanted) in [
            ("get_order", &["get_order", "open_orders", "create_note"][..]),
            ("GET_ORDER", &["get_order", "open_orders", "create_note"]),
            ("open orders of a customer", &["open_orders", "create_note", "get_order", "search_handbook"]),
            ("handbook", &["search_handbook"]),
            ("番号で", &["注文"]),
            ("  ", &["create_note", "open_orders", "get_order", "search_handbook", "注文"]),
            ("nothing-like-it", &[]),
        ] {
            let found = index.find(query, 10, &Viewer::new(&Caller::Local));
            // The first is what matters; the others are there.
            assert_eq!(found.entries.first(), wanted.first(), "{query}");
            let sorted = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
            assert_eq!((sorted(&found.entries), found.more), (sorted(wanted), 0), "{query}");
        }
    }

    #[test]
    fn an_answer_has_an_end_and_says_how_many_it_leaves_out() {
        let long = "x".repeat(MAX_BYTES / 2 - 1);
        let mut index = index(&[("a", "One."), ("b", "One."), ("c", "One.")]);
        let viewer = Viewer::new(&Caller::Local);
        assert_eq!(index.find("one", 2, &viewer), Found { entries: vec!["a", "b"], more: 1 });
        index.0.iter_mut().for_each(|tool| tool.entry.clone_from(&long));
        let found = index.find("one", 3, &viewer);
        assert_eq!((found.entries.len(), found.more), (2, 1));
        index.0.iter_mut().for_each(|tool| tool.entry = long.repeat(3));
        let found = index.find("one", 3, &viewer);
        assert_eq!((found.entries.len(), found.more), (1, 2));
    }
}
