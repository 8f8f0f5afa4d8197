//! The arguments of one call: parsed, checked, completed with defaults and constants, in declared order.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::{CallerParam, Misfit, ParamsPlan};
use crate::caller::Caller;

/// How many problems of one call are told at once, and how long one may be.
const MAX_PROBLEMS: usize = 5;
const MAX_PROBLEM_CHARS: usize = 300;

/// The values of one call in the order of [`ParamsPlan::params`]; `None` is an absent optional one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments(Vec<Option<Value>>);

impl Arguments {
    /// The value at a place, if the call has one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).and_then(Option::as_ref)
    }

    /// Appends bytes that differ wherever the values do: 1, 1.0, "1", true, null and nothing are all different. Members of objects
    /// are sorted.
    pub fn canonical(&self, out: &mut Vec<u8>) {
        for value in &self.0 {
            match value {
                None => out.push(0),
                Some(value) => {
                    out.push(1);
                    push_canonical(value, out);
                }
            }
        }
    }

    /// From values in order; for tests and for routes whose arguments come from another one.
    #[must_use]
    pub const fn from_values(values: Vec<Option<Value>>) -> Self {
        Self(values)
    }
}

/// JSON without spaces; a control character, which it never holds, ends each value.
fn push_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (name, value) in members {
                push_json(name, out);
                push_canonical(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                push_canonical(item, out);
            }
            out.push(b']');
        }
        scalar => push_json(scalar, out),
    }
    out.push(b'\n');
}

fn push_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Writing into a vector cannot fail, and neither do texts and numbers.
    let _ = serde_json::to_writer(out, value);
}

/// Why arguments were refused: a sentence that the model can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArguments(pub String);

impl fmt::Display for BadArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ParamsPlan {
    /// The arguments by their names, without those that have no value.
    #[must_use]
    pub fn named(&self, arguments: &Arguments) -> Map<String, Value> {
        let named = self
            .params
            .iter()
            .enumerate()
            .filter_map(|(index, param)| Some((param.name.clone(), arguments.get(index)?.clone())));
        named.collect()
    }

    /// Binds the `arguments` member of a call as it came; absent means none.
    ///
    /// # Errors
    /// All problems in one text (the first five).
    pub fn bind(&self, raw: Option<&RawValue>, caller: &Caller) -> Result<Arguments, BadArguments> {
        let object = match raw {
            None => Map::new(),
            Some(raw) => parse_object(raw.get())
                .map_err(|e| BadArguments(format!("The arguments cannot be read: {e}.")))?,
        };
        self.bind_object(object, caller)
    }

    /// Binds an object of arguments.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_object(
        &self,
        object: Map<String, Value>,
        caller: &Caller,
    ) -> Result<Arguments, BadArguments> {
        let mut problems = self.unknown(&object);
        let mut object = Value::Object(object);
        if problems.is_empty() && !self.schema.is_valid(&object) {
            problems.extend(self.schema.misfits(&object, MAX_PROBLEMS).iter().map(sentence));
        }
        if !problems.is_empty() {
            problems.truncate(MAX_PROBLEMS);
            return Err(BadArguments(problems.join(" ")));
        }
        let values = self.params.iter().map(|param| {
            if let Some(fixed) = &param.fixed {
                return Ok(Some(Value::clone(fixed)));
            }
            if let Some(from) = &param.from {
                return from_caller(from, caller).map(Some);
            }
            let given = object.get_mut(&param.name).map(Value::take);
            let integer = param.types.iter().any(|t| t == "integer");
            Ok(given
                .map(|v| if integer { whole(v) } else { v })
                .or_else(|| param.default.as_deref().cloned()))
        });
        values.collect::<Result<_, _>>().map(Arguments)
    }

    /// Binds texts (URI variables, prompt arguments, the command line): each is read as its parameter's type.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_texts<'a>(
        &self,
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
        caller: &Caller,
    ) -> Result<Arguments, BadArguments> {
        self.bind_object(self.object_from_texts(texts), caller)
    }

    /// Texts as an object of arguments, each read as its parameter's type.
    pub fn object_from_texts<'a>(
        &self,
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Map<String, Value> {
        let pairs = texts.into_iter().map(|(name, text)| {
            let types = self.params.iter().find(|p| p.name == name).map(|p| p.types.as_slice());
            (name.to_owned(), typed(text, types.unwrap_or_default()))
        });
        pairs.collect()
    }

    fn unknown(&self, object: &Map<String, Value>) -> Vec<String> {
        let visible = || self.params.iter().filter(|p| !p.hidden()).map(|p| p.name.as_str());
        object
            .keys()
            .filter(|name| self.closed && !visible().any(|v| v == name.as_str()))
            .take(MAX_PROBLEMS)
            .map(|name| {
                let shown = clipped(name);
                let help = crate::name::did_you_mean(name, visible(), "arguments here");
                format!("There is no argument `{shown}`; {help}")
            })
            .collect()
    }
}

/// A parameter's value from who calls. One that is missing or unfit refuses the call: nothing runs with a part of its bounds gone.
fn from_caller(from: &CallerParam, caller: &Caller) -> Result<Value, BadArguments> {
    let refuse = |why: &str| BadArguments(from.field.missing(why));
    let value = from.field.of(caller).ok_or_else(|| refuse("yours has none"))?;
    if from.schema.is_valid(&value) {
        return Ok(value);
    }
    Err(refuse("yours is not of the form that is needed"))
}

/// A text as the value of a parameter of these types; as text where it fits no other.
fn typed(text: &str, types: &[String]) -> Value {
    let has = |t: &str| types.iter().any(|x| x == t);
    let number = || text.parse::<Number>().ok().map(Value::Number);
    let json = || serde_json::from_str::<Value>(text).ok();
    let read = match () {
        () if has("string") => None,
        () if has("integer") || has("number") => number(),
        () if has("boolean") => text.parse::<bool>().ok().map(Value::Bool),
        () if has("array") => json().filter(Value::is_array),
        () if has("object") => json().filter(Value::is_object),
        () => None,
    };
    read.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// JSON Schema takes 5.0 for an integer; sources want 5.
fn whole(value: Value) -> Value {
    #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    if let Value::Number(n) = &value
        && n.is_f64()
        && let Some(f) = n.as_f64()
        && f.fract() == 0.0
        && f.abs() < 9.0e15
    {
        return Value::from(f as i64);
    }
    value
}

fn clipped(text: &str) -> String {
    let mut out: String = text.chars().filter(|c| !c.is_control()).take(MAX_PROBLEM_CHARS).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

fn sentence(misfit: &Misfit<'_>) -> String {
    let name = misfit.at().trim_start_matches('/').replace('/', ".");
    let what = clipped(&misfit.to_string());
    if name.is_empty() {
        return format!("The arguments do not fit: {what}.");
    }
    format!("Argument `{}`: {what}.", clipped(&name))
}

/// Parses an object, refusing a name that is given twice (what was checked is what is used).
fn parse_object(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
    struct ObjectVisitor;
    impl<'de> Visitor<'de> for ObjectVisitor {
        type Value = Map<String, Value>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = Map::new();
            while let Some(key) = access.next_key::<String>()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom(format!("`{}` is given twice", clipped(&key))));
                }
                map.insert(key, access.next_value()?);
            }
            Ok(map)
        }
    }
    serde_json::Deserializer::from_str(text).deserialize_map(ObjectVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Diagnostics, Spanned};
    use crate::params::compile_verbatim;
    use crate::yaml::JsonNode;

    fn plan(yaml: &str) -> ParamsPlan {
        let tree = crate::yaml::parse(yaml, crate::diag::FileId(0), &mut Diagnostics::default()).unwrap();
        let mut diagnostics = Diagnostics::default();
        let node: Spanned<JsonNode> = crate::yaml::from_tree(&tree, vec![], &mut diagnostics).value.unwrap();
        compile_verbatim(&node, "a test", &mut diagnostics).unwrap()
    }

    fn bind(plan: &ParamsPlan, json: &str) -> Result<Arguments, BadArguments> {
        plan.bind(Some(&RawValue::from_string(json.to_owned()).unwrap()), &Caller::Anonymous)
    }

    const SCHEMA: &str = "type: object\nproperties: { n: { type: integer, minimum: 1 }, q: { type: string, default: x } }\nrequired: [n]\nadditionalProperties: false";

    #[test]
    fn arguments_come_out_in_order_with_defaults_and_whole_numbers() {
        let plan = plan(SCHEMA);
        let bound = bind(&plan, r#"{"n": 5.0}"#).unwrap();
        assert_eq!(bound, Arguments(vec![Some(5.into()), Some("x".into())]));
        let bound = plan.bind_texts([("n", "7"), ("q", "8")], &Caller::Anonymous).unwrap();
        assert_eq!(bound, Arguments(vec![Some(7.into()), Some("8".into())]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let plan = plan(SCHEMA);
        for (json, wanted) in [
            ("{}", "\"n\" is a required property"),
            (r#"{"n": "5"}"#, "Argument `n`"),
            (r#"{"n": 0}"#, "less than the minimum"),
            (r#"{"n": 1, "m": 2}"#, "There is no argument `m`; arguments here: `n`, `q`"),
            (r#"{"n": 1, "n": 2}"#, "`n` is given twice"),
            ("[1]", "expected an object"),
        ] {
            let error = bind(&plan, json).unwrap_err().0;
            assert!(error.contains(wanted), "{json}: {error}");
        }
    }
    #[test]
    fn a_refusal_reads_the_same_whether_a_schema_is_plain_or_not() {
        let schema = "type: object\nproperties:\n  n: { type: integer, minimum: 1, maximum: 5 }\n  kind: { enum: [a, b] }\n  tags: { type: array, items: { type: string, minLength: 2 }, maxItems: 2 }\n  box: { type: object, properties: { a/b: { type: number } }, required: [a/b, c], additionalProperties: false }\nrequired: [n, kind]";
        let (ours, library) = (plan(schema), plan(&format!("{schema}\nnullable: true")));
        let mut first = None;
        for json in [
            "{}",
            r#"{"n": 0.5, "kind": "c", "tags": ["a", 1, "bc"], "box": {"a/b": "1", "d": 1}}"#,
            r#"{"tags": {}, "n": 6}"#,
            r#"{"box": [], "kind": null}"#,
            r#"{"n": 1.0, "kind": "a", "box": {"c": 1}, "more": 1}"#,
        ] {
            let refused = bind(&ours, json).unwrap_err().0;
            assert_eq!(refused, bind(&library, json).unwrap_err().0, "{json}");
            first.get_or_insert(refused);
        }
        assert_eq!(
            first.unwrap(),
            "The arguments do not fit: \"n\" is a required property. The arguments do not fit: \"kind\" is a required property."
        );
        let fits = r#"{"n": 2.0, "kind": "b", "tags": ["ab", "é𝄞"]}"#;
        assert_eq!(bind(&ours, fits), bind(&library, fits));
        assert_eq!(bind(&ours, fits).unwrap().0.len(), 4);
    }
}
