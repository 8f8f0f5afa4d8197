//! The configuration language as its reader meets it: what every wrong file says, what every right one becomes, what the
//! schema makes of both, and that hostile files are refused at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::Value;
use sidegate::config::{Environment, Loaded, load, load_text, schema};
use sidegate::diag::{Diagnostics, FileId, Format, Spanned, render};
use sidegate::plan::{Plan, compile};
use sidegate::yaml::{self, JsonNode};

/// In every secret that a fixture holds, and in every secret that it gets from outside.
const LITERAL: &str = "hunter2";
const OUTSIDE: &str = "tr0ub4dor";

fn environment() -> Environment {
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
fn fixtures(kind: &str) -> BTreeMap<String, PathBuf> {
    let folder = Path::new("tests/config").join(kind);
    let files = fs::read_dir(&folder).unwrap().map(|entry| folder.join(entry.unwrap().file_name()));
    let named = files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path));
    named.collect()
}

/// Loads and compiles as `check` does.
fn checked(path: &Path) -> (Loaded, Option<Plan>) {
    with_plan(load(path, &environment()))
}

fn with_plan(mut loaded: Loaded) -> (Loaded, Option<Plan>) {
    let plan = loaded.config.as_ref().and_then(|config| compile(config, &mut loaded.diagnostics));
    let plan = plan.filter(|_| !loaded.diagnostics.has_errors());
    (loaded, plan)
}

fn rendered(loaded: &Loaded, format: Format) -> String {
    render(&loaded.diagnostics, &loaded.sources, format)
}

const PLAIN: Format = Format::Text { colour: false };

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
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        for diagnostic in json(&loaded) {
            assert_eq!(diagnostic["file"], path.display().to_string(), "{name}: {diagnostic:#}");
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
const NOT_IN_FIXTURES: [(&str, &str); 4] = [
    ("internal", "cannot be reached"),
    ("too-large", "needs a text of 32 MiB: see the hostile files below"),
    ("not-utf8", "has no place: see the hostile files below"),
    ("empty", "a warning, not an error: see cli.rs"),
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
    let excepted: BTreeSet<String> = NOT_IN_FIXTURES.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(codes, excepted);
}

/// A file as the schema sees it: parsed, nothing resolved.
fn as_value(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).unwrap();
    let tree = yaml::parse(&text, FileId(0)).ok()?;
    let mut diagnostics = Diagnostics::default();
    let reading = yaml::from_tree::<Spanned<JsonNode>>(&tree, Vec::new(), &mut diagnostics);
    reading.value.map(|node| node.to_value())
}

#[test]
fn the_schema_takes_what_runs_and_refuses_what_has_the_wrong_form() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let example = ("example".to_owned(), PathBuf::from("gateway.example.yaml"));
    for (name, path) in fixtures("valid").into_iter().chain([example]) {
        let value = as_value(&path).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    let invalid = fixtures("invalid");
    let refused: Vec<&String> = invalid
        .iter()
        .filter(|(_, path)| as_value(path).is_some_and(|value| !validator.is_valid(&value)))
        .map(|(name, _)| name)
        .collect();
    for name in [
        "bad_units",
        "body_mistakes",
        "credentials",
        "embedders",
        "missing_keys",
        "names",
        "no_method",
        "not_a_map",
        "not_yet_keys",
        "nothing_where_something",
        "param_mistakes",
        "prompts",
        "source_kinds",
        "static",
        "tool_kinds",
        "unknown_keys",
        "uris",
        "wrong_types",
        "wrong_word",
    ] {
        assert!(refused.iter().any(|r| *r == name), "the schema takes {name}; it refuses {refused:?}");
    }
}

fn describe(place: &str, schema: &Value, missing: &mut Vec<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let text = property["description"].as_str().unwrap_or("");
        if text.is_empty() || text.lines().count() != 1 {
            missing.push(format!("{place}.{key}"));
        }
    }
    if schema["type"] == "object" && schema["additionalProperties"] != false {
        missing.push(format!("{place} is open"));
    }
}

#[test]
fn the_schema_describes_every_key_and_is_closed() {
    let schema = schema();
    let mut missing = Vec::new();
    describe("root", &schema, &mut missing);
    for (name, block) in schema["$defs"].as_object().unwrap() {
        assert!(block["description"].is_string(), "{name}");
        describe(name, block, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The parser has a limit of its own.
const TOO_DEEP: &[&str] = &["yaml-syntax", "too-deep"];

/// Refused with one of these codes, without a stack overflow, and soon even in a build without optimisation.
fn refused_soon(what: &str, text: &str, wanted: &[&str]) {
    let start = Instant::now();
    let (loaded, plan) = with_plan(load_text("a.yaml", text, Path::new("."), &environment()));
    let codes: Vec<&str> = loaded.diagnostics.sorted().iter().map(|d| d.code).collect();
    assert!(plan.is_none() && codes.iter().any(|c| wanted.contains(c)), "{what}: {codes:?}");
    assert!(!rendered(&loaded, PLAIN).is_empty(), "{what}");
    assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", start.elapsed());
}

#[test]
fn hostile_texts_are_refused_at_once() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    for level in 1..1000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    refused_soon("alias bomb", &bomb, &["too-many-aliases"]);
    refused_soon("alias chain", &chain, TOO_DEEP);
    refused_soon("brackets", &"[".repeat(100_000), TOO_DEEP);
    refused_soon("closed brackets", &format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)), TOO_DEEP);
    refused_soon("flow maps", &"{a: ".repeat(20_000), TOO_DEEP);
    let mut deep = String::new();
    for level in 0..20_000 {
        deep.push_str(&" ".repeat(level.min(300)));
        deep.push_str("a:\n");
    }
    let stairs: String = (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    refused_soon("stairs", &stairs, TOO_DEEP);
    refused_soon("lists", &"- ".repeat(20_000), TOO_DEEP);
    refused_soon("twenty thousand levels", &deep, TOO_DEEP);
    refused_soon("empty", "", &["empty-file"]);
    refused_soon("spaces", " \n\n", &["empty-file"]);
    refused_soon("two documents", "a: 1\n---\nb: 2\n", &["second-document"]);
    refused_soon("too large", &format!("a: {}", "x".repeat(33 << 20)), &["too-large"]);
    refused_soon("a zero byte", "server: { name: \"a\0b\" }", &["yaml-syntax"]);
}

#[test]
fn a_file_with_thousands_of_mistakes_is_still_answered_soon() {
    let mut text = "tools:\n".to_owned();
    for n in 0..3000 {
        text.push_str(&format!("  t{n}: {{ description: [a], static: {{ text: a }}, nmae: b }}\n"));
    }
    refused_soon("thousands of mistakes", &text, &["wrong-type"]);
}

#[test]
fn hostile_files_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yaml");
    fs::File::create(&large).unwrap().set_len(50 << 20).unwrap();
    let binary = folder.path().join("binary.yaml");
    fs::write(&binary, b"server:\n  name: \xff\xfe\n").unwrap();
    let missing = folder.path().join("missing.yaml");
    for (path, code, says) in [
        (&large, "file-unreadable", "larger than 16 MiB"),
        (&binary, "not-utf8", "not UTF-8 text (line 2)"),
        (&missing, "file-unreadable", "there is no such file"),
        (&folder.path().to_owned(), "file-unreadable", "gateway.yaml`: there is no such file"),
    ] {
        let start = Instant::now();
        let (loaded, plan) = checked(path);
        let text = rendered(&loaded, PLAIN);
        assert!(plan.is_none() && loaded.diagnostics.errors() == 1, "{text}");
        assert!(text.starts_with(&format!("error[{code}]")) && text.contains(says), "{text}");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
}
