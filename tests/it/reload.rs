//! Reload: what is put in place of what, what stays, what is refused, and who is told. The real program, and the task by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate::app;
use sidegate::config::Environment;
use sidegate::live::LiveHandle;
use sidegate::reload::{Edge, Outcome, Reload};
use sidegate::talk::{Change, Heard, News};
use tempfile::TempDir;

use crate::support::message::{initialize, legacy, modern_headers, modern_with_id, plain_headers};
use crate::support::process::{Process, call};
use crate::support::upstream::Gate;
use crate::support::{Connection, LATE, Step, Upstream, text, upstream};

/// The task without its watching.
struct Rig {
    folder: TempDir,
    reload: Reload,
    live: LiveHandle,
    news: News,
}

impl Rig {
    fn start(yaml: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files.iter().chain(&[("gateway.yaml", yaml)]) {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let path = folder.path().join("gateway.yaml");
        let edge = Edge::Http { listen: None };
        let (mut plan, checked) = app::plan(&path, &Environment::default()).unwrap();
        edge.settle(&mut plan).unwrap();
        let (live, news) = (app::open(plan.clone()).unwrap(), News::default());
        let read = (path, Environment::default());
        let reload = Reload::new(read, edge, (plan, checked.watched), live.clone(), news.clone());
        Self { folder, reload, live, news }
    }

    async fn write(&mut self, name: &str, content: &str) -> Outcome {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self.reload.once().await
    }

    async fn refused(&mut self, name: &str, content: &str) -> String {
        match self.write(name, content).await {
            Outcome::Refused(why) => why.text,
            other => panic!("{other:?}: {content}"),
        }
    }
}

const SECRET: &str = "s3cr3t-0123456789";
const TEXT: &str = r#"
sources:
  api: { rest: { base_url: "http://localhost:1", credentials: { bearer: "${file:token}" } } }
  other: { rest: { base_url: "http://localhost:2", circuit_breaker: { failures: 3 } } }
tools:
  a: { description: A., rest: { source: api, get: /a } }
  b: { description: B., rest: { source: other, get: /b } }
"#;

#[tokio::test]
async fn what_says_the_same_leaves_everything_in_its_place() {
    let mut rig = Rig::start(TEXT, &[("token", SECRET)]);
    let before = rig.live.load();
    assert!(matches!(rig.reload.once().await, Outcome::Unchanged));
    assert!(matches!(rig.write("gateway.yaml", TEXT).await, Outcome::Unchanged), "written again");
    for same in [
        TEXT.replace("tools:", "# more\ntools:"),
        TEXT.replace("{ source: api, get: /a }", "{ get: '/a', source: api }"),
    ] {
        assert!(matches!(rig.write("gateway.yaml", &same).await, Outcome::Same), "{same}");
    }
    assert!(Arc::ptr_eq(&before, &rig.live.load()));
}

#[tokio::test]
async fn a_reload_that_fails_leaves_the_same_configuration_and_says_why_without_secrets() {
    let mut rig = Rig::start(TEXT, &[("token", SECRET)]);
    let before = rig.live.load();
    for (wrong, why) in [
        (TEXT.replace("source: api", "source: apl"), "did you mean `api`"),
        (TEXT.replace("tools:", "tools: ["), "^"),
        (String::new(), "the file is empty"),
        (TEXT[..TEXT.len() / 2].to_owned(), "error"),
        (TEXT.replace("${file:token}", "${file:gone}"), "there is no such file"),
        (
            format!("server: {{ http: {{ listen: 127.0.0.1:9 }} }}{TEXT}"),
            "`server.http.listen` cannot change",
        ),
        (
            format!("server: {{ http: {{ path: /x }}, log: {{ format: json }} }}{TEXT}"),
            "`server.http.path`, `server.log.format`",
        ),
        (TEXT.replace("\"${file:token}\"", &format!("{SECRET}\n    bad: 1")), "^"),
    ] {
        let said = rig.refused("gateway.yaml", &wrong).await;
        assert!(said.contains(why), "{said}");
        assert!(!said.contains(SECRET), "{said}");
        assert!(matches!(rig.reload.once().await, Outcome::Unchanged), "told once");
        assert!(Arc::ptr_eq(&before, &rig.live.load()), "{wrong}");
    }
    std::fs::remove_file(rig.folder.path().join("gateway.yaml")).unwrap();
    assert!(matches!(rig.reload.once().await, Outcome::Refused(_)));
    assert!(matches!(rig.write("gateway.yaml", TEXT).await, Outcome::Same));
    assert!(Arc::ptr_eq(&before, &rig.live.load()));
}

#[tokio::test]
async fn a_mistake_in_a_file_that_the_configuration_names_can_be_mended_there() {
    let yaml = "sources: { db: { sql: { url: 'sqlite::memory:' } } }\n";
    let tool = "tools: { a: { description: A., static: { text: a } } }\n";
    let mut rig = Rig::start(tool, &[]);
    let more = yaml.replace("'sqlite::memory:'", "'${file:url}'");
    let said = rig.refused("gateway.yaml", &format!("{more}{tool}")).await;
    assert!(said.contains("${file:url}"), "{said}");
    assert!(rig.refused("url", "nonsense").await.contains("error"));
    assert!(matches!(rig.write("url", "sqlite::memory:\n").await, Outcome::Reloaded(_)));
    assert_eq!(rig.live.load().generation, 2);
    // The name is gone from the configuration, and the file matters no more.
    assert!(matches!(rig.write("gateway.yaml", tool).await, Outcome::Reloaded(_)));
    assert!(matches!(rig.write("url", "nonsense").await, Outcome::Unchanged));
}

#[tokio::test]
async fn what_is_equal_goes_on_and_what_differs_is_new() {
    let mut rig = Rig::start(TEXT, &[("token", SECRET)]);
    let mut news = rig.news.listen().unwrap();
    let before = rig.live.load();
    let Outcome::Reloaded(changes) = rig.write("token", "another").await else { panic!("the secret is new") };
    assert_eq!((changes.sources.changed, changes.tools.is_empty()), (vec!["api".to_owned()], true));
    let after = rig.live.load();
    assert_eq!((before.generation, after.generation), (1, 2));
    let same = |name: &str| Arc::ptr_eq(&before.sources[name].guard, &after.sources[name].guard);
    assert!(same("other") && !same("api"));
    // Lists that are the same are no news; a description changes one list.
    assert!(tokio::time::timeout(Duration::from_millis(50), news.next()).await.is_err());
    let Outcome::Reloaded(_) = rig.write("gateway.yaml", &TEXT.replace("B.", "Bee.")).await else { panic!() };
    assert_eq!(news.next().await, Some(Heard::Reloaded(Change::Tools, 3)));
    assert!(tokio::time::timeout(Duration::from_millis(50), news.next()).await.is_err());
    let last = rig.live.load();
    assert!(["api", "other"].iter().all(|n| Arc::ptr_eq(&after.sources[*n].guard, &last.sources[*n].guard)));
    // Nothing keeps the earlier ones.
    let old = Arc::downgrade(&after);
    drop((before, after));
    assert!(old.upgrade().is_none());
}

#[tokio::test]
async fn contents_of_the_file_that_changed_are_told_after_the_lists_and_nothing_else_is() {
    let text = |one: &str, more: &str| {
        format!(
            r#"
sources: {{ db: {{ sql: {{ url: "sqlite::memory:" }} }} }}
resources:
  "shop://text": {{ name: text, static: {{ text: {one} }} }}
  "shop://file": {{ name: file, static: {{ file: page.md }} }}
  "shop://same": {{ name: same, static: {{ text: same }} }}
  "shop://rows": {{ name: rows, sql: {{ source: db, query: "SELECT '{one}' AS n" }} }}
{more}"#
        )
    };
    let mut rig = Rig::start(&text("one", ""), &[("page.md", "# One")]);
    let mut news = rig.news.listen().unwrap();
    let mut told = async || {
        let mut told = Vec::new();
        while let Ok(Some(heard)) = tokio::time::timeout(Duration::from_millis(50), news.next()).await {
            told.push(heard);
        }
        told
    };
    let resource = |name: &str| Heard::Change(Change::Resource(format!("shop://{name}")));
    assert!(matches!(rig.write("page.md", "# Two").await, Outcome::Reloaded(_)));
    assert_eq!(told().await, [resource("file")]);
    rig.write("gateway.yaml", &text("two", "")).await;
    assert_eq!(told().await, [resource("text")]);
    let more = "  'shop://more': { name: more, static: { text: more } }\n";
    rig.write("gateway.yaml", &text("two", more)).await;
    assert_eq!(told().await, [Heard::Reloaded(Change::Resources, 4), resource("more")]);
    rig.write("gateway.yaml", &text("two", "").replace("name: same", "name: other")).await;
    assert_eq!(told().await, [Heard::Reloaded(Change::Resources, 5)], "what the list says is no content");
    rig.refused("gateway.yaml", "tools: [").await;
    assert_eq!(told().await, []);
}

#[tokio::test]
async fn how_much_is_logged_changes_with_the_file_as_a_whole_and_by_modules() {
    let text = |log: &str| format!("server: {{ log: {log} }}\n{}", config("one"));
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &text("{ level: info }")).await;
    let generation = async |wanted: u64| {
        let start = Instant::now();
        loop {
            let mut connection = Connection::open(address).await.unwrap();
            let headers = [("Host".to_owned(), "localhost".to_owned())];
            let status = connection.send("GET", "/status", &headers, b"").await.unwrap().json();
            if status["config"]["generation"] == wanted {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(15), "{status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = || process.log().matches("call done").count();
    let mut before = 0;
    for (index, (log, lines)) in [
        ("{ level: info }", false),
        ("{ level: debug }", true),
        ("{ level: debug, levels: { 'sidegate::call': warn } }", false),
        ("{ level: error, levels: { sidegate: error, 'sidegate::call::run': debug } }", true),
        ("{ levels: { hyper: trace } }", false),
    ]
    .into_iter()
    .enumerate()
    {
        if index > 0 {
            std::fs::write(folder.path().join("gateway.yaml"), text(log)).unwrap();
            generation(index as u64 + 1).await;
        }
        call(address, "a").await;
        let start = Instant::now();
        let patience = if lines { Duration::from_secs(10) } else { Duration::from_millis(300) };
        while done() == before && start.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(done() > before, lines, "{log}: {}", process.log());
        before = done();
    }
}

#[tokio::test]
async fn what_lists_say_of_keeping_them_is_short_after_a_reload() {
    let text =
        |description: &str| format!("server: {{ lists: {{ ttl: 3s, page: 1 }} }}\n{}", config(description));
    let folder = tempfile::tempdir().unwrap();
    let (_process, address) = Process::serve(folder.path(), &text("one")).await;
    let ask = async |method: &str, params: Value| {
        let body = modern_with_id(&json!(1), method, params).to_string();
        let mut connection = Connection::open(address).await.unwrap();
        let reply = connection.send("POST", "/mcp", &modern_headers(method, None), body.as_bytes()).await;
        reply.unwrap().json()["result"].take()
    };
    let first = ask("tools/list", json!({})).await;
    assert_eq!(first["ttlMs"], 3000, "at the start nothing has changed");
    std::fs::write(folder.path().join("gateway.yaml"), text("two")).unwrap();
    until(address, "a", "two").await;
    let brief = ask("tools/list", json!({})).await;
    assert_eq!((&brief["ttlMs"], &brief["cacheScope"]), (&json!(1000), &first["cacheScope"]));
    assert_eq!(brief["_meta"], first["_meta"]);
    let second = ask("tools/list", json!({ "cursor": brief["nextCursor"] })).await;
    assert_eq!((&second["ttlMs"], second["tools"].as_array().unwrap().len()), (&json!(1000), 1));
    assert_eq!(ask("server/discover", json!({})).await["ttlMs"], 1000);
    let start = Instant::now();
    while ask("tools/list", json!({})).await["ttlMs"] == 1000 {
        assert!(start.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ask("tools/list", json!({})).await["ttlMs"], 3000);
}

fn config(description: &str) -> String {
    format!(
        "tools:\n  z: {{ description: {description}, static: {{ text: z }} }}\n  a: {{ description: A., static: {{ text: {description} }} }}\n"
    )
}

/// Waits until the log says it.
async fn says(process: &Process, what: &str) {
    let start = Instant::now();
    while !process.log().contains(what) {
        assert!(start.elapsed() < LATE, "`{what}` is not said: {}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a tool without arguments answers `wanted`.
async fn until(address: std::net::SocketAddr, tool: &str, wanted: &str) {
    let start = Instant::now();
    loop {
        let result = call(address, tool).await;
        if result.get("content").is_some() && text(&result) == wanted {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "`{wanted}` did not come: {result}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn names(address: std::net::SocketAddr) -> Vec<String> {
    let mut connection = Connection::open(address).await.unwrap();
    let body = modern_with_id(&json!(1), "tools/list", json!({})).to_string();
    let reply =
        connection.send("POST", "/mcp", &modern_headers("tools/list", None), body.as_bytes()).await.unwrap();
    let tools = reply.json()["result"]["tools"].take();
    tools.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn listeners_are_told_once_of_the_lists_that_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (_process, address) = Process::serve(folder.path(), &config("one")).await;
    let wanted = json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true } });
    let mut open = Vec::new();
    for wanted in [wanted, json!({ "notifications": { "promptsListChanged": true } })] {
        let mut stream = Connection::open(address).await.unwrap();
        let request = modern_with_id(&json!("sub"), "subscriptions/listen", wanted).to_string();
        stream.open_stream("POST", &modern_headers("subscriptions/listen", None), request.as_bytes()).await;
        assert_eq!(stream.event().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
        open.push(stream);
    }
    let mut session = Connection::open(address).await.unwrap();
    let opening = initialize("2025-11-25").to_string();
    let reply = session.send("POST", "/mcp", &plain_headers(), opening.as_bytes()).await.unwrap();
    let capabilities = reply.json()["result"]["capabilities"].take();
    assert_eq!(capabilities["tools"], json!({ "listChanged": true }));
    let mut headers = plain_headers();
    headers.push(("Mcp-Session-Id".to_owned(), reply.header("mcp-session-id").unwrap().to_owned()));
    session.open_stream("GET", &headers, b"").await;
    open.push(session);
    // One that reads nothing holds up nobody.
    let mut deaf = Connection::open(address).await.unwrap();
    let request = modern_with_id(
        &json!("deaf"),
        "subscriptions/listen",
        json!({ "notifications": { "toolsListChanged": true } }),
    );
    deaf.begin("POST", "/mcp", &modern_headers("subscriptions/listen", None), request.to_string().as_bytes())
        .await
        .unwrap();

    let before = names(address).await;
    std::fs::write(folder.path().join("gateway.yaml"), config("two")).unwrap();
    until(address, "a", "two").await;
    for stream in [0, 2] {
        assert_eq!(open[stream].event().await.unwrap()["method"], "notifications/tools/list_changed");
    }
    for stream in &mut open {
        assert!(stream.no_event(Duration::from_millis(200)).await, "more than once, or unasked");
    }
    assert_eq!(
        (names(address).await, before),
        (vec!["z".to_owned(), "a".to_owned()], vec!["z".to_owned(), "a".to_owned()])
    );
    // A prompt where there was none.
    let more =
        format!("{}prompts: {{ hi: {{ description: Hi., messages: [{{ user: Hi }}] }} }}\n", config("two"));
    std::fs::write(folder.path().join("gateway.yaml"), more).unwrap();
    for stream in &mut open {
        assert_eq!(stream.event().await.unwrap()["method"], "notifications/prompts/list_changed");
        assert!(stream.no_event(Duration::from_millis(100)).await);
    }
}

#[tokio::test]
async fn warnings_are_told_in_the_log_once_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let put = |text: &str| std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    let include = "include: ['none/*.yaml']\n";
    put(&format!("{include}{}", config("one")));
    let mut process = Process::start(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let line = process.line().await.expect("it starts");
    let address = line.split_once("http://").unwrap().1.split('/').next().unwrap().parse().unwrap();
    let status = async || {
        let mut connection = Connection::open(address).await.unwrap();
        let headers = [("Host".to_owned(), "localhost".to_owned())];
        let status = connection.send("GET", "/status", &headers, b"").await.unwrap().json();
        status["config"]["warnings"].clone()
    };
    let message = "no file is named like `none/*.yaml`";
    let first = json!({ "code": "empty-include", "place": "gateway.yaml:1:11", "message": message });
    assert_eq!(status().await, json!({ "count": 1, "list": [first] }));
    let times = |process: &Process, what: &str| process.log().matches(what).count();
    says(&process, "gateway.yaml:1:11").await;
    // The same warning in another place, and one more.
    put(&format!("# A comment.\ninclude: ['none/*.yaml', 'nor/*.yaml']\n{}", config("two")));
    says(&process, "gateway.yaml:2:26").await;
    says(&process, "reloaded, generation 2").await;
    assert_eq!(times(&process, "no file is named like `none/*.yaml`"), 1, "{}", process.log());
    assert_eq!(times(&process, "no file is named like `nor/*.yaml`"), 1, "{}", process.log());
    assert_eq!(times(&process, "empty-include"), 2, "{}", process.log());
    assert_eq!(status().await["count"], 2);
    // Gone and back again, it is news.
    put(&config("three"));
    says(&process, "reloaded, generation 3").await;
    assert_eq!(status().await, json!({ "count": 0, "list": [] }));
    put(&format!("{include}{}", config("four")));
    says(&process, "reloaded, generation 4").await;
    let start = Instant::now();
    while times(&process, "no file is named like `none/*.yaml`") < 2 {
        assert!(start.elapsed() < LATE, "{}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.close_input();
}

#[tokio::test]
async fn a_server_that_asks_nobody_any_more_says_so_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let put = |text: &str| std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    put(&format!("auth: {{ api_keys: [{{ name: ci, key: {SECRET} }}] }}\n{}", config("one")));
    let mut process = Process::start(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    process.line().await.expect("it starts");
    put(&format!("auth: none\n{}", config("one")));
    says(&process, "reloaded, generation 2").await;
    let log = process.log();
    let told = log.lines().find(|line| line.contains("callers no longer have to prove who they are"));
    assert!(told.is_some_and(|line| line.contains("WARN")), "{log}");
    process.close_input();
}

#[tokio::test]
async fn over_stdio_the_client_is_told_and_the_edit_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::stdio(folder.path(), &config("one"));
    process.say(&initialize("2025-11-25")).await;
    process.message().await;
    let put = |text: &str| std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    put("tools: nonsense");
    says(&process, "not reloaded, generation 1 stays in use").await;
    assert!(process.is_silent(Duration::from_millis(300)).await);
    put(&config("two"));
    assert_eq!(process.message().await["method"], "notifications/tools/list_changed");
    process.say(&legacy("tools/call", &json!({ "name": "a" }))).await;
    assert_eq!(process.message().await["result"]["content"][0]["text"], "two");
    says(&process, "reloaded, generation 2: tools: ~z ~a").await;
}

#[tokio::test]
async fn every_way_to_change_a_file_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &config("v0")).await;
    let path = folder.path().join("gateway.yaml");
    let beside = folder.path().join("gateway.yaml~");
    type Way<'a> = (&'a str, &'a dyn Fn(&str));
    let ways: [Way<'_>; 3] = [
        ("v1", &|text| {
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(&beside, &path).unwrap();
        }),
        ("v2", &|text| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, text).unwrap();
        }),
        ("v3", &|text| {
            std::fs::rename(&path, &beside).unwrap();
            std::fs::write(&path, text).unwrap();
        }),
    ];
    for (version, way) in ways {
        way(&config(version));
        until(address, "a", version).await;
    }
    std::fs::remove_file(&path).unwrap();
    says(&process, "there is no such file").await;
    until(address, "a", "v3").await;
    std::fs::write(&path, config("v4")).unwrap();
    until(address, "a", "v4").await;
    process.signal("HUP");
    says(&process, "nothing to reload").await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_swap_of_a_kubernetes_volume_is_seen() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let version = |name: &str| {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("gateway.yaml"), config(name)).unwrap();
    };
    version("..v0");
    symlink("..v0", root.join("..data")).unwrap();
    symlink("..data/gateway.yaml", root.join("gateway.yaml")).unwrap();
    let mut process = Process::start(root, &["serve", "--listen", "127.0.0.1:0"]);
    let line = process.line().await.unwrap();
    let address = line.split_once("http://").unwrap().1.split('/').next().unwrap().parse().unwrap();
    for (old, new) in [("..v0", "..v1"), ("..v1", "..v2"), ("..v2", "..v3")] {
        version(new);
        symlink(new, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        std::fs::remove_dir_all(root.join(old)).unwrap();
        until(address, "a", new).await;
    }
}

fn rest(base: &str, folder: &Path, tools: &[&str]) {
    let source = json!({ "base_url": base, "credentials": { "bearer": "${file:token}" } });
    let tools: serde_json::Map<String, Value> = tools
        .iter()
        .map(|name| {
            ((*name).to_owned(), json!({ "description": "A.", "rest": { "source": "api", "get": "/" } }))
        })
        .collect();
    let yaml = json!({ "sources": { "api": { "rest": source } }, "tools": tools });
    std::fs::write(folder.join("gateway.yaml"), yaml.to_string()).unwrap();
}

#[tokio::test]
async fn a_rotated_secret_is_sent_without_a_restart() {
    let api = Upstream::recorder().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "first\n").unwrap();
    rest(&api.url(), folder.path(), &["get"]);
    let mut process = Process::start(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let line = process.line().await.unwrap();
    let address = line.split_once("http://").unwrap().1.split('/').next().unwrap().parse().unwrap();
    let sent = async || {
        call(address, "get").await;
        api.take()[0].header("authorization").unwrap()
    };
    assert_eq!(sent().await, "Bearer first");
    std::fs::write(folder.path().join("token"), "second\n").unwrap();
    let start = Instant::now();
    while sent().await != "Bearer second" {
        // Two seconds are what it is to be; how long this machine is busy with others nobody can say.
        assert!(start.elapsed() < LATE, "{}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = process.log();
    assert!(log.contains("sources reopened: api") && !log.contains("second"), "{log}");
}

#[tokio::test]
async fn a_call_ends_on_the_configuration_it_began_with_and_a_removed_tool_is_unknown() {
    let gate = Gate::default();
    let closed = gate.clone();
    let slow = Upstream::start(move |_| {
        [vec![Step::Gate(closed.clone())], upstream::json("{\"old\":true}")].concat()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "t").unwrap();
    rest(&slow.url(), folder.path(), &["get", "stays"]);
    let mut process = Process::start(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let line = process.line().await.unwrap();
    let address: std::net::SocketAddr =
        line.split_once("http://").unwrap().1.split('/').next().unwrap().parse().unwrap();
    let running = tokio::spawn(async move { call(address, "get").await });
    while slow.count() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::write(folder.path().join("gateway.yaml"), config("new")).unwrap();
    until(address, "a", "new").await;
    assert!(!running.is_finished(), "it was to be in flight");
    let mut connection = Connection::open(address).await.unwrap();
    let body = modern_with_id(&json!(1), "tools/call", json!({ "name": "get" })).to_string();
    let reply = connection
        .send("POST", "/mcp", &modern_headers("tools/call", Some("get")), body.as_bytes())
        .await
        .unwrap();
    assert_eq!(reply.code(), -32602, "{}", reply.text());
    gate.open();
    assert_eq!(running.await.unwrap()["structuredContent"], json!({ "old": true }));
}

#[tokio::test]
async fn who_watches_what_a_template_stands_for_hears_that_it_is_another_one() {
    let text = |one: &str| {
        format!(
            "resources:
  'shop://t/{{id}}': {{ name: t, params: {{ id: {{ type: string }} }}, static: {{ text: '{one} {{id}}' }} }}
  'shop://u/{{id}}': {{ name: u, params: {{ id: {{ type: string }} }}, static: {{ text: 'same {{id}}' }} }}
"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &text("one")).await;
    let mut listener = Connection::open(address).await.unwrap();
    let wanted =
        json!({ "notifications": { "resourceSubscriptions": ["shop://u/1", "shop://t/5", "shop://t/6"] } });
    let request = modern_with_id(&json!("sub"), "subscriptions/listen", wanted).to_string();
    listener.open_stream("POST", &modern_headers("subscriptions/listen", None), request.as_bytes()).await;
    listener.event().await.unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), text("two")).unwrap();
    let mut told = Vec::new();
    for _ in 0..2 {
        let event = tokio::time::timeout(Duration::from_secs(20), listener.event()).await;
        let event = event.unwrap_or_else(|_| panic!("{}", process.log())).unwrap();
        assert_eq!(event["method"], "notifications/resources/updated", "{event}");
        told.push(event["params"]["uri"].as_str().unwrap().to_owned());
    }
    told.sort();
    assert_eq!(told, ["shop://t/5", "shop://t/6"]);
}
