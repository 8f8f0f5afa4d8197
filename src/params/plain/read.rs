//! Reading a schema as a plain one: each keyword is known, and its value is what the meta-schema of 2020-12 asks for.

use serde_json::{Map, Value};

use super::{Bound, Check, Exact, MANY, Member, Members, Node, Options, Plain, Size, Types};

/// How many levels of schemas and of values in them are read here.
const MAX_LEVELS: usize = 16;
/// How many options that are not all texts are gone through one by one.
const MAX_MIXED: usize = 64;

impl Plain {
    /// The schema, if it is plain and well formed. `None` says nothing against it: the library is to be asked.
    #[must_use]
    pub fn of(schema: &Value) -> Option<Self> {
        node(schema, MAX_LEVELS).map(Self)
    }
}

fn node(schema: &Value, levels: usize) -> Option<Node> {
    let levels = levels.checked_sub(1)?;
    let map = match schema {
        Value::Bool(true) => return Some(Node::default()),
        Value::Object(map) => map,
        _ => return None,
    };
    let mut checks = Vec::new();
    for (key, value) in map {
        match key.as_str() {
            // Of each other, so all at once.
            "properties" | "required" | "additionalProperties" => {}
            "title" | "description" | "$comment" if value.is_string() => {}
            "deprecated" | "readOnly" | "writeOnly" if value.is_boolean() => {}
            "examples" if value.is_array() && is_data(value, levels) => {}
            "default" if is_data(value, levels) => {}
            key if key.starts_with("x-") && is_data(value, levels) => {}
            "items" if *value == Value::Bool(true) => {}
            "items" => checks.push(Check::Items(node(value, levels)?)),
            key => checks.push(check(key, value, levels)?),
        }
    }
    object(map, levels, &mut checks)?;
    let shape = is_list_shape(map);
    checks.sort_by_key(|check| rank(check, shape));
    Some(Node(checks.into_boxed_slice()))
}

fn check(key: &str, value: &Value, levels: usize) -> Option<Check> {
    let bound = |bound: Bound| match value {
        Value::Number(limit) => Some(Check::Bound(bound, Exact(limit.clone()))),
        _ => None,
    };
    match key {
        "type" => types(value).map(Check::Type),
        "const" if is_data(value, levels) => Some(Check::Const(Box::new(Exact(value.clone())))),
        "enum" if is_data(value, levels) => options(value.as_array()?).map(|o| Check::Enum(Box::new(o))),
        "minimum" => bound(Bound::Minimum),
        "maximum" => bound(Bound::Maximum),
        "exclusiveMinimum" => bound(Bound::ExclusiveMinimum),
        "exclusiveMaximum" => bound(Bound::ExclusiveMaximum),
        "minLength" => Some(Check::Size(Size::MinLength, size(value)?)),
        "maxLength" => Some(Check::Size(Size::MaxLength, size(value)?)),
        "minItems" => Some(Check::Size(Size::MinItems, size(value)?)),
        "maxItems" => Some(Check::Size(Size::MaxItems, size(value)?)),
        _ => None,
    }
}

/// Values to choose from. Many of several kinds are the library's.
fn options(values: &[Value]) -> Option<Options> {
    let many = values.len() >= MANY;
    let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
    let mut sorted = Vec::new();
    match texts {
        Some(texts) if many => {
            sorted.extend(0..values.len());
            sorted.sort_by_key(|place| texts.get(*place));
        }
        None if values.len() > MAX_MIXED => return None,
        _ => {}
    }
    let list = values.iter().cloned().map(Exact).collect();
    Some(Options { list, sorted: sorted.into_boxed_slice() })
}

/// One type, or several different ones.
fn types(value: &Value) -> Option<Types> {
    let Value::Array(names) = value else { return Types::named(value.as_str()?) };
    let mut types = Types(0);
    for name in names {
        let Types(bit) = Types::named(name.as_str()?)?;
        if types.0 & bit != 0 {
            return None;
        }
        types.0 |= bit;
    }
    Some(types).filter(|types| types.0 != 0)
}

/// An integer that is not negative, however it is written; what is larger than any size is the largest.
fn size(value: &Value) -> Option<u64> {
    let whole = |f: &f64| *f >= 0.0 && f.fract() == 0.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and not negative, and a cast stops at the largest"
    )]
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|f| f as u64))
}

/// What is said of the members of an object.
fn object(schema: &Map<String, Value>, levels: usize, checks: &mut Vec<Check>) -> Option<()> {
    let mut names = match schema.get("required") {
        None => Vec::new(),
        Some(names) => different(names.as_array()?)?,
    };
    let closed = match schema.get("additionalProperties") {
        None | Some(Value::Bool(true)) => false,
        Some(Value::Bool(false)) => true,
        Some(_) => return None,
    };
    match schema.get("properties") {
        None if closed => checks.push(Check::Empty),
        None => {}
        Some(properties) => {
            let list = members(properties.as_object()?, levels)?;
            let needs = if closed && names.len() == 1 { names.pop() } else { None };
            if closed || !list.is_empty() {
                checks.push(Check::Members(Box::new(Members { list, closed, needs })));
            }
        }
    }
    if !names.is_empty() {
        checks.push(Check::Required(names.into_boxed_slice()));
    }
    Some(())
}

/// Texts, each there once.
fn different(names: &[Value]) -> Option<Vec<Box<str>>> {
    let texts: Vec<&str> = names.iter().map(Value::as_str).collect::<Option<_>>()?;
    let mut sorted = texts.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (sorted.len() == texts.len()).then(|| texts.into_iter().map(Box::from).collect())
}

fn members(properties: &Map<String, Value>, levels: usize) -> Option<Box<[Member]>> {
    let mut list = Vec::with_capacity(properties.len());
    for (name, schema) in properties {
        if name.starts_with('$') {
            return None;
        }
        list.push((Box::from(name.as_str()), node(schema, levels)?));
    }
    if list.len() >= MANY {
        list.sort_unstable_by(|(one, _): &Member, (other, _)| one.cmp(other));
    }
    Some(list.into_boxed_slice())
}

/// Whether a value in a schema can only be data: no name in it is one that means something wherever it stands.
fn is_data(value: &Value, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    match value {
        Value::Object(map) => {
            map.iter().all(|(name, inner)| !name.starts_with('$') && is_data(inner, levels))
        }
        Value::Array(items) => items.iter().all(|item| is_data(item, levels)),
        _ => true,
    }
}

/// Whether the library takes `type`, the sizes and `items` of a list in one: then all of them are told late.
fn is_list_shape(schema: &Map<String, Value>) -> bool {
    schema.get("items").is_some_and(Value::is_object)
        && schema.get("type").and_then(Value::as_str) == Some("array")
}

/// The order in which the library tells problems.
const fn rank(check: &Check, list_shape: bool) -> u8 {
    match check {
        Check::Type(_) if list_shape => 13,
        Check::Size(Size::MinItems, _) if list_shape => 14,
        Check::Size(Size::MaxItems, _) if list_shape => 15,
        Check::Type(_) => 0,
        Check::Const(_) => 1,
        Check::Enum(_) => 2,
        Check::Bound(Bound::Minimum, _) => 3,
        Check::Bound(Bound::Maximum, _) => 4,
        Check::Bound(Bound::ExclusiveMinimum, _) => 5,
        Check::Bound(Bound::ExclusiveMaximum, _) => 6,
        Check::Size(Size::MinLength, _) => 7,
        Check::Size(Size::MaxLength, _) => 8,
        Check::Size(Size::MinItems, _) => 9,
        Check::Size(Size::MaxItems, _) => 10,
        Check::Required(_) => 11,
        Check::Members(_) | Check::Empty => 12,
        Check::Items(_) => 16,
    }
}
