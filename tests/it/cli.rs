//! The real binary from the shell: exit codes, formats, help. Its environment is empty but for what a test gives it.

use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

use serde_json::Value;

fn sidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    command.args(arguments).env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn run(arguments: &[&str]) -> Output {
    sidegate(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

const GOOD: &str = "tests/config/valid/smallest.yaml";
const BAD: &str = "tests/config/invalid/wide_characters.yaml";

/// A database in memory with a tool that reads and one that fails.
const SHOP: &str = "
sources: { db: { sql: { url: 'sqlite::memory:' } } }
tools:
  add:
    description: Adds two numbers.
    params: { a: { type: integer }, b: { type: integer, default: 1 }, name: { type: string, optional: true } }
    sql: { source: db, query: 'SELECT :a + :b AS sum, :name AS name', row: one }
  fail:
    description: Fails.
    sql: { source: db, query: SELECT * FROM nowhere }
";

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn check_ends_with_0_when_clean_1_on_warnings_if_strict_and_2_on_errors() {
    let clean = run(&["check", "-c", GOOD, "--strict"]);
    assert_eq!(code(&clean), 0);
    assert_eq!(out(&clean), format!("{GOOD}: fine (1 tool, no resources, no prompts)\n"));

    let warned = folder("tools: {}\n");
    let path = text(warned.path());
    let loose = run(&["check", "-c", path]);
    assert_eq!(code(&loose), 0);
    assert!(out(&loose).contains("warning[empty]: nothing is served"), "{}", out(&loose));
    assert!(out(&loose).ends_with("0 errors, 1 warning\n"), "{}", out(&loose));
    assert_eq!(code(&run(&["check", "-c", path, "--strict"])), 1);

    let wrong = run(&["check", "-c", BAD]);
    assert_eq!(code(&wrong), 2);
    assert!(out(&wrong).contains(&format!("--> {BAD}:6:25")), "{}", out(&wrong));
    assert!(out(&wrong).ends_with(&format!("{BAD}: 2 errors, 0 warnings\n")), "{}", out(&wrong));
    assert_eq!(code(&run(&["check", "-c", BAD, "--strict"])), 2);
    assert_eq!(code(&run(&["check", "-c", "no/such.yaml"])), 2);
}

#[test]
fn check_online_asks_the_databases_and_is_quiet_where_nobody_looks() {
    let folder = folder(SHOP);
    let path = text(folder.path());
    assert_eq!(code(&run(&["check", "-c", path])), 0, "the text alone is fine");
    let online = run(&["check", "-c", path, "--online"]);
    assert_eq!(code(&online), 2);
    assert!(
        out(&online).contains("no such table: nowhere") && out(&online).contains("1 error"),
        "{}",
        out(&online)
    );
    assert_eq!(err(&online), "");
    let github = run(&["check", "-c", path, "--online", "--format", "github"]);
    assert!(out(&github).starts_with("::error file="), "{}", out(&github));
    let fine = self::folder(&SHOP.replace("nowhere", "(SELECT 1)"));
    let fine = run(&["check", "-c", text(fine.path()), "--online", "--strict"]);
    assert_eq!((code(&fine), err(&fine)), (0, String::new()), "{}", out(&fine));
}

#[test]
fn check_writes_the_format_that_is_asked_for_and_nothing_else() {
    let json = run(&["check", "-c", BAD, "--format", "json"]);
    assert_eq!(code(&json), 2);
    let document: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["errors"], 2);
    assert_eq!(document["diagnostics"][1]["line"], 6);
    let none: Value =
        serde_json::from_slice(&run(&["check", "-c", GOOD, "--format", "json"]).stdout).unwrap();
    assert_eq!(none["diagnostics"], serde_json::json!([]));

    let github = out(&run(&["check", "-c", BAD, "--format", "github"]));
    assert!(github.lines().all(|line| line.starts_with("::error file=tests/config/invalid/")), "{github}");
    assert_eq!(github.lines().count(), 2);
    assert_eq!(out(&run(&["check", "-c", GOOD, "--format", "github"])), "");
    assert_eq!(code(&run(&["check", "-c", GOOD, "--format", "xml"])), 2);
}

#[test]
fn the_configuration_is_a_file_a_folder_or_named_by_the_environment() {
    let shop = folder(SHOP);
    assert_eq!(code(&run(&["check", "-c", text(shop.path())])), 0);
    let by_name = sidegate(&["check"]).env("SIDEGATE_CONFIG", shop.path()).output().unwrap();
    assert_eq!(code(&by_name), 0);
    let flag_wins = sidegate(&["check", "-c", GOOD]).env("SIDEGATE_CONFIG", "no/such").output().unwrap();
    assert_eq!(code(&flag_wins), 0);
    let empty = sidegate(&["check", "-c", GOOD]).env("SIDEGATE_CONFIG", "").output().unwrap();
    assert_eq!(code(&empty), 0, "{}", err(&empty));
    let empty = sidegate(&["check"]).env("SIDEGATE_CONFIG", "").current_dir(shop.path()).output().unwrap();
    assert_eq!(code(&empty), 0, "{}", err(&empty));
    let here = sidegate(&["check"]).current_dir(shop.path()).output().unwrap();
    assert_eq!(out(&here), "gateway.yaml: fine (2 tools, no resources, no prompts)\n");
    let nothing = tempfile::tempdir().unwrap();
    let missing = sidegate(&["check"]).current_dir(nothing.path()).output().unwrap();
    assert_eq!(code(&missing), 2);
    assert!(out(&missing).contains("SIDEGATE_CONFIG"), "{}", out(&missing));
    let missing = sidegate(&["check", "--format", "json"]).current_dir(nothing.path()).output().unwrap();
    let document: Value = serde_json::from_str(&out(&missing)).unwrap();
    let problem = document["diagnostics"][0].as_object().unwrap();
    for key in ["file", "line", "column", "end_line", "end_column"] {
        assert_eq!(problem.get(key), Some(&Value::Null), "{key}");
    }
    assert_eq!(problem["related"], Value::Array(Vec::new()));
    assert!(problem["help"][0].as_str().unwrap().contains("SIDEGATE_CONFIG"));
}

#[test]
fn variables_come_from_the_environment_of_the_process() {
    let folder =
        folder("server: { name: '${NAME_OF_IT}' }\ntools: { a: { description: A., static: { text: a } } }\n");
    let path = text(folder.path());
    let unset = run(&["check", "-c", path]);
    assert_eq!(code(&unset), 2);
    assert!(out(&unset).contains("`NAME_OF_IT` is not set"), "{}", out(&unset));
    let set = sidegate(&["check", "-c", path]).env("NAME_OF_IT", "shop").output().unwrap();
    assert_eq!(code(&set), 0);
    let near = sidegate(&["check", "-c", path]).env("NAME_OF_ITT", "shop").output().unwrap();
    assert!(out(&near).contains("did you mean `NAME_OF_ITT`?"), "{}", out(&near));
}

#[test]
fn the_committed_schema_is_the_one_the_program_prints() {
    let printed = run(&["schema"]);
    assert_eq!(code(&printed), 0);
    let value: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(value["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(out(&printed) == include_str!("../../schemas/gateway.schema.json"));
    // Which is the one of the types.
    assert!(
        out(&printed) == format!("{:#}\n", sidegate::config::schema()),
        "`just schema --update` writes it anew"
    );
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let help = out(&run(&["--help"]));
    for command in ["serve", "stdio", "demo", "check", "schema", "call"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let output = run(&[command, "--help"]);
        assert_eq!(code(&output), 0);
        let text = out(&output);
        let example = text.split("Example: ").nth(1).unwrap_or_else(|| panic!("no example: {text}"));
        assert!(example.contains("sidegate") && example.contains(command), "{text}");
    }
    for command in ["check", "call"] {
        assert!(out(&run(&[command, "--help"])).contains("Exit codes: 0 "), "{command}");
    }
    assert!(help.contains("Exit codes: "), "{help}");
    let version = out(&run(&["--version"]));
    assert_eq!(version, format!("sidegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [
        &["check", "--no-such-flag"][..],
        &["no-such-command"],
        &[],
        &["check", "extra"],
        &["serve", "--listen", "nowhere"],
        &["call"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(out(&output).is_empty() && !err(&output).is_empty(), "{arguments:?}");
    }
    let shop = folder(SHOP);
    let open = run(&["serve", "-c", text(shop.path()), "--listen", "0.0.0.0:0"]);
    assert_eq!(code(&open), 2);
    assert!(err(&open).contains("listening beyond loopback needs `auth`"), "{}", err(&open));
}

#[test]
fn call_prints_the_result_as_json_and_ends_with_0() {
    let shop = folder(SHOP);
    let output = run(&["call", "add", "a=41", "-c", text(shop.path())]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["structuredContent"], serde_json::json!({ "sum": 42, "name": null }));
    assert!(result.get("isError").is_none_or(|e| e == false));
    let named = run(&["call", "add", "a=1", "b=2", "name=x=y", "-c", text(shop.path())]);
    let result: Value = serde_json::from_slice(&named.stdout).unwrap();
    assert_eq!(result["structuredContent"], serde_json::json!({ "sum": 3, "name": "x=y" }));
}

#[test]
fn call_ends_with_1_when_the_tool_reports_an_error_and_2_when_the_command_is_wrong() {
    let shop = folder(SHOP);
    let path = text(shop.path());
    for (arguments, says) in
        [(&["add"][..], "a"), (&["add", "a=many"], "a"), (&["add", "a=1", "c=2"], "c"), (&["fail"], "fail")]
    {
        let output = run(&[&["call"], arguments, &["-c", path]].concat());
        assert_eq!(code(&output), 1, "{arguments:?}: {}", err(&output));
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["isError"], true, "{arguments:?}");
        let sentence = result["content"][0]["text"].as_str().unwrap();
        assert!(sentence.contains(says) && !sentence.contains("nowhere"), "{arguments:?}: {sentence}");
    }
    for (arguments, says) in
        [(&["ad", "a=1"][..], "there is no tool `ad`; did you mean `add`?"), (&["add", "a"], "NAME=VALUE")]
    {
        let output = run(&[&["call"], arguments, &["-c", path]].concat());
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(out(&output).is_empty() && err(&output).contains(says), "{}", err(&output));
    }
    let wrong = run(&["call", "add", "-c", BAD]);
    assert_eq!(code(&wrong), 2);
    assert!(err(&wrong).ends_with("sidegate: 2 errors in the configuration\n"), "{}", err(&wrong));
}

#[test]
fn nothing_is_coloured_where_nobody_looks() {
    for name in ["", "1"] {
        let output =
            sidegate(&["check", "-c", BAD]).env("NO_COLOR", name).env("TERM", "xterm").output().unwrap();
        assert!(!out(&output).contains('\u{1b}'), "{}", out(&output));
    }
    let output = sidegate(&["call", "x", "-c", BAD]).env("TERM", "xterm").output().unwrap();
    assert!(!err(&output).contains('\u{1b}'), "{}", err(&output));
    assert!(!out(&sidegate(&["--help"]).env("TERM", "xterm").output().unwrap()).contains('\u{1b}'));
}
