//! A database server that is restarted again and again under a steady load: calls fail only while it is away, with the sentence for
//! that and nothing else, the pool keeps to its size, and everything works afterwards without a restart of the gateway. The engines are
//! the test's own, from `tests/engines/run.sh`; without its tools these tests are named by `left_out`.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::support::message::{modern, modern_headers};
use crate::support::{Connection, Gateway, Upstream, text};

/// Connections of the pool; two more are there to cancel what runs.
const POOL: i64 = 8;
/// Each calls five times a second, together 200 times.
const CLIENTS: usize = 40;
/// After the server answers again, calls that begin so much later do not fail.
const HEALS: Duration = Duration::from_secs(2);
/// Without a fault between two restarts.
const CALM: Duration = Duration::from_millis(2600);
const AWAY: &str = "The source `db` cannot be reached right now. Try again in a moment.";

/// What differs between the engines.
struct Row {
    engine: &'static str,
    without: &'static str,
    url: &'static str,
    /// Of the account that sees all sessions.
    watcher: &'static str,
    /// How many sessions of the gateway there are.
    sessions: &'static str,
    sleep: &'static str,
    restarts: u32,
}

const POSTGRES: Row = Row {
    engine: "postgres",
    without: "mariadb",
    url: "TEST_POSTGRES_URL",
    watcher: "TEST_POSTGRES_SUPERUSER_URL",
    sessions: "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sidegate' AND backend_type = 'client backend'",
    sleep: "pg_sleep(0.01)",
    restarts: 10,
};
const MARIADB: Row = Row {
    engine: "mariadb",
    without: "postgres",
    url: "TEST_MYSQL_URL",
    watcher: "TEST_MYSQL_ROOT_URL",
    sessions: "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'sidegate'",
    sleep: "SLEEP(0.01)",
    restarts: 10,
};

/// An engine of the test's own, which ends with its standard input.
struct Engine {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    url: String,
    watcher: String,
}

impl Engine {
    /// None where the tools are not there: the engine beside these tests was not started by them.
    async fn start(row: &Row) -> Option<Self> {
        let beside = std::env::var_os("TEST_ENGINES_DIR")?;
        if !Path::new(&beside).join(format!("{}.env", row.engine)).exists() {
            return None;
        }
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines");
        let script =
            "env | grep ^TEST_; echo ready; while read -r _; do \"$0\" \"$1\" && echo restarted; done";
        let mut command = Command::new(scripts.join("run.sh"));
        command
            .args(["--without", row.without, "bash", "-c", script])
            .arg(scripts.join("restart.sh"))
            .arg(row.engine);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TEST_")) {
            command.env_remove(name);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut engine = Self {
            child,
            input,
            output: BufReader::new(output).lines(),
            url: String::new(),
            watcher: String::new(),
        };
        loop {
            let line = engine.line().await;
            match line.split_once('=') {
                Some((name, value)) if name == row.url => value.clone_into(&mut engine.url),
                Some((name, value)) if name == row.watcher => value.clone_into(&mut engine.watcher),
                _ if line == "ready" => return Some(engine),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> String {
        let next = tokio::time::timeout(Duration::from_secs(60), self.output.next_line());
        next.await.expect("the engine says nothing").unwrap().expect("the engine has ended")
    }

    /// Gives when it began and when the server answered again.
    async fn restart(&mut self) -> (Instant, Instant) {
        let start = Instant::now();
        self.input.write_all(b"restart\n").await.unwrap();
        assert_eq!(self.line().await, "restarted");
        (start, Instant::now())
    }

    async fn end(mut self) {
        drop(self.input);
        tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await.unwrap().unwrap();
    }
}

/// A session of the test's own; each engine has its driver.
async fn ask(url: &str, sql: &str) -> Result<i64, sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let mut session = sqlx::PgConnection::connect(url).await?;
        session.ping().await?;
        let row = sqlx::raw_sql(sql).fetch_optional(&mut session).await?;
        row.map_or(Ok(0), |row| row.try_get(0))
    } else {
        let mut session = sqlx::MySqlConnection::connect(url).await?;
        let row = sqlx::raw_sql(sql).fetch_optional(&mut session).await?;
        row.map_or(Ok(0), |row| {
            row.try_get::<String, _>(0).map(|n| n.parse().unwrap()).or_else(|_| row.try_get(0))
        })
    }
}

/// What the load has met.
#[derive(Default)]
struct Met {
    done: u64,
    /// Rows that were said to be written.
    written: Vec<u64>,
    /// When each of them began and ended, and what it said.
    failed: Vec<([Instant; 2], String)>,
}

/// One client: reads, statements that take a while, and writes, in turn.
async fn client(gateway: Arc<Gateway>, number: usize, over: Arc<AtomicBool>, ids: Arc<AtomicU64>) -> Met {
    let mut met = Met::default();
    let mut connection = gateway.connect().await;
    tokio::time::sleep(Duration::from_millis(5 * number as u64)).await;
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !over.load(Ordering::Relaxed) {
        tick.tick().await;
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let (tool, arguments) = match id % 3 {
            0 => ("quick", json!({})),
            1 => ("slow", json!({})),
            _ => ("add", json!({ "id": id })),
        };
        let begun = Instant::now();
        let result = call(&mut connection, tool, &arguments).await;
        if result.get("isError").is_some() {
            met.failed.push(([begun, Instant::now()], text(&result).to_owned()));
            continue;
        }
        met.done += 1;
        if tool == "add" {
            met.written.push(id);
        }
    }
    met
}

async fn call(connection: &mut Connection, tool: &str, arguments: &Value) -> Value {
    let body = modern("tools/call", json!({ "name": tool, "arguments": arguments })).to_string();
    let reply =
        connection.send("POST", "/mcp", &modern_headers("tools/call", Some(tool)), body.as_bytes()).await;
    let reply = reply.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["result"].take()
}

/// The most sessions of the gateway that were seen at once.
fn watch(url: String, sql: &'static str, over: Arc<AtomicBool>) -> JoinHandle<i64> {
    tokio::spawn(async move {
        let mut most = 0;
        while !over.load(Ordering::Relaxed) {
            // While the server is away nobody is connected.
            if let Ok(Ok(now)) = tokio::time::timeout(Duration::from_secs(1), ask(&url, sql)).await {
                most = most.max(now);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        most
    })
}

fn config(url: &str, sleep: &str) -> Value {
    let tool = |query: &str| json!({ "description": "D.", "sql": { "source": "db", "query": query } });
    let mut add = tool("INSERT INTO seen VALUES (:id)");
    add["params"] = json!({ "id": { "type": "integer" } });
    add["sql"]["write"] = true.into();
    json!({
        "sources": { "db": { "sql": { "url": url, "read_only": false, "pool": { "max": POOL } } } },
        "tools": { "quick": tool("SELECT 1 AS one"), "slow": tool(&format!("SELECT {sleep} AS s")), "add": add },
    })
}

#[expect(clippy::print_stdout, reason = "the figures, for `--nocapture`")]
async fn survives(row: &Row) {
    let Some(mut engine) = Engine::start(row).await else { return };
    ask(&engine.url, "CREATE TABLE seen (id bigint)").await.unwrap();
    let gateway = Arc::new(Gateway::start(&config(&engine.url, row.sleep).to_string()).await);
    let (over, ids) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watcher = watch(engine.watcher.clone(), row.sessions, over.clone());
    let clients = (0..CLIENTS).map(|n| tokio::spawn(client(gateway.clone(), n, over.clone(), ids.clone())));
    let clients: Vec<JoinHandle<Met>> = clients.collect();
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut outages = Vec::new();
    for _ in 0..row.restarts {
        outages.push(engine.restart().await);
        tokio::time::sleep(CALM).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut met = Met::default();
    for client in clients {
        let one = client.await.unwrap();
        met.done += one.done;
        met.written.extend(one.written);
        met.failed.extend(one.failed);
    }
    let time = start.elapsed();
    let most = watcher.await.unwrap();
    let away: Duration = outages.iter().map(|(from, to)| *to - *from).sum();
    let figures = format!(
        "{}: {} restarts, {away:.1?} away of {time:.1?}, {} calls, {} failed, {most} sessions at the most",
        row.engine,
        row.restarts,
        met.done,
        met.failed.len()
    );
    println!("{figures}");
    for ([begun, at], sentence) in &met.failed {
        assert!(sentence.starts_with(AWAY), "{sentence}");
        let within = outages.iter().any(|(from, to)| at >= from && *begun <= *to + HEALS);
        assert!(
            within,
            "{sentence} from {:?} to {:?}; {:?}",
            *begun - start,
            *at - start,
            outages.iter().map(|(f, t)| (*f - start, *t - start)).collect::<Vec<_>>()
        );
    }
    assert!((1..=POOL + 2).contains(&most), "{most} sessions");
    let calm = time.saturating_sub(away).as_secs();
    // Nominally two hundred a second; it was a load if each client got through once a second.
    assert!(met.done > CLIENTS as u64 * calm, "{figures}");

    for n in 0..60 {
        let tool = ["quick", "slow"][n % 2];
        let result = gateway.call(tool, json!({})).await;
        assert!(result.get("isError").is_none(), "{result}");
    }
    assert_eq!(gateway.get("/readyz").await.status, 200);
    // What was said to be written is there, and nothing was written twice.
    let rows = ask(&engine.url, "SELECT count(*) FROM seen").await.unwrap();
    let twice = ask(&engine.url, "SELECT count(*) - count(DISTINCT id) FROM seen").await.unwrap();
    assert_eq!(twice, 0);
    assert!(rows >= met.written.len().try_into().unwrap(), "{rows} of {}", met.written.len());
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_only_while_postgres_is_away() {
    survives(&POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_only_while_mariadb_is_away() {
    survives(&MARIADB).await;
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_not_called_busy() {
    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for scheme in ["postgres", "mysql"] {
        for address in [Upstream::refusing().await, silent.local_addr().unwrap()] {
            let mut config = config(&format!("{scheme}://somebody@{address}/test"), "now()");
            config["sources"]["db"]["sql"]["pool"] = json!({ "max": 2, "acquire_timeout": "300ms" });
            let gateway = &Gateway::start(&config.to_string()).await;
            let calls = join_all((0..12).map(|n| async move {
                tokio::time::sleep(Duration::from_millis(40 * n)).await;
                gateway.call("quick", json!({})).await
            }));
            for result in calls.await {
                let sentence = text(&result);
                assert!(sentence.starts_with(AWAY), "{scheme} {address}: {sentence}");
            }
        }
    }
}
