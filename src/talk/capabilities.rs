//! What a client said it can do (MCP 2026-07-28, basic/versioning; 2025-11-25, basic/lifecycle).

use serde_json::Value;

/// The longest text of capabilities that is kept, in bytes.
const MAX_TEXT: usize = 4 << 10;

/// A `ClientCapabilities` object, as the client wrote it: it is read where something is asked, and takes little room until then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(Box<str>);

impl Capabilities {
    /// From the client's own words; `None` if there are too many of them.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= MAX_TEXT).then(|| Self(text.into()))
    }

    /// Whether everything in `required` was declared.
    #[must_use]
    pub fn have(&self, required: &Value) -> bool {
        let declared: Value = serde_json::from_str(&self.0).unwrap_or_default();
        required.as_object().is_some_and(|all| {
            all.iter().all(|(name, wanted)| match declared.get(name) {
                Some(declared) if name == "elicitation" => elicits(declared, wanted),
                Some(declared) => covers(declared, wanted),
                None => false,
            })
        })
    }
}

/// An `elicitation` without a mode means forms only (MCP 2026-07-28, client/elicitation).
fn elicits(declared: &Value, wanted: &Value) -> bool {
    let Some(modes) = declared.as_object() else { return false };
    let wanted = wanted.as_object().into_iter().flat_map(|w| w.keys());
    wanted.into_iter().all(|mode| modes.contains_key(mode) || (modes.is_empty() && mode == "form"))
}

/// Whether every member of `wanted` is in `declared`, at every level.
fn covers(declared: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(all) => {
            declared.is_object()
                && all.iter().all(|(name, inner)| declared.get(name).is_some_and(|d| covers(d, inner)))
        }
        other => declared == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn required_capabilities_are_found_at_every_level() {
        let have =
            |declared: Value, required| Capabilities::new(&declared.to_string()).unwrap().have(&required);
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
        assert_eq!(Capabilities::new(&" ".repeat(5000)), None);
    }
}
