//! jq programs, compiled at load. Functions that reach out of the value (`env`, `halt`, `input`, the clock) are not there. A
//! program that goes on too long ends by itself: a short one runs where it is called, any other on a thread of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jaq_core::data::JustLut;
use jaq_core::load::parse::Def;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, compile, unwrap_valr};
use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::convert::{self, Unwritten};
use super::fuel::{self, Fuel, Stop};
use super::held::{Held, MAX_DEPTH};
use super::library::{ASKING, Needed, PLAIN};
use super::natives;
use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// The most results one program may give.
const MAX_RESULTS: usize = 10_000;
/// The longest result, in bytes of JSON.
const MAX_TEXT: usize = 64 << 20;
/// The longest input, in bytes, that is worked on where the program is called, and how far.
const MAX_INLINE: usize = 64 << 10;
const INLINE_STEPS: u64 = 20_000;
const INLINE_STACK: usize = 256 << 10;
const INLINE_BYTES: usize = 8 << 20;
/// How far a program goes on a thread of its own, whose stack has 2 MiB.
const MAX_STEPS: u64 = 20_000_000;
const MAX_STACK: usize = 1 << 20;
/// How many bytes of texts, lists and objects it makes.
const MAX_BYTES: usize = 128 << 20;
/// How many run at a time.
static PLACES: Semaphore = Semaphore::const_new(4);
/// A compiled program. Equality and output are those of its text.
#[derive(Clone)]
pub struct Jq {
    text: Arc<str>,
    filter: Arc<Filter<JustLut<Held>>>,
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
        match shared(&text.value) {
            Ok(program) => Some(program),
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
    /// What is small and quickly done runs at once; the rest on a thread that may block, of which a few run at a time. A
    /// program ends at `deadline`, when the future is dropped, and after 20 million steps.
    ///
    /// # Errors
    /// [`JqError`] as described there.
    pub async fn run(&self, input: &str, deadline: Instant) -> Result<Value, JqError> {
        let text = self.text(input, deadline).await?;
        serde_json::from_str(&text).map_err(|e| JqError::Failed(e.to_string()))
    }

    /// The same as JSON text, as serde_json writes it.
    ///
    /// # Errors
    /// [`JqError`] as described there.
    pub(super) async fn text(&self, input: &str, deadline: Instant) -> Result<String, JqError> {
        let left = Arc::new(AtomicBool::new(false));
        if input.len() <= MAX_INLINE {
            let fuel = Fuel {
                steps: INLINE_STEPS,
                stack: INLINE_STACK,
                bytes: INLINE_BYTES,
                until: None,
                left: left.clone(),
            };
            match self.bounded(input, fuel) {
                Err(JqError::Spent) => {}
                done => return done,
            }
        }
        let _leaving = Leaving(left.clone());
        let place = timeout_at(deadline, PLACES.acquire()).await;
        let Ok(Ok(place)) = place else { return Err(JqError::Spent) };
        let (program, input) = (self.clone(), input.to_owned());
        let until = Some(deadline.into_std());
        let fuel = Fuel { steps: MAX_STEPS, stack: MAX_STACK, bytes: MAX_BYTES, until, left };
        let running = tokio::task::spawn_blocking(move || {
            let result = program.bounded(&input, fuel);
            drop(place);
            result
        });
        match timeout_at(deadline, running).await {
            Ok(Ok(result)) => result,
            Err(_) => Err(JqError::Spent),
            Ok(Err(failed)) => Err(JqError::Failed(failed.to_string())),
        }
    }

    /// Runs it with this fuel, on this thread.
    fn bounded(&self, input: &str, fuel: Fuel) -> Result<String, JqError> {
        // A search or a sort that panics is a program that failed.
        let safe = std::panic::AssertUnwindSafe(|| self.evaluate(input));
        match fuel::with(fuel, || std::panic::catch_unwind(safe)) {
            Ok(Ok(result)) => result.map_err(JqError::Failed),
            Ok(Err(_)) => Err(JqError::Failed("a function failed".to_owned())),
            Err(Stop::Spent) => Err(JqError::Spent),
            Err(Stop::Deep) => Err(JqError::Failed(too_deep())),
        }
    }

    fn evaluate(&self, input: &str) -> Result<String, String> {
        if !natives::readable(input.as_bytes()) {
            return Err(too_deep());
        }
        let input = convert::read(input)?;
        let context = Ctx::<JustLut<Held>>::new(&self.filter.lut, Vars::new([]));
        let (mut text, mut results) = (Vec::new(), 0);
        for result in self.filter.id.run((context, Held::new(input, MAX_DEPTH))).map(unwrap_valr) {
            let value = result.map_err(|e| e.to_string())?;
            if results > 0 {
                text.push(b',');
            }
            let left = MAX_TEXT.saturating_sub(text.len());
            convert::write(&mut text, &value.val, left).map_err(|why| match why {
                Unwritten::Long => format!("the results are longer than {MAX_TEXT} bytes"),
                Unwritten::Other(why) => why,
            })?;
            results += 1;
            if results >= MAX_RESULTS {
                return Err(format!("the program gave more than {MAX_RESULTS} results"));
            }
        }
        match results {
            0 => text.extend_from_slice(b"null"),
            1 => {}
            _ => {
                text.insert(0, b'[');
                text.push(b']');
            }
        }
        String::from_utf8(text).map_err(|e| e.to_string())
    }
}

fn too_deep() -> String {
    format!("a value has more than {MAX_DEPTH} levels, or a number too many digits")
}

/// Why a program gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JqError {
    /// Its own error, as a sentence for the log.
    #[error("{0}")]
    Failed(String),
    /// It was not done in its time, or in as many steps as it may take.
    #[error("the jq program did not end in time")]
    Spent,
}

/// Says to a program that nobody waits for it any more.
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Modules<'s> = jaq_core::load::Modules<&'s str, ()>;
type Failure = (Option<String>, String);

type InUse = BTreeMap<Arc<str>, Weak<Filter<JustLut<Held>>>>;

/// Programs in use, by their text: routes that say the same share one, and so does the configuration after a reload with the one
/// before it.
static IN_USE: Mutex<InUse> = Mutex::new(BTreeMap::new());

fn shared(text: &str) -> Result<Jq, Failure> {
    // Each change of it is one operation.
    let lock = || IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().get_key_value(text).and_then(|(text, filter)| Some((text.clone(), filter.upgrade()?)));
    if let Some((text, filter)) = known {
        return Ok(Jq { text, filter });
    }
    let program = Jq { text: Arc::from(text), filter: Arc::new(build(text)?) };
    let mut in_use = lock();
    // Now and then is enough, so that many programs do not cost the square of their number.
    if in_use.len().is_power_of_two() {
        in_use.retain(|_, filter| filter.strong_count() > 0);
    }
    in_use.insert(program.text.clone(), Arc::downgrade(&program.filter));
    Ok(program)
}

fn build(text: &str) -> Result<Filter<JustLut<Held>>, Failure> {
    let arena = Arena::default();
    let program = jaq_core::load::parse(text, |p| p.term());
    // As it is written, for what is wrong with it: there it may not call those that ask.
    let needed = PLAIN.needed(program.as_ref());
    let natives = needed.open_natives();
    let loaded = load(text, needed, &arena)?;
    let _: compile::Filter<()> =
        compile::Compiler::default().with_funs(natives).compile(loaded).map_err(link_error)?;
    let Some(program) = program else {
        return Err((None, "modules cannot be loaded here".to_owned()));
    };
    // A module's own code cannot be rewritten, so the program becomes a definition that is called.
    let body = fuel::term(program);
    let mut needed = ASKING.needed(Some(&body));
    needed.defs.push(Def { name: MAIN, args: Vec::new(), body });
    let natives = needed.natives();
    let loaded = load(MAIN, needed, &arena)?;
    Compiler::default().with_funs(natives).compile(loaded).map_err(link_error)
}

/// The name of the program as a definition.
const MAIN: &str = "_main";

fn load<'s>(text: &'s str, needed: Needed<'s>, arena: &'s Arena) -> Result<Modules<'s>, Failure> {
    Loader::new(needed.defs).load(arena, File { code: text, path: () }).map_err(load_error)
}

fn link_error(errors: compile::Errors<&str, ()>) -> Failure {
    let first = errors.into_iter().flat_map(|(_, list)| list).next();
    match first {
        Some((near, undefined)) => {
            let why = format!("{} `{near}` is not known", undefined.as_str());
            (Some(near.to_owned()), why)
        }
        None => (None, "unknown name".to_owned()),
    }
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
    use jaq_json::Val;

    use super::*;
    use crate::diag::Span;

    fn jq(text: &str) -> Result<Jq, String> {
        let mut diagnostics = Diagnostics::default();
        let spanned = Spanned::new(text.to_owned(), Span::default());
        Jq::compile(&spanned, &mut diagnostics)
            .ok_or_else(|| diagnostics.sorted().first().map(|d| d.message.clone()).unwrap_or_default())
    }

    fn run(program: &str, input: &str) -> Result<Value, JqError> {
        within(program, input, std::time::Duration::from_secs(60))
    }

    fn within(program: &str, input: &str, limit: std::time::Duration) -> Result<Value, JqError> {
        let program = jq(program).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { program.run(input, Instant::now() + limit).await })
    }

    #[test]
    fn equal_programs_share_what_they_were_linked_with_for_as_long_as_one_is_there() {
        const TEXT: &str = ".shared_by | length";
        let (one, two) = (jq(TEXT).unwrap(), jq(TEXT).unwrap());
        assert!(Arc::ptr_eq(&one.filter, &two.filter));
        assert!(!Arc::ptr_eq(&one.filter, &jq(".shared_by").unwrap().filter));
        let filter = Arc::downgrade(&one.filter);
        drop((one, two));
        assert!(filter.upgrade().is_none(), "nobody uses it, and it is kept");
        assert!(jq(TEXT).is_ok());
    }

    #[test]
    fn programs_select_and_collect() {
        let out =
            run("{id, n: [.lines[] | {sku}]}", r#"{"id":"a","lines":[{"sku":1,"x":2}],"y":0}"#).unwrap();
        assert_eq!(out.to_string(), r#"{"id":"a","n":[{"sku":1}]}"#);
        assert_eq!(run(".[]", "[1,2]").unwrap().to_string(), "[1,2]");
        assert_eq!(run("empty", "1").unwrap(), Value::Null);
        assert!(matches!(run(".a.b", "{\"a\":1}"), Err(JqError::Failed(_))));
        assert_eq!(run("map(select(.>1))|length", "[1,2,3]").unwrap(), 2);
    }

    /// The same with the whole library as jaq has it, and without limits.
    fn plain(text: &str, input: &str) -> Result<Value, String> {
        let arena = Arena::default();
        let funs = jaq_core::funs::<JustLut<Val>>().chain(jaq_std::funs()).chain(jaq_json::funs());
        let loaded = load(text, PLAIN.needed(None), &arena).unwrap();
        let filter = Compiler::default().with_funs(funs).compile(loaded).unwrap();
        let input = jaq_json::read::parse_single(input.as_bytes()).unwrap();
        let context = Ctx::<JustLut<Val>>::new(&filter.lut, Vars::new([]));
        let results = filter.id.run((context, input)).map(unwrap_valr);
        let mut results: Vec<Value> = results
            .map(|r| r.map_err(|e| e.to_string()))
            .map(|r| r.and_then(|v| serde_json::from_str(&v.to_string()).map_err(|e| e.to_string())))
            .collect::<Result<_, _>>()?;
        Ok(if results.len() == 1 { results.remove(0) } else { Value::Array(results) })
    }

    #[test]
    fn every_function_of_the_library_gives_the_same_when_it_is_linked_alone() {
        let all = PLAIN.needed(None);
        let natives = all.open_natives();
        let natives = natives.iter().map(|(name, args, ())| (*name, args.len()));
        let functions: Vec<_> =
            all.defs.iter().map(|def| (def.name, def.args.len())).chain(natives).collect();
        assert!(functions.len() > 200, "{}", functions.len());
        let calls = functions.iter().map(|(name, args)| {
            let with = |arg: &str| match vec![arg; *args].join("; ") {
                none if none.is_empty() => (*name).to_owned(),
                args => format!("{name}({args})"),
            };
            let each = [".", "1", "\"a\""].map(|arg| format!("(try {} catch .)", with(arg)));
            format!("([limit(20; .[] | {})] | try tojson catch \"none\")", each.join(", "))
        });
        let calls: Vec<String> = calls.collect();
        let input = r#"["a-b", 3, [1, 2], {"a": 1}, "2024-01-02T03:04:05Z", 2.5, "[1]", ["x", "y"]]"#;
        let expected = plain(&format!("[{}]", calls.join(", ")), input).unwrap();
        let mut different = Vec::new();
        for (call, expected) in calls.iter().zip(expected.as_array().unwrap()) {
            let found = run(call, input);
            if found.as_ref() != Ok(expected) {
                different.push(format!("{call}\n  {found:?}\n  {expected:?}"));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    }

    #[test]
    fn a_program_means_the_same_with_its_limits_as_without() {
        let mut different = Vec::new();
        let input = r#"{"a":[{"n":1,"s":"x"},{"n":2,"s":"y"}],"m":{"k":[1,[2,[3]]]},"t":"a-b"}"#;
        for text in [
            "[(1,2)*(3,4)]",
            "[(1,2)-(3,4)]",
            "[\"a\" * 3, 2 * 3, 1.5 * 2, {a:{b:1}} * {a:{c:2}}, [1,2] - [2], \"a,b\" / \",\"]",
            ".a[].n *= 10",
            ".a |= map(.n += 1 | .s += \"z\")",
            ".m.k[1:] = [9]",
            "del(.a[] | select(.n == 1))",
            "[paths]",
            "[limit(3; repeat(1))]",
            "[range(0; 10; 3)], [range(5)]",
            "[.. | numbers]",
            "reduce .a[] as {n: $n, s: $s} (0; . + $n)",
            "[foreach (1,2,3) as $x (0; . + $x; [$x, .])]",
            "def f: if . > 100 then . else . * 2 | f end; 1 | f",
            "def f(g; $x): [g, $x]; f(.a[].n; 7)",
            "[.a[] as $x | .a[] as $y | \"\\($x.n)-\\($y.s)\"]",
            "{(.a[].s): 1, t, \"q\": .t, \"x y\": 3}",
            "{\"a\": (1,2), \"b\": (3,4)}",
            ". as {a: [$first, $second]} | {$first, $second}",
            "[.a[] | .n as $n | try error(\"e\\($n)\") catch .]",
            ".m.k | flatten, (tojson | fromjson), (map(tostring) | join(\"+\"))",
            "[label $out | .a[] | if .n == 2 then break $out else . end]",
            "to_entries, (.m | with_entries(.key |= \"_\" + .)), [.t | splits(\"-\")]",
            "[.a[]? | .nosuch?] + [.t[]?]",
            "-(.a[0].n), ([3,1,2] | sort, min, max, add), (.a | group_by(.s), sort_by(-.n), first.n)",
            ".t |= (ascii_upcase | ltrimstr(\"A\")) | .t",
            "[[1,2],[3,4]] | [combinations] | length",
            "walk(if type == \"number\" then . + 1 else . end)",
            "[recurse(if . < 3 then . + 1 else empty end; . < 3)?]",
            "[.a[].n | while(. < 20; . * 3), until(. > 20; . * 3)]",
            "[\"1 [2] {\\\"a\\\":3}\" | fromjson], (\"[1,{\\\"b\\\":[]}]\" | fromjson), (try (\"[1\" | fromjson) catch .)",
            "[.[] | tojson], [.[] | tostring], [.a, .t, .m | length], (-3 | length), (null | length)",
            "[.t | test(\"A\"; \"i\"), [match(\"(?<l>[a-z])\"; \"g\")], capture(\"(?<x>.)-\"), gsub(\"-\"; \"+\"), sub(\"(?<c>[ab])\"; \"<\\(.c)>\")]",
            "[(.a | contains([{n: 1}])), (.m | has(\"k\", \"z\")), (.a | has(0, 1, 2, -1)), (.t | contains(\"-\")), (.a[0] | inside({n: 1, s: \"xyz\"}))]",
            "[(\"aäaä\" | indices(\"ä\")), ([1,2,1,2] | indices(1), indices([1,2]), .[[2]]), (\"a,b,c\" | index(\",\"), rindex(\",\"))]",
            "[[1,2,3] | bsearch(2), bsearch(0), bsearch(9)]",
            "[\"é\" | @base64, @base64d?, @uri, @html, @json, @text, @sh, explode, (explode | implode), utf8bytelength]",
            "[\"äbc\" | .[1:], .[:1], .[-1:], .[5:]], [[1,2,3] | .[1:], .[:-1], .[{start: 1}], .[1.5]?]",
            "[try (.a | .x) catch ., try (.t | .[0]) catch ., try (1 + {}) catch ., try ([] - 1) catch ., try ({} * 2) catch .]",
            "[try ([1] | .[5] = 1) catch ., try ({} | .[0:1]) catch ., try ([1] | .[\"a\":]) catch ., try ([1] | .[\"a\"] = 1) catch .]",
            "[try (1 | keys) catch ., try (1 | .[]) catch ., try (\"a\" | -.) catch ., try (true | length) catch ., try (1 | fromjson) catch .]",
            "[1, null, \"a\", [2], {b: 1}, true, {a: 2}, {a: 1}, [1, 2]] | sort, unique, (map([., 1]) | sort_by(.[0]) | length)",
            "[{a: 1, b: {c: 2, d: 3}} * {b: {c: 4, e: 5}, f: 6}, {a: {b: 1}} * {a: 2}, {a: 1} + {b: 2}]",
            "[.a[0] == {s: \"x\", n: 1}, [1, [2]] == [1, [2]], [1, 2] < [1, 3], {a: 1} < {a: 2}, {a: 1} < {b: 0}]",
            "setpath([\"m\", \"k\", 1, 0]; 9), getpath([\"m\", \"k\"]), delpaths([[\"a\", 0], [\"t\"]]), (.m.k[0:2] = [5, 6, 7])",
            "[\"abc\" | .[1:2] = \"XY\"], [\"abc\" | try (.[1:2] = 1) catch .]",
            "[path(..)], [paths(type == \"number\")], pick(.m.k), (.a | map_values(.n)), (.m | map_values(empty))",
            "[limit(2; .a[]), first(.a[]), nth(1; .a[]), skip(1; .a[])], ([.a[].s] | join(\"/\")), ([1, null, 2] | add)",
            "[1, 2.5, -7, 1e3, 100000000000000000000] | map(. % 7, . / 2, . - 1, tostring, floor), (map(. * .) | tojson)",
            "[1700000000 | todate, gmtime, (gmtime | mktime)], [\"2024-01-02T03:04:05Z\" | fromdate], (0 | strftime(\"%Y\"))",
            "def f(g): if . > 5 then . else (. + 1 | f(g)) end; [0 | f(1), f(f(2))]",
            "def f(g): if . > 5 then . else (g | f(g | g)) end; 0 | f(. + 1)",
            "(.a[] | select(.n == 1) | .s) |= \"q\", (.a |= sort_by(-.n)), (.m.k[1][1][0] += 1), (.new.path[2] = 1)?",
            "[(\"a\", \"b\") as $x | \"\\($x)\\(1, 2)\"], [.a[] | \"\\(.n): \\(.)\"], @json \"v: \\(.m)\"",
            "[([3, 1, 2] | min_by(-.), max_by(-.)), ({b: 1, a: 2} | keys, keys_unsorted, to_entries), ([[\"a\", 1]] | transpose)]",
            "[(\"2024-01-02\", \"1 x\", \"[1] ?\") | try tonumber catch \"none\", (fromjson? // 0)]",
            "[(\"x\" * 0), (\"ab\" | test(\"B\"; \"i\")), ([1, [2]] | getpath([1, 0])), (\"10\" | tonumber), ltrimstr(\"x\")?]",
        ] {
            let expected = plain(text, input);
            let found = run(text, input).map_err(|e| e.to_string());
            if found != expected {
                different.push(format!("{text}\n  {found:?}\n  {expected:?}"));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    }

    #[test]
    fn programs_without_an_end_are_ended() {
        for text in [
            "repeat(1) | select(. == 2)",
            "[repeat(1)]",
            "def f: f; f",
            "def f: 1 + f; f",
            "def f: [f]; f",
            "def f: (f?), f; [f]",
            "def f: try f catch f; f",
            "[range(1e12)]",
            "last(range(1e12))",
            "[range(1e12)]?",
            "first(range(1e12) | select(. < 0))",
            "until(false; .)",
            "[recurse]  | [limit(1e12; repeat(.))] | length",
            "[recurse(.)]",
            "\"x\" * 1000000000000",
            ".s *= 1000000000000",
            "reduce range(64) as $i (\"x\"; . + .)",
            "reduce range(64) as $i ([1]; . + .)",
            "reduce range(64) as $i ({s: \"x\"}; .s += .s)",
            "reduce range(64) as $i (999999999999; . * .)",
            "[.l[] as $a | .l[] as $b | .l[] as $c | .l[] as $d | .l[] as $e | .l[] as $f | .l[] as $g | .l[] as $h | 1]",
            "[(1,2) as $a|(1,2) as $b|(1,2) as $c|(1,2) as $d|(1,2) as $e|(1,2) as $f|range(1e12)]",
        ] {
            let list: Vec<u32> = (0..40).collect();
            let input = format!(r#"{{"s":"x","l":{list:?}}}"#);
            let ended = within(text, &input, std::time::Duration::from_millis(300));
            assert_eq!(ended, Err(JqError::Spent), "{text}");
        }
        // None of them goes on unseen.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let free = async {
            while PLACES.available_permits() < 4 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let ended = runtime
            .block_on(async { tokio::time::timeout(std::time::Duration::from_secs(60), free).await.is_ok() });
        assert!(ended, "a program is still running");
        let shared = run("reduce range(64) as $i (1; [., .])", "1").unwrap_err();
        assert!(matches!(&shared, JqError::Failed(why) if why.contains("longer than")), "{shared:?}");
    }

    #[test]
    fn what_a_program_makes_is_bounded_in_depth_and_in_bytes() {
        let items: Vec<u32> = (0..60_000).collect();
        let nested = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let input = serde_json::json!({ "s": "x".repeat(64), "payload": nested, "items": items }).to_string();
        let before = peak();
        for text in HOSTILE {
            let ended = within(text, &input, std::time::Duration::from_secs(1));
            assert!(ended.is_err(), "{text}: {:.200}", ended.unwrap().to_string());
            let grown = peak().saturating_sub(before);
            assert!(grown < 1_200_000, "{text}: the process grew by {grown} kB");
        }
        // What is within the bounds is not in the way.
        let deep = "[".repeat(90) + &"]".repeat(90);
        let input = serde_json::json!({ "payload": deep, "items": items }).to_string();
        assert_eq!(run(".payload | fromjson | tojson | length", &input), Ok(Value::from(180)));
        assert_eq!(run("[.items[] | tostring] | join(\",\") | length", &input), Ok(Value::from(348_889)));
        assert_eq!(
            run("reduce .items[] as $i ([]; . + [{i: $i}]) | length", &input),
            Ok(Value::from(60_000))
        );
        assert_eq!(
            run("reduce .items[] as $i ({}; .[\"k\\($i)\"] = $i) | length", &input),
            Ok(Value::from(60_000))
        );
        assert_eq!(
            run("[.items[] | {id: ., name: \"n\\(.)\"}] | map(.id) | add", &input),
            Ok(Value::from(1_799_970_000_u64))
        );
        assert_eq!(
            run("reduce range(5000) as $i ({a: [], b: []}; {a: .b, b: [.a[0]]}) | .b | length", &input),
            Ok(Value::from(1))
        );
    }

    /// The most memory this process had so far, in kB.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    /// Programs that build depth, texts or lists without measure.
    const HOSTILE: [&str; 62] = [
        ".payload | fromjson",
        ".payload | fromjson | length",
        "(\"[\" * 30000 + \"]\" * 30000) | fromjson | length",
        "(\"{\\\"a\\\":\" * 30000 + \"1\" + \"}\" * 30000) | fromjson | length",
        "\"[\" * 1000000 | fromjson?",
        "try (\"[\" * 1000000 | fromjson) catch 1",
        "(\"[\" * 5000 + \"]\" * 5000) | tonumber",
        "\"9\" * 4000000 | fromjson",
        "reduce .items[] as $i (null; {i: $i, rest: .}) | .i",
        "reduce .items[] as $i (null; [.]) | length",
        "reduce .items[] as $i (null; {\"\\($i)\": .}) | length",
        "reduce .items[] as $i (1; {(tojson | .[:1]): {a: .}}) | length",
        "reduce .items[] as $i (1; {(.|[.]): 1}) | length",
        "reduce .items[] as $i ([]; [.] + [1]) | length",
        "reduce .items[] as $i ({}; {a: .} * {b: 1}) | length",
        "reduce .items[] as $i ({}; . * {a: .}) | length",
        "reduce .items[] as $i ([]; .[0] = .) | length",
        "reduce .items[] as $i ({}; .a = .) | length",
        "reduce .items[] as $i ([1]; .[0] |= [[.]]) | length",
        "reduce .items[] as $i ([1]; map([.])) | length",
        "reduce .items[] as $i ({a: 1}; map_values([.])) | length",
        "reduce .items[] as $i ([1]; .[0:1] = [.]) | length",
        "reduce .items[] as $i ([1]; [to_entries]) | length",
        "reduce .items[] as $i ([1]; group_by(.)) | length",
        "reduce .items[] as $i ({a: 1}; to_entries) | length",
        "reduce .items[] as $i ([[1]]; [transpose, .]) | length",
        "last(foreach .items[] as $i (null; [.])) | length",
        "[limit(60000; recurse([.]))] | last | length",
        "last(limit(60000; null | repeat([.]) )) | length | repeat(.)",
        "null | until(false; [.])",
        "null | setpath([range(100000) | \"a\"]; 1) | length",
        "null | setpath([range(100000) | 0]; 1) | length",
        "null | getpath([range(100000) | \"a\"]) = 1 | length",
        "null | getpath([range(100000) | \"a\"]) |= 1 | length",
        "null | path(getpath([range(100000) | \"a\"])) | length",
        "null | path(until(false; .a))",
        "[1] | path(until(false; .[0:]))",
        "[[]] | path(until(false; .[[]]))",
        "(reduce (\"1 \" * 100000 | fromjson) as $i (.; .x)) = 1 | length",
        "(reduce (\"1 \" * 100000 | fromjson) as $i (.; .)) |= 1 | length",
        "def f(g): if . > 300000 then 1 else . + 1 | f(g) end; 0 | f(1) | repeat(.)",
        "def f(g): if . > 300000 then g else . + 1 | f(g | g) end; 0 | f(.)",
        "def f(g): def h: f(g); if . > 300000 then 1 else . + 1 | h end; 0 | f(1)",
        "def f: [f]; f",
        "def f: {a: f}; f",
        "[.items[] as $i | [.items[] | [$i, .]]] | length",
        "reduce range(27) as $i (\"xxxxxxxx\"; \"\\(.)\\(.)\") | length",
        "reduce range(27) as $i (\"xxxxxxxx\"; @json \"\\(.)\\(.)\") | length",
        "(\"x\" * 16000000) as $s | [range(200) | $s + \"y\"] | length",
        "(\"x\" * 1000000) as $s | [range(2000) | $s | ascii_upcase] | length",
        "(\"x\" * 1000000) as $s | [range(2000) | $s | @base64] | length",
        "(\"x\" * 1000000) as $s | [range(2000) | [$s] | tojson] | length",
        "(\"x\" * 1000000) as $s | [range(2000) | [$s, $s] | join(\"\")] | length",
        "(\"x\" * 1000000) as $s | [range(2000) | \"\\($s)y\"] | length",
        "(\"x\" * 16000000) | explode | length",
        "(\"x\" * 16000000) / \"\" | length",
        "(\"x\" * 16000000) | [match(\"((((((((x))))))))\"; \"g\")] | length",
        "(\"x\" * 3000000) | gsub(\"\"; \"yyyyyyyyyy\") | length",
        "(\"0,\" * 7000000 | \"[\" + . + \"0]\") as $s | [range(50) | $s | fromjson] | length",
        ".items as $i | [range(10000) as $n | $i | .[0] = $n] | length",
        "reduce range(60) as $i (1; [., .]) | tojson | length",
        "reduce range(60) as $i (1; [., .]) | try .a catch . | [repeat(.)] | length",
    ];

    #[test]
    fn a_program_that_nobody_waits_for_gives_its_place_back() {
        let program = jq("[repeat(1) | select(. == 2)]").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let far = Instant::now() + std::time::Duration::from_secs(3600);
            for _ in 0..12 {
                let started = program.run("1", far);
                let short = std::time::Duration::from_millis(20);
                assert!(tokio::time::timeout(short, started).await.is_err(), "it has no end");
            }
            let last = jq("[range(30000)] | length").unwrap();
            assert_eq!(last.run("1", far).await, Ok(Value::from(30000)));
        });
    }

    #[test]
    fn large_numbers_keep_their_digits() {
        assert_eq!(run(".n", r#"{"n":9007199254740993}"#).unwrap().to_string(), "9007199254740993");
    }

    #[test]
    fn what_reaches_out_is_not_there() {
        for text in ["env", "$ENV", "input", "halt", "now", "debug", "_tick", "_main", "include \"a\"; ."] {
            assert!(jq(text).is_err(), "{text}");
        }
        assert!(jq("{id, ").unwrap_err().contains("does not compile"));
        assert!(jq("nosuch(1)").unwrap_err().contains("nosuch"));
    }
}
