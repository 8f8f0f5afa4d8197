//! A condition in CEL (Common Expression Language): checked when it is loaded, since the library finds unknown names only when
//! they are met, and bounded, since it has no limit of its own.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, Env, Program};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// What the standard library has; built once.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// The longest condition, in bytes, and the deepest one: the library reads it with as many stack frames.
const MAX_TEXT: usize = 4096;
const MAX_DEPTH: usize = 64;
/// The most arguments, as JSON: what a condition goes through costs time for each of them.
const MAX_ARGS: usize = 64 << 10;

const VARIABLES: [&str; 3] = ["caller", "route", "args"];
const FIELDS: [&str; 4] = ["sub", "name", "scopes", "claims"];
/// Functions that say yes or no.
const DECIDES: [&str; 14] = [
    "_&&_",
    "_||_",
    "!_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "@in",
    "startsWith",
    "endsWith",
    "contains",
    "bool",
];
/// Others. What is behind `@` is the library's own part of a macro.
const COMPUTES: [&str; 14] = [
    "_?_:_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "-_",
    "_[_]",
    "@not_strictly_false",
    "size",
    "string",
    "int",
    "double",
    "uint",
];
/// The macros, for help texts.
const MACROS: [&str; 4] = ["has", "all", "exists", "exists_one"];

/// A compiled condition. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    program: Arc<Program>,
    needs_args: bool,
    args: Vec<String>,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Condition {
    /// Compiles and checks one.
    pub(super) fn compile(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = &written.value;
        if text.len() > MAX_TEXT || is_deep(text) {
            let message = "this condition is too long or too deep";
            diagnostics.push(Diagnostic::error("bad-condition", message).at(written.span, ""));
            return None;
        }
        let program = match ENV.compile(text) {
            Ok(program) => program,
            Err(errors) => {
                let first = errors.errors.first();
                let why = first.map_or_else(String::new, |e| format!(": {}", first_line(&e.msg)));
                let message = format!("this is not a condition in CEL{why}");
                let help = "such as `caller.claims.dept == 'support' && 'orders.write' in caller.scopes`";
                diagnostics.push(Diagnostic::error("bad-condition", message).at(written.span, "").help(help));
                return None;
            }
        };
        let mut check = Check { written, problems: Vec::new(), needs_args: false, args: BTreeSet::new() };
        check.walk(program.expression(), &mut Vec::new(), 0);
        if !decides(program.expression()) {
            let message = "a condition says yes or no, and this gives something else";
            check.problems.push(Diagnostic::error("bad-condition", message).at(written.span, ""));
        }
        let Check { problems, needs_args, args, .. } = check;
        let sound = problems.is_empty();
        for problem in problems {
            diagnostics.push(problem);
        }
        let args = args.into_iter().collect();
        sound.then(|| Self { text: text.clone(), program: Arc::new(program), needs_args, args })
    }

    /// Whether it looks at arguments.
    #[must_use]
    pub const fn needs_args(&self) -> bool {
        self.needs_args
    }

    /// The arguments that it names.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Whether it holds. Anything but a plain yes is a no.
    pub(super) fn holds(&self, caller: &Caller, route: &str, args: Option<Map<String, Value>>) -> bool {
        let mut context = Context::with_env(ENV.clone());
        let add = |context: &mut Context<'_, '_>, name: &str, value: &Value| {
            cel::to_value(value).is_ok_and(|value| {
                context.add_variable_from_value(name, value);
                true
            })
        };
        if let Some(args) = args {
            let args = Value::Object(args);
            if args.to_string().len() > MAX_ARGS || !add(&mut context, "args", &args) {
                return false;
            }
        }
        add(&mut context, "caller", &seen(caller))
            && add(&mut context, "route", &json!(route))
            && matches!(self.program.execute(&context), Ok(cel::Value::Bool(true)))
    }
}

/// What a condition sees of a caller.
fn seen(caller: &Caller) -> Value {
    match caller {
        Caller::Local => json!({ "sub": "local", "name": "local", "scopes": [], "claims": {} }),
        Caller::Anonymous => json!({ "scopes": [], "claims": {} }),
        Caller::Known(identity) => {
            let mut seen =
                json!({ "sub": identity.sub, "scopes": identity.scopes, "claims": identity.claims });
            if let (Some(name), Value::Object(seen)) = (&identity.name, &mut seen) {
                seen.insert("name".to_owned(), json!(name));
            }
            seen
        }
    }
}

/// The library's words without what it repeats of the text, and without all that could have come.
fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.split(" expecting ").next().unwrap_or_default()
}

/// More brackets or signs in a row than anybody writes.
fn is_deep(text: &str) -> bool {
    let (mut depth, mut deepest, mut signs) = (0_usize, 0, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '!' | '-' | '?' => signs += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest > MAX_DEPTH || signs > MAX_DEPTH
}

/// Whether the value may be a yes or no.
fn decides(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Literal(literal) => matches!(literal, LiteralValue::Boolean(_)),
        Expr::Call(call) => match call.func_name.as_str() {
            "_?_:_" => call.args.iter().skip(1).all(decides),
            "_[_]" => true,
            name => DECIDES.contains(&name),
        },
        // Fields of claims and arguments may be anything; those of a caller are known.
        Expr::Select(select) => {
            let of_caller = matches!(&select.operand.expr, Expr::Ident(name) if name == "caller");
            select.test || !of_caller
        }
        // `map` and `filter` give lists.
        Expr::Comprehension(comprehension) => {
            !matches!(&comprehension.accu_init.expr, Expr::List(_) | Expr::Map(_))
        }
        Expr::Ident(_) | Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

struct Check<'a> {
    written: &'a Spanned<String>,
    problems: Vec<Diagnostic>,
    needs_args: bool,
    args: BTreeSet<String>,
}

impl Check<'_> {
    fn problem(&mut self, word: &str, message: String, help: Option<String>) {
        let problem = Diagnostic::error("bad-condition", message).maybe_help(help);
        self.problems.push(problem.within(self.written.span, word, ""));
    }

    /// `own` are the names that macros around it give; `loops` how many of them go through lists.
    fn walk(&mut self, expr: &IdedExpr, own: &mut Vec<String>, loops: usize) {
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(name, own),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && !own.contains(name)
                {
                    self.field(name, &select.field);
                }
                self.walk(&select.operand, own, loops);
            }
            Expr::Call(call) => {
                self.function(&call.func_name);
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.walk(part, own, loops);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|e| self.walk(e, own, loops)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.walk(&entry.key, own, loops);
                            self.walk(&entry.value, own, loops);
                        }
                        EntryExpr::StructField(field) => self.walk(&field.value, own, loops),
                    }
                }
            }
            Expr::Struct(made) => {
                let message = format!("there is no type `{}` here", made.type_name);
                self.problem(&made.type_name.clone(), message, None);
            }
            Expr::Comprehension(comprehension) => {
                if loops > 0 {
                    let message = "one `all`, `exists`, `filter` or `map` stands inside another";
                    self.problem("", message.to_owned(), Some("go through one list only".to_owned()));
                    return;
                }
                self.walk(&comprehension.iter_range, own, loops);
                let before = own.len();
                own.extend([comprehension.iter_var.clone(), comprehension.accu_var.clone()]);
                own.extend(comprehension.iter_var2.clone());
                let parts = [
                    &comprehension.accu_init,
                    &comprehension.loop_cond,
                    &comprehension.loop_step,
                    &comprehension.result,
                ];
                for part in parts {
                    self.walk(part, own, loops + 1);
                }
                own.truncate(before);
            }
        }
    }

    fn name(&mut self, name: &str, own: &[String]) {
        let name = name.trim_start_matches('.');
        if own.iter().any(|o| o == name) {
            return;
        }
        self.needs_args |= name == "args";
        if !VARIABLES.contains(&name) {
            let message = format!("`{name}` is nothing that a condition sees");
            let help = crate::name::did_you_mean(name, VARIABLES, "it sees");
            self.problem(name, message, Some(help));
        }
    }

    fn field(&mut self, name: &str, field: &str) {
        match name.trim_start_matches('.') {
            "caller" if !FIELDS.contains(&field) => {
                let message = format!("a caller has no `{field}`");
                let help = match crate::name::nearest(field, FIELDS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("a claim of that name is `caller.claims.{field}`"),
                };
                self.problem(field, message, Some(help));
            }
            "args" => {
                self.args.insert(field.to_owned());
            }
            _ => {}
        }
    }

    fn function(&mut self, name: &str) {
        if DECIDES.contains(&name) || COMPUTES.contains(&name) || name.starts_with('@') {
            return;
        }
        let message = format!("there is no function `{name}` here");
        let words =
            |c: &&str| c.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !c.starts_with('_');
        let known = DECIDES.into_iter().chain(COMPUTES).chain(MACROS).filter(words);
        let help = crate::name::did_you_mean(name, known, "functions");
        self.problem(name, message, Some(help));
    }
}
