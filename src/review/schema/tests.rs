//! Pairs of schemas, both ways.

use serde_json::json;

use super::*;

/// The gravest effect and the first sentence of it.
fn compare(way: Way, old: &Value, new: &Value) -> Option<(Effect, String)> {
    let mut notes = Notes::default();
    Comparing { way, whole: "the whole", notes: &mut notes }.schemas(old, new, "");
    notes.sorted().into_iter().next().map(|d| (d.effect, d.sentence.to_string()))
}

fn member(schema: &Value) -> Value {
    json!({ "type": "object", "properties": { "a": schema }, "additionalProperties": false })
}

#[test]
fn what_narrows_arguments_breaks_and_what_widens_them_does_not() {
    for (old, new, breaks, widens) in [
        (json!({ "type": "number" }), json!({ "type": "integer" }), "the type of `a`", "the type of `a`"),
        (json!({}), json!({ "type": "string" }), "from anything to `string`", "from `string` to anything"),
        (
            json!({ "enum": ["x", "y"] }),
            json!({ "enum": ["x"] }),
            "no longer takes `\"y\"`",
            "takes `\"y\"` too",
        ),
        (json!({}), json!({ "enum": [1] }), "takes nothing but `1` now", "no longer one of"),
        (
            json!({ "minimum": 1 }),
            json!({ "minimum": 2 }),
            "the least value of `a` changed from `1` to `2`",
            "from `2` to `1`",
        ),
        (json!({}), json!({ "maxLength": 5 }), "the greatest length of `a` is `5` now", "was `5`"),
        (json!({ "maxItems": 9 }), json!({ "maxItems": 8.5 }), "the greatest number of items", "items"),
        (
            json!({}),
            json!({ "pattern": "^x" }),
            "the pattern of `a` is `^x` now",
            "the pattern of `a` is gone",
        ),
        (json!({ "items": {} }), json!({ "items": { "type": "string" } }), "the type of `a[]`", "`a[]`"),
        (json!({ "anyOf": [{}, { "type": "null" }] }), json!({ "anyOf": [{}] }), "`anyOf` of `a`", "`anyOf`"),
        (json!({}), json!({ "not": {} }), "`a` has `not` now", "`not` of `a` is gone"),
        (
            json!({}),
            json!({ "$dynamicRef": "#x" }),
            "`$dynamicRef` of `a` is `#x` now",
            "`$dynamicRef` of `a` is gone",
        ),
        (json!({}), json!({ "dependencies": { "x": ["y"] } }), "`a` has `dependencies` now", "is gone"),
        (
            json!({}),
            json!({ "additionalItems": false }),
            "`additionalItems` of `a` is `false` now",
            "is gone",
        ),
        (json!({}), json!({ "x-mcp-header": "A" }), "`x-mcp-header` of `a` is `A` now", "is gone"),
        (json!({}), member(&json!({})), "anything", "anything"),
    ] {
        let (effect, sentence) = compare(Way::In, &member(&old), &member(&new)).unwrap();
        assert_eq!(effect, Effect::Breaking, "{old} {new}: {sentence}");
        assert!(sentence.contains(breaks), "{sentence}");
        let (effect, sentence) = compare(Way::In, &member(&new), &member(&old)).unwrap();
        assert_eq!(effect, Effect::Compatible, "{sentence}");
        assert!(sentence.contains(widens), "{sentence}");
    }
}

#[test]
fn definitions_that_change_break_and_long_texts_are_told_apart() {
    for key in ["$defs", "definitions"] {
        let of = |schema: Value| {
            member(&json!({ "$ref": format!("#/properties/a/{key}/x"), key: { "x": schema } }))
        };
        for (old, new) in [(json!({}), json!(false)), (json!(false), json!({}))] {
            let (effect, sentence) = compare(Way::In, &of(old), &of(new)).unwrap();
            assert_eq!((effect, sentence.contains(key)), (Effect::Breaking, true), "{sentence}");
        }
    }
    let of = |end: &str| member(&json!({ "pattern": format!("^{}{end}$", "x".repeat(200)) }));
    let (_, sentence) = compare(Way::In, &of("one"), &of("two")).unwrap();
    assert!(sentence.contains("xone$`") && sentence.contains("xtwo$`"), "{sentence}");
}

#[test]
fn what_results_lose_breaks_and_what_they_gain_does_not() {
    let of = |members: Value, required: Value| json!({ "type": "object", "properties": members, "required": required });
    let both = of(json!({ "a": { "type": "integer" }, "b": {} }), json!(["a", "b"]));
    for (new, wanted) in [
        (of(json!({ "a": { "type": "integer" } }), json!(["a"])), "the result no longer has `b`"),
        (of(json!({ "a": { "type": "integer" }, "b": {} }), json!(["a"])), "`b` may be missing now"),
        (of(json!({ "a": { "type": "number" }, "b": {} }), json!(["a", "b"])), "the type of `a` changed"),
    ] {
        let (effect, sentence) = compare(Way::Out, &both, &new).unwrap();
        assert_eq!(effect, Effect::Breaking, "{sentence}");
        assert!(sentence.contains(wanted), "{sentence}");
        assert_eq!(compare(Way::Out, &new, &both).unwrap().0, Effect::Compatible);
    }
}

#[test]
fn a_parameter_that_goes_breaks_only_calls_that_would_be_refused() {
    let open = json!({ "type": "object", "properties": {} });
    let one = json!({ "type": "object", "properties": { "a": {} } });
    assert_eq!(compare(Way::In, &one, &open).unwrap().0, Effect::Compatible);
    assert_eq!(
        compare(Way::In, &member(&json!({})), &json!({ "type": "object", "additionalProperties": false }))
            .unwrap()
            .0,
        Effect::Breaking
    );
    let needs = json!({ "type": "object", "properties": { "a": {} }, "required": ["a"] });
    assert_eq!(compare(Way::In, &one, &needs).unwrap().1, "`a` is required now");
    assert_eq!(compare(Way::In, &open, &needs).unwrap().1, "`a` is new and required");
    assert_eq!(
        compare(Way::In, &needs, &one).unwrap(),
        (Effect::Compatible, "`a` is optional now".to_owned())
    );
    assert_eq!(compare(Way::In, &one, &one), None);
}
