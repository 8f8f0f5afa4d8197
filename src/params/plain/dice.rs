//! Schemas and values by chance, for the tests beside the library.

use serde_json::{Map, Value, json};

use super::Types;

/// Choices, from bytes; when they are used up, always the first.
pub(super) struct Dice<'a>(pub(super) std::slice::Iter<'a, u8>);

impl Dice<'_> {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % end)
    }

    pub(super) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == many - 1
    }

    fn of<'o, T>(&mut self, options: &'o [T]) -> &'o T {
        &options[self.below(options.len())]
    }
}

const NAMES: [&str; 7] = ["a", "b", "c", "d~/", "", "é", "title"];
const TEXTS: [&str; 8] = ["", "a", "ab", "é~/", "𝄞𝄞", "\"q\\\n", "abcde", "a much longer text"];
/// Few enough to be looked for one by one, and more.
const WIDE: [usize; 4] = [13, 14, 15, 17];

fn numbers() -> Vec<Value> {
    values(
        "[0, 1, 2, 3, -1, 1.0, 1.5, -0.0, 0.0, -1.5, 9007199254740992, 9007199254740993, 9007199254740992.0, \
         9223372036854775807, -9223372036854775808, 18446744073709551615, 9223372036854775808, \
         9223372036854775808.0, -9223372036854775808.0, 18446744073709551616, 1e30, 1e300, -1e300, 5e-324]",
    )
}

pub(super) fn values(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn data(dice: &mut Dice<'_>, levels: usize) -> Value {
    match dice.below(if levels == 0 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => dice.one_in(2).into(),
        2 => dice.of(&numbers()).clone(),
        3 => (*dice.of(&TEXTS)).into(),
        4 => (0..dice.below(4)).map(|_| data(dice, levels - 1)).collect(),
        _ => (0..dice.below(4)).map(|_| ((*dice.of(&NAMES)).to_owned(), data(dice, levels - 1))).collect(),
    }
}

fn some_names(dice: &mut Dice<'_>) -> Vec<String> {
    if dice.one_in(6) {
        let first = dice.below(3);
        return (0..*dice.of(&WIDE)).rev().map(|n| format!("p{}", n + first)).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for _ in 0..dice.below(5) {
        let name = (*dice.of(&NAMES)).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn some_types(dice: &mut Dice<'_>) -> Value {
    if !dice.one_in(3) {
        return (*dice.of(&Types::NAMES)).into();
    }
    let first = dice.below(7);
    (0..=dice.below(4)).map(|n| Types::NAMES[(first + n * 2) % 7]).collect()
}

fn keyword(dice: &mut Dice<'_>, levels: usize) -> (&'static str, Value) {
    let sizes = values("[0, 1, 2, 3, 2.0, -0.0, 1e30, 18446744073709551615]");
    match dice.below(27) {
        0..=3 => ("type", some_types(dice)),
        4 if dice.one_in(3) => {
            let more = (0..dice.below(16)).rev().map(|n| format!("p{n}"));
            ("enum", TEXTS.iter().map(|text| (*text).to_owned()).chain(more).collect())
        }
        4 => ("enum", (0..dice.below(6)).map(|_| data(dice, 2)).collect()),
        5 => ("const", data(dice, 2)),
        6 => ("minimum", dice.of(&numbers()).clone()),
        7 => ("maximum", dice.of(&numbers()).clone()),
        8 => ("exclusiveMinimum", dice.of(&numbers()).clone()),
        9 => ("exclusiveMaximum", dice.of(&numbers()).clone()),
        10 => ("minLength", dice.of(&sizes).clone()),
        11 => ("maxLength", dice.of(&sizes).clone()),
        12 => ("minItems", dice.of(&sizes).clone()),
        13 => ("maxItems", dice.of(&sizes).clone()),
        14 | 15 if levels > 0 => ("items", schema(dice, levels - 1)),
        14 | 15 => ("items", Value::Bool(true)),
        16..=18 => {
            let names = some_names(dice).into_iter();
            let inner = |name| (name, if levels == 0 { json!({}) } else { schema(dice, levels - 1) });
            ("properties", names.map(inner).collect())
        }
        19 | 20 => ("required", some_names(dice).into()),
        21 | 22 => ("additionalProperties", dice.one_in(4).into()),
        23 => ("default", data(dice, 2)),
        24 => ("x-note", data(dice, 2)),
        25 => ("examples", (0..dice.below(3)).map(|_| data(dice, 1)).collect()),
        _ => (*dice.of(&["description", "title", "$comment"]), (*dice.of(&TEXTS)).into()),
    }
}

pub(super) fn schema(dice: &mut Dice<'_>, levels: usize) -> Value {
    let mut map = Map::new();
    match dice.below(8) {
        0 => return true.into(),
        1 | 2 => drop(map.insert("type".into(), "object".into())),
        3 => drop(map.insert("type".into(), "array".into())),
        _ => {}
    }
    for _ in 0..dice.below(7) {
        let (name, value) = keyword(dice, levels);
        map.insert(name.into(), value);
    }
    map.into()
}

/// What the tools of a file have at their root.
pub(super) fn tool(dice: &mut Dice<'_>) -> Value {
    let mut map = Map::new();
    map.insert("type".into(), "object".into());
    for keyword in ["properties", "required", "additionalProperties", "description"] {
        match keyword {
            "properties" => {
                let names = some_names(dice).into_iter();
                map.insert(keyword.into(), names.map(|name| (name, schema(dice, 2))).collect());
            }
            "required" if !dice.one_in(4) => drop(map.insert(keyword.into(), some_names(dice).into())),
            "additionalProperties" if !dice.one_in(3) => drop(map.insert(keyword.into(), false.into())),
            _ => {}
        }
    }
    map.into()
}

/// A value that fits more or less.
pub(super) fn near(schema: &Value, dice: &mut Dice<'_>) -> Value {
    let Some(map) = schema.as_object().filter(|_| !dice.one_in(12)) else { return data(dice, 2) };
    let listed = map.get("enum").and_then(Value::as_array).filter(|options| !options.is_empty());
    if let Some(options) = listed.filter(|_| !dice.one_in(4)) {
        return dice.of(options).clone();
    }
    if let Some(wanted) = map.get("const").filter(|_| !dice.one_in(4)) {
        return wanted.clone();
    }
    let kind = match map.get("type") {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Array(names)) => dice.of(names).as_str().unwrap_or_default(),
        _ if map.contains_key("properties") => "object",
        _ if map.contains_key("items") => "array",
        _ => *dice.of(&Types::NAMES),
    };
    match kind {
        "boolean" => dice.one_in(2).into(),
        "integer" | "number" => {
            let limits = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
            let limit = map.get(*dice.of(&limits)).filter(|_| !dice.one_in(3)).cloned();
            limit.unwrap_or_else(|| dice.of(&numbers()).clone())
        }
        "string" => (*dice.of(&TEXTS)).into(),
        "array" => {
            let inner = map.get("items").unwrap_or(&Value::Null);
            (0..dice.below(5)).map(|_| near(inner, dice)).collect()
        }
        "object" => {
            let declared = map.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            let mut names: Vec<String> = declared.keys().cloned().collect();
            names.retain(|_| !dice.one_in(5));
            names.extend((0..dice.below(3)).map(|_| (*dice.of(&NAMES)).to_owned()));
            if dice.one_in(2) {
                names.reverse();
            }
            let of = |name: &str| declared.get(name).cloned().unwrap_or_default();
            names.into_iter().map(|name| (name.clone(), near(&of(&name), dice))).collect()
        }
        _ => Value::Null,
    }
}

/// Keys that mean something, keys that mean nothing, and what stands under them.
pub(super) fn spoil(value: &mut Value, dice: &mut Dice<'_>) {
    const KEYS: &str = "type enum const minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength \
        maxLength minItems maxItems items properties required additionalProperties title \
        description $comment deprecated readOnly writeOnly examples default format pattern $ref \
        $id $schema $anchor $defs allOf if not unevaluatedProperties dependentRequired \
        dependencies uniqueItems contains prefixItems propertyNames patternProperties \
        minProperties definitions x-note nullable id contentEncoding";
    let wrong = values(
        r##"[true, false, {}, [], ["a", "a"], ["string", "string"], ["string"], "string", "text",
            "#/properties/a", "date", -1, 1.5, 2.0, -0.0, -0.5, { "$ref": "#" }, { "$schema": "x" },
            [{}], { "a": 5 }, { "a": { "type": "x" } }, { "$id": 5 }, null]"##,
    );
    match value {
        Value::Object(map) if !map.is_empty() && !dice.one_in(3) => {
            let place = dice.below(map.len());
            if let Some((_, inner)) = map.iter_mut().nth(place) {
                spoil(inner, dice);
            }
        }
        Value::Object(map) => {
            // One of a keyword that is right, and often both.
            let (key, value) = keyword(dice, 1);
            let key = if dice.one_in(3) { *dice.of(&KEYS.split(' ').collect::<Vec<_>>()) } else { key };
            map.insert(key.to_owned(), if dice.one_in(3) { dice.of(&wrong).clone() } else { value });
        }
        Value::Array(items) if !items.is_empty() && dice.one_in(2) => {
            let place = dice.below(items.len());
            spoil(&mut items[place], dice);
        }
        other => *other = dice.of(&wrong).clone(),
    }
}
