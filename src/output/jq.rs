//! jq programs, compiled at load. Functions that reach out of the value (`env`, `halt`, `input`, the clock) are not there.

use std::sync::Arc;

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::Val;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// The most results one program may give.
const MAX_RESULTS: usize = 10_000;
/// Native functions that a configuration must not reach.
const REFUSED: [&str; 12] = [
    "env",
    "halt",
    "halt_error",
    "input",
    "inputs",
    "now",
    "localtime",
    "strflocaltime",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
];

/// A compiled program. Equality and output are those of its text.
#[derive(Clone)]
pub struct Jq {
    text: String,
    filter: Arc<Filter<JustLut<Val>>>,
}

impl std::fmt::Debug for Jq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

impl PartialEq for Jq {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Jq {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Jq {
    /// Compiles a program; what is wrong with it is recorded.
    pub fn compile(text: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match build(&text.value) {
            Ok(filter) => Some(Self { text: text.value.clone(), filter: Arc::new(filter) }),
            Err((near, why)) => {
                let mut problem =
                    Diagnostic::error("bad-jq", format!("this jq program does not compile: {why}"));
                problem = match near {
                    Some(near) if !near.is_empty() => problem.within(text.span, near, ""),
                    _ => problem.at(text.span, ""),
                };
                diagnostics.push(problem);
                None
            }
        }
    }

    /// Runs the program on a JSON text. One result is that value, none is null, several are a list.
    ///
    /// # Errors
    /// The program's own error, as a sentence for the log.
    pub fn run(&self, input: &str) -> Result<Value, String> {
        let input = jaq_json::read::parse_single(input.as_bytes()).map_err(|e| e.to_string())?;
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut results = Vec::new();
        for result in self.filter.id.run((context, input)).map(unwrap_valr) {
            let value = result.map_err(|e| e.to_string())?;
            let json = serde_json::from_str(&value.to_string()).map_err(|e| e.to_string())?;
            results.push(json);
            if results.len() >= MAX_RESULTS {
                return Err(format!("the program gave more than {MAX_RESULTS} results"));
            }
        }
        Ok(match results.len() {
            0 => Value::Null,
            1 => results.pop().unwrap_or_default(),
            _ => Value::Array(results),
        })
    }
}

type Failure = (Option<String>, String);

fn build(text: &str) -> Result<Filter<JustLut<Val>>, Failure> {
    let arena = Arena::default();
    let file = File { code: text, path: () };
    let defs = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|d| !REFUSED.contains(&d.name));
    let modules = Loader::new(defs).load(&arena, file).map_err(load_error)?;
    let funs = jaq_core::funs::<JustLut<Val>>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|f| !REFUSED.contains(&f.0));
    Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
        let first = errors.into_iter().flat_map(|(_, list)| list).next();
        match first {
            Some((near, undefined)) => {
                let why = format!("{} `{near}` is not known", undefined.as_str());
                (Some(near.to_owned()), why)
            }
            None => (None, "unknown name".to_owned()),
        }
    })
}

fn load_error(errors: jaq_core::load::Errors<&str, ()>) -> Failure {
    use jaq_core::load::Error;
    let first = errors.into_iter().next().map(|(_, error)| error);
    match first {
        Some(Error::Lex(list)) => {
            list.into_iter().next().map_or((None, String::new()), |(expected, near)| {
                let near: String = near.chars().take(12).collect();
                (Some(near), format!("expected {}", expected.as_str()))
            })
        }
        Some(Error::Parse(list)) => {
            list.into_iter().next().map_or((None, String::new()), |(expected, near)| {
                let near: String = near.chars().take(12).collect();
                (Some(near), format!("expected {}", expected.as_str()))
            })
        }
        Some(Error::Io(_)) => (None, "modules cannot be loaded here".to_owned()),
        None => (None, "it cannot be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;

    fn jq(text: &str) -> Result<Jq, String> {
        let mut diagnostics = Diagnostics::default();
        let spanned = Spanned::new(text.to_owned(), Span::default());
        Jq::compile(&spanned, &mut diagnostics)
            .ok_or_else(|| diagnostics.sorted().first().map(|d| d.message.clone()).unwrap_or_default())
    }

    #[test]
    fn programs_select_and_collect() {
        let program = jq("{id, n: [.lines[] | {sku}]}").unwrap();
        let out = program.run(r#"{"id":"a","lines":[{"sku":1,"x":2}],"y":0}"#).unwrap();
        assert_eq!(out.to_string(), r#"{"id":"a","n":[{"sku":1}]}"#);
        assert_eq!(jq(".[]").unwrap().run("[1,2]").unwrap().to_string(), "[1,2]");
        assert_eq!(jq("empty").unwrap().run("1").unwrap(), Value::Null);
        assert!(jq(".a.b").unwrap().run("{\"a\":1}").is_err());
        assert_eq!(jq("map(select(.>1))|length").unwrap().run("[1,2,3]").unwrap(), 2);
    }

    #[test]
    fn large_numbers_keep_their_digits() {
        assert_eq!(
            jq(".n").unwrap().run(r#"{"n":9007199254740993}"#).unwrap().to_string(),
            "9007199254740993"
        );
    }

    #[test]
    fn what_reaches_out_is_not_there() {
        for text in ["env", "$ENV", "input", "halt", "now", "debug"] {
            assert!(jq(text).is_err(), "{text}");
        }
        assert!(jq("{id, ").unwrap_err().contains("does not compile"));
        assert!(jq("nosuch(1)").unwrap_err().contains("nosuch"));
    }
}
