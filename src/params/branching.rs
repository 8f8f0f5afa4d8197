//! Schemas that lead back into themselves in several ways at once: what a value costs them doubles and more with each of its levels, so
//! it is known before a value is checked how much that is.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// How much may be looked at to see whether a value fits.
const CHECKED: f64 = (1 << 22) as f64;
/// How much may be looked at to tell why it does not, which keeps a note of all of it.
const TOLD: f64 = (1 << 10) as f64;

/// Keywords whose schemas look at the same value.
const SAME: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "if", "then", "else", "not", "dependentSchemas", "dependencies"];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Keywords with which the library keeps no note of what it has checked already.
const UNNOTED: [&str; 4] = ["unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"];

/// How a schema that leads back into itself grows with the levels of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branching {
    /// By how much, with each level.
    growth: f64,
    /// Whether that is so where it is only asked if a value fits, as the library keeps no note of what it has checked.
    always: bool,
}

impl Branching {
    /// That of a schema; nothing where no more than one way leads back.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let mut found = Found { schema, references: Vec::new() };
        found.collect(schema, "");
        if found.references.is_empty() {
            return None;
        }
        // Those that one who follows them can come to again.
        let reach = found.reach();
        let returns =
            |at: &str, to: &str| reach.get(to).is_some_and(|all| all.iter().any(|target| is_in(at, target)));
        let turning: HashSet<String> =
            found.references.iter().filter(|(at, to)| returns(at, to)).map(|(at, _)| at.clone()).collect();
        let targets: HashSet<&String> =
            found.references.iter().filter(|(at, _)| turning.contains(at)).map(|(_, to)| to).collect();
        let growth = targets.into_iter().filter_map(|target| {
            let mut walk = Walk { found: &found, turning: &turning, steps: 0, stack: vec![target] };
            let ways = walk.look(schema.pointer(target)?, target, false);
            let levels = ways.levels.unwrap_or(1).max(1);
            Some(f64::from(ways.all()).powf(1.0 / f64::from(levels)))
        });
        let growth = growth.fold(1.0, f64::max);
        let always = UNNOTED.iter().any(|name| has(schema, name));
        (growth > 1.0).then_some(Self { growth, always })
    }

    /// Whether it takes no more than may be to see if a value fits.
    pub(super) fn can_check(&self, value: &Value) -> bool {
        !self.always || self.left(value, 0, CHECKED).is_some()
    }

    /// Whether it takes no more than may be to tell why a value does not fit.
    pub(super) fn can_tell(&self, value: &Value) -> bool {
        self.left(value, 0, TOLD).is_some()
    }

    /// What is left of a number of looks when each value has been looked at in all the ways that lead to it.
    fn left(&self, value: &Value, level: i32, looks: f64) -> Option<f64> {
        let left = looks - self.growth.powi(level);
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

/// Whether a keyword stands somewhere in a schema.
fn has(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| key == name || has(value, name)),
        Value::Array(items) => items.iter().any(|item| has(item, name)),
        _ => false,
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

    /// All that can be reached from each place that is referred to, itself among it.
    fn reach(&self) -> HashMap<&str, HashSet<&str>> {
        let mut inside: HashMap<&str, HashSet<&str>> = HashMap::new();
        let targets: HashSet<&str> = self.references.iter().map(|(_, to)| to.as_str()).collect();
        for target in targets.iter().copied() {
            let within = self.references.iter().filter(|(at, _)| is_in(at, target));
            inside.insert(target, within.map(|(_, to)| to.as_str()).collect());
        }
        let from = |target| {
            let (mut seen, mut next): (HashSet<&str>, Vec<&str>) = (HashSet::from([target]), vec![target]);
            while let Some(target) = next.pop() {
                let more = inside.get(target).into_iter().flatten().copied();
                next.extend(more.filter(|to| seen.insert(*to)));
            }
            seen
        };
        targets.iter().map(|target| (*target, from(target))).collect()
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

/// In how many ways references that lead back are come to from a place, by what of the value they look at, and how many levels of it down
/// the nearest is.
#[derive(Clone, Default)]
struct Ways {
    /// The value itself.
    itself: u32,
    /// The items of a list.
    items: u32,
    /// A member of an object, by its name.
    named: HashMap<String, u32>,
    /// Any other member.
    others: u32,
    levels: Option<u32>,
}

impl Ways {
    /// Both look at the same value.
    fn and(mut self, other: Self) -> Self {
        for (name, ways) in other.named {
            let sum = self.named.entry(name).or_default();
            *sum = sum.saturating_add(ways);
        }
        Self {
            itself: self.itself.saturating_add(other.itself),
            items: self.items.saturating_add(other.items),
            named: self.named,
            others: self.others.saturating_add(other.others),
            levels: [self.levels, other.levels].into_iter().flatten().min(),
        }
    }

    /// A value is a list or an object, and each of its parts one of them.
    fn all(&self) -> u32 {
        let named = self.named.values().copied().max().unwrap_or(0);
        let below = self.items.max(named.saturating_add(self.others));
        self.itself.saturating_add(below)
    }

    /// Those of a schema that looks at a part of the value, as the part says.
    fn of_part(self, part: impl FnOnce(&mut Self, u32)) -> Self {
        let mut ways = Self { levels: self.levels.map(|levels| levels + 1), ..Self::default() };
        part(&mut ways, self.all());
        ways
    }
}

/// The most schemas that are looked at; one that has more is taken for one with many ways.
const STEPS: usize = 20_000;
/// How deeply references may stand in each other.
const DEPTH: usize = 100;

struct Walk<'a> {
    found: &'a Found<'a>,
    turning: &'a HashSet<String>,
    steps: usize,
    /// What was followed to come here.
    stack: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    /// The ways from a place; `down` if it looks at a part of the value that the target looks at.
    fn look(&mut self, node: &'a Value, at: &str, down: bool) -> Ways {
        self.steps += 1;
        let Value::Object(members) = node else { return Ways::default() };
        if self.steps > STEPS || self.stack.len() > DEPTH {
            return Ways { itself: 16, levels: Some(0), ..Ways::default() };
        }
        let mut ways = Ways::default();
        let found = self.found;
        for target in found.target(at) {
            // On the way down it is the next turn; before that it is a part of this one.
            if self.turning.contains(at) && (down || self.stack.contains(&target)) {
                ways =
                    ways.and(Ways { itself: u32::from(down), levels: down.then_some(0), ..Ways::default() });
            } else if let Some(node) = found.schema.pointer(target) {
                self.stack.push(target);
                ways = ways.and(self.look(node, target, down));
                self.stack.pop();
            }
        }
        for name in SAME {
            for (part, node) in parts(members, name) {
                ways = ways.and(self.look(node, &format!("{}{part}", below(at, name)), down));
            }
        }
        ways.and(self.members(members, at)).and(self.items(members, at))
    }

    fn members(&mut self, members: &'a Map<String, Value>, at: &str) -> Ways {
        let mut ways = Ways::default();
        for (name, node) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let one = self.look(node, &below(&below(at, "properties"), name), true);
            ways = ways.and(one.of_part(|ways, all| {
                ways.named.insert(name.clone(), all);
            }));
        }
        let patterns =
            parts(members, "patternProperties").map(|(part, node)| ("patternProperties", part, node));
        let rest = ["additionalProperties", "unevaluatedProperties"]
            .into_iter()
            .filter_map(|name| Some((name, String::new(), members.get(name)?)));
        for (name, part, node) in patterns.chain(rest) {
            let one = self.look(node, &format!("{}{part}", below(at, name)), true);
            ways = ways.and(one.of_part(|ways, all| ways.others = all));
        }
        ways
    }

    fn items(&mut self, members: &'a Map<String, Value>, at: &str) -> Ways {
        let (mut ways, mut most) = (Ways::default(), 0);
        for name in ["prefixItems", "items", "additionalItems"] {
            for (part, node) in parts(members, name) {
                let one = self.look(node, &format!("{}{part}", below(at, name)), true);
                let one = one.of_part(|ways, all| ways.items = all);
                // Each item is one of them.
                most = most.max(one.items);
                ways = ways.and(one);
            }
        }
        ways.items = most;
        for name in ["contains", "unevaluatedItems"] {
            if let Some(node) = members.get(name) {
                let one = self.look(node, &below(at, name), true);
                ways = ways.and(one.of_part(|ways, all| ways.items = all));
            }
        }
        ways
    }
}

/// The schemas of a keyword, and where they stand in it.
fn parts<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Box<dyn Iterator<Item = (String, &'a Value)> + 'a> {
    let named = matches!(name, "patternProperties" | "dependentSchemas" | "dependencies");
    match members.get(name) {
        Some(Value::Array(items)) => {
            Box::new(items.iter().enumerate().map(|(index, item)| (format!("/{index}"), item)))
        }
        Some(Value::Object(schemas)) if named => {
            Box::new(schemas.iter().map(|(name, node)| (below("", name), node)))
        }
        Some(node) => Box::new(std::iter::once((String::new(), node))),
        None => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A filter as tools have it: all of, one of, or a comparison.
    fn filters() -> Value {
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
        let named = |name: &str| json!({ "properties": { name: { "items": back() } }, "required": [name] });
        let three = |to: &str| json!({ "anyOf": [{ "$ref": to }, { "$ref": to }, { "$ref": to }] });
        for (schema, expected) in [
            (filters(), Some(2_f64.sqrt())),
            (
                json!({ "type": "object", "properties": { "a": { "anyOf": [{ "type": "string" }, { "type": "null" }] } } }),
                None,
            ),
            // A tree has one way to each of its parts, also where its nodes are of several kinds.
            (
                node(
                    json!({ "properties": { "left": back(), "right": back(), "all": { "items": back() } } }),
                ),
                None,
            ),
            (node(json!({ "anyOf": [{ "items": back() }, { "type": "null" }] })), None),
            (node(json!({ "anyOf": [{ "items": back() }, { "additionalProperties": back() }] })), None),
            (
                node(json!({ "oneOf": [named("and"), named("or"), { "properties": { "not": back() } }] })),
                None,
            ),
            (node(json!({ "anyOf": [{ "items": back() }, { "items": back() }] })), Some(2.0)),
            (
                node(json!({ "allOf": [{ "properties": { "a": back() } }], "additionalProperties": back() })),
                Some(2.0),
            ),
            (
                json!({ "oneOf": [{ "items": { "$ref": "#" } }, { "contains": { "$ref": "#" } }, { "items": { "$ref": "#" } }] }),
                Some(3.0),
            ),
            // By another one, and by names.
            (
                json!({ "$ref": "#a", "$defs": {
                    "a": { "$anchor": "a", "properties": { "x": { "$ref": "#b" } } },
                    "b": { "$anchor": "b", "anyOf": [{ "items": { "$ref": "#a" } }, { "items": { "$ref": "#a" } }] },
                } }),
                Some(2.0),
            ),
            // Three times three times three for each level.
            (
                json!({ "$ref": "#/$defs/a", "$defs": {
                    "a": three("#/$defs/b"),
                    "b": three("#/$defs/c"),
                    "c": { "anyOf": [{ "items": { "$ref": "#/$defs/a" } }, { "items": { "$ref": "#/$defs/a" } }, { "items": { "$ref": "#/$defs/a" } }] },
                } }),
                Some(27.0),
            ),
            (
                json!({ "$defs": { "a": { "type": "string" } }, "anyOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }] }),
                None,
            ),
        ] {
            let found = Branching::of(&schema).map(|found| found.growth);
            let same = found
                .zip(expected)
                .map_or(found == expected, |(found, expected)| (found - expected).abs() < 1e-9);
            assert!(same, "{found:?} is not {expected:?}: {schema}");
        }
    }

    #[test]
    fn a_value_is_told_about_as_far_as_that_can_be_borne() {
        let branching = Branching::of(&filters()).unwrap();
        let nested = |deep: usize| {
            let leaf = json!({ "field": "a", "eq": "b" });
            json!({ "filter": (0..deep).fold(leaf, |inner, _| json!({ "op": "and", "args": [inner] })) })
        };
        let told = (0..60).take_while(|deep| branching.can_tell(&nested(*deep))).count();
        assert!((5..10).contains(&told), "{told}");
        let noted =
            json!({ "unevaluatedProperties": false, "$defs": filters()["$defs"], "$ref": "#/$defs/f" });
        let branching = Branching::of(&noted).unwrap();
        assert!(branching.can_check(&nested(10)) && !branching.can_check(&nested(60)));
    }
}
