//! What a client said it can do (MCP 2026-07-28, basic/versioning; 2025-11-25, basic/lifecycle).

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// The longest text of capabilities that is kept, in bytes.
const MAX_TEXT: usize = 4 << 10;
/// How many levels of a longer text are cut, and not left out as a whole.
const LEVELS: usize = 4;
/// What is asked of clients here, and so kept before all the rest.
const USED: [&str; 3] = ["elicitation", "sampling", "roots"];

/// The members of an object; their values may nest as deep as they like.
type Members<'a> = HashMap<String, &'a RawValue>;

/// A `ClientCapabilities` object, as the client wrote it: it is read where something is asked, and takes little room until then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(Box<str>);

impl Capabilities {
    /// From the client's own words. Where there are too many of them, those that take the most room are not kept, and count as not said.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(cut(text, MAX_TEXT, LEVELS).unwrap_or_default().into())
    }

    /// Whether everything in `required` was declared.
    #[must_use]
    pub fn have(&self, required: &Value) -> bool {
        let Some(declared) = members(&self.0) else { return false };
        required.as_object().is_some_and(|all| {
            all.iter().all(|(name, wanted)| match declared.get(name) {
                Some(declared) if name == "elicitation" => elicits(declared.get(), wanted),
                Some(declared) => covers(declared.get(), wanted),
                None => false,
            })
        })
    }
}

/// An `elicitation` without a mode means forms only (MCP 2026-07-28, client/elicitation).
fn elicits(declared: &str, wanted: &Value) -> bool {
    let Some(modes) = members(declared) else { return false };
    let wanted = wanted.as_object().into_iter().flat_map(|w| w.keys());
    wanted.into_iter().all(|mode| modes.contains_key(mode) || (modes.is_empty() && mode == "form"))
}

/// Whether every member of `wanted` is in `declared`, at every level.
fn covers(declared: &str, wanted: &Value) -> bool {
    match wanted {
        Value::Object(all) => members(declared).is_some_and(|declared| {
            all.iter().all(|(name, inner)| declared.get(name).is_some_and(|d| covers(d.get(), inner)))
        }),
        other => serde_json::from_str::<Value>(declared).is_ok_and(|declared| declared == *other),
    }
}

/// One level of an object; `None` if it is none.
fn members(json: &str) -> Option<Members<'_>> {
    serde_json::from_str(json).ok()
}

/// As much of a value as takes `room`, small members before large ones; `None` if nothing of it does.
fn cut(json: &str, room: usize, levels: usize) -> Option<String> {
    if json.len() <= room {
        return Some(json.to_owned());
    }
    let levels = levels.checked_sub(1)?;
    // What is around the members.
    let mut left = room.checked_sub(2)?;
    let mut all: Vec<_> = members(json)?.into_iter().collect();
    all.sort_by_cached_key(|(name, value)| (!USED.contains(&name.as_str()), value.get().len(), name.clone()));
    let mut kept = Vec::new();
    for (name, value) in all {
        let name = Value::String(name).to_string();
        // A colon and a comma.
        let Some(room) = left.checked_sub(name.len() + 2) else { continue };
        if let Some(value) = cut(value.get(), room, levels) {
            left = room.saturating_sub(value.len());
            kept.push(format!("{name}:{value}"));
        }
    }
    Some(format!("{{{}}}", kept.join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn required_capabilities_are_found_at_every_level() {
        let have = |declared: Value, required| Capabilities::new(&declared.to_string()).have(&required);
        let form = || json!({ "elicitation": { "form": {} } });
        assert!(have(json!({ "elicitation": {} }), form()));
        assert!(have(json!({ "elicitation": { "form": {}, "url": {} } }), form()));
        assert!(!have(json!({ "elicitation": { "url": {} } }), form()));
        assert!(!have(json!({ "sampling": {} }), form()));
        assert!(!have(json!({ "elicitation": true }), form()));
        assert!(have(json!({ "sampling": { "tools": {} } }), json!({ "sampling": {} })));
        assert!(!have(json!({ "sampling": {} }), json!({ "sampling": { "tools": {} } })));
        assert!(!have(json!(null), json!({ "roots": {} })));
        assert!(have(json!({ "roots": { "listChanged": true } }), json!({ "roots": {} })));
        assert!(have(json!({ "a": { "b": [1], "c": 2 } }), json!({ "a": { "b": [1] } })));
        assert!(!have(json!({ "a": { "b": [1], "c": 2 } }), json!({ "a": { "b": [2] } })));
    }

    #[test]
    fn what_is_free_takes_nothing_away_however_long_or_deep_it_is() {
        let form = json!({ "elicitation": { "form": {} } });
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let deep = Capabilities::new(&format!(r#"{{"experimental":{{"a":{deep}}},"elicitation":{{}}}}"#));
        assert!(deep.have(&form) && !deep.have(&json!({ "sampling": {} })));

        let long = "x".repeat(1 << 20);
        let extensions = json!({ "com.example/long": { "text": long }, "com.example/short": { "v": 1 } });
        let declared = json!({
            "experimental": { "a": long, "list": [long] },
            "extensions": extensions,
            "elicitation": { "form": { "note": long }, "url": {} },
            "sampling": { "tools": {} },
            "roots": { "listChanged": true, "note": long },
        });
        let kept = Capabilities::new(&declared.to_string());
        assert!(kept.0.len() <= MAX_TEXT, "{}", kept.0.len());
        for required in [
            form,
            json!({ "elicitation": { "url": {} } }),
            json!({ "sampling": { "tools": {} }, "roots": { "listChanged": true } }),
            json!({ "extensions": { "com.example/short": { "v": 1 } } }),
        ] {
            assert!(kept.have(&required), "{required} of {}", kept.0);
        }
        assert!(!kept.have(&json!({ "experimental": { "a": long } })));
        // Many small ones, and what is no object at all.
        let many: serde_json::Map<_, _> = (0..10_000).map(|n| (format!("x{n}"), json!({}))).collect();
        let mut many = Value::Object(many);
        many["roots"] = json!({});
        let kept = Capabilities::new(&many.to_string());
        assert!(kept.0.len() <= MAX_TEXT && kept.have(&json!({ "roots": {}, "x1": {} })), "{}", kept.0);
        assert!(!Capabilities::new(&" ".repeat(5000)).have(&json!({ "roots": {} })));
    }
}
