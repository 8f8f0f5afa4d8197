//! What stops a jq program: every place where it can go round (a call of a definition, an item of a list, a comma) first asks
//! whether it may go on, and so do the values it works on. Programs are rewritten at load; the interpreter knows no limits.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

use super::held::Error;
use super::natives::{SEARCHED, TICK};

/// The longest text, in bytes, and the most items of a list.
pub(super) const MAX_LENGTH: usize = 16 << 20;
/// How many steps pass between two looks at the clock.
const LOOK: u64 = 256;

/// What a run may use.
#[derive(Clone, Debug)]
pub(super) struct Fuel {
    /// Steps.
    pub steps: u64,
    /// Bytes of stack.
    pub stack: usize,
    /// Bytes of all texts, lists and objects made.
    pub bytes: usize,
    /// When it must be over.
    pub until: Option<Instant>,
    /// Whether nobody waits for it any more.
    pub left: Arc<AtomicBool>,
}

/// Why a program may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It used up what it may use.
    Spent,
    /// A value with too many levels.
    Deep,
}

struct Running {
    fuel: Fuel,
    /// Where the stack stood at the start.
    base: usize,
    /// Steps to the next look at the clock.
    look: u64,
    stop: Option<Stop>,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Runs `work` with this fuel; if it did not suffice, why, whatever `work` made of that.
pub(super) fn with<T>(fuel: Fuel, work: impl FnOnce() -> T) -> Result<T, Stop> {
    RUNNING.set(Some(Running { fuel, base: stack_place(), look: LOOK, stop: None }));
    let result = work();
    match RUNNING.take().and_then(|running| running.stop) {
        Some(stop) => Err(stop),
        None => Ok(result),
    }
}

/// About where the stack stands now.
#[inline(never)]
fn stack_place() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

/// Whether a program may go on after so many steps.
pub(super) fn step(steps: u64) -> bool {
    RUNNING.with_borrow_mut(|running| {
        let Some(running) = running else { return true };
        let fuel = &mut running.fuel;
        fuel.steps = fuel.steps.saturating_sub(steps);
        running.look = running.look.saturating_sub(steps.max(1));
        let mut late = false;
        if running.look == 0 {
            running.look = LOOK;
            late =
                fuel.until.is_some_and(|until| Instant::now() >= until) || fuel.left.load(Ordering::Relaxed);
        }
        let deep = running.base.abs_diff(stack_place()) > fuel.stack;
        if late || deep || fuel.steps == 0 {
            running.stop.get_or_insert(Stop::Spent);
        }
        running.stop.is_none()
    })
}

/// Whether a program may go on that made (or is about to make) so many bytes.
pub(super) fn made(bytes: usize) -> bool {
    RUNNING.with_borrow_mut(|running| {
        let Some(running) = running else { return };
        match running.fuel.bytes.checked_sub(bytes) {
            Some(left) => running.fuel.bytes = left,
            None => {
                running.stop.get_or_insert(Stop::Spent);
            }
        }
    });
    step(0)
}

/// The program is over.
pub(super) fn stop(why: Stop) {
    RUNNING.with_borrow_mut(|running| {
        if let Some(running) = running {
            running.stop.get_or_insert(why);
        }
    });
}

pub(super) fn spent() -> Error {
    Error::str("this took too many steps")
}

/// `. | if _tick then . end`: also a path, so that it may stand in what is assigned to.
fn asks<'s>() -> Term<&'s str> {
    Term::IfThenElse(vec![(Term::Call(TICK, vec![]), Term::Id)], None)
}

fn pipe<'s>(first: Term<&'s str>, second: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(first), BinaryOp::Pipe(None), Box::new(second))
}

fn bind<'s>(value: Term<&'s str>, name: &'s str, then: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(value), BinaryOp::Pipe(Some(Pattern::Var(name))), Box::new(then))
}

/// A definition that asks whenever it is called.
pub(super) fn definition(def: Def<&str>) -> Def<&str> {
    Rewriter::default().definition(def)
}

/// A program that asks wherever it can go round.
pub(super) fn term(program: Term<&str>) -> Term<&str> {
    Rewriter::default().term(program)
}

#[derive(Default)]
struct Rewriter<'s> {
    /// The definitions around this place that take programs: name and number of arguments.
    around: Vec<(&'s str, usize)>,
}

impl<'s> Rewriter<'s> {
    fn definition(&mut self, def: Def<&'s str>) -> Def<&'s str> {
        let before = self.around.len();
        if def.args.iter().any(|arg| !arg.starts_with('$')) {
            self.around.push((def.name, def.args.len()));
        }
        let body = pipe(asks(), self.term(def.body));
        self.around.truncate(before);
        Def { body, ..def }
    }

    fn boxed(&mut self, mut term: Box<Term<&'s str>>) -> Box<Term<&'s str>> {
        *term = self.term(std::mem::replace(&mut *term, Term::Id));
        term
    }

    fn all(&mut self, list: Vec<Term<&'s str>>) -> Vec<Term<&'s str>> {
        list.into_iter().map(|t| self.term(t)).collect()
    }

    fn term(&mut self, program: Term<&'s str>) -> Term<&'s str> {
        match program {
            Term::Recurse => pipe(Term::Recurse, asks()),
            Term::Str(format, parts) => {
                let parts = parts.into_iter().map(|part| match part {
                    StrPart::Term(t) => StrPart::Term(self.term(t)),
                    other => other,
                });
                Term::Str(format, parts.collect())
            }
            Term::Arr(items) => Term::Arr(items.map(|t| self.boxed(t))),
            Term::Obj(members) => {
                let members = members.into_iter().map(|(k, v)| (self.key(k), v.map(|v| self.term(v))));
                Term::Obj(members.collect())
            }
            Term::Neg(t) => Term::Neg(self.boxed(t)),
            Term::BinOp(left, op, right) => {
                let both = Term::BinOp(self.boxed(left), op, self.boxed(right));
                if matches!(both, Term::BinOp(_, BinaryOp::Comma, _)) { pipe(asks(), both) } else { both }
            }
            Term::Label(name, t) => Term::Label(name, self.boxed(t)),
            Term::Fold(name, over, pattern, args) => {
                Term::Fold(name, self.boxed(over), pattern, self.all(args))
            }
            Term::TryCatch(t, catch) => Term::TryCatch(self.boxed(t), catch.map(|t| self.boxed(t))),
            Term::IfThenElse(cases, otherwise) => Term::IfThenElse(
                cases.into_iter().map(|(c, t)| (self.term(c), self.term(t))).collect(),
                otherwise.map(|t| self.boxed(t)),
            ),
            Term::Def(defs, t) => {
                Term::Def(defs.into_iter().map(|def| self.definition(def)).collect(), self.boxed(t))
            }
            Term::Call(name, args) => self.call(name, args),
            Term::Path(of, Path(parts)) => self.path(of, parts),
            Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => program,
        }
    }

    fn call(&mut self, name: &'s str, args: Vec<Term<&'s str>>) -> Term<&'s str> {
        let arity = args.len();
        let args = self.all(args);
        match name {
            "matches" | "split_matches" | "split_" if arity == 2 => {
                let mut args = args.into_iter();
                let (pattern, flags) = (args.next().unwrap_or(Term::Id), args.next().unwrap_or(Term::Id));
                let vars = vec![Term::Var("$_pattern"), Term::Var("$_flags")];
                let search = Term::Call(SEARCHED, vec![Term::Var("$_pattern")]);
                let then = pipe(search, Term::Call(name, vars));
                bind(pattern, "$_pattern", bind(flags, "$_flags", then))
            }
            "range" => pipe(Term::Call(name, args), asks()),
            // A program that hands itself on grows with each call; on the stack that is seen, in a tail call it is not.
            _ if arity > 0 && self.around.contains(&(name, arity)) => pipe(Term::Call(name, args), asks()),
            _ => Term::Call(name, args),
        }
    }

    /// A member's name stays as it is where it is no program: `{a: 1}`, `{$x}`.
    fn key(&mut self, name: Term<&'s str>) -> Term<&'s str> {
        match name {
            Term::Call(..) | Term::Var(_) | Term::Num(_) => name,
            other => self.term(other),
        }
    }

    fn path(
        &mut self,
        of: Box<Term<&'s str>>,
        parts: Vec<(Part<Term<&'s str>>, jaq_core::path::Opt)>,
    ) -> Term<&'s str> {
        let of = self.boxed(of);
        let many = parts.iter().any(|(part, _)| matches!(part, Part::Range(None, None)));
        let parts = parts.into_iter().map(|(part, opt)| {
            let part = match part {
                Part::Index(at) => Part::Index(self.term(at)),
                Part::Range(from, to) => Part::Range(from.map(|t| self.term(t)), to.map(|t| self.term(t))),
            };
            (part, opt)
        });
        let path = Term::Path(of, Path(parts.collect()));
        if many { pipe(path, asks()) } else { path }
    }
}
