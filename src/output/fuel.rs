//! What stops a jq program: every place where it can go round (a call of a definition, an item of a list, a comma) first asks
//! whether it may go on. Programs are rewritten so at load; the interpreter itself knows no limits.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jaq_core::data::JustLut;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};
use jaq_json::{Num, Val};

/// The function that asks, and the one that multiplies within bounds.
const TICK: &str = "_tick";
const MUL: &str = "_mul";
/// The longest text, in bytes, and the most items of a list, that an operator may make.
const MAX_LENGTH: usize = 16 << 20;
/// The most bits of a number.
const MAX_BITS: u64 = 1 << 16;
/// How many steps pass between two looks at the clock.
const LOOK: u64 = 256;

/// What a run may use.
#[derive(Clone, Debug)]
pub(super) struct Fuel {
    /// Steps.
    pub steps: u64,
    /// Bytes of stack.
    pub stack: usize,
    /// When it must be over.
    pub until: Option<Instant>,
    /// Whether nobody waits for it any more.
    pub left: Arc<AtomicBool>,
}

struct Running {
    fuel: Fuel,
    /// Where the stack stood at the start.
    base: usize,
    spent: bool,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Runs `work` with this fuel; `None` if it did not suffice, whatever `work` made of that.
pub(super) fn with<T>(fuel: Fuel, work: impl FnOnce() -> T) -> Option<T> {
    RUNNING.set(Some(Running { fuel, base: stack_place(), spent: false }));
    let result = work();
    let running = RUNNING.take();
    running.is_some_and(|running| !running.spent).then_some(result)
}

/// About where the stack stands now.
#[inline(never)]
fn stack_place() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

/// Whether a program may go on with this value.
fn may_go_on(value: &Val) -> bool {
    let small = match value {
        Val::TStr(text) | Val::BStr(text) => text.len() <= MAX_LENGTH,
        Val::Arr(items) => items.len() <= MAX_LENGTH,
        Val::Num(Num::BigInt(number)) => number.bits() <= MAX_BITS,
        _ => true,
    };
    RUNNING.with_borrow_mut(|running| {
        let Some(running) = running else { return true };
        let fuel = &mut running.fuel;
        fuel.steps = fuel.steps.saturating_sub(1);
        let late = fuel.steps.is_multiple_of(LOOK)
            && (fuel.until.is_some_and(|until| Instant::now() >= until) || fuel.left.load(Ordering::Relaxed));
        let deep = running.base.abs_diff(stack_place()) > fuel.stack;
        running.spent |= !small || late || deep || fuel.steps == 0;
        !running.spent
    })
}

fn spent() -> jaq_core::Error<Val> {
    jaq_core::Error::str("this took too many steps")
}

/// The functions that rewritten programs call.
pub(super) fn functions() -> [Fun<JustLut<Val>>; 2] {
    [
        run((TICK, v(0), |cv| bome(if may_go_on(&cv.1) { Ok(Val::Bool(true)) } else { Err(spent()) }))),
        run((MUL, v(2), |mut cv| {
            let right = cv.0.pop_var();
            let left = cv.0.pop_var();
            let product = if fits(&left, &right) { left * right } else { Err(spent()) };
            bome(product.and_then(|value| if may_go_on(&value) { Ok(value) } else { Err(spent()) }))
        })),
    ]
}

/// Whether a text times a number is of a bearable length; if not, the program is over.
fn fits(left: &Val, right: &Val) -> bool {
    let fits = match (left, right) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(n))
        | (Val::Num(n), Val::TStr(text) | Val::BStr(text)) => match n {
            Num::Int(n) => {
                usize::try_from(*n).is_ok_and(|n| text.len().saturating_mul(n) <= MAX_LENGTH) || *n <= 0
            }
            Num::BigInt(_) => false,
            Num::Float(_) | Num::Dec(_) => true,
        },
        _ => true,
    };
    if !fits {
        RUNNING.with_borrow_mut(|running| {
            if let Some(running) = running {
                running.spent = true;
            }
        });
    }
    fits
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
    Def { body: pipe(asks(), term(def.body)), ..def }
}

/// A program that asks wherever it can go round.
pub(super) fn term<'s>(program: Term<&'s str>) -> Term<&'s str> {
    let inner = |t: Box<Term<&'s str>>| Box::new(term(*t));
    let all = |list: Vec<Term<&'s str>>| list.into_iter().map(term).collect::<Vec<_>>();
    match program {
        Term::Recurse => pipe(Term::Recurse, asks()),
        Term::Str(format, parts) => {
            let parts = parts.into_iter().map(|part| match part {
                StrPart::Term(t) => StrPart::Term(term(t)),
                other => other,
            });
            Term::Str(format, parts.collect())
        }
        Term::Arr(items) => Term::Arr(items.map(inner)),
        Term::Obj(members) => Term::Obj(members.into_iter().map(|(k, v)| (key(k), v.map(term))).collect()),
        Term::Neg(t) => Term::Neg(inner(t)),
        Term::BinOp(left, op, right) => operator(*left, op, *right),
        Term::Label(name, t) => Term::Label(name, inner(t)),
        Term::Fold(name, over, pattern, args) => Term::Fold(name, inner(over), pattern, all(args)),
        Term::TryCatch(t, catch) => Term::TryCatch(inner(t), catch.map(inner)),
        Term::IfThenElse(cases, otherwise) => Term::IfThenElse(
            cases.into_iter().map(|(c, t)| (term(c), term(t))).collect(),
            otherwise.map(inner),
        ),
        Term::Def(defs, t) => Term::Def(defs.into_iter().map(definition).collect(), inner(t)),
        Term::Call("range", args) => pipe(Term::Call("range", all(args)), asks()),
        Term::Call(name, args) => Term::Call(name, all(args)),
        Term::Path(of, Path(parts)) => path(inner(of), parts),
        Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => program,
    }
}

/// A member's name stays as it is where it is no program: `{a: 1}`, `{$x}`.
fn key(name: Term<&str>) -> Term<&str> {
    match name {
        Term::Call(..) | Term::Var(_) | Term::Num(_) => name,
        other => term(other),
    }
}

fn path<'s>(of: Box<Term<&'s str>>, parts: Vec<(Part<Term<&'s str>>, jaq_core::path::Opt)>) -> Term<&'s str> {
    let many = parts.iter().any(|(part, _)| matches!(part, Part::Range(None, None)));
    let parts = parts.into_iter().map(|(part, opt)| {
        let part = match part {
            Part::Index(at) => Part::Index(term(at)),
            Part::Range(from, to) => Part::Range(from.map(term), to.map(term)),
        };
        (part, opt)
    });
    let path = Term::Path(of, Path(parts.collect()));
    if many { pipe(path, asks()) } else { path }
}

fn operator<'s>(left: Term<&'s str>, op: BinaryOp<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    let (left, right) = (term(left), term(right));
    match op {
        BinaryOp::Comma => pipe(asks(), Term::BinOp(Box::new(left), op, Box::new(right))),
        BinaryOp::Math(math) => {
            bind(left, "$_left", bind(right, "$_right", within(math, Term::Var("$_left"))))
        }
        // As it is defined: `r as $x | l |= . + $x`.
        BinaryOp::UpdateMath(math) => {
            let update = Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(within(math, Term::Id)));
            bind(right, "$_right", update)
        }
        op => Term::BinOp(Box::new(left), op, Box::new(right)),
    }
}

/// `left + $_right`, and whether it may go on with that.
fn within(math: Math, left: Term<&str>) -> Term<&str> {
    let right = Term::Var("$_right");
    match math {
        Math::Mul => Term::Call(MUL, vec![left, right]),
        math => pipe(Term::BinOp(Box::new(left), BinaryOp::Math(math), Box::new(right)), asks()),
    }
}
