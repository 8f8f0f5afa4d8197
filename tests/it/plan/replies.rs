//! Changes of what clients read: fields of a selection, columns of a statement; and what is no change of a route.

use sidegate::review::Effect;

use super::{compared, folder, run, says, says_only};
use Effect::{Breaking, Compatible, Invisible, Loosening};

fn selecting(output: &str) -> String {
    format!(
        "sources: {{ api: {{ rest: {{ base_url: 'http://localhost:1' }} }} }}
tools: {{ a: {{ description: A., rest: {{ source: api, get: /a }}{output} }} }}
"
    )
}

fn select(program: &str) -> String {
    selecting(&format!(", output: {{ select: '{program}' }}"))
}

#[test]
fn a_field_that_is_no_longer_selected_breaks_whoever_reads_it() {
    let both = select("{id, lines: [.lines[] | {sku, qty}]}");
    says_only(
        &compared(&both, &select("{id, lines: [.lines[] | {sku}]}")),
        &[(Breaking, "`lines[].qty` of the reply is no longer selected")],
    );
    says_only(
        &compared(&both, &select("{number, id, lines: [.rows[] | {sku, qty}]}")),
        &[(Compatible, "what is selected of the reply changed, and has all the fields that it had")],
    );
    says_only(&compared(&both, &select(".lines")), &[(Breaking, "in a way that cannot be compared")]);
    says_only(&compared(&selecting(""), &both), &[(Breaking, "only a selection of the reply is given now")]);
    says_only(
        &compared(&both, &selecting("")),
        &[(Breaking, "the whole reply is given instead of a selection")],
    );
    // Where both sides say by a schema what the result is, that decides.
    let schema = "schema: { type: object, properties: { id: { type: string } }, required: [id] }";
    let schemed = |program: &str| selecting(&format!(", output: {{ select: '{program}', {schema} }}"));
    says_only(
        &compared(&schemed("{id, b: 1}"), &schemed("{id}")),
        &[(Compatible, "what is selected of the reply changed: look at what its clients read")],
    );
}

#[test]
fn a_column_that_goes_breaks_whoever_reads_it() {
    let statement = |query: &str| {
        format!(
            "sources: {{ db: {{ sql: {{ url: 'sqlite::memory:' }} }} }}
tools: {{ a: {{ description: A., sql: {{ source: db, query: \"{query}\" }} }} }}
"
        )
    };
    let (two, told) =
        (statement("SELECT id, total FROM t"), (Invisible, "its operation changed: `statement`"));
    says_only(
        &compared(&two, &statement("SELECT id FROM t")),
        &[(Breaking, "its rows no longer have `total`"), told],
    );
    says_only(
        &compared(&two, &statement("SELECT id, sum AS total, state FROM t ORDER BY id")),
        &[(Compatible, "its rows have `state` too"), told],
    );
    says_only(&compared(&two, &statement("SELECT id, total FROM t WHERE id > 1")), &[told]);
    says_only(
        &compared(&statement("SELECT * FROM t"), &two),
        &[(Breaking, "its rows have only the columns that it names now"), told],
    );
    says_only(&compared(&two, &statement("SELECT * FROM t")), &[told]);
}

#[test]
fn a_server_that_knows_its_callers_now_is_told_once_and_not_as_a_secret_of_each_route() {
    let rest = "sources: { api: { rest: { base_url: 'http://localhost:1' } } }
tools:
  a: { description: A., rest: { source: api, get: /a } }
  b: { description: B., static: { text: b } }
resources: { 'x://r': { static: { text: r } } }
prompts: { p: { description: P., data: { d: { rest: { source: api, get: /d } } }, messages: [{ user: '{{ d.id }}' }] } }
";
    let keys = "auth: { api_keys: [{ name: ci, key: aaaaaaaaaaaaaaaa-1 }] }\n";
    for (old, new, effect) in [("", keys, Breaking), (keys, "", Loosening)] {
        let comparison = compared(&format!("{old}{rest}"), &format!("{new}{rest}"));
        says(&comparison, &[(effect, "")]);
        let said = comparison.to_string();
        assert!(!said.contains("secret") && !said.contains("fetched for it"), "{said}");
        assert_eq!(comparison.items.len(), 1, "{said}");
    }
}

#[test]
fn an_empty_name_is_a_wrong_command_line() {
    let folder = folder(&[("gateway.yaml", "tools: { a: { description: A., static: { text: a } } }\n")]);
    let (code, out, err) = run(folder.path(), &["plan", "--against", ""]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("--against"), "{err}");
}
