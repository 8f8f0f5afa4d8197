//! What a condition may say: known names and functions, one loop, and no deeper than any stack carries it.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use crate::diag::{Diagnostic, Spanned};

/// How deep a condition may be: the library goes through it with as many stack frames, and large ones. Chains of `+` and `.` are
/// deep, those of `&&` and `||` are not.
const MAX_DEPTH: usize = 24;

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

/// What was found.
pub(super) struct Check<'a> {
    written: &'a Spanned<String>,
    problems: Vec<Diagnostic>,
    deep: bool,
    /// The names that macros give around the part that is looked at.
    own: Vec<String>,
    loops: usize,
    pub(super) needs_args: bool,
    /// Whether its work may grow with the square of what it is given.
    pub(super) squared: bool,
    pub(super) args: BTreeSet<String>,
}

impl<'a> Check<'a> {
    /// Checks a whole condition.
    pub(super) fn of(written: &'a Spanned<String>, expr: &IdedExpr) -> Result<Self, Vec<Diagnostic>> {
        let (own, args) = (Vec::new(), BTreeSet::new());
        let mut check = Self {
            written,
            problems: Vec::new(),
            deep: false,
            own,
            loops: 0,
            needs_args: false,
            squared: false,
            args,
        };
        check.walk(expr, 0);
        if check.deep {
            check.problems.push(super::too_deep(written));
        } else if !decides(expr) {
            let message = "a condition says yes or no, and this gives something else";
            check.problems.push(Diagnostic::error("bad-condition", message).at(written.span, ""));
        }
        if check.problems.is_empty() { Ok(check) } else { Err(check.problems) }
    }

    fn problem(&mut self, word: &str, message: String, help: Option<String>) {
        let problem = Diagnostic::error("bad-condition", message).maybe_help(help);
        self.problems.push(problem.within(self.written.span, word, ""));
    }

    fn walk(&mut self, expr: &IdedExpr, depth: usize) {
        self.deep |= depth > MAX_DEPTH;
        if self.deep {
            return;
        }
        let depth = depth + 1;
        match &expr.expr {
            // The library panics at what it has not read; it has told of that before.
            Expr::Unspecified => self.problem("", "this is not a condition in CEL".to_owned(), None),
            Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && !self.own.contains(name)
                {
                    self.field(name, &select.field);
                }
                self.walk(&select.operand, depth);
            }
            Expr::Call(call) => {
                self.function(&call.func_name);
                self.squared |= self.loops > 0 && !self.is_cheap(call);
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.walk(part, depth);
                }
            }
            Expr::List(list) => {
                // Each is copied into it.
                self.squared |= self.loops > 0 && !list.elements.iter().all(|e| self.is_small(e));
                list.elements.iter().for_each(|e| self.walk(e, depth));
            }
            Expr::Map(map) => {
                self.squared |= self.loops > 0;
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.walk(&entry.key, depth);
                            self.walk(&entry.value, depth);
                        }
                        EntryExpr::StructField(field) => self.walk(&field.value, depth),
                    }
                }
            }
            Expr::Struct(made) => {
                let message = format!("there is no type `{}` here", made.type_name);
                self.problem(&made.type_name, message, None);
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr, depth: usize) {
        if self.loops > 0 {
            let message = "one `all`, `exists`, `filter` or `map` stands inside another";
            self.problem("", message.to_owned(), Some("go through one list only".to_owned()));
            return;
        }
        self.walk(&comprehension.iter_range, depth);
        let before = self.own.len();
        self.own.extend([comprehension.iter_var.clone(), comprehension.accu_var.clone()]);
        self.own.extend(comprehension.iter_var2.clone());
        self.loops += 1;
        let parts = [
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ];
        for part in parts {
            self.walk(part, depth);
        }
        self.loops -= 1;
        self.own.truncate(before);
    }

    /// Whether a call inside a loop costs no more than what the loop goes through, all rounds together: comparing ends with the
    /// shorter side, finding goes through the whole.
    fn is_cheap(&self, call: &CallExpr) -> bool {
        let mut parts = call.target.as_deref().into_iter().chain(&call.args);
        match call.func_name.as_str() {
            "_==_" | "_!=_" | "_>=_" | "_<=_" | "_>_" | "_<_" | "startsWith" | "endsWith" => {
                parts.any(|part| self.is_small(part))
            }
            "@in" => call.args.last().is_some_and(|list| self.is_small(list)),
            "contains" => parts.next().is_some_and(|text| self.is_small(text)),
            // Of a text it counts all letters; the others copy.
            "size" | "string" | "int" | "uint" | "double" | "bool" | "_+_" => {
                parts.all(|part| self.is_small(part))
            }
            _ => true,
        }
    }

    /// Whether it is part of what a loop goes through, or bounded by what the configuration says.
    fn is_small(&self, expr: &IdedExpr) -> bool {
        match &expr.expr {
            Expr::Literal(_) => true,
            Expr::Ident(name) => name == "route" || self.own.contains(name),
            Expr::Select(select) => {
                let of_caller = matches!(&select.operand.expr, Expr::Ident(name) if name == "caller");
                of_caller && select.field != "claims" || select.test || self.is_small(&select.operand)
            }
            Expr::List(list) => list.elements.iter().all(|e| self.is_small(e)),
            Expr::Call(call) => match call.func_name.as_str() {
                "_[_]" => call.args.first().is_some_and(|of| self.is_small(of)),
                "_?_:_" => call.args.iter().skip(1).all(|part| self.is_small(part)),
                "_+_" | "string" => call.args.iter().all(|part| self.is_small(part)),
                // Numbers, yes and no.
                _ => true,
            },
            Expr::Map(_) | Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => false,
        }
    }

    fn name(&mut self, name: &str) {
        let name = name.trim_start_matches('.');
        if self.own.iter().any(|o| o == name) {
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
