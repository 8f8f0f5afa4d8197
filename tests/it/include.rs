//! `include`: one configuration in several files, as it is loaded, checked, compared and followed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sidegate::config::{Environment, load};
use sidegate::diag::{Format, render};
use sidegate::plan::check;

use crate::plan::{folder, run};
use crate::support::Connection;
use crate::support::message::{modern, modern_headers};
use crate::support::process::{Process, call};

const MAIN: &str =
    "include: [routes/*.yaml]\ntools: { first: { description: First., static: { text: a } } }\n";
const MORE: &str = "tools: { second: { description: Second., static: { file: text.md } } }\n";

fn names(folder: &Path) -> Vec<String> {
    let checked = check(&folder.join("gateway.yaml"), &Environment::default());
    let said = render(&checked.diagnostics, &checked.sources, Format::Text { colour: false });
    let plan = checked.plan.unwrap_or_else(|| panic!("{said}"));
    plan.tools.iter().map(|tool| tool.route.name.clone()).collect()
}

#[test]
fn files_come_in_the_order_of_their_names_each_once() {
    let tool = |name: &str| format!("tools: {{ {name}: {{ description: A., static: {{ text: a }} }} }}\n");
    let folder = folder(&[
        ("gateway.yaml", "include: [c.yaml, '*.yaml', 'r?/x*.yaml', '*/deep/*.yaml', 'none/*.yaml']\n"),
        ("b.yaml", &tool("b")),
        ("a.yaml", &tool("a")),
        ("c.yaml", &tool("c")),
        (".hidden.yaml", "no: yaml: here"),
        ("a.yaml~", "no: yaml: here"),
        ("r1/x1.yaml", &tool("x1")),
        ("r1/y.yaml", "no: yaml: here"),
        ("r2/x0.yaml", &tool("x0")),
        ("r2/deep/z.yaml", &tool("z")),
        ("r2/x.yaml/not-a-file", ""),
    ]);
    assert_eq!(names(folder.path()), ["c", "a", "b", "x1", "x0", "z"]);
}

#[test]
fn a_file_is_known_again_however_it_is_named() {
    let tool = |name: &str| format!("tools: {{ {name}: {{ description: A., static: {{ text: a }} }} }}\n");
    let folder = folder(&[
        ("inc/gateway.yaml", "include: [../inc/routes/a.yaml, routes/*.yaml, ./routes/../routes/b.yaml]\n"),
        ("inc/routes/a.yaml", &tool("a")),
        ("inc/routes/b.yaml", &tool("b")),
    ]);
    assert_eq!(names(&folder.path().join("inc")), ["a", "b"]);
}

#[test]
fn what_matches_nothing_is_a_warning_and_what_is_missing_an_error() {
    let folder = folder(&[("gateway.yaml", MAIN)]);
    let (code, out, _) = run(folder.path(), &["check"]);
    assert_eq!(code, 0);
    assert!(out.contains("warning[empty-include]") && out.contains("--> gateway.yaml:1:11"), "{out}");
    fs::write(folder.path().join("gateway.yaml"), MAIN.replace("*.yaml", "one.yaml")).unwrap();
    let (code, out, _) = run(folder.path(), &["check"]);
    assert_eq!(code, 2);
    assert!(out.contains("cannot read `routes/one.yaml`: there is no such file"), "{out}");
}

#[test]
fn there_is_a_bound_of_files() {
    let folder = folder(&[("gateway.yaml", MAIN)]);
    fs::create_dir(folder.path().join("routes")).unwrap();
    for n in 0..1001 {
        let text = format!("tools: {{ t{n}: {{ description: A., static: {{ text: a }} }} }}\n");
        fs::write(folder.path().join(format!("routes/{n:04}.yaml")), text).unwrap();
    }
    let path = folder.path().join("gateway.yaml");
    let loaded = load(&path, &Environment::default());
    assert_eq!(loaded.diagnostics.errors(), 1);
    let said = render(&loaded.diagnostics, &loaded.sources, Format::Text { colour: false });
    assert!(said.contains("more than 1000 files"), "{said}");
    fs::remove_file(folder.path().join("routes/1000.yaml")).unwrap();
    assert_eq!(names(folder.path()).len(), 1001);
}

#[test]
fn a_plan_is_compared_with_the_included_files_of_the_other_one() {
    let folder = folder(&[
        ("old/gateway.yaml", MAIN),
        ("old/routes/more.yaml", MORE),
        ("old/routes/text.md", "Text."),
        ("new/gateway.yaml", MAIN),
        ("new/routes/more.yaml", MORE),
        ("new/routes/text.md", "Text."),
    ]);
    let against = ["plan", "-c", "new", "--against", "old"];
    assert_eq!(run(folder.path(), &against).1, "no change against old\n");
    fs::write(folder.path().join("old/routes/text.md"), "Other text.").unwrap();
    let (code, out, _) = run(folder.path(), &against);
    assert!(code == 0 && out.contains("tool second: changed"), "{out}");
    fs::remove_file(folder.path().join("new/routes/more.yaml")).unwrap();
    let (code, out, _) = run(folder.path(), &against);
    assert!(code == 1 && out.contains("tool second: removed"), "{out}");
}

/// The names of the tools that a client sees.
async fn seen(address: SocketAddr) -> Vec<String> {
    let mut connection = Connection::open(address).await.unwrap();
    let list = modern("tools/list", json!({})).to_string();
    let headers = modern_headers("tools/list", None);
    let reply = connection.send("POST", "/mcp", &headers, list.as_bytes()).await.unwrap();
    let tools = reply.json()["result"]["tools"].as_array().cloned().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

async fn until(address: SocketAddr, wanted: &[&str]) {
    let mut last = Vec::new();
    for _ in 0..100 {
        last = seen(address).await;
        if last == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{last:?} instead of {wanted:?}");
}

#[tokio::test]
async fn files_that_come_change_and_go_are_followed_and_a_broken_one_leaves_the_last_good_in_use() {
    let folder = folder(&[]);
    let routes = folder.path().join("routes");
    let (process, address) = Process::serve(folder.path(), MAIN).await;
    until(address, &["first"]).await;
    // The folder comes, with a file in it.
    fs::create_dir(&routes).unwrap();
    fs::write(routes.join("text.md"), "Text.").unwrap();
    fs::write(routes.join("more.yaml"), MORE).unwrap();
    until(address, &["first", "second"]).await;
    // Another file comes, by the rename of an editor.
    fs::write(routes.join(".third.tmp"), MORE.replace("second", "third")).unwrap();
    fs::rename(routes.join(".third.tmp"), routes.join("third.yaml")).unwrap();
    until(address, &["first", "second", "third"]).await;
    // One that is broken, and one that defines what is there already, change nothing.
    for wrong in ["tools: [", &MORE.replace("second", "first")] {
        let before = process.log().matches("not reloaded").count();
        fs::write(routes.join("wrong.yaml"), wrong).unwrap();
        for _ in 0..100 {
            if process.log().matches("not reloaded").count() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(process.log().matches("not reloaded").count() > before, "{}", process.log());
        assert_eq!(seen(address).await, ["first", "second", "third"]);
    }
    assert!(process.log().contains("routes/wrong.yaml:1"), "{}", process.log());
    fs::write(routes.join("wrong.yaml"), MORE.replace("second", "fourth")).unwrap();
    until(address, &["first", "second", "third", "fourth"]).await;
    // A file of an included file, and files that go.
    fs::write(routes.join("text.md"), "Another text.").unwrap();
    for _ in 0..100 {
        if call(address, "second").await["content"][0]["text"] == "Another text." {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(call(address, "second").await["content"][0]["text"], "Another text.");
    fs::remove_file(routes.join("more.yaml")).unwrap();
    until(address, &["first", "third", "fourth"]).await;
    fs::remove_dir_all(&routes).unwrap();
    until(address, &["first"]).await;
}
