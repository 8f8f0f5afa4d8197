//! A real service of somebody else behind a file of `examples/`: PowerDNS, all of whose tools the official Rust client calls in both
//! eras. The service is started here and ended by its id; `tests/powerdns/tools.sh` brings it.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rmcp::model::{CallToolRequestParams, ProtocolVersion, ReadResourceRequestParams};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RoleClient, RunningService};
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tokio::process::{Child, Command};

use crate::support::process::PROGRAM;
use crate::support::{Connection, failure, structured, text};

const KEY: &str = "a-key-of-the-test";

/// A running server with no zones; it ends with this value.
struct PowerDns {
    _child: Child,
    _folder: tempfile::TempDir,
    api: SocketAddr,
}

impl PowerDns {
    /// `None` where it is not to be had, which the end of `cargo test` says.
    async fn start() -> Option<Self> {
        let server = std::env::var("TEST_POWERDNS_SERVER").ok()?;
        let given = |name: &str| std::env::var(format!("TEST_POWERDNS_{name}")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("zones.db");
        let url = format!("sqlite:{}?mode=rwc", database.display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let schema = std::fs::read_to_string(given("SCHEMA")).unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(schema)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let (dns, api) = (free_port(), free_port());
        let settings = [
            format!("config-dir={}", folder.path().display()),
            format!("socket-dir={}", folder.path().display()),
            format!("module-dir={}", given("MODULES")),
            format!("gsqlite3-database={}", database.display()),
            format!("local-port={dns}"),
            format!("webserver-port={api}"),
            format!("api-key={KEY}"),
        ];
        let fixed = "launch=gsqlite3 local-address=127.0.0.1 api=yes webserver=yes webserver-address=127.0.0.1 \
                     webserver-allow-from=127.0.0.1 daemon=no guardian=no disable-syslog=yes write-pid=no";
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(server)
            .args(settings.iter().map(|s| format!("--{s}")).chain(fixed.split(' ').map(|s| format!("--{s}"))))
            .arg("--security-poll-suffix=")
            .env_clear()
            .env("LD_LIBRARY_PATH", given("LIBRARIES"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let api = SocketAddr::from(([127, 0, 0, 1], api));
        let until = Instant::now() + Duration::from_secs(20);
        while Connection::open(api).await.is_err() {
            let said = || std::fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(Instant::now() < until, "it does not start: {}", said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self { _child: child, _folder: folder, api })
    }

    /// The official client of the gateway that serves the example, over stdio.
    async fn client(&self, key: &str, lifecycle: ClientLifecycleMode) -> RunningService<RoleClient, ()> {
        let mut command = Command::new(PROGRAM);
        command.args(["stdio", "-c"]).arg(example()).env_clear().current_dir(std::env::temp_dir());
        command
            .env("PDNS_API", format!("http://{}/api/v1/servers/localhost", self.api))
            .env("PDNS_API_KEY", key);
        ().serve_with_lifecycle(TokioChildProcess::new(command).unwrap(), lifecycle).await.unwrap()
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/powerdns.yaml")
}

/// A port that is free for TCP and UDP.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn lifecycles() -> [ClientLifecycleMode; 2] {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    [ClientLifecycleMode::Initialize, ClientLifecycleMode::Discover { preferred_versions }]
}

async fn call(client: &RunningService<RoleClient, ()>, name: &'static str, arguments: Value) -> Value {
    let arguments = arguments.as_object().unwrap().clone();
    let result = client.call_tool(CallToolRequestParams::new(name).with_arguments(arguments)).await;
    let mut result = serde_json::to_value(result.unwrap()).unwrap();
    // The client fills in what the gateway leaves out.
    if result["isError"] == false {
        result.as_object_mut().unwrap().remove("isError");
    }
    result
}

/// A zone from its beginning to its end.
async fn keeps_a_zone(client: &RunningService<RoleClient, ()>, zone: &str) {
    let call = async |name, arguments| call(client, name, arguments).await;
    let nameservers = json!(["ns1.example.net.", "ns2.example.net."]);
    let new = json!({ "zone": zone, "nameservers": nameservers });
    let made = call("create_zone", new.clone()).await;
    assert_eq!((&structured(&made)["name"], &structured(&made)["kind"]), (&json!(zone), &json!("Native")));
    assert_eq!(failure(&call("create_zone", new).await), format!("The zone {zone} exists already."));

    let name = format!("www.{zone}");
    let mut set =
        json!({ "zone": zone, "name": name, "type": "A", "ttl": 300, "values": ["192.0.2.1", "192.0.2.2"] });
    assert_eq!(text(&call("set_record", set.clone()).await), "Done; there is no content.");
    let texts = json!(["\"v=spf1 -all\"", "\"quotes \\\" and ; stay, and so does } here\""]);
    let txt = json!({ "zone": zone, "name": zone, "type": "TXT", "values": texts });
    call("set_record", txt).await;
    let shown = call("show_records", json!({ "zone": zone })).await;
    let records = structured(&shown)["records"].as_array().unwrap().clone();
    let of = |kind: &str| {
        records.iter().find(|r| r["type"] == kind).unwrap_or_else(|| panic!("{records:?}")).clone()
    };
    let mut addresses = of("A");
    addresses["values"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(
        addresses,
        json!({ "name": name, "type": "A", "ttl": 300, "values": ["192.0.2.1", "192.0.2.2"] })
    );
    let mut kept = of("TXT")["values"].as_array().unwrap().clone();
    kept.sort_by_key(|v| v.to_string().len());
    assert_eq!(json!(kept), texts);
    assert_eq!(of("NS")["values"].as_array().unwrap().len(), 2);

    // What the server says of a mistake is told as its own words.
    set["name"] = json!("www.elsewhere.example.");
    let said = call("set_record", set.clone()).await;
    let said = failure(&said);
    assert!(
        said.contains("(status 422)") && said.contains("The source says: \"RRset www.elsewhere"),
        "{said}"
    );
    set["values"] = json!([]);
    assert!(failure(&call("set_record", set).await).contains("Argument `values`"));

    let found =
        call("search_records", json!({ "what": format!("*.{}", zone.trim_end_matches('.')), "limit": 5 }))
            .await;
    assert_eq!(structured(&found)["records"].as_array().unwrap().len(), 2, "{found}");
    let flushed = call("flush_cache", json!({ "name": name })).await;
    assert!(structured(&flushed)["forgotten"].is_u64(), "{flushed}");
    let listed = call("list_zones", json!({ "zone": zone })).await;
    assert_eq!(structured(&listed)["zones"][0]["name"], zone, "{listed}");
    let file =
        client.read_resource(ReadResourceRequestParams::new(format!("dns://zones/{zone}"))).await.unwrap();
    let file = serde_json::to_value(file).unwrap();
    assert!(file["contents"][0]["text"].as_str().unwrap().contains("\t300\tIN\tA\t192.0.2.2"), "{file}");

    call("delete_record", json!({ "zone": zone, "name": name, "type": "A" })).await;
    let left = call("show_records", json!({ "zone": zone })).await;
    assert!(!left.to_string().contains("192.0.2."), "{left}");
    assert_eq!(text(&call("delete_zone", json!({ "zone": zone })).await), "Done; there is no content.");
    let gone = call("show_records", json!({ "zone": zone })).await;
    assert_eq!(failure(&gone), format!("There is no zone {zone}."));
    assert_eq!(structured(&call("list_zones", json!({})).await)["zones"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tool_of_the_example_does_what_it_says() {
    let Some(service) = PowerDns::start().await else { return };
    for (n, lifecycle) in lifecycles().into_iter().enumerate() {
        let client = service.client(KEY, lifecycle).await;
        let mut names: Vec<String> =
            client.list_all_tools().await.unwrap().iter().map(|t| t.name.to_string()).collect();
        names.sort_unstable();
        let all = "create_zone delete_record delete_zone flush_cache list_zones search_records set_record show_records";
        assert_eq!(names.join(" "), all);
        keeps_a_zone(&client, &format!("zone-{n}.example.")).await;
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_key_is_the_operators_matter_and_names_cannot_leave_their_place() {
    let Some(service) = PowerDns::start().await else { return };
    let [lifecycle, _] = lifecycles();
    let client = service.client("another", lifecycle.clone()).await;
    let refused = call(&client, "list_zones", json!({})).await;
    let said = failure(&refused);
    assert!(
        said.contains("this server's own credentials (status 401)") && !said.contains("127.0.0.1"),
        "{said}"
    );
    client.cancel().await.unwrap();
    let client = service.client(KEY, lifecycle).await;
    for zone in ["../config", "..", "a/../../config.", "example.org./export", "example.org.?x=1"] {
        let refused = call(&client, "show_records", json!({ "zone": zone })).await;
        assert!(failure(&refused).contains("Argument `zone`"), "{zone}: {refused}");
        assert!(
            client
                .read_resource(ReadResourceRequestParams::new(format!("dns://zones/{zone}")))
                .await
                .is_err()
        );
    }
    client.cancel().await.unwrap();
}
