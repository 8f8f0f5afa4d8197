//! Schemas that lead back into themselves in several ways at once: what a value costs them doubles and more with each of its levels, so
//! it is known before a value is checked how much that is.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// How much may be looked at to see whether a value fits.
const CHECKED: f64 = (1 << 22) as f64;
/// How much may be looked at to tell why it does not, which keeps a note of all of it.
const TOLD: f64 = (1 << 10) as f64;

/// Keywords whose schemas look at the same value.
const SAME: [&str; 8] = ["allOf", "anyOf", "oneOf", "if", "then", "else", "not", "dependentSchemas"];
/// Keywords whose schemas look at what is in it, where one part may have to do with several of them.
const WITHIN: [&str; 9] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "prefixItems",
    "items",
    "additionalItems",
    "contains",
    "unevaluatedItems",
];
/// Those of them that have a schema for each part.
const EACH: [&str; 3] = ["properties", "prefixItems", "items"];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// How a schema that leads back into itself grows with the levels of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branching {
    /// How many ways lead back.
    ways: f64,
    /// How many levels of a value the shortest of them goes down.
    levels: f64,
}

impl Branching {
    /// That of a schema; nothing where no more than one way leads back.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let mut found = Found { schema, references: Vec::new() };
        found.collect(schema, "");
        let turning: HashSet<String> = found
            .references
            .iter()
            .filter(|(at, to)| found.returns(at, to))
            .map(|(at, _)| at.clone())
            .collect();
        let mut walk = Walk { found: &found, turning: &turning, steps: 0 };
        let targets: HashSet<&String> =
            found.references.iter().filter(|(at, _)| turning.contains(at)).map(|(_, to)| to).collect();
        let (mut ways, mut levels) = (0_u32, u32::MAX);
        for target in targets {
            let seen = schema.pointer(target).map(|node| walk.look(node, target, 0)).unwrap_or_default();
            ways = ways.max(seen.ways);
            levels = levels.min(seen.levels.unwrap_or(u32::MAX));
        }
        (ways > 1).then(|| Self { ways: ways.into(), levels: f64::from(levels.clamp(1, 1000)) })
    }

    /// Whether it takes no more than may be to see if a value fits.
    pub(super) fn can_check(&self, value: &Value) -> bool {
        self.left(value, 0, CHECKED).is_some()
    }

    /// Whether it takes no more than may be to tell why a value does not fit.
    pub(super) fn can_tell(&self, value: &Value) -> bool {
        self.left(value, 0, TOLD).is_some()
    }

    /// What is left of a number of looks when each value has been looked at in all the ways that lead to it.
    fn left(&self, value: &Value, level: u32, looks: f64) -> Option<f64> {
        let left = looks - self.ways.powf((f64::from(level) / self.levels).floor());
        if left < 0.0 {
            return None;
        }
        match value {
            Value::Array(items) => items.iter().try_fold(left, |left, item| self.left(item, level + 1, left)),
            Value::Object(members) => {
                members.values().try_fold(left, |left, member| self.left(member, level + 1, left))
            }
            _ => Some(left),
        }
    }
}

/// A schema, and where what in it refers to: both as JSON pointers.
struct Found<'a> {
    schema: &'a Value,
    references: Vec<(String, String)>,
}

impl Found<'_> {
    fn collect(&mut self, node: &Value, at: &str) {
        match node {
            Value::Object(members) => {
                for (name, value) in members {
                    if let (true, Some(target)) = (REFERENCES.contains(&name.as_str()), value.as_str()) {
                        self.references.push((at.to_owned(), self.place(target)));
                    }
                    self.collect(value, &below(at, name));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.collect(item, &format!("{at}/{index}"));
                }
            }
            _ => {}
        }
    }

    /// The place that a reference names. What is not found is taken for the whole schema, from which everything can be reached.
    fn place(&self, target: &str) -> String {
        let name = target.rsplit_once('#').map_or("", |(_, name)| name);
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
        if name.is_empty() || name.starts_with('/') {
            return if self.schema.pointer(&name).is_some() { name } else { String::new() };
        }
        anchor(self.schema, &name, "").unwrap_or_default()
    }

    /// Whether one who follows a reference can come to it again.
    fn returns(&self, at: &str, to: &str) -> bool {
        let (mut seen, mut next) = (HashSet::new(), vec![to]);
        while let Some(target) = next.pop() {
            if is_in(at, target) {
                return true;
            }
            if seen.insert(target) {
                let inside = self.references.iter().filter(|(at, _)| is_in(at, target));
                next.extend(inside.map(|(_, to)| to.as_str()));
            }
        }
        false
    }

    fn target(&self, at: &str) -> impl Iterator<Item = &str> {
        self.references.iter().filter(move |(place, _)| place == at).map(|(_, to)| to.as_str())
    }
}

/// Whether a place is another one, or in it.
fn is_in(at: &str, place: &str) -> bool {
    at.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn below(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Where a schema has this name.
fn anchor(node: &Value, name: &str, at: &str) -> Option<String> {
    match node {
        Value::Object(members) => {
            let has = |key: &str| members.get(key).and_then(Value::as_str) == Some(name);
            if has("$anchor") || has("$dynamicAnchor") {
                return Some(at.to_owned());
            }
            members.iter().find_map(|(key, value)| anchor(value, name, &below(at, key)))
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| anchor(item, name, &format!("{at}/{index}")))
        }
        _ => None,
    }
}

/// In how many ways references that lead back are come to from a place, and how many levels of a value down the nearest is.
#[derive(Clone, Copy, Default)]
struct Seen {
    ways: u32,
    levels: Option<u32>,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Self { ways: self.ways.saturating_add(other.ways), levels: self.nearest(other) }
    }

    /// The same where only one of both has to do with a value.
    fn or(self, other: Self) -> Self {
        Self { ways: self.ways.max(other.ways), levels: self.nearest(other) }
    }

    fn nearest(self, other: Self) -> Option<u32> {
        [self.levels, other.levels].into_iter().flatten().min()
    }

    fn deeper(self) -> Self {
        Self { levels: self.levels.map(|levels| levels + 1), ..self }
    }
}

/// The most schemas that are looked at; one that has more is taken for one with many ways.
const STEPS: usize = 100_000;
/// How deeply references that do not lead back may stand in each other.
const DEPTH: usize = 200;

struct Walk<'a> {
    found: &'a Found<'a>,
    turning: &'a HashSet<String>,
    steps: usize,
}

impl Walk<'_> {
    fn look(&mut self, node: &Value, at: &str, depth: usize) -> Seen {
        self.steps += 1;
        let Value::Object(members) = node else { return Seen::default() };
        if self.steps > STEPS || depth > DEPTH {
            return Seen { ways: 16, levels: Some(1) };
        }
        let mut seen = Seen::default();
        if self.turning.contains(at) {
            seen = Seen { ways: 1, levels: Some(0) };
        } else {
            let found = self.found;
            for target in found.target(at) {
                if let Some(node) = found.schema.pointer(target) {
                    seen = seen.and(self.look(node, target, depth + 1));
                }
            }
        }
        for name in SAME {
            seen = seen.and(self.member(members, name, at, depth, false));
        }
        for name in WITHIN {
            seen = seen.and(self.member(members, name, at, depth, EACH.contains(&name)).deeper());
        }
        seen
    }

    /// The schemas of a keyword; `each` if there is one for each part.
    fn member(
        &mut self,
        members: &Map<String, Value>,
        name: &str,
        at: &str,
        depth: usize,
        each: bool,
    ) -> Seen {
        let Some(value) = members.get(name) else { return Seen::default() };
        let at = below(at, name);
        let join = |all: Seen, one: Seen| if each { all.or(one) } else { all.and(one) };
        let several = matches!(name, "properties" | "patternProperties" | "dependentSchemas");
        match value {
            Value::Array(items) => items.iter().enumerate().fold(Seen::default(), |all, (index, item)| {
                join(all, self.look(item, &format!("{at}/{index}"), depth + 1))
            }),
            Value::Object(named) if several => named.iter().fold(Seen::default(), |all, (name, node)| {
                join(all, self.look(node, &below(&at, name), depth + 1))
            }),
            node => self.look(node, &at, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A filter as tools have it: all of, one of, or a comparison.
    pub(in crate::params) fn filters() -> Value {
        let of = |name: &str| {
            let args = json!({ "type": "array", "items": { "$ref": "#/$defs/f" } });
            json!({ "type": "object", "properties": { "op": { "const": name }, "args": args }, "required": ["op", "args"] })
        };
        let leaf = json!({
            "type": "object",
            "properties": { "field": { "type": "string" }, "eq": { "type": "string" } },
            "required": ["field", "eq"],
            "additionalProperties": false,
        });
        json!({
            "type": "object",
            "properties": { "filter": { "$ref": "#/$defs/f" } },
            "$defs": { "f": { "oneOf": [of("and"), of("or"), leaf] } },
        })
    }

    #[test]
    fn ways_that_lead_back_are_counted_where_they_look_at_the_same_value() {
        let node = |more: Value| json!({ "$defs": { "n": more }, "$ref": "#/$defs/n" });
        let back = || json!({ "$ref": "#/$defs/n" });
        for (schema, expected) in [
            (filters(), Some((2.0, 2.0))),
            (
                json!({ "type": "object", "properties": { "a": { "anyOf": [{ "type": "string" }, { "type": "null" }] } } }),
                None,
            ),
            // A tree has one way to each of its parts.
            (
                node(
                    json!({ "properties": { "left": back(), "right": back(), "all": { "items": back() } } }),
                ),
                None,
            ),
            (node(json!({ "anyOf": [{ "items": back() }, { "type": "null" }] })), None),
            (node(json!({ "anyOf": [{ "items": back() }, { "items": back() }] })), Some((2.0, 1.0))),
            (
                node(json!({ "allOf": [{ "properties": { "a": back() } }], "additionalProperties": back() })),
                Some((2.0, 1.0)),
            ),
            (
                json!({ "oneOf": [{ "items": { "$ref": "#" } }, { "additionalProperties": { "$ref": "#" } }, { "contains": { "$ref": "#" } }] }),
                Some((3.0, 1.0)),
            ),
            // By another one, and by names.
            (
                json!({ "$ref": "#a", "$defs": {
                    "a": { "$anchor": "a", "properties": { "x": { "$ref": "#b" } } },
                    "b": { "$anchor": "b", "anyOf": [{ "items": { "$ref": "#a" } }, { "items": { "$ref": "#a" } }] },
                } }),
                Some((2.0, 1.0)),
            ),
            (
                json!({ "$defs": { "a": { "type": "string" } }, "anyOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }] }),
                None,
            ),
        ] {
            let found = Branching::of(&schema).map(|found| (found.ways, found.levels));
            assert_eq!(found, expected, "{schema}");
        }
    }

    #[test]
    fn a_value_is_checked_and_told_about_as_far_as_that_can_be_borne() {
        let branching = Branching::of(&filters()).unwrap();
        let nested = |deep: usize| {
            let leaf = json!({ "field": "a", "eq": "b" });
            json!({ "filter": (0..deep).fold(leaf, |inner, _| json!({ "op": "and", "args": [inner] })) })
        };
        let at = |can: &dyn Fn(&Value) -> bool| (0..60).take_while(|deep| can(&nested(*deep))).count();
        assert_eq!((at(&|v| branching.can_tell(v)), at(&|v| branching.can_check(v))), (7, 19));
        let wide =
            json!({ "filter": { "op": "or", "args": vec![json!({ "field": "a", "eq": "b" }); 10_000] } });
        assert!(branching.can_check(&wide) && !branching.can_tell(&wide));
    }
}
