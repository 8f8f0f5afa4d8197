//! The configuration language as its reader meets it: what every wrong file says, at which word, and what every right
//! one becomes. `INSTA_UPDATE=always` writes the snapshots anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;
use sidegate::config::{Environment, Loaded, load, load_text};
use sidegate::diag::{FileId, Format, render};
use sidegate::plan::{Plan, compile};

/// In every secret that a fixture holds, and in every secret that it gets from outside.
const LITERAL: &str = "hunter2";
const OUTSIDE: &str = "tr0ub4dor";

pub(crate) fn environment() -> Environment {
    let given = [
        ("ORDERS_TOKEN", OUTSIDE.to_owned()),
        ("PASSWORD", format!("{OUTSIDE}-2")),
        ("TWO_LINES", format!("{OUTSIDE}\r\nX-Evil: 1")),
        ("DATABASE", "shop".to_owned()),
    ];
    let given: HashMap<String, String> = given.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Environment { process: false, given }
}

/// The fixtures of a folder by name. Paths are relative, so that what is said of them is the same on every machine.
pub(crate) fn fixtures(kind: &str) -> BTreeMap<String, PathBuf> {
    let folder = Path::new("tests/config").join(kind);
    let files = fs::read_dir(&folder).unwrap().map(|entry| folder.join(entry.unwrap().file_name()));
    let named = files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path));
    named.collect()
}

/// Loads and compiles as `check` does.
pub(crate) fn checked(path: &Path) -> (Loaded, Option<Plan>) {
    with_plan(load(path, &environment()))
}

pub(crate) fn with_plan(mut loaded: Loaded) -> (Loaded, Option<Plan>) {
    let plan = loaded.config.as_ref().and_then(|config| compile(config, &mut loaded.diagnostics));
    let plan = plan.filter(|_| !loaded.diagnostics.has_errors());
    (loaded, plan)
}

pub(crate) fn rendered(loaded: &Loaded, format: Format) -> String {
    render(&loaded.diagnostics, &loaded.sources, format)
}

pub(crate) const PLAIN: Format = Format::Text { colour: false };

fn json(loaded: &Loaded) -> Vec<Value> {
    let document: Value = serde_json::from_str(&rendered(loaded, Format::Json)).unwrap();
    document["diagnostics"].as_array().unwrap().clone()
}

/// Runs a check on every one and fails with the list of those that failed.
fn each<'a>(names: impl IntoIterator<Item = &'a String>, check: impl Fn(&str)) {
    let failed: Vec<&String> =
        names.into_iter().filter(|name| catch_unwind(AssertUnwindSafe(|| check(name))).is_err()).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn snapshot(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../config/snapshots/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn every_wrong_file_is_refused_with_what_its_snapshot_says() {
    let all = fixtures("invalid");
    assert!(all.len() >= 45, "{} fixtures", all.len());
    each(all.keys(), |name| {
        assert!(fs::read_to_string(&all[name]).unwrap().starts_with("# "), "no comment says what is wrong");
        let (loaded, plan) = checked(&all[name]);
        assert!(loaded.diagnostics.has_errors() && plan.is_none(), "{name} is not refused");
        snapshot("invalid", name, rendered(&loaded, PLAIN).trim_end());
    });
}

#[test]
fn every_right_file_becomes_the_plan_of_its_snapshot() {
    let all = fixtures("valid");
    each(all.keys(), |name| {
        let (loaded, plan) = checked(&all[name]);
        assert!(loaded.diagnostics.is_empty(), "{}", rendered(&loaded, PLAIN));
        let plan = serde_json::to_string_pretty(&plan.unwrap()).unwrap();
        let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
        snapshot("valid", name, &plan.replace(&version, "\"version\": \"(this one)\""));
    });
}

#[test]
fn every_snapshot_has_its_fixture() {
    for kind in ["invalid", "valid"] {
        let fixtures = fixtures(kind);
        for (name, _) in self::fixtures(&format!("snapshots/{kind}")) {
            assert!(fixtures.contains_key(&name), "{kind}/{name}");
        }
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let mut with_secret = 0;
    let all = fixtures("invalid").into_values().chain(fixtures("valid").into_values());
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        with_secret += usize::from(text.contains(LITERAL) || text.contains("${PASSWORD}"));
        let (loaded, plan) = checked(&path);
        let mut shown = format!("{plan:?}\n{}", serde_json::to_string(&plan).unwrap());
        for format in [PLAIN, Format::Text { colour: true }, Format::Json, Format::Github] {
            shown.push_str(&rendered(&loaded, format));
        }
        for secret in [LITERAL, OUTSIDE] {
            let at = shown.find(secret).map(|at| shown.get(at.saturating_sub(60)..at + 20));
            assert!(at.is_none(), "{}: {at:?}", path.display());
        }
    }
    assert!(with_secret >= 8, "only {with_secret} fixtures hold a secret");
}

#[test]
fn a_secret_in_a_text_that_is_not_yaml_is_hidden_however_it_is_written() {
    for text in [
        "a: [\nbearer: hunter2",
        "a: [\n\"bearer\" : \"hunter2\"",
        "a: [\npassword: |\n  hunter2\n  hunter2\nb: ]",
        "credentials: { bearer:\n    hunter2\n  - a: b: c",
        "api_key:\n  header: X\n\n  value: 'hunter2\n",
        "a: \"https://u:hunter2@h/?k=hunter2 b\": c: \"",
        "headers: { Authorization: Bearer hunter2, a: [ }",
    ] {
        let loaded = load_text("a.yaml", text, Path::new("."), &environment());
        assert!(loaded.diagnostics.has_errors(), "{text}");
        let shown = loaded.sources.shown(FileId(0));
        assert!(!shown.contains(LITERAL), "{text}\n{shown}");
        assert!(!rendered(&loaded, PLAIN).contains(LITERAL), "{text}");
    }
}

#[test]
fn a_request_that_only_names_a_parameter_like_a_secret_is_shown_and_not_warned_about() {
    let text = "
sources: { api: { rest: { base_url: 'http://127.0.0.1:9' } } }
tools:
  find:
    description: Finds.
    params: { key: { type: string } }
    rest: { source: api, get: /a, query: { key: '{kye}', token: '{key}' } }
";
    let (loaded, _) = with_plan(load_text("a.yaml", text, Path::new("."), &environment()));
    let text = rendered(&loaded, PLAIN);
    assert_eq!(loaded.diagnostics.warnings(), 0, "{text}");
    assert!(text.contains("query: { key: '{kye}', token: '{key}' }"), "{text}");
}

#[test]
fn a_secret_that_stands_in_the_file_is_warned_about_wherever_one_is_known() {
    let text = "
auth: { api_keys: [ { name: ci, key: hunter2-key }, { name: bi, key: '${PASSWORD}' } ] }
sources:
  api:
    rest:
      base_url: 'http://127.0.0.1:9'
      headers: { Authorization: Bearer hunter2, X-API-Key: hunter2, Cookie: '${PASSWORD}', Accept: text/plain }
  db: { sql: { url: 'postgres://shop:hunter2@127.0.0.1/shop' } }
  named: { sql: { url: 'postgres://shop:${PASSWORD}@127.0.0.1/shop' } }
  tried: { sql: { url: '${SHOP_DB:-postgres://shop:shop@127.0.0.1/shop}' } }
  open: { sql: { url: 'postgres://shop@127.0.0.1/shop' } }
tools:
  find:
    description: Finds.
    params: { key: { type: string } }
    rest: { source: api, get: /a, headers: { X-API-Key: '{key}' } }
";
    let (loaded, _) = with_plan(load_text("a.yaml", text, Path::new("."), &environment()));
    let all = json(&loaded);
    let lines: Vec<_> =
        all.iter().filter(|d| d["code"] == "literal-secret").map(|d| d["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 7, 7, 8], "{}", rendered(&loaded, PLAIN));
    assert!(!rendered(&loaded, PLAIN).contains(LITERAL));
}

/// What stands under a diagnostic's caret.
fn under_caret(path: &Path, diagnostic: &Value) -> String {
    let number = |key: &str| usize::try_from(diagnostic[key].as_u64().unwrap()).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let line = text.split('\n').nth(number("line") - 1).unwrap();
    line.chars().skip(number("column") - 1).take(number("end_column") - number("column")).collect()
}

#[test]
fn every_problem_has_a_place_in_its_file() {
    // Nothing stands in it, so that it has no other place.
    let at_the_start = ["empty"];
    for (name, path) in fixtures("invalid") {
        let (loaded, _) = checked(&path);
        for diagnostic in json(&loaded) {
            let file = Path::new(diagnostic["file"].as_str().unwrap());
            let included = name == "includes" && file.parent().unwrap().ends_with("wrong_routes");
            assert!(included || file == path, "{name}: {diagnostic:#}");
            let lines = fs::read_to_string(file).unwrap().lines().count();
            let (line, column) = (&diagnostic["line"], &diagnostic["column"]);
            let line = usize::try_from(line.as_u64().unwrap()).unwrap();
            assert!((1..=lines).contains(&line), "{name}: {diagnostic:#}");
            let first = line == 1 && *column == 1;
            assert!(!first || at_the_start.contains(&name.as_str()), "{name}: {diagnostic:#}");
        }
    }
}

#[test]
fn carets_stand_under_the_very_word() {
    for (fixture, code, words) in [
        ("bad_units", "wrong-value", &["20", "4MB", "half an hour", "100 MiB", "10 seconds"][..]),
        ("undeclared_in_sql", "unknown-param", &[":customer"]),
        ("undeclared_placeholders", "unknown-param", &["{id}", "{expnd}", "{order-id}", "{trace}"]),
        ("unset_variable", "unset-variable", &["${ORDER_TOKEN}", "${NOWHERE}"]),
        ("templates", "unknown-name", &["customer", "ordr"]),
        ("templates", "unknown-filter", &["shout"]),
        ("sql_statements", "unnamed-bind", &["?", "$1"]),
        (
            "schemas",
            "bad-schema",
            &["three", "\"[a-\"", "\"https://schemas.example/b.json\"", "string", "low"],
        ),
        ("unused_params", "unused-param", &["page", "{part}"]),
        ("mcp_headers", "bad-mcp-header", &["Region", "\"two words\"", "tenant"]),
        ("yaml_tag", "yaml-tag", &["!env"]),
        ("wide_characters", "variable-syntax", &["${店}"]),
        ("wide_characters", "unknown-key", &["descripton"]),
        ("path_mistakes", "optional-in-path", &["{id}"]),
        ("lists", "bad-meta-key", &["\"io.modelcontextprotocol/owner\"", "\"dev.mcp/owner\"", "\"-owner\""]),
        ("lists", "bad-icon", &["\"http://shop.example/logo.png\"", "logo.png"]),
        ("lists", "bad-annotation", &["1.5", "yesterday", "-0.1", "2026-13-01"]),
        ("wrong_types", "wrong-type", &["name", "listen", "mcp.shop.example", "many"]),
    ] {
        let path = fixtures("invalid")[fixture].clone();
        let (loaded, _) = checked(&path);
        let mut found: Vec<String> =
            json(&loaded).iter().filter(|d| d["code"] == code).map(|d| under_caret(&path, d)).collect();
        found.truncate(words.len());
        assert_eq!(found, words, "{fixture} {code}");
    }
    // The name stands in the prose before it stands in the expression.
    let (loaded, _) = checked(&fixtures("invalid")["templates"]);
    let all = json(&loaded);
    let name = all.iter().find(|d| d["message"].as_str().unwrap().starts_with("`ordr`")).unwrap();
    assert_eq!((name["line"].as_u64(), name["column"].as_u64()), (Some(14), Some(26)));
}

#[test]
fn json_and_annotations_give_the_same_places_as_the_text() {
    let path = fixtures("invalid")["wide_characters"].clone();
    let (loaded, _) = checked(&path);
    let places: Vec<_> = json(&loaded)
        .iter()
        .map(|d| ["line", "column", "end_line", "end_column"].map(|key| d[key].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [[4, 28, 4, 32], [6, 25, 6, 35]]);
    let file = "file=tests/config/invalid/wide_characters.yaml";
    let annotations = rendered(&loaded, Format::Github);
    let lines: Vec<&str> = annotations.lines().collect();
    assert_eq!(lines.len(), 2, "{annotations}");
    assert!(
        lines[0].starts_with(&format!("::error {file},line=4,col=28,endColumn=32,title=variable-syntax::"))
    );
    assert!(lines[1].starts_with(&format!("::error {file},line=6,col=25,endColumn=35,title=unknown-key::")));
    assert!(lines[1].ends_with("unknown key `descripton`%0Ahelp: did you mean `description`?"));

    let (loaded, _) = checked(&fixtures("invalid")["yaml_duplicate_tool"]);
    let all = json(&loaded);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0]["line"].as_u64(), all[0]["column"].as_u64()), (Some(9), Some(3)));
    assert_eq!(all[0]["severity"], "error");
    assert_eq!(all[0]["code"], "duplicate-key");
    assert_eq!(all[0]["related"][0]["line"], 3);
    assert_eq!(all[0]["related"][0]["label"], "the first one");
}

#[test]
fn problems_come_in_the_order_of_the_text() {
    for name in ["many_at_once", "unknown_keys", "wrong_types", "follow_ups"] {
        let (loaded, _) = checked(&fixtures("invalid")[name]);
        let places: Vec<_> =
            json(&loaded).iter().map(|d| (d["line"].as_u64(), d["column"].as_u64())).collect();
        assert!(places.len() > 8, "{name}");
        assert!(places.is_sorted(), "{name}: {places:?}");
    }
}

/// Codes in the sources that are not in a fixture, and why.
const NOT_IN_FIXTURES: [(&str, &str); 7] = [
    ("internal", "cannot be reached"),
    ("too-large", "needs a text of 32 MiB: see config_hostile.rs"),
    ("not-utf8", "has no place: see config_hostile.rs"),
    ("empty", "a warning, not an error: see cli.rs"),
    ("unreachable", "needs a source that is down: see online.rs"),
    ("no-vector-index", "needs pgvector: see vector_backends.rs"),
    ("undescribed", "needs a database that breaks off: see online.rs"),
];

fn codes_in(folder: &Path, codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes_in(&path, codes);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let mut starts =
            vec!["Diagnostic::error(", "Diagnostic::warning(", "fault(file, at, ", "fault(file, 0, "];
        if path.ends_with("yaml/de.rs") {
            starts.extend(["Error::new(", "Self::new("]);
        }
        for start in starts {
            for (at, _) in text.match_indices(start) {
                let after = text[at + start.len()..].trim_start();
                if let Some(code) = after.strip_prefix('"').and_then(|c| c.split('"').next()) {
                    codes.insert(code.to_owned());
                }
            }
        }
    }
}

#[test]
fn every_code_is_produced_by_a_fixture() {
    let mut codes = BTreeSet::new();
    codes_in(Path::new("src"), &mut codes);
    assert!(codes.len() > 50, "{codes:?}");
    for path in fixtures("invalid").values() {
        let (loaded, _) = checked(path);
        for diagnostic in json(&loaded) {
            codes.remove(diagnostic["code"].as_str().unwrap());
        }
    }
    // What databases say, whose snapshots online.rs compares.
    for entry in fs::read_dir("tests/online").unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        codes.retain(|code| !text.contains(&format!("[{code}]")));
    }
    let excepted: BTreeSet<String> = NOT_IN_FIXTURES.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(codes, excepted);
}
