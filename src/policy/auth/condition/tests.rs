//! What bounds conditions, and numbers in them.

use serde_json::json;

use super::*;
use crate::caller::Caller;
use crate::diag::Span;

fn condition(text: &str) -> Option<Condition> {
    Condition::compile(&Spanned::new(text.to_owned(), Span::default()), &mut Diagnostics::default())
}

fn ada() -> Caller {
    let claims = json!({ "groups": ["a", "b"], "level": 3, "max": u64::MAX });
    Caller::with_key("ada", &["read"], &claims)
}

fn holds(text: &str, args: &Value) -> bool {
    let args = args.as_object().unwrap().clone();
    condition(text).unwrap_or_else(|| panic!("{text}")).holds(&Viewer::new(&ada()), "r", Some(args))
}

/// On a stack as the threads of the server have.
fn on_a_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap()
}

/// A condition of each shape, `n` deep.
fn deep(n: usize) -> Vec<String> {
    let around = |open: &str, inner: &str, close: &str| open.repeat(n) + inner + &close.repeat(n);
    vec![
        format!("args.s{} == 'x'", "+args.s".repeat(n)),
        format!("args.n{} == 1", "*args.n".repeat(n)),
        format!("args.n{} == 1", "/args.n".repeat(n)),
        format!("args.n{} == 1", "%args.n".repeat(n)),
        format!("args.n{} == 1", "-args.n".repeat(n)),
        format!("args{} == 1", ".a".repeat(n)),
        format!("args{} == 1", "['a']".repeat(n)),
        format!("args.s{}", ".contains(args.s)".repeat(n)),
        format!("args.n == 1{}", " == true".repeat(n)),
        format!("args.n{} == true", " in [args.n]".repeat(n)),
        around("args.n == 1 ? ", "true", " : false"),
        format!("{}true", "args.n == 2 ? false : ".repeat(n)),
        around("(", "args.n == 1", ")"),
        around("(true && ", "args.n == 1", ")"),
        format!("{} == args.n", around("[", "args.n", "]")),
        format!("{} == args.n", around("{'a': ", "args.n", "}")),
        format!("{} == args.n", around("[args.n, 1+", "[args.n]", "][0]")),
        format!("{} == 1", around("size(", "args.s", ")")),
        around("!(", "args.n == 1", ")"),
        format!("args.l.all(x, {} == 1)", around("size(", "x", ")")),
        format!("args.l{} == []", ".filter(x, x == 1)".repeat(n)),
        format!("args.l{} == []", ".map(x, x + 1)".repeat(n)),
    ]
}

#[test]
fn no_condition_is_too_deep_for_the_stack_of_a_thread() {
    on_a_small_stack(|| {
        let args = json!({ "s": "x", "n": 1, "a": 1, "l": [1, 2] });
        for n in [1, 4, 8, 12, 16, 18, 20, 21, 22, 23, 24, 25, 30, 50, 60, 95, 200, 500, 1000, 2000] {
            for text in deep(n) {
                let Some(condition) = condition(&text) else { continue };
                assert!(n <= MAX_BRACKETS, "{text}");
                condition.holds(&Viewer::new(&ada()), "r", args.as_object().cloned());
            }
        }
        for part in
            ["(", "[", "{", "!", "-", "a.", "a+", "a?", "a?a:", "f(", "a[", "a&&", "a==", "'", "!!a&&", "{a:"]
        {
            assert!(condition(&part.repeat(MAX_TEXT / part.len())).is_none(), "{part}");
            assert!(condition(&(part.repeat((MAX_TEXT - 1) / part.len()) + "a")).is_none(), "{part}");
        }
    });
}

#[test]
fn many_terms_are_not_deep() {
    on_a_small_stack(|| {
        for sign in [" && ", " || "] {
            let text = vec!["caller.claims.level == 3 && args.n - 1 < 1"; 30].join(sign);
            assert!(holds(&text, &json!({ "n": 1 })), "{text}");
        }
        assert!(holds(&format!("{}1 == 12", "args.n + ".repeat(11)), &json!({ "n": 1 })));
        let nested = "(".repeat(20) + "args.n == 1" + &")".repeat(20);
        assert!(holds(&nested, &json!({ "n": 1 })));
        let choices = "args.n == 0 ? false : ".repeat(10) + "true";
        assert!(holds(&choices, &json!({ "n": 1 })));
    });
}

#[test]
fn what_goes_through_two_lists_takes_small_arguments_only() {
    let sized = |text: &str| condition(text).unwrap_or_else(|| panic!("{text}")).max_args;
    for text in [
        "args.a.all(x, !(x in args.b))",
        "args.a.exists(x, x in caller.claims.groups)",
        "args.a.all(x, args.b == args.c)",
        "args.a.all(x, args.b[0] != args.c)",
        "args.a.all(x, args.s.contains(x))",
        "args.a.all(x, size(args.s) > x)",
        "args.a.all(x, size(args.b + args.b) > x)",
        "args.a.map(x, args.b) == []",
        "args.a.filter(x, [args.b] == x) == []",
        "args.a.all(x, {'a': args.b} == x)",
        "args.a.all(x, x in (true ? args.b : []))",
        "args.a.all(x, x in [args.b, 1])",
        "args.a.all(args, args in caller.claims.groups)",
    ] {
        assert_eq!(sized(text), MAX_ARGS_SQUARED, "{text}");
    }
    for text in [
        "args.n in args.a && args.a == args.b && args.s.contains('a')",
        "args.a.all(x, x in [1, 2] || x in caller.scopes)",
        "args.a.all(x, x.owner == caller.sub && x.region == args.region)",
        "args.a.all(x, x == caller.claims.level)",
        "args.a.exists(x, 'a' in x.tags && x.name.contains('a') && x.name.startsWith(args.s))",
        "args.a.exists_one(x, size(x) + 1 > 3)",
        "args.a.filter(x, x > 1).map(x, x + 1) == [3]",
    ] {
        assert_eq!(sized(text), MAX_ARGS, "{text}");
    }
    let few: Vec<u32> = (0..100).collect();
    let many: Vec<u32> = (0..15_000).collect();
    let text = "args.a.all(x, !(x in args.b))";
    assert!(holds(text, &json!({ "a": few, "b": [200] })));
    assert!(!holds(text, &json!({ "a": many, "b": [20_000] })));
}

#[test]
fn whole_numbers_can_be_calculated_with() {
    let args = json!({
        "n": 4, "zero": 0, "minus": -4, "half": 0.5, "four": 4.0, "large": u64::MAX, "list": [1, 4], "s": "abcd",
        "deep": { "n": [{ "m": 4 }] },
    });
    for text in [
        "args.n + 1 < 10",
        "args.n % 2 == 0",
        "-args.n < 0",
        "args.n - 5 == -1",
        "args.zero * args.n == 0",
        "args.minus + args.n == args.zero",
        "args.half * 2.0 == 1.0",
        "args.deep.n[0].m + 1 == 5",
        "caller.claims.level + 1 == args.n",
        "args.n == 4 && args.n == 4u && args.n == 4.0",
        "args.n >= 4 && args.n < 5u && args.n < 4.5 && args.n > args.minus",
        "args.n == args.four && args.four == 4",
        "args.n in [4] && args.n in [4u] && args.n in args.list",
        "!(args.n in [5, 6u])",
        "4 in args.list && 4u in args.list",
        "args.list == [1, 4]",
        "args.list[args.zero] == 1",
        "size(args.s) == args.n",
        "args.large > args.n && args.large > 1 && args.large == 18446744073709551615u",
        "args.large == caller.claims.max",
        "args.large > args.minus",
        "args.list.exists(x, x * 2 == 8)",
        "int(args.half * 4.0) == 2 && uint(args.n) == 4u",
    ] {
        assert!(holds(text, &args), "{text}");
    }
}

#[test]
fn one_viewer_answers_for_every_route() {
    let caller = ada();
    let viewer = Viewer::new(&caller);
    let one = condition("route == 'one' && caller.sub == 'ada'").unwrap();
    let args = condition("has(args.a)").unwrap();
    assert!(one.holds(&viewer, "one", None));
    assert!(!one.holds(&viewer, "two", None));
    assert!(args.holds(&viewer, "one", json!({ "a": 1 }).as_object().cloned()));
    assert!(!args.holds(&viewer, "one", None), "arguments of another call");
}
