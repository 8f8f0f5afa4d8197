//! Every kind of change, as a pair of configurations: what it is called, and which effect it has.

use sidegate::review::{Change, Effect};

use super::compared;

/// The sources that a text needs.
fn around(part: &str) -> String {
    format!(
        "sources:\n  api: {{ rest: {{ base_url: 'http://localhost:1' }} }}\n  db: {{ sql: {{ url: 'sqlite::memory:', read_only: false }} }}\n{part}\n"
    )
}

/// Compares both ways: a sentence and its effect for each.
fn check(old: &str, new: &str, there: (Effect, &str), back: (Effect, &str)) {
    for (old, new, (effect, sentence)) in [(old, new, there), (new, old, back)] {
        let comparison = compared(old, new);
        let said: Vec<_> = comparison.items.iter().flat_map(|item| &item.differences).collect();
        let found = said.iter().find(|d| d.sentence.to_string().contains(sentence));
        let found = found.unwrap_or_else(|| panic!("not said: {sentence}\n{comparison}\n{old}\n{new}"));
        assert_eq!(found.effect, effect, "{sentence}\n{comparison}");
    }
}

fn tool(params: &str, rest: &str) -> String {
    format!(
        "tools: {{ a: {{ description: A., params: {{ {params} }}, rest: {{ source: api, get: /a, query: {{ {rest} }} }} }} }}"
    )
}

#[test]
fn parameters_that_narrow_break_and_those_that_widen_do_not() {
    use Effect::{Breaking, Compatible};
    let one = |schema: &str| around(&tool(&format!("p: {schema}"), "p: '{p}'"));
    let both =
        |schema: &str| around(&tool(&format!("p: {{ type: string }}, q: {schema}"), "p: '{p}', q: '{q}'"));
    for (old, new, breaking, compatible) in [
        (
            one("{ type: string }"),
            both("{ type: string }"),
            "`q` is new and required",
            "`q` is gone, and calls with it are refused",
        ),
        (
            one("{ type: string, optional: true }"),
            one("{ type: string }"),
            "`p` is required now",
            "`p` is optional now",
        ),
        (
            one("{ type: number }"),
            one("{ type: integer }"),
            "the type of `p` changed from `number` to `integer`",
            "from `integer` to `number`",
        ),
        (
            one("{ enum: [x, y] }"),
            one("{ enum: [x] }"),
            "`p` no longer takes `\"y\"`",
            "`p` takes `\"y\"` too",
        ),
        (
            one("{ type: integer, minimum: 1 }"),
            one("{ type: integer, minimum: 5 }"),
            "the least value of `p` changed from `1` to `5`",
            "from `5` to `1`",
        ),
        (
            one("{ type: string }"),
            one("{ type: string, maxLength: 9 }"),
            "the greatest length of `p` is `9` now",
            "the greatest length of `p` was `9`",
        ),
        (
            one("{ type: string }"),
            one("{ type: string, pattern: x }"),
            "the pattern of `p` is `x` now",
            "the pattern of `p` is gone",
        ),
        (
            one("{ type: string }"),
            one("{ type: string, format: date }"),
            "the format of `p` is `date` now",
            "the format of `p` is gone",
        ),
    ] {
        let there = compared(&old, &new);
        assert!(there.to_string().contains(breaking), "{there}");
        assert_eq!(there.items[0].effect, Breaking);
        let back = compared(&new, &old);
        assert!(back.to_string().contains(compatible), "{back}");
        // A parameter that goes breaks as much as one that comes.
        let wanted = if compatible.contains("gone, and") { Breaking } else { Compatible };
        assert_eq!(back.items[0].effect, wanted, "{back}");
    }
    let optional = compared(&one("{ type: string }"), &both("{ type: string, optional: true }"));
    assert_eq!(optional.items[0].effect, Compatible, "{optional}");
    assert!(optional.to_string().contains("`q` is new and optional"));
}

#[test]
fn tools_that_come_go_or_get_another_name_are_told_apart() {
    let text = |name: &str, said: &str| {
        format!("tools: {{ {name}: {{ description: A., static: {{ text: {said} }} }} }}\n")
    };
    let renamed = compared(&text("a", "x"), &text("b", "x"));
    assert_eq!(renamed.items.len(), 1);
    assert_eq!((&renamed.items[0].change, renamed.items[0].from.as_deref()), (&Change::Renamed, Some("a")));
    assert_eq!(renamed.items[0].effect, Effect::Breaking);
    assert!(
        renamed
            .to_string()
            .contains("tool b: renamed (was a)\n  breaking    who calls it `a` no longer finds it")
    );
    let another = compared(&text("a", "x"), &text("b", "y"));
    let changes: Vec<_> =
        another.items.iter().map(|i| (i.name.as_str(), i.change.clone(), i.effect)).collect();
    assert_eq!(changes, [("b", Change::Added, Effect::Compatible), ("a", Change::Removed, Effect::Breaking)]);
    let uri = |uri: &str| format!("resources: {{ '{uri}': {{ static: {{ text: x }} }} }}\n");
    let moved = compared(&uri("shop://a"), &uri("shop://b"));
    assert_eq!(
        (&moved.items[0].change, moved.items[0].effect),
        (&Change::Renamed, Effect::Breaking),
        "{moved}"
    );
    let prompt = |name: &str| format!("prompts: {{ {name}: {{ messages: [{{ user: Hello }}] }} }}\n");
    let moved = compared(&prompt("p"), &prompt("q"));
    assert_eq!(
        (&moved.items[0].change, moved.items[0].effect),
        (&Change::Renamed, Effect::Breaking),
        "{moved}"
    );
    let two = |turned: bool| {
        let (a, b) = (
            "  a: { description: A., static: { text: a } }\n",
            "  b: { description: B., static: { text: b } }\n",
        );
        if turned { format!("tools:\n{b}{a}") } else { format!("tools:\n{a}{b}") }
    };
    let turned = compared(&two(false), &two(true));
    assert_eq!(
        turned.to_string(),
        "lists: changed\n  compatible  they come in another order\n\nagainst old.yaml: 1 compatible\n"
    );
}

#[test]
fn who_may_use_a_route_is_tightened_or_loosened() {
    use Effect::{Breaking, Loosening};
    let keys = "auth: { api_keys: [{ name: ci, key: aaaaaaaaaaaaaaaa-1, scopes: [r, w] }] }\n";
    let of = |policy: &str| {
        format!(
            "{keys}tools: {{ a: {{ description: A., static: {{ text: a }}, policy: {{ {policy} }} }} }}\n"
        )
    };
    let plain = of("");
    for (old, new, tightened, loosened) in [
        (
            plain.clone(),
            of("auth: { scopes: [r] }"),
            "callers need the scopes `r` now",
            "callers no longer need the scopes `r`",
        ),
        (
            of("auth: { scopes: [r] }"),
            of("auth: { scopes: [r, w] }"),
            "callers need the scopes `w` now",
            "callers no longer need the scopes `w`",
        ),
        (
            plain.clone(),
            of("auth: { when: \"caller.sub == 'ci'\" }"),
            "a condition decides who may use it",
            "the condition `caller.sub == 'ci'` is gone",
        ),
        (
            of("auth: none"),
            plain.clone(),
            "callers without credentials may no longer use it",
            "callers without any credentials may use it now",
        ),
        (
            plain.replace(keys, "auth: none\n"),
            plain.clone(),
            "callers have to prove who they are now",
            "callers no longer have to prove who they are",
        ),
        (
            plain.clone(),
            plain.replace("[r, w]", "[r]"),
            "the key `ci` no longer has the scopes `w`",
            "the key `ci` has the scopes `w` now",
        ),
        (
            plain.replace("}] }\ntools", "}, { name: bi, key: bbbbbbbbbbbbbbbbbb }] }\ntools"),
            plain.clone(),
            "the keys `bi` no longer count",
            "the keys `bi` count now",
        ),
        (
            of("confirm_: 1").replace("policy: { confirm_: 1 }", "confirm: Sure?"),
            plain.clone(),
            "",
            "nobody is asked before it runs any more",
        ),
        (
            plain.replace("auth:", "server: { http: { allowed_hosts: [a.example] } }\nauth:"),
            plain.clone(),
            "the host names `a.example` no longer pass",
            "the host names `a.example` pass now",
        ),
    ] {
        if tightened.is_empty() {
            let loosened_there = compared(&old, &new);
            assert!(loosened_there.to_string().contains(loosened), "{loosened_there}");
            let back = compared(&new, &old);
            assert!(
                back.to_string().contains("clients that cannot ask are refused") && back.count(Breaking) == 1,
                "{back}"
            );
            continue;
        }
        check(&old, &new, (Breaking, tightened), (Loosening, loosened));
    }
    let changed = compared(
        &of("auth: { when: \"caller.sub == 'ci'\" }"),
        &of("auth: { when: \"caller.sub == 'bi'\" }"),
    );
    assert_eq!((changed.count(Breaking), changed.count(Loosening)), (1, 1), "{changed}");
    let open = compared(
        "tools: { a: { description: A., static: { text: a } } }\n",
        "auth: none\nserver: { http: { listen: 0.0.0.0:8080 } }\ntools: { a: { description: A., static: { text: a } } }\n",
    );
    assert!(open.to_string().contains("loosening   other machines can reach it"), "{open}");
    assert_eq!(open.restart, ["server.http.listen"]);
}

#[test]
fn a_route_that_begins_to_write_is_a_loosening() {
    let get = "tools: { a: { description: A., rest: { source: api, get: /a } } }";
    let post = "tools: { a: { description: A., rest: { source: api, post: /a } } }";
    let of = |text: &str| {
        format!("sources: {{ api: {{ rest: {{ base_url: 'http://localhost:1' }} }} }}\n{text}\n")
    };
    let writes = compared(&of(get), &of(post));
    assert!(
        writes.to_string().contains("loosening   it may change something: it only read before"),
        "{writes}"
    );
    assert_eq!(writes.count(Effect::Breaking), 0, "{writes}");
    let both = of(&get.replacen(
        "tools: {",
        "tools: { b: { description: B., rest: { source: api, delete: /b } },",
        1,
    ));
    let added = compared(&of(get), &both);
    assert!(
        added.to_string().contains("tool b: added\n  loosening   it is new, and may change something"),
        "{added}"
    );
    let db = |read_only: bool| {
        format!(
            "sources: {{ db: {{ sql: {{ url: 'sqlite::memory:', read_only: {read_only} }} }} }}\ntools: {{ a: {{ description: A., sql: {{ source: db, query: SELECT 1 }} }} }}\n"
        )
    };
    let loosened = compared(&db(true), &db(false));
    assert!(
        loosened.to_string().contains("source db: changed\n  loosening   it is no longer read only"),
        "{loosened}"
    );
}

#[test]
fn results_that_lose_something_break() {
    let of = |schema: &str| {
        format!(
            "sources: {{ api: {{ rest: {{ base_url: 'http://localhost:1' }} }} }}\ntools:\n  a:\n    description: A.\n    rest: {{ source: api, get: /a }}\n{schema}"
        )
    };
    let schema = |members: &str, required: &str| {
        of(&format!(
            "    output: {{ schema: {{ type: object, properties: {{ {members} }}, required: [{required}] }} }}\n"
        ))
    };
    let both = schema("x: { type: integer }, y: { type: string }", "x, y");
    for (new, sentence) in [
        (schema("x: { type: integer }", "x"), "the result no longer has `y`"),
        (
            schema("x: { type: integer }, y: { type: number }", "x, y"),
            "the type of `y` changed from `string` to `number`",
        ),
        (schema("x: { type: integer }, y: { type: string }", "x"), "`y` may be missing now"),
        (of(""), "it no longer says what its result looks like"),
    ] {
        let comparison = compared(&both, &new);
        assert!(comparison.to_string().contains(&format!("breaking    {sentence}")), "{comparison}");
    }
    let more = compared(&schema("x: { type: integer }", "x"), &both);
    assert_eq!(more.count(Effect::Breaking), 0, "{more}");
    let row = |row: &str| {
        format!(
            "sources: {{ db: {{ sql: {{ url: 'sqlite::memory:' }} }} }}\ntools: {{ a: {{ description: A., sql: {{ source: db, query: SELECT 1, row: {row} }} }} }}\n"
        )
    };
    let one = compared(&row("many"), &row("one"));
    assert!(one.count(Effect::Breaking) > 0, "{one}");
    let mime =
        |mime: &str| format!("resources: {{ 'a://b': {{ mime_type: {mime}, static: {{ text: x }} }} }}\n");
    let other = compared(&mime("text/plain"), &mime("text/html"));
    assert!(
        other.to_string().contains("breaking    its media type changed from `text/plain` to `text/html`"),
        "{other}"
    );
}

#[test]
fn prompts_break_where_an_argument_is_needed() {
    let of = |params: &str, said: &str| {
        format!("prompts: {{ p: {{ params: {{ {params} }}, messages: [{{ user: '{said}' }}] }} }}\n")
    };
    let needed = compared(&of("a: {}", "{{ a }}"), &of("a: {}, b: {}", "{{ a }}{{ b }}"));
    assert!(needed.to_string().contains("breaking    `b` is new and required"), "{needed}");
    let words = compared(&of("a: {}", "{{ a }}"), &of("a: {}", "About {{ a }}"));
    assert_eq!(
        words.to_string(),
        "prompt p: changed\n  compatible  its messages changed\n\nagainst old.yaml: 1 compatible\n"
    );
}

#[test]
fn policies_are_told_as_what_they_are() {
    let of = |policy: &str| {
        format!(
            "sources: {{ api: {{ rest: {{ base_url: 'http://localhost:1' }} }} }}\ntools: {{ a: {{ description: A., rest: {{ source: api, get: /a }}, policy: {{ {policy} }} }} }}\n"
        )
    };
    for (old, new, effect, sentence) in [
        (
            "rate_limit: { rate: 120/m }",
            "rate_limit: { rate: 60/m }",
            "compatible",
            "the limit of calls changed from `120/m` at `120` a burst for each caller to `60/m` at `60` a burst for each caller (lowered)",
        ),
        (
            "rate_limit: { rate: 60/m, burst: 2 }",
            "rate_limit: { rate: 30/m }",
            "loosening",
            "the limit of calls changed from `60/m` at `2` a burst for each caller to `30/m` at `30` a burst for each caller (lowered, and raised for calls at once)",
        ),
        (
            "rate_limit: { rate: 60/m }",
            "rate_limit: { rate: 60/m, burst: 2 }",
            "compatible",
            "the limit of calls changed from `60/m` at `60` a burst for each caller to `60/m` at `2` a burst for each caller (lowered)",
        ),
        (
            "rate_limit: { rate: 30/m }",
            "rate_limit: { rate: 60/m }",
            "loosening",
            "the limit of calls changed from `30/m` at `30` a burst for each caller to `60/m` at `60` a burst for each caller (raised)",
        ),
        (
            "rate_limit: { rate: 30/m }",
            "rate_limit: { rate: 60/m, burst: 5 }",
            "loosening",
            "the limit of calls changed from `30/m` at `30` a burst for each caller to `60/m` at `5` a burst for each caller (raised, and lowered for calls at once)",
        ),
        ("rate_limit: { rate: 120/m }", "", "loosening", "calls are no longer limited"),
        ("", "rate_limit: { rate: 1/s }", "compatible", "calls are limited to `1/s`"),
        (
            "cache: { ttl: 30s }",
            "cache: { ttl: 5m }",
            "compatible",
            "answers are kept for `5m` instead of `30s`",
        ),
        ("cache: { ttl: 30s }", "", "compatible", "answers are no longer kept"),
        (
            "cache: { ttl: 30s, vary: caller }",
            "cache: { ttl: 30s }",
            "loosening",
            "more callers share kept answers",
        ),
        ("timeout: 5s", "timeout: 1s", "compatible", "its time limit changed from `5s` to `1s`"),
        ("retry: { attempts: 2 }", "retry: { attempts: 3 }", "invisible", "how it is tried again changed"),
        ("", "concurrency: 2", "compatible", "`2` calls of it run at the same time at the most"),
    ] {
        let comparison = compared(&of(old), &of(new));
        assert!(comparison.to_string().contains(&format!("{effect:<10}  {sentence}")), "{comparison}");
        assert_eq!(comparison.items[0].differences.len(), 1, "{comparison}");
    }
}

#[test]
fn what_clients_do_not_see_is_invisible() {
    let of = |base: &str, path: &str| {
        format!(
            "sources: {{ api: {{ rest: {{ base_url: '{base}' }} }} }}\ntools: {{ a: {{ description: A., rest: {{ source: api, get: {path} }} }} }}\n"
        )
    };
    let comparison = compared(&of("http://localhost:1", "/a"), &of("http://localhost:2", "/b"));
    assert_eq!(comparison.count(Effect::Invisible), 2, "{comparison}");
    assert_eq!(comparison.items.len(), 2);
    assert!(
        comparison.to_string().contains("changed: `base` from `http://localhost:1` to `http://localhost:2`"),
        "{comparison}"
    );
    assert!(comparison.to_string().contains("its operation changed: `path`"), "{comparison}");
    let pinned = |param: &str| {
        format!(
            "sources: {{ api: {{ rest: {{ base_url: 'http://localhost:1' }} }} }}\ntools: {{ a: {{ description: A., params: {{ p: {param} }}, rest: {{ source: api, get: /a, query: {{ p: '{{p}}' }} }} }} }}\n"
        )
    };
    let freed = compared(&pinned("{ from: caller.sub }"), &pinned("{ type: string, optional: true }"));
    assert!(
        freed.to_string().contains(
            "loosening   `p` was `caller.sub` of the caller's identity, and is up to the caller now"
        ),
        "{freed}"
    );
}
