//! Changes of what protects each caller: parameters that the caller's identity fills, sources that ask in the caller's name, and what
//! clients have to be able to do.

use sidegate::review::Effect;

use super::{compared, says, says_only};
use Effect::{Breaking, Compatible, Invisible, Loosening};

const KEYS: &str = "auth: { api_keys: [{ name: ci, key: aaaaaaaaaaaaaaaa-1, claims: { tenant: a } }] }\n";

#[test]
fn what_fills_a_parameter_decides_what_a_caller_sees() {
    let of = |param: &str| {
        format!(
            "{KEYS}sources: {{ api: {{ rest: {{ base_url: 'http://localhost:1' }} }} }}\ntools: {{ a: {{ description: A., params: {{ p: {param} }}, rest: {{ source: api, get: /a, query: {{ p: '{{p}}' }} }} }} }}\n"
        )
    };
    let sub = of("{ from: caller.sub }");
    says_only(
        &compared(&sub, &of("{ from: caller.claims.tenant }")),
        &[
            (Breaking, "`p` is `caller.claims.tenant` of the caller's identity instead of `caller.sub`"),
            (Loosening, "`p` is `caller.claims.tenant` of the caller's identity instead of `caller.sub`"),
        ],
    );
    says_only(
        &compared(&sub, &of("{ from: caller.sub, maxLength: 3 }")),
        &[
            (Breaking, "what `p` may be of the caller's identity changed"),
            (Loosening, "what `p` may be of the caller's identity changed"),
        ],
    );
    says(
        &compared(&of("{ type: string }"), &sub),
        &[(Breaking, "`p` is `caller.sub` of the caller's identity now: who has none is refused")],
    );
    says_only(
        &compared(&of("{ const: a }"), &sub),
        &[(Breaking, "`p` is `caller.sub` of the caller's identity now")],
    );
    says_only(
        &compared(&of("{ const: a }"), &of("{ const: b }")),
        &[(Loosening, "what `p` is pinned to changed")],
    );
}

#[test]
fn a_source_that_no_longer_tells_callers_apart_is_a_loosening() {
    let database = |session: &str| {
        format!(
            "{KEYS}sources: {{ db: {{ sql: {{ url: 'postgres://u@localhost/x'{session} }} }} }}\ntools: {{ a: {{ description: A., sql: {{ source: db, query: SELECT 1 }} }} }}\n"
        )
    };
    let (none, sub) = (database(""), database(", session: { app.user: caller.sub }"));
    let told = (Invisible, "changed: `session`");
    says_only(
        &compared(&sub, &none),
        &[(Loosening, "the session no longer holds `app.user`, which was `caller.sub` of the caller"), told],
    );
    says_only(
        &compared(&none, &sub),
        &[(Breaking, "the session holds `app.user`, which is `caller.sub` of the caller"), told],
    );
    says_only(
        &compared(&sub, &database(", session: { app.user: caller.claims.tenant }")),
        &[
            (Breaking, "the session's `app.user` is `caller.claims.tenant` instead of `caller.sub`"),
            (Loosening, "the session's `app.user` is `caller.claims.tenant` instead of `caller.sub`"),
            told,
        ],
    );
    let api = |more: &str| {
        format!(
            "auth: {{ jwt: [{{ issuer: 'https://id.example', audience: a }}] }}\nsources: {{ api: {{ rest: {{ base_url: 'https://api.example'{more} }} }} }}\ntools: {{ a: {{ description: A., rest: {{ source: api, get: /a }} }} }}\n"
        )
    };
    let exchange = api(
        ", credentials: { token_exchange: { token_url: 'https://id.example/t', client_id: us, client_secret: s } }",
    );
    says(
        &compared(&exchange, &api("")),
        &[(Loosening, "it is asked in a name of its own, and no longer in that of the caller")],
    );
    says(&compared(&api(""), &exchange), &[(Breaking, "it is asked in the name of the caller")]);
    says(&compared(&api(", public_only: true"), &api("")), &[(Loosening, "it may reach private networks")]);
    let redirects = |most: u8| api(&format!(", follow_redirects: {most}"));
    says(&compared(&redirects(1), &redirects(2)), &[(Loosening, "it follows up to `2` redirects")]);
    says_only(&compared(&redirects(2), &redirects(1)), &[(Invisible, "`follow_redirects` from `2` to `1`")]);
}

#[test]
fn questions_that_come_break_clients_that_cannot_ask() {
    let of = |steps: &str, text: &str| {
        format!("tools: {{ a: {{ description: A., static: {{ {steps} text: {text} }} }} }}\n")
    };
    let asks =
        of("steps: [{ ask: { who: { form: { message: Who?, fields: { n: { type: string } } } } } }],", "x");
    let content = (Compatible, "its content changed");
    says_only(&compared(&of("", "x"), &of("", "y")), &[content]);
    says_only(
        &compared(&of("", "x"), &asks),
        &[(Breaking, "clients are asked for `who`: those that cannot ask are refused"), content],
    );
    says_only(
        &compared(&asks, &of("", "x")),
        &[(Compatible, "clients are no longer asked for `who`"), content],
    );
    let needs = of("steps: [{ require: { sampling: {} } }],", "x");
    says_only(
        &compared(&of("", "x"), &needs),
        &[(Breaking, "clients have to be capable of `{\"sampling\":{}}` now"), content],
    );
}

#[test]
fn what_a_prompt_fetches_is_compared_like_a_route() {
    let of = |more: &str| {
        format!(
            "sources: {{ db: {{ sql: {{ url: 'sqlite::memory:' }} }} }}\nprompts: {{ p: {{ data: {{ rows: {{ sql: {{ source: db, query: SELECT 1 }}{more} }} }}, messages: [{{ user: '{{{{ rows }}}}' }}] }} }}\n"
        )
    };
    let fetched = (Invisible, "what is fetched for it changed");
    says_only(
        &compared(&of(", output: { redact: [.a] }"), &of("")),
        &[
            (Loosening, "of `rows`, which is fetched for it: `.a` of the reply is no longer kept back"),
            fetched,
        ],
    );
    // What it takes over from the prompt is told once.
    let limited =
        |time: &str| of("").replace("messages:", &format!("policy: {{ timeout: {time} }}, messages:"));
    says_only(
        &compared(&limited("5s"), &limited("1s")),
        &[(Compatible, "its time limit changed from `5s` to `1s`"), fetched],
    );
}

#[test]
fn a_header_that_clients_have_to_send_breaks() {
    let of = |more: &str| {
        format!(
            "tools: {{ a: {{ description: A., params: {{ p: {{ type: string{more} }} }}, static: {{ template: '{{{{ p }}}}' }} }} }}\n"
        )
    };
    let (without, with) = (of(""), of(", x-mcp-header: Tenant"));
    says_only(&compared(&without, &with), &[(Breaking, "`x-mcp-header` of `p` is `Tenant` now")]);
    says_only(&compared(&with, &without), &[(Compatible, "`x-mcp-header` of `p` is gone")]);
}

#[test]
fn a_route_that_moves_to_a_source_that_does_not_know_the_caller_lets_more_be_seen() {
    let two = |source: &str| {
        format!(
            "{KEYS}sources:\n  own: {{ sql: {{ url: 'postgres://u@localhost/x', session: {{ app.user: caller.sub }} }} }}\n  \
             all: {{ sql: {{ url: 'postgres://u@localhost/x' }} }}\n\
             tools:\n  a: {{ description: A., sql: {{ source: {source}, query: SELECT 1 }} }}\n  \
             keep: {{ description: K., sql: {{ source: own, query: SELECT 1 }} }}\n\
             resources: {{ \"r://a\": {{ sql: {{ source: {source}, query: SELECT 1 }} }} }}\n\
             prompts: {{ p: {{ data: {{ d: {{ sql: {{ source: {source}, query: SELECT 1 }} }} }}, messages: [{{ user: \"{{{{ d }}}}\" }}] }} }}\n"
        )
    };
    let gone = "the session no longer holds `app.user`, which was `caller.sub` of the caller";
    let moved = compared(&two("own"), &two("all"));
    says(&moved, &[(Loosening, gone), (Invisible, "it goes to the source `all` instead of `own`")]);
    assert_eq!(moved.count(Loosening), 3, "the tool, the resource and the prompt: {moved}");
    let back = compared(&two("all"), &two("own"));
    says(&back, &[(Breaking, "the session holds `app.user`, which is `caller.sub` of the caller")]);
    assert_eq!(back.count(Breaking), 3, "{back}");
}
