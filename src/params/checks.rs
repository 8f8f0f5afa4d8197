//! What checks values against a schema: our own for plain schemas, and the library for all others.

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value;

use super::plain::{Plain, Problem};
use super::shared;

/// A compiled schema of JSON Schema 2020-12. One for all plain schemas that check the same.
#[derive(Clone)]
pub enum Checks {
    /// A plain schema.
    Plain(Arc<Plain>),
    /// Any other.
    Library(Arc<Validator>),
}

/// Why a value does not fit. Written, it is a part of a sentence.
#[derive(Debug)]
pub enum Misfit<'a> {
    /// By a plain schema.
    Plain(Problem<'a>),
    /// By any other.
    Library(Box<ValidationError<'a>>),
}

impl Checks {
    /// The checks of values that come in, with formats.
    ///
    /// # Errors
    /// What is wrong with the schema, by the place in it.
    pub fn input(schema: &Value) -> Result<Self, ValidationError<'static>> {
        match Plain::of(schema) {
            Some(plain) => Ok(Self::Plain(shared::plain(plain))),
            None => shared::validator(schema).map(Self::Library),
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
                let validator = jsonschema::options().with_draft(Draft::Draft202012).build(schema)?;
                Ok(Self::Library(Arc::new(validator)))
            }
        }
    }

    /// Whether a value fits.
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        match self {
            Self::Plain(plain) => plain.is_valid(value),
            Self::Library(validator) => validator.is_valid(value),
        }
    }

    /// The first reasons why a value does not fit, at most `most`.
    #[must_use]
    pub fn misfits<'a>(&'a self, value: &'a Value, most: usize) -> Vec<Misfit<'a>> {
        match self {
            Self::Plain(plain) => plain.problems(value, most).into_iter().map(Misfit::Plain).collect(),
            Self::Library(validator) => {
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
        }
    }

    /// The place of the keyword in the schema, as a JSON pointer.
    #[must_use]
    pub fn keyword(&self) -> &str {
        match self {
            Self::Plain(problem) => &problem.keyword,
            Self::Library(error) => error.schema_path().as_str(),
        }
    }
}

impl fmt::Display for Misfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(problem) => problem.fmt(f),
            Self::Library(error) => error.fmt(f),
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
}
