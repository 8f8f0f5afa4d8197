//! A caller as conditions see them, made once for all that are asked of them.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Value as Cel};
use serde_json::{Number, Value};

use super::{Condition, ENV};
use crate::caller::Caller;

/// A caller as conditions see them. What they see is made with the first that asks, for a token may say much.
pub struct Viewer<'a> {
    pub(in crate::policy::auth) caller: &'a Caller,
    context: OnceCell<Context<'static, 'static>>,
    /// What conditions said of it that may stand at many routes, by their texts.
    answers: Option<RefCell<HashMap<String, bool>>>,
}

impl<'a> Viewer<'a> {
    /// One for some questions about the same caller.
    #[must_use]
    pub const fn new(caller: &'a Caller) -> Self {
        Self { caller, context: OnceCell::new(), answers: None }
    }

    /// One for all routes of a list, where the same condition stands at many of them.
    #[must_use]
    pub fn of_many(caller: &'a Caller) -> Self {
        Self { answers: Some(RefCell::default()), ..Self::new(caller) }
    }

    /// Whether a condition without arguments holds at a route.
    pub(in crate::policy::auth) fn passes(&self, when: &Condition, route: &str) -> bool {
        let Some(answers) = self.answers.as_ref().filter(|_| !when.looks_at_route) else {
            return when.holds(self, route, None);
        };
        if let Some(known) = answers.borrow().get(&when.text) {
            return *known;
        }
        let holds = when.holds(self, route, None);
        answers.borrow_mut().insert(when.text.clone(), holds);
        holds
    }

    pub(super) fn context(&self) -> &Context<'static, 'static> {
        self.context.get_or_init(|| {
            let mut context = Context::with_env(ENV.clone());
            context.add_variable_from_value("caller", seen(self.caller));
            context
        })
    }
}

/// What a condition sees of a caller.
fn seen(caller: &Caller) -> Cel {
    let text = |text: &str| Cel::String(Arc::new(text.to_owned()));
    let list = |scopes: &[String]| Cel::List(Arc::new(scopes.iter().map(|scope| text(scope)).collect()));
    let fields = match caller {
        Caller::Local => vec![
            ("sub", text("local")),
            ("name", text("local")),
            ("scopes", list(&[])),
            ("claims", map(std::iter::empty())),
        ],
        Caller::Anonymous => vec![("scopes", list(&[])), ("claims", map(std::iter::empty()))],
        Caller::Known(identity) => {
            let claims = map(identity.claims.iter().map(|(name, claim)| (name.as_str(), value(claim))));
            let mut fields =
                vec![("sub", text(&identity.sub)), ("scopes", list(&identity.scopes)), ("claims", claims)];
            fields.extend(identity.name.as_ref().map(|name| ("name", text(name))));
            fields
        }
    };
    map(fields.into_iter())
}

fn map<'a>(entries: impl Iterator<Item = (&'a str, Cel)>) -> Cel {
    let entries = entries.map(|(name, value)| (Key::String(Arc::new(name.to_owned())), value));
    Cel::Map(Map { map: Arc::new(entries.collect()) })
}

/// JSON as CEL has it. Whole numbers are an `int` wherever one holds them: the library's own conversion gives `uint`, with which no
/// number in a condition can be added.
pub(super) fn value(json: &Value) -> Cel {
    match json {
        Value::Null => Cel::Null,
        Value::Bool(yes) => Cel::Bool(*yes),
        Value::Number(number) => numeric(number),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(value).collect())),
        Value::Object(fields) => map(fields.iter().map(|(name, field)| (name.as_str(), value(field)))),
    }
}

fn numeric(number: &Number) -> Cel {
    let whole = number.as_i64().map(Cel::Int).or_else(|| number.as_u64().map(Cel::UInt));
    whole.or_else(|| number.as_f64().map(Cel::Float)).unwrap_or(Cel::Null)
}
