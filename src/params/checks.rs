//! What checks values against a schema: our own for plain schemas, and the library for all others.

use std::fmt;
use std::sync::Arc;

use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::branching::Branching;
use super::plain::{Plain, Problem};
use super::shared;

/// A compiled schema, of JSON Schema 2020-12 unless it declares another dialect. One for all plain schemas that check the same.
#[derive(Clone)]
pub enum Checks {
    /// A plain schema.
    Plain(Arc<Plain>),
    /// Any other, and how it grows with a value.
    Library(Arc<Validator>, Option<Branching>),
}

/// Why a value does not fit. Written, it is a part of a sentence.
#[derive(Debug)]
pub enum Misfit<'a> {
    /// By a plain schema.
    Plain(Problem<'a>),
    /// By any other.
    Library(Box<ValidationError<'a>>),
    /// It is too much to be checked, or to tell what is wrong with it.
    Deep,
}

impl Checks {
    /// The checks of values that come in, with formats.
    ///
    /// # Errors
    /// What is wrong with the schema, by the place in it.
    pub fn input(schema: &Value) -> Result<Self, ValidationError<'static>> {
        match Plain::of(schema) {
            Some(plain) => Ok(Self::Plain(shared::plain(plain))),
            None => Ok(Self::Library(shared::validator(schema)?, Branching::of(schema))),
        }
    }

    /// The checks of values that go out: a format only describes.
    ///
    /// # Errors
    /// As [`Self::input`].
    pub fn output(schema: &Value) -> Result<Self, ValidationError<'static>> {
        match Plain::of(schema) {
            Some(plain) => Ok(Self::Plain(shared::plain(plain))),
            None => {
                // Older dialects check formats unless they are told not to.
                let options = shared::options(schema).should_validate_formats(false);
                Ok(Self::Library(Arc::new(options.build(schema)?), Branching::of(schema)))
            }
        }
    }

    /// Whether a value fits.
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        match self {
            Self::Plain(plain) => plain.is_valid(value),
            Self::Library(validator, branching) => {
                branching.is_none_or(|branching| branching.can_check(value)) && validator.is_valid(value)
            }
        }
    }

    /// The first reasons why a value does not fit, at most `most`.
    #[must_use]
    pub fn misfits<'a>(&'a self, value: &'a Value, most: usize) -> Vec<Misfit<'a>> {
        match self {
            Self::Plain(plain) => plain.problems(value, most).into_iter().map(Misfit::Plain).collect(),
            Self::Library(validator, Some(branching)) if !branching.can_tell(value) => {
                let fits = branching.can_check(value) && validator.is_valid(value);
                if fits { Vec::new() } else { vec![Misfit::Deep] }
            }
            Self::Library(validator, _) => {
                let errors = validator.iter_errors(value).take(most);
                errors.map(|error| Misfit::Library(Box::new(error))).collect()
            }
        }
    }
}

impl Misfit<'_> {
    /// The place of the value, as a JSON pointer.
    #[must_use]
    pub fn at(&self) -> &str {
        match self {
            Self::Plain(problem) => &problem.at,
            Self::Library(error) => error.instance_path().as_str(),
            Self::Deep => "",
        }
    }

    /// The place of the keyword in the schema, as a JSON pointer.
    #[must_use]
    pub fn keyword(&self) -> &str {
        match self {
            Self::Plain(problem) => &problem.keyword,
            Self::Library(error) => error.schema_path().as_str(),
            Self::Deep => "",
        }
    }
}

impl fmt::Display for Misfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(problem) => problem.fmt(f),
            Self::Library(error) => error.fmt(f),
            Self::Deep => f.write_str("too much is nested in it to tell what does not fit; use fewer levels"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_library_is_asked_for_what_is_not_plain_and_for_formats_on_the_way_in() {
        let day = |more: Value| {
            let mut day = json!({ "type": "string", "description": "A day." });
            day.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "type": "object", "properties": { "day": day }, "additionalProperties": false })
        };
        for (schema, plain, wrong_comes_in, wrong_goes_out) in [
            (day(json!({})), true, true, true),
            (day(json!({ "maxLength": 2 })), true, false, false),
            (day(json!({ "format": "date" })), false, false, true),
            (day(json!({ "pattern": "^[0-9-]+$" })), false, false, false),
        ] {
            let both = [Checks::input(&schema).unwrap(), Checks::output(&schema).unwrap()];
            for (checks, wanted) in both.iter().zip([wrong_comes_in, wrong_goes_out]) {
                assert_eq!(matches!(checks, Checks::Plain(_)), plain, "{schema}");
                let value = json!({ "day": "tomorrow" });
                assert_eq!(checks.is_valid(&value), wanted, "{schema}");
                let misfits = checks.misfits(&value, 5);
                assert_eq!(misfits.is_empty(), wanted, "{schema}");
                assert!(
                    misfits.iter().all(|m| m.at() == "/day" && m.keyword().starts_with("/properties/day/"))
                );
            }
        }
        for wrong in [json!({ "type": "text" }), json!({ "properties": { "a": { "minimum": "1" } } })] {
            assert!(Checks::input(&wrong).is_err() && Checks::output(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_leads_back_in_several_ways_is_checked_in_bounds_however_deep_a_value_is() {
        let mut either = json!({ "anyOf": [{ "type": "string" }] });
        either["anyOf"].as_array_mut().unwrap().extend(
            ["a", "b"].map(
                |_| json!({ "type": "object", "properties": { "x": { "$ref": "#" } }, "required": ["x"] }),
            ),
        );
        let nested = |deep: usize, leaf: Value| (0..deep).fold(leaf, |inner, _| json!({ "x": inner }));
        for checks in [Checks::input(&either).unwrap(), Checks::output(&either).unwrap()] {
            for deep in [0, 5, 18] {
                assert!(
                    checks.is_valid(&nested(deep, json!("a")))
                        && checks.misfits(&nested(deep, json!("a")), 3).is_empty()
                );
            }
            let wrong = nested(5, json!(1));
            assert!(checks.misfits(&wrong, 3).iter().all(|misfit| matches!(misfit, Misfit::Library(_))));
            for deep in [18, 60, 120] {
                assert!(checks.is_valid(&nested(deep, json!("a"))), "{deep}");
                let value = nested(deep, json!(1));
                assert!(!checks.is_valid(&value), "{deep}");
                let misfits = checks.misfits(&value, 3);
                assert!(matches!(misfits[..], [Misfit::Deep]), "{deep}: {misfits:?}");
            }
        }
    }

    #[test]
    fn a_schema_is_of_the_dialect_that_it_declares() {
        let pair = |dialect: Option<&str>| {
            let items = json!([{ "type": "string" }, { "type": "integer" }]);
            let pair = json!({ "type": "array", "items": items, "additionalItems": false });
            let mut schema = json!({ "type": "object", "properties": { "pair": pair } });
            if let Some(dialect) = dialect {
                schema["$schema"] = dialect.into();
            }
            schema
        };
        for dialect in [
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/draft-06/schema#",
            "http://json-schema.org/draft-07/schema#",
            "http://json-schema.org/draft-07/schema",
            "https://json-schema.org/draft/2019-09/schema",
        ] {
            let schema = pair(Some(dialect));
            for checks in [Checks::input(&schema).unwrap(), Checks::output(&schema).unwrap()] {
                assert!(checks.is_valid(&json!({ "pair": ["a", 1] })), "{dialect}");
                for wrong in [json!(["a", "b"]), json!(["a", 1, 2])] {
                    assert!(!checks.is_valid(&json!({ "pair": wrong })), "{dialect}");
                }
            }
        }
        // There a list of schemas is `prefixItems`.
        for schema in [pair(None), pair(Some("https://json-schema.org/draft/2020-12/schema"))] {
            assert!(Checks::input(&schema).is_err() && Checks::output(&schema).is_err());
        }
        // Plain but for the dialect, in which the keyword is another one.
        let above = |dialect: &str| json!({ "$schema": dialect, "type": "number", "exclusiveMinimum": true, "minimum": 1 });
        let old = Checks::input(&above("http://json-schema.org/draft-04/schema#")).unwrap();
        assert!(!old.is_valid(&json!(1)) && old.is_valid(&json!(2)));
        assert!(Checks::input(&above("http://json-schema.org/draft-07/schema#")).is_err());
        // On the way out a format only describes, in every dialect.
        let day = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "format": "date" });
        assert!(!Checks::input(&day).unwrap().is_valid(&json!("x")));
        assert!(Checks::output(&day).unwrap().is_valid(&json!("x")));
    }
}
