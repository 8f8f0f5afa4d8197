//! jq's own functions, read once for the process. A program is linked with those alone that it can reach: the whole library takes a
//! thousand times the room of most programs, and as much longer to link.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use jaq_core::Bind;
use jaq_core::data::JustLut;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::native::Fun;
use jaq_core::path::Part;

use super::held::Held;
use super::{fuel, natives};

/// Functions that a configuration must not reach.
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

/// A name that is called, and with how many arguments.
pub(super) type Call<'s> = (&'s str, usize);
type Native = Fun<JustLut<Held>>;
type Made = fn() -> Vec<Native>;
/// The name of a native function, and how it takes its arguments.
type Named = (&'static str, Box<[Bind]>);

/// The functions as they are written, for programs as they are written.
pub(super) static PLAIN: LazyLock<Library> = LazyLock::new(|| Library::new(|def| def));
/// The same, asking wherever they can go round.
pub(super) static ASKING: LazyLock<Library> = LazyLock::new(|| Library::new(fuel::definition));
/// The native functions by what makes them: each is made with all of its kind, and cannot be copied.
static NATIVES: LazyLock<[(Made, Vec<Named>); 3]> = LazyLock::new(|| {
    let kinds: [Made; 3] = [|| jaq_core::funs().collect(), || jaq_std::funs().collect(), natives::functions];
    kinds.map(|made| {
        let known = made().into_iter().filter(|native| !REFUSED.contains(&native.0));
        (made, known.map(|(name, args, _)| (name, args)).collect())
    })
});

/// Definitions in the order in which they see each other.
pub(super) struct Library {
    defs: Vec<(Def<&'static str>, HashSet<Call<'static>>)>,
    by_call: HashMap<Call<'static>, Vec<usize>>,
}

/// What a program is linked with.
pub(super) struct Needed<'s> {
    /// Definitions, in their order.
    pub defs: Vec<Def<&'s str>>,
    /// Everything that it or they call.
    calls: Option<HashSet<Call<'s>>>,
}

impl Library {
    fn new(written: fn(Def<&'static str>) -> Def<&'static str>) -> Self {
        let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let defs = all.filter(|def| !REFUSED.contains(&def.name)).map(|def| {
            let def = written(def);
            let calls = calls(&def.body);
            (def, calls)
        });
        let defs: Vec<_> = defs.collect();
        let mut by_call = HashMap::<_, Vec<usize>>::new();
        for (index, (def, _)) in defs.iter().enumerate() {
            by_call.entry((def.name, def.args.len())).or_default().push(index);
        }
        Self { defs, by_call }
    }

    /// What `program` can reach; all there is, if nobody knows what it calls.
    ///
    /// Whatever a name means at its place (one of the program's own definitions, an argument, an earlier or a later function of the
    /// library), all that has this name goes along, in the same order. So it means the same as among all of them.
    pub fn needed<'s>(&self, program: Option<&Term<&'s str>>) -> Needed<'s> {
        let Some(program) = program else {
            return Needed { defs: self.defs.iter().map(|(def, _)| def.clone()).collect(), calls: None };
        };
        let by_call: &HashMap<Call<'s>, Vec<usize>> = &self.by_call;
        let mut known = calls(program);
        let mut open: Vec<Call<'s>> = known.iter().copied().collect();
        let mut wanted = BTreeSet::new();
        while let Some(call) = open.pop() {
            for index in by_call.get(&call).into_iter().flatten() {
                if wanted.insert(*index)
                    && let Some((_, calls)) = self.defs.get(*index)
                {
                    open.extend(calls.iter().copied().filter(|call| known.insert(*call)));
                }
            }
        }
        let defs = wanted.iter().filter_map(|index| self.defs.get(*index)).map(|(def, _)| def.clone());
        Needed { defs: defs.collect(), calls: Some(known) }
    }
}

impl Needed<'_> {
    fn calls(&self, name: &str, args: usize) -> bool {
        self.calls.as_ref().is_none_or(|calls| calls.contains(&(name, args)))
    }

    /// The names of native functions among what is called that anybody may call.
    pub fn open_natives(&self) -> Vec<(&'static str, Box<[Bind]>, ())> {
        let all = NATIVES.iter().flat_map(|(_, known)| known);
        let open = all.filter(|(name, args)| !name.starts_with('_') && self.calls(name, args.len()));
        open.map(|(name, args)| (*name, args.clone(), ())).collect()
    }

    /// The native functions among what is called.
    pub fn natives(&self) -> Vec<Native> {
        let called = |(name, args): &(&str, Box<[Bind]>)| self.calls(name, args.len());
        let kinds = NATIVES.iter().filter(|(_, known)| known.iter().any(called));
        let all = kinds.flat_map(|(made, _)| made());
        all.filter(|(name, args, _)| !REFUSED.contains(name) && self.calls(name, args.len())).collect()
    }
}

/// Everything that stands as a call in a program.
fn calls<'s>(program: &Term<&'s str>) -> HashSet<Call<'s>> {
    let mut found = HashSet::new();
    term(program, &mut found);
    found
}

fn term<'s>(program: &Term<&'s str>, found: &mut HashSet<Call<'s>>) {
    match program {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(format, parts) => {
            found.extend(format.map(|format| (format, 0)));
            for part in parts {
                if let StrPart::Term(t) = part {
                    term(t, found);
                }
            }
        }
        Term::Arr(items) => items.iter().for_each(|t| term(t, found)),
        Term::Obj(members) => {
            for (key, value) in members {
                term(key, found);
                if let Some(t) = value {
                    term(t, found);
                }
            }
        }
        Term::Neg(t) | Term::Label(_, t) => term(t, found),
        Term::BinOp(left, op, right) => {
            if let BinaryOp::Pipe(Some(names)) = op {
                pattern(names, found);
            }
            term(left, found);
            term(right, found);
        }
        Term::Fold(_, over, names, args) => {
            term(over, found);
            pattern(names, found);
            for t in args {
                term(t, found);
            }
        }
        Term::TryCatch(t, catch) => {
            term(t, found);
            if let Some(t) = catch {
                term(t, found);
            }
        }
        Term::IfThenElse(cases, otherwise) => {
            for (condition, then) in cases {
                term(condition, found);
                term(then, found);
            }
            if let Some(t) = otherwise {
                term(t, found);
            }
        }
        Term::Def(defs, t) => {
            for def in defs {
                term(&def.body, found);
            }
            term(t, found);
        }
        Term::Call(name, args) => {
            found.insert((name, args.len()));
            for t in args {
                term(t, found);
            }
        }
        Term::Path(of, path) => {
            term(of, found);
            for (part, _) in &path.0 {
                match part {
                    Part::Index(at) => term(at, found),
                    Part::Range(from, to) => from.iter().chain(to).for_each(|t| term(t, found)),
                }
            }
        }
    }
}

fn pattern<'s>(names: &Pattern<&'s str>, found: &mut HashSet<Call<'s>>) {
    match names {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter().for_each(|item| pattern(item, found)),
        Pattern::Obj(members) => {
            for (key, value) in members {
                term(key, found);
                pattern(value, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(text: &str) -> (Vec<String>, Vec<String>) {
        let program = jaq_core::load::parse(text, |p| p.term()).expect("a program");
        let needed = PLAIN.needed(Some(&program));
        let shown = |name: &str, args: usize| format!("{name}/{args}");
        let defs = needed.defs.iter().map(|def| shown(def.name, def.args.len())).collect();
        let natives = needed.natives().into_iter().map(|(name, args, _)| shown(name, args.len()));
        (defs, natives.collect())
    }

    #[test]
    fn a_program_takes_along_what_it_can_reach_and_nothing_else() {
        let none: [&str; 0] = [];
        for (text, defs, natives) in [
            ("{id, lines: [.lines[] | .sku]}", &none[..], &none[..]),
            ("[.a[] | select(.b)]", &["empty/0", "select/1"], &[]),
            ("map(length)", &["map/1"], &["length/0"]),
            ("def map(f): f; map(1)", &["map/1"], &[]),
            ("@base64 \"\\(.)\"", &["tostring/0", "@base64/0"], &["encode_base64/0"]),
            (". as {(first): $x} | $x", &["first/0"], &[]),
            (".[length:keys_unsorted]", &[], &["keys_unsorted/0", "length/0"]),
            ("no_such(1)", &[], &[]),
        ] {
            assert_eq!(
                linked(text),
                (
                    defs.iter().map(ToString::to_string).collect(),
                    natives.iter().map(ToString::to_string).collect()
                ),
                "{text}"
            );
        }
    }
}
