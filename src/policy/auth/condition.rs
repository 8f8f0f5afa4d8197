//! A condition in CEL (Common Expression Language): checked when it is loaded, since the library finds unknown names only when
//! they are met, and bounded, since it has no limit of its own.

mod check;
mod viewer;

use std::sync::{Arc, LazyLock};

use cel::{Env, Program};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use check::Check;
pub use viewer::Viewer;

/// What the standard library has; built once.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// The longest condition, in bytes, and how deep brackets and `? :` go in it. The library reads it by recursion, on a stack of
/// its own that this text fits into; what is read is measured by [`Check`].
const MAX_TEXT: usize = 4096;
const MAX_BRACKETS: usize = 24;
const STACK: usize = 64 << 20;
/// The most arguments, as JSON: what a condition goes through costs time for each of them; and where it goes through others of
/// them (or of the claims) each time, their product.
const MAX_ARGS: usize = 64 << 10;
const MAX_ARGS_SQUARED: usize = 4 << 10;

/// A compiled condition. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    program: Arc<Program>,
    needs_args: bool,
    /// Whether it may look at the name of the route.
    looks_at_route: bool,
    max_args: usize,
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
        if written.value.len() > MAX_TEXT || is_deep(&written.value) {
            diagnostics.push(too_deep(written));
            return None;
        }
        // Threads that load have small stacks.
        let reader = std::thread::Builder::new().stack_size(STACK);
        let read = std::thread::scope(|scope| {
            let thread = reader.spawn_scoped(scope, || Self::read(written)).ok()?;
            thread.join().ok()
        });
        let unread = || {
            Err(vec![
                Diagnostic::error("bad-condition", "this condition could not be read").at(written.span, ""),
            ])
        };
        match read.unwrap_or_else(unread) {
            Ok(condition) => Some(condition),
            Err(problems) => {
                for problem in problems {
                    diagnostics.push(problem);
                }
                None
            }
        }
    }

    fn read(written: &Spanned<String>) -> Result<Self, Vec<Diagnostic>> {
        let program = ENV.compile(&written.value).map_err(|errors| {
            let first = errors.errors.first();
            let why = first.map_or_else(String::new, |e| format!(": {}", first_line(&e.msg)));
            let message = format!("this is not a condition in CEL{why}");
            let help = "such as `caller.claims.dept == 'support' && 'orders.write' in caller.scopes`";
            vec![Diagnostic::error("bad-condition", message).at(written.span, "").help(help)]
        })?;
        let Check { needs_args, squared, args, .. } = Check::of(written, program.expression())?;
        Ok(Self {
            text: written.value.clone(),
            program: Arc::new(program),
            needs_args,
            looks_at_route: written.value.contains("route"),
            max_args: if squared { MAX_ARGS_SQUARED } else { MAX_ARGS },
            args: args.into_iter().collect(),
        })
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
    pub(super) fn holds(&self, viewer: &Viewer<'_>, route: &str, args: Option<Map<String, Value>>) -> bool {
        let mut context = viewer.context().new_inner_scope();
        if let Some(args) = args {
            let args = Value::Object(args);
            if args.to_string().len() > self.max_args {
                return false;
            }
            context.add_variable_from_value("args", viewer::value(&args));
        }
        context.add_variable_from_value("route", route);
        matches!(self.program.execute(&context), Ok(cel::Value::Bool(true)))
    }
}

/// The library's words without what it repeats of the text, and without all that could have come.
fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.split(" expecting ").next().unwrap_or_default()
}

fn too_deep(written: &Spanned<String>) -> Diagnostic {
    let message = "this condition is too long or too deep";
    let help = "fewer brackets, `? :` and calculations inside each other; `&&` and `||` may have many terms";
    Diagnostic::error("bad-condition", message).at(written.span, "").help(help)
}

/// More brackets or choices inside each other than anybody writes.
fn is_deep(text: &str) -> bool {
    let (mut depth, mut deepest, mut choices) = (0_usize, 0, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => choices += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest > MAX_BRACKETS || choices > MAX_BRACKETS
}

#[cfg(test)]
mod tests;
