//! Plain schemas beside the library: the same schemas are well formed, the same values fit, and the same is told in the same order.

use std::cell::Cell;

use jsonschema::{Draft, Validator};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};

use super::Plain;
use super::dice::{Dice, near, schema, spoil, tool, values};

fn library(schema: &Value) -> Result<Validator, TestCaseError> {
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
    options.build(schema).map_err(|e| TestCaseError::fail(format!("the library refuses {schema}: {e}")))
}

type Told = (String, String, String);

fn told(plain: &Plain, value: &Value, most: usize) -> Vec<Told> {
    let problems = plain.problems(value, most);
    problems.into_iter().map(|p| (p.at.clone(), p.keyword.clone(), p.to_string())).collect()
}

fn agree(plain: &Plain, library: &Validator, schema: &Value, value: &Value) -> Result<bool, TestCaseError> {
    let fits = plain.is_valid(value);
    prop_assert_eq!(fits, library.is_valid(value), "{} of {}", value, schema);
    let wanted: Vec<Told> = library
        .iter_errors(value)
        .map(|e| (e.instance_path().to_string(), e.schema_path().to_string(), e.to_string()))
        .collect();
    let all = told(plain, value, usize::MAX);
    prop_assert_eq!(&all, &wanted, "{} of {}", value, schema);
    prop_assert_eq!(all.is_empty(), fits, "{} of {}", value, schema);
    for most in [0, 1, 2, 5] {
        prop_assert_eq!(&told(plain, value, most)[..], &wanted[..most.min(wanted.len())]);
    }
    Ok(fits)
}

/// The same cases each time.
fn cases(count: u32, test: impl Fn(&mut Dice<'_>) -> Result<(), TestCaseError>) {
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let bytes = prop::collection::vec(any::<u8>(), 0..800);
    runner.run(&bytes, |bytes| test(&mut Dice(bytes.iter()))).unwrap();
}

#[test]
fn plain_schemas_judge_and_tell_as_the_library_does() {
    let (fit, unfit) = (Cell::new(0), Cell::new(0));
    cases(4_000, |dice| {
        let schema = if dice.one_in(3) { schema(dice, 3) } else { tool(dice) };
        let Some(plain) = Plain::of(&schema) else {
            return Err(TestCaseError::fail(format!("not plain: {schema}")));
        };
        let library = library(&schema)?;
        for _ in 0..6 {
            let fits = agree(&plain, &library, &schema, &near(&schema, dice))?;
            let count = if fits { &fit } else { &unfit };
            count.set(count.get() + 1);
        }
        Ok(())
    });
    assert!(fit.get() > 2_000 && unfit.get() > 2_000, "{} fit, {} do not", fit.get(), unfit.get());
}

#[test]
fn what_is_taken_for_plain_is_well_formed_and_says_nothing_that_is_not_known_here() {
    let (taken, left) = (Cell::new(0), Cell::new(0));
    cases(12_000, |dice| {
        let mut schema = if dice.one_in(3) { schema(dice, 2) } else { tool(dice) };
        for _ in 0..=dice.below(2) {
            spoil(&mut schema, dice);
        }
        let Some(plain) = Plain::of(&schema) else {
            left.set(left.get() + 1);
            return Ok(());
        };
        taken.set(taken.get() + 1);
        let library = library(&schema)?;
        for _ in 0..2 {
            agree(&plain, &library, &schema, &near(&schema, dice))?;
        }
        Ok(())
    });
    assert!(taken.get() > 1_000 && left.get() > 1_000, "{} taken, {} left", taken.get(), left.get());
}

#[test]
fn what_the_library_refuses_is_not_plain_keyword_by_keyword() {
    const KNOWN: &str = "type enum minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength minItems \
        maxItems items properties required additionalProperties title description $comment \
        deprecated readOnly writeOnly examples";
    let all = values(
        r#"[null, true, 1, -1, 1.5, 2.0, "string", "x", [], ["string"], ["a", "a"], [1], {}, { "a":
            {} }, { "a": 1 }, { "type": "x" }]"#,
    );
    let mut refused = 0;
    for (keyword, value) in KNOWN.split(' ').flat_map(|k| all.iter().map(move |v| (k, v))) {
        for schema in [json!({ keyword: value }), json!({ "properties": { "a": { keyword: value } } })] {
            if library(&schema).is_err() {
                refused += 1;
                assert!(Plain::of(&schema).is_none(), "{schema}");
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn a_schema_is_plain_where_all_of_it_is_known() {
    let id = json!({ "type": "integer", "minimum": 1, "description": "Which one.", "default": 5 });
    for schema in [
        json!({ "type": "object", "additionalProperties": false }),
        json!({ "type": "object", "properties": { "id": id }, "required": ["id"] }),
        json!({ "type": ["array", "null"], "items": { "enum": ["a", "b"] }, "minItems": 1, "maxItems": 2.0 }),
        json!({ "properties": { "format": { "const": { "format": "date" } } } }),
        json!({ "type": "string", "x-note": { "id": 5 } }),
        json!({}),
    ] {
        assert!(Plain::of(&schema).is_some(), "{schema}");
    }
    for schema in [
        json!({ "properties": { "day": { "type": "string", "format": "date" } } }),
        json!({ "properties": { "day": { "$ref": "#/$defs/day" } } }),
        json!({ "type": "object", "allOf": [] }),
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema" }),
        json!({ "additionalProperties": { "type": "string" } }),
        json!({ "items": false }),
        json!({ "multipleOf": 5 }),
        json!({ "uniqueItems": true }),
        json!({ "default": { "$id": "a" } }),
        json!({ "properties": { "$schema": {} } }),
        json!({ "x-note": { "$id": "a" } }),
        json!({ "nullable": true }),
        json!(false),
    ] {
        assert!(Plain::of(&schema).is_none(), "{schema}");
    }
    let options = |many: usize, last: Value| {
        let texts = (1..many).map(|n| Value::from(format!("o{n}")));
        json!({ "enum": texts.chain([last]).collect::<Value>() })
    };
    assert!(Plain::of(&options(300, json!("o"))).is_some() && Plain::of(&options(64, json!(1))).is_some());
    assert!(Plain::of(&options(65, json!(1))).is_none());
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert!(Plain::of(&nested(16)).is_some() && Plain::of(&nested(17)).is_none());
}

#[test]
fn problems_are_sentences_with_their_places() {
    let schema = json!({
        "type": "object",
        "properties": {
            "id": { "type": "integer", "minimum": 1 },
            "tags": { "type": "array", "items": { "type": "string", "maxLength": 1 }, "maxItems": 1 },
            "size": { "enum": ["s", "m", "l", "xl"] },
        },
        "required": ["id", "size"],
        "additionalProperties": false,
    });
    let plain = Plain::of(&schema).unwrap();
    let value = json!({ "more": 1, "size": "é", "tags": ["aa", 5], "id": 0.5 });
    let all = told(&plain, &value, 9);
    let lines: Vec<String> =
        all.into_iter().map(|(at, keyword, why)| format!("{at} {keyword} {why}")).collect();
    assert_eq!(
        lines,
        [
            "/size /properties/size/enum \"é\" is not one of \"s\", \"m\" or 2 other candidates",
            "/tags /properties/tags/maxItems [\"aa\",5] has more than 1 item",
            "/tags/0 /properties/tags/items/maxLength \"aa\" is longer than 1 character",
            "/tags/1 /properties/tags/items/type 5 is not of type \"string\"",
            "/id /properties/id/type 0.5 is not of type \"integer\"",
            "/id /properties/id/minimum 0.5 is less than the minimum of 1",
            " /additionalProperties Additional properties are not allowed ('more' was unexpected)",
        ]
    );
    assert_eq!(told(&plain, &json!({}), 9)[1].2, "\"size\" is a required property");
}

#[test]
fn schemas_are_equal_that_check_and_say_the_same() {
    let of = |schema: Value| Plain::of(&schema).unwrap();
    let one = of(json!({ "type": "integer", "minimum": 1, "description": "One." }));
    assert_eq!(one, of(json!({ "default": 5, "minimum": 1, "type": ["integer"] })));
    for other in [
        json!({ "type": "integer", "minimum": 1.0 }),
        json!({ "type": "number", "minimum": 1 }),
        json!({ "type": "integer", "exclusiveMinimum": 1 }),
        json!({ "type": "integer", "minimum": 1, "maximum": 1 }),
    ] {
        assert_ne!(one, of(other));
    }
    assert_ne!(of(json!({ "const": 0.0 })), of(json!({ "const": -0.0 })));
    assert_ne!(of(json!({ "const": { "a": 1, "b": 2 } })), of(json!({ "const": { "b": 2, "a": 1 } })));
}
