//! `sidegate plan`: what it shows, what each kind of change is called, and what it is compared with: files, folders, git revisions.

mod git;
mod kinds;
mod replies;
mod routes;
mod secrets;
mod server;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sidegate::plan::Plan;
use sidegate::review::{self, Comparison, Effect};

use crate::config::{checked, environment, fixtures};

/// The program with nothing of the environment but the way to `git`.
pub fn sidegate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    command.args(arguments).env_clear().current_dir(folder);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

pub fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = sidegate(folder, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("it ended by itself"), text(stdout), text(stderr))
}

pub fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// What a look at two texts finds, each in a file of its own.
pub fn compared(old: &str, new: &str) -> Comparison {
    let folder = folder(&[("old.yaml", old), ("new.yaml", new)]);
    compared_at(&folder.path().join("old.yaml"), &folder.path().join("new.yaml"))
}

/// What a look at two texts finds, each in a folder with its own files beside it.
pub fn compared_with(old: &str, old_files: &[(&str, &str)], new: &str, files: &[(&str, &str)]) -> Comparison {
    let (was, is) = (folder(old_files), folder(files));
    for (folder, text) in [(&was, old), (&is, new)] {
        fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    }
    compared_at(&was.path().join("gateway.yaml"), &is.path().join("gateway.yaml"))
}

/// Every wanted sentence has its effect.
pub fn says(comparison: &Comparison, wanted: &[(Effect, &str)]) {
    let said: Vec<_> = comparison.items.iter().flat_map(|item| &item.differences).collect();
    for (effect, sentence) in wanted {
        let found = said.iter().any(|d| d.effect == *effect && d.sentence.to_string().contains(sentence));
        assert!(found, "not said: {effect:?} {sentence}\n{comparison}");
    }
}

/// As [`says`], and there is nothing else.
pub fn says_only(comparison: &Comparison, wanted: &[(Effect, &str)]) {
    says(comparison, wanted);
    let said = comparison.items.iter().map(|item| item.differences.len()).sum::<usize>();
    assert_eq!(said, wanted.len(), "{comparison}");
}

fn compared_at(against: &Path, path: &Path) -> Comparison {
    let plan = |checked: sidegate::plan::Checked| {
        let said = format!("{:?}", checked.diagnostics);
        checked.plan.unwrap_or_else(|| panic!("{said}"))
    };
    let new = plan(review::look(path, &environment()));
    let old = plan(review::look_at_old(against.to_str().unwrap(), path, &environment()).unwrap());
    review::compare("old.yaml", &old, &new)
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../plan/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(&env!("CARGO_PKG_VERSION").replace('.', "\\."), "(version)");
    settings.bind(|| insta::assert_snapshot!(name, text.trim_end()));
}

const OLD: &str = "tests/plan/old/gateway.yaml";
const NEW: &str = "tests/plan/new/gateway.yaml";

#[test]
fn what_is_exposed_is_shown_in_three_forms_without_secrets() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for format in ["text", "json", "markdown"] {
        let (code, out, err) = run(here, &["plan", "-c", NEW, "--format", format]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(
            err,
            "sidegate: not there, so something stands in for it: ${CI_KEY}, ${ORDERS_TOKEN}, ${SHOP_DB}\n"
        );
        snapshot(&format!("exposed.{format}"), &out);
    }
    let mut set = sidegate(here, &["plan", "-c", NEW]);
    set.env("ORDERS_TOKEN", "hunter2").env("CI_KEY", "hunter2hunter2").env("SHOP_DB", "sqlite::memory:");
    let out = set.output().unwrap();
    assert_eq!(out.stderr, b"");
    assert!(!String::from_utf8(out.stdout).unwrap().contains("hunter2"));
}

#[test]
fn what_differs_is_shown_in_three_forms_and_breaking_ends_with_1() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for format in ["text", "json", "markdown"] {
        let (code, out, _) = run(here, &["plan", "-c", NEW, "--against", OLD, "--format", format]);
        assert_eq!(code, 1);
        snapshot(&format!("compared.{format}"), &out);
    }
    let document: Value =
        serde_json::from_str(&run(here, &["plan", "-c", NEW, "--against", OLD, "--format", "json"]).1)
            .unwrap();
    assert_eq!(document["version"], 1);
    let breaking = document["changes"].as_array().unwrap().iter().filter(|c| c["effect"] == "breaking");
    assert!(breaking.count() >= 3, "{document:#}");
}

#[test]
fn nothing_new_is_said_so_and_ends_with_0_and_mistakes_end_with_2() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for against in [OLD, "tests/plan/old"] {
        let (code, out, _) = run(here, &["plan", "-c", OLD, "--against", against]);
        assert_eq!((code, out), (0, format!("no change against {against}\n")));
    }
    let (code, out, _) = run(here, &["plan", "-c", OLD, "--against", OLD, "--format", "markdown"]);
    assert_eq!((code, out.starts_with("No change against <code>")), (0, true));
    let broken = "tests/config/invalid/unknown_source.yaml";
    for arguments in [
        &["plan", "-c", broken][..],
        &["plan", "-c", OLD, "--against", broken],
        &["plan", "-c", broken, "--against", OLD],
        &["plan", "-c", OLD, "--against", "no/such.yaml"],
        &["plan", "-c", OLD, "--against", "git:main"],
        &["plan", "-c", OLD, "--against", "git:--help:a"],
        &["plan", "-c", OLD, "--against", "git:main:--help"],
        &["plan", "-c", OLD, "--against", "git:main:/etc/passwd"],
        &["plan", "-c", OLD, "--format", "github"],
    ] {
        let (code, out, err) = run(here, arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
    assert!(run(here, &["plan", "--help"]).1.contains("Exit codes: 0 no breaking change"));
}

fn plans() -> Vec<(String, Plan)> {
    let all = fixtures("valid").into_iter();
    all.map(|(name, path)| (name, checked(&path).1.unwrap())).collect()
}

#[test]
fn a_configuration_never_differs_from_itself() {
    for (name, path) in fixtures("valid") {
        let plan = |checked: sidegate::plan::Checked| checked.plan.unwrap_or_else(|| panic!("{name}"));
        let new = plan(review::look(&path, &environment()));
        let old = plan(review::look_at_old(path.to_str().unwrap(), &path, &environment()).unwrap());
        assert_eq!(old, new, "{name}");
        let comparison = review::compare(&name, &old, &new);
        assert!(comparison.items.is_empty() && comparison.restart.is_empty(), "{name}: {comparison}");
    }
}

#[test]
fn two_plans_that_differ_always_have_a_difference_and_it_holds_no_secret() {
    let plans = plans();
    for (one, old) in &plans {
        for (other, new) in plans.iter().filter(|(other, _)| other != one) {
            let comparison = review::compare(one, old, new);
            assert!(!comparison.items.is_empty(), "{one} {other}");
            let shown = format!(
                "{comparison}{}{}{}{}",
                comparison.markdown(),
                serde_json::to_string(&comparison.items).unwrap(),
                review::exposed(new),
                review::exposed(new).markdown()
            );
            for secret in ["hunter2", "tr0ub4dor"] {
                assert!(!shown.contains(secret), "{one} {other}: {shown}");
            }
        }
    }
}

#[test]
fn a_secret_that_changed_is_told_and_not_shown() {
    let text = |token: &str| {
        format!(
            "auth: {{ api_keys: [{{ name: ci, key: {token}-for-the-door }}] }}\n\
             sources: {{ api: {{ rest: {{ base_url: 'http://localhost:1', credentials: {{ bearer: {token} }} }} }} }}\n\
             tools: {{ a: {{ description: A., rest: {{ source: api, get: /a }} }} }}\n"
        )
    };
    let comparison = compared(&text("hunter2"), &text("hunter3"));
    let said = comparison.to_string();
    assert!(!said.contains("hunter"), "{said}");
    assert!(said.contains("source api: changed\n  invisible   a secret in it changed"), "{said}");
    assert!(said.contains("breaking    the key `ci` is another one"), "{said}");
}

#[test]
fn markdown_stays_one_table_whatever_names_and_texts_hold() {
    let text = |pattern: &str| {
        format!(
            "tools:\n  a:\n    description: '| <b> `x` ![](http://a)'\n    params: {{ p: {{ type: string, pattern: '{pattern}' }} }}\n    static: {{ text: a }}\n"
        )
    };
    let nasty = "a|b`c`<img src=x>[l](http://a)*_~@all#1";
    let comparison = compared(&text("b"), &text(nasty));
    assert_eq!(comparison.count(Effect::Breaking), 1, "{comparison}");
    let table = comparison.markdown();
    let row = table.lines().find(|line| line.starts_with("| breaking")).unwrap();
    assert_eq!(row.matches('|').count(), 5, "{row}");
    assert!(!row.contains("<img") && !row.contains('`') && !row.contains('@'), "{row}");
    assert!(comparison.to_string().contains(nasty));
}
