//! Checks in use, one for all schemas that say the same: the library's take several kilobytes, plain ones some hundred bytes, and among
//! thousands of routes most schemas differ in their descriptions only.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{SHA256, digest};
use jsonschema::{Draft, ValidationError, ValidationOptions, Validator};
use serde_json::{Map, Value};

use super::plain::Plain;

type Key = [u8; 32];

/// Those of the library in use, by the hash of what they check.
static IN_USE: Mutex<Option<HashMap<Key, Weak<Validator>>>> = Mutex::new(None);

/// Plain ones in use, by a short hash, which two different ones may have in common.
static PLAIN: Mutex<Option<HashMap<u64, Weak<Plain>>>> = Mutex::new(None);

/// The one in use that is equal, else the one that is given.
pub(super) fn plain(plain: Plain) -> Arc<Plain> {
    let mut hasher = DefaultHasher::new();
    plain.hash(&mut hasher);
    let key = hasher.finish();
    // Each change of it is one operation.
    let mut in_use = PLAIN.lock().unwrap_or_else(PoisonError::into_inner);
    let in_use = in_use.get_or_insert_default();
    match in_use.get(&key).and_then(Weak::upgrade) {
        Some(known) if *known == plain => return known,
        Some(_) => return Arc::new(plain),
        None => {}
    }
    let plain = Arc::new(plain);
    tidy(in_use);
    in_use.insert(key, Arc::downgrade(&plain));
    plain
}

/// Lets go of what nobody uses. Now and then is enough, so that many schemas do not cost the square of their number.
fn tidy<K: Eq + Hash, V>(in_use: &mut HashMap<K, Weak<V>>) {
    if in_use.len().is_power_of_two() {
        in_use.retain(|_, kept| kept.strong_count() > 0);
    }
}

/// The validator of a schema, after the dialect that it declares.
pub(super) fn validator(schema: &Value) -> Result<Arc<Validator>, ValidationError<'static>> {
    let said = said(schema);
    let Some(key) = key(said.as_ref().unwrap_or(schema)) else { return build(schema).map(Arc::new) };
    // Each change of it is one operation.
    let lock = || IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().as_ref().and_then(|in_use| in_use.get(&key)?.upgrade());
    if let Some(validator) = known {
        return Ok(validator);
    }
    // What is wrong with it is said of the whole.
    let validator = Arc::new(build(schema)?);
    let mut in_use = lock();
    let in_use = in_use.get_or_insert_default();
    tidy(in_use);
    in_use.insert(key, Arc::downgrade(&validator));
    Ok(validator)
}

fn build(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    options(schema).should_validate_formats(true).build(schema)
}

/// Options of the library with the dialect of a schema. One that is not known is refused before; here it counts as none.
pub(super) fn options(schema: &Value) -> ValidationOptions<'static> {
    jsonschema::options().with_draft(dialect(schema).unwrap_or_default())
}

/// The dialect that a schema declares, without which it is 2020-12; `None` if that is not known.
pub(super) fn dialect(schema: &Value) -> Option<Draft> {
    Some(Draft::default().detect(schema)).filter(|draft| *draft != Draft::Unknown)
}

fn key(schema: &Value) -> Option<Key> {
    let text = serde_json::to_vec(schema).ok()?;
    digest(&SHA256, &text).as_ref().try_into().ok()
}

/// What a schema checks, without what only people read; `None` where that is not certain, since something in it refers to places.
fn said(schema: &Value) -> Option<Value> {
    if refers(schema) {
        return None;
    }
    let mut map = wordless(schema.as_object()?);
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for property in properties.values_mut() {
            if let Value::Object(inner) = property {
                *inner = wordless(inner);
            }
        }
    }
    Some(Value::Object(map))
}

/// Without the keys that check nothing, as long as they are what they have to be.
fn wordless(schema: &Map<String, Value>) -> Map<String, Value> {
    let silent = |key: &str, value: &Value| match key {
        "title" | "description" | "$comment" => value.is_string(),
        _ => false,
    };
    let kept = schema.iter().filter(|(key, value)| !silent(key, value));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether anything in it is called by a name or a place.
fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, inner)| {
            matches!(key.as_str(), "$ref" | "$dynamicRef" | "$id" | "$anchor" | "$dynamicAnchor" | "$defs")
                || refers(inner)
        }),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(about: &str, least: u32) -> Value {
        let id = json!({ "type": "integer", "minimum": least, "title": about, "description": about });
        json!({ "type": "object", "properties": { "id": id }, "required": ["id"], "description": about })
    }

    #[test]
    fn schemas_that_differ_in_words_share_a_validator_and_others_do_not() {
        let one = validator(&tool("One.", 7_001)).unwrap();
        assert!(Arc::ptr_eq(&one, &validator(&tool("Another.", 7_001)).unwrap()));
        assert!(!Arc::ptr_eq(&one, &validator(&tool("One.", 7_002)).unwrap()));
        assert!(!one.is_valid(&json!({ "id": 7_000 })) && one.is_valid(&json!({ "id": 7_001 })));
        let kept = Arc::downgrade(&one);
        drop(one);
        assert!(kept.upgrade().is_none(), "nobody uses it, and it is kept");
    }

    #[test]
    fn a_word_counts_where_it_is_a_name_or_a_value_or_where_something_refers_to_places() {
        for (one, other) in [
            // A property of that name.
            (json!({ "properties": { "description": {} } }), json!({ "properties": {} })),
            (json!({ "properties": { "a": { "enum": ["title"] } } }), json!({ "properties": { "a": {} } })),
            (json!({ "const": { "title": "a" } }), json!({ "const": { "title": "b" } })),
            (json!({ "not": { "title": "a", "type": "null" } }), json!({ "not": { "type": "null" } })),
            (json!({ "properties": { "a": { "default": 1 } } }), json!({ "properties": { "a": {} } })),
            (
                json!({ "title": "a", "properties": { "a": { "$ref": "#/properties/b" }, "b": {} } }),
                json!({ "title": "b", "properties": { "a": { "$ref": "#/properties/b" }, "b": {} } }),
            ),
        ] {
            let (one, other) = (validator(&one).unwrap(), validator(&other).unwrap());
            assert!(!Arc::ptr_eq(&one, &other));
        }
    }

    #[test]
    fn a_schema_that_is_wrong_stays_wrong_beside_one_that_is_right() {
        let right = json!({ "properties": { "a": { "type": "string", "description": "A." } } });
        let wrong = json!({ "properties": { "a": { "type": "string", "description": 5 } } });
        let kept = validator(&right).unwrap();
        let error = validator(&wrong).unwrap_err();
        assert_eq!(error.instance_path().to_string(), "/properties/a/description");
        drop(kept);
    }
    #[test]
    fn plain_schemas_that_check_the_same_are_there_once_as_long_as_one_is_used() {
        let of = |about: &str, least: u32| plain(Plain::of(&tool(about, least)).unwrap());
        let one = of("One.", 8_001);
        assert!(Arc::ptr_eq(&one, &of("Another.", 8_001)));
        assert!(!Arc::ptr_eq(&one, &of("One.", 8_002)));
        let kept = Arc::downgrade(&one);
        drop(one);
        assert!(kept.upgrade().is_none(), "nobody uses it, and it is kept");
        assert!(of("One.", 8_001).is_valid(&json!({ "id": 8_001 })));
    }
}
