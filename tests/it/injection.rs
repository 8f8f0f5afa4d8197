//! Injection into SQL, as a hostile caller would try it: on every engine and through every kind of slot, a value comes back byte for
//! byte or is refused with a sentence that names nothing of the statement, and nothing of it runs.

mod payloads;

use std::time::{Duration, Instant};

use base64::Engine as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::mysql;
use crate::postgres::Own;
use crate::support::message::{modern, modern_headers};
use crate::support::{Gateway, failure, structured, text};
use payloads::{CANARY, MARK, PAYLOADS};

/// No payload may take as long as the shortest of their sleeps.
const SLEEP: Duration = Duration::from_secs(4);

/// One row of the table: what differs between the engines.
struct Engine {
    source: Value,
    /// What stands before the name of a table.
    place: String,
    /// The type of texts.
    text: &'static str,
    /// The types that arrays and objects are read as, where there are some.
    types: Option<(&'static str, &'static str)>,
    /// `:value`, and then anything.
    begins: &'static str,
    /// Whether a text can hold the character 0.
    nul: bool,
    /// Lists what there is beside the rows.
    catalog: String,
}

/// What each engine is filled with.
const FILL: [&str; 4] = [
    "CREATE TABLE hidden_rows (id int PRIMARY KEY, name varchar(100), n int)",
    "INSERT INTO hidden_rows VALUES (1, 'ada', 10), (2, 'bob', 20), (3, 'it''s', 30)",
    "CREATE TABLE hidden_tokens (token varchar(100))",
    "INSERT INTO hidden_tokens VALUES ('canary-4711')",
];

fn sqlite(folder: &tempfile::TempDir) -> Engine {
    let init = folder.path().join("init.sql");
    std::fs::write(&init, FILL.join(";\n") + ";").unwrap();
    let file = folder.path().join("a.db");
    Engine {
        source: json!({ "url": format!("sqlite:{}", file.display()), "init": init }),
        place: String::new(),
        text: "text",
        types: None,
        begins: ":value || '%'",
        nul: true,
        catalog: "SELECT name, sql FROM sqlite_master ORDER BY name".to_owned(),
    }
}

fn postgres(own: &Own) -> Engine {
    Engine {
        source: json!({ "url": own.url }),
        place: format!("{}.", own.schema),
        text: "text",
        types: Some(("text[]", "jsonb")),
        begins: ":value || '%'",
        nul: false,
        catalog: format!(
            "SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace ORDER BY 1",
            own.schema
        ),
    }
}

fn mariadb(own: &mysql::Own) -> Engine {
    Engine {
        source: json!({ "url": own.url }),
        place: String::new(),
        text: "CHAR",
        types: None,
        begins: "CONCAT(:value, '%')",
        nul: true,
        catalog:
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1"
                .to_owned(),
    }
}

impl Engine {
    fn sql(&self, query: &str) -> Value {
        // The mark is in every statement, and no reply may hold it.
        let query = query.replace("hidden_", &format!("{}hidden_", self.place)).replace("TEXT", self.text);
        json!({ "source": "db", "query": format!("{query} /* {MARK} */") })
    }

    fn tool(&self, v: &Value, query: &str) -> Value {
        json!({ "description": "D.", "params": { "v": v }, "sql": self.sql(query) })
    }

    /// A tool, a resource and suggestions for every kind of slot.
    fn config(&self) -> Value {
        let (list, object) = self.types.unwrap_or((self.text, self.text));
        let string = json!({ "type": "string" });
        let cast = |kind: &str| format!("SELECT CAST(:v AS {kind}) AS v");
        let paged = |by: &str| {
            let mut sql = self.sql("SELECT id, name FROM hidden_rows");
            sql["page"] = json!({ "by": by, "size": 2 });
            json!({ "description": "D.", "sql": sql })
        };
        let order = "SELECT id FROM hidden_rows ORDER BY CASE WHEN :v = 'name' THEN name END, CASE WHEN :v = 'n' THEN n END";
        json!({
            "sources": { "db": { "sql": self.source } },
            "tools": {
                "echo": self.tool(&string, "SELECT CAST(:v AS TEXT) AS v"),
                "find": self.tool(&string, "SELECT id FROM hidden_rows WHERE name = :v"),
                "length": self.tool(&string, "SELECT length(CAST(:v AS TEXT)) AS n"),
                "integer": self.tool(&json!({ "type": "integer" }), "SELECT id FROM hidden_rows WHERE id = :v"),
                "number": self.tool(&string, "SELECT id FROM hidden_rows WHERE n + 0 = :v AND n > 99"),
                "list": self.tool(&json!({ "type": "array", "items": { "type": "string" } }), &cast(list)),
                "object": self.tool(&json!({ "type": "object" }), &cast(object)),
                "by_name": paged("name"),
                "by_id": paged("id"),
                "sorted": self.tool(&json!({ "type": "string", "enum": ["name", "n"] }), order),
                "limited": self.tool(&json!({ "type": "integer", "minimum": 1 }), "SELECT id FROM hidden_rows ORDER BY id LIMIT :v"),
                "column": self.tool(&string, "SELECT CAST(:v AS TEXT) AS v FROM hidden_tokens"),
                "order": self.tool(&string, "SELECT id FROM (SELECT * FROM hidden_rows ORDER BY id) AS q ORDER BY CAST(:v AS TEXT)"),
                "table": self.tool(&string, "SELECT * FROM :v"),
                "data": { "description": "D.", "sql": self.sql("SELECT r.*, token FROM hidden_rows AS r, hidden_tokens ORDER BY id") },
                "catalog": { "description": "D.", "sql": { "source": "db", "query": self.catalog } },
            },
            "resources": { "inj://{v}": {
                "name": "v", "mime_type": "application/json",
                "sql": { "source": "db", "query": self.sql("SELECT CAST(:v AS TEXT) AS v")["query"], "row": "one" },
                "complete": { "v": { "sql": self.sql(&format!("SELECT name FROM hidden_rows WHERE name LIKE {} ORDER BY id", self.begins)) } },
            } },
        })
    }

    /// Whether a text slot takes the value at all.
    fn takes(&self, value: &str) -> bool {
        self.nul || !value.contains('\0')
    }

    fn unpacked(&self, value: &Value) -> Value {
        match (self.types, value.as_str()) {
            (None, Some(text)) => serde_json::from_str(text).unwrap(),
            _ => value.clone(),
        }
    }
}

/// One call, its time and what it gave away looked at.
async fn call(gateway: &Gateway, tool: &str, value: &str, arguments: Value) -> Value {
    let start = Instant::now();
    let result = gateway.call(tool, arguments).await;
    assert!(start.elapsed() < SLEEP, "{tool} {value:?}: {:?}", start.elapsed());
    silent(&result, value);
    result
}

/// Nothing of the statement, and nothing of what it does not show.
fn silent(reply: &Value, what: &str) {
    let reply = reply.to_string();
    for word in [MARK, CANARY, "hidden_tokens", "sqlx", "127.0.0.1"] {
        assert!(!reply.contains(word) || what.contains(word), "{what}: {reply}");
    }
}

/// A refusal whose sentence says nothing but what is wrong with the value.
fn refused(result: &Value, what: &str) {
    let sentence = failure(result);
    let code = ["syntax error", "SQLSTATE", "near \"", "relation ", "column ", "operator "];
    for word in code {
        assert!(!sentence.contains(word) || what.contains(word), "{what}: {sentence}");
    }
}

async fn values_stay_values(engine: &Engine) {
    let gateway = Gateway::start(&engine.config().to_string()).await;
    let data = async || {
        let (rows, catalog) =
            (gateway.call("data", json!({})).await, gateway.call("catalog", json!({})).await);
        (structured(&rows).clone(), structured(&catalog).clone())
    };
    let before = data().await;
    assert_eq!(before.0["rows"].as_array().unwrap().len(), 3);
    for value in PAYLOADS {
        texts(engine, &gateway, value).await;
        numbers(&gateway, value).await;
        structures(engine, &gateway, value).await;
        cursors(engine, &gateway, value).await;
        uris(engine, &gateway, value).await;
        names(&gateway, value).await;
    }
    let long = "'; DROP TABLE hidden_rows; --\\".repeat(15_000);
    let result = gateway.call("length", json!({ "v": long })).await;
    assert_eq!(structured(&result)["rows"][0]["n"], long.len());
    assert_eq!(data().await, before);
}

async fn texts(engine: &Engine, gateway: &Gateway, value: &str) {
    for tool in ["echo", "find", "column"] {
        let result = call(gateway, tool, value, json!({ "v": value })).await;
        if !engine.takes(value) {
            refused(&result, value);
        } else if tool == "find" {
            assert_eq!(structured(&result)["rows"], json!([]), "{value:?}");
        } else {
            assert_eq!(structured(&result)["rows"], json!([{ "v": value }]), "{tool} {value:?}");
        }
    }
}

async fn numbers(gateway: &Gateway, value: &str) {
    let sentence = call(gateway, "integer", value, json!({ "v": value })).await;
    if value.parse::<i64>().is_err() {
        refused(&sentence, value);
    }
    // The statement reads a text as a number: none or a refusal, as the engine has it.
    let result = call(gateway, "number", value, json!({ "v": value })).await;
    if result.get("isError").is_some() {
        refused(&result, value);
    } else {
        assert_eq!(structured(&result)["rows"], json!([]), "{value:?}");
    }
    for arguments in [json!({ "v": { "$ne": value } }), json!({ "v": [value] })] {
        refused(&call(gateway, "integer", value, arguments).await, value);
    }
}

async fn structures(engine: &Engine, gateway: &Gateway, value: &str) {
    let list = json!([value, "plain", value]);
    let object = json!({ value: [value, { "k": value }], "n": 1 });
    for (tool, given) in [("list", list), ("object", object)] {
        let result = call(gateway, tool, value, json!({ "v": given })).await;
        if engine.types.is_some() && !engine.takes(value) {
            refused(&result, value);
        } else {
            let got = engine.unpacked(&structured(&result)["rows"][0]["v"]);
            assert_eq!(got, given, "{tool} {value:?}");
        }
    }
}

/// A cursor is made by whoever sends it.
async fn cursors(engine: &Engine, gateway: &Gateway, value: &str) {
    for (tool, cursor) in [
        ("by_name", value.to_owned()),
        ("by_name", encoded(&json!([value]))),
        ("by_id", encoded(&json!([value]))),
    ] {
        let result = call(gateway, tool, value, json!({ "next": cursor })).await;
        if result.get("isError").is_some() {
            refused(&result, value);
            let may = tool == "by_id" || cursor == value || !engine.takes(value);
            assert!(may, "a text is a place among texts: {value:?}: {result}");
            continue;
        }
        for row in structured(&result)["rows"].as_array().unwrap() {
            assert!(["ada", "bob", "it's"].contains(&row["name"].as_str().unwrap()), "{value:?}: {row}");
        }
    }
}

fn encoded(value: &Value) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
}

async fn uris(engine: &Engine, gateway: &Gateway, value: &str) {
    let uri = format!("inj://{}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    let start = Instant::now();
    let reply = gateway.modern("resources/read", json!({ "uri": uri })).await.json();
    silent(&reply["error"], value);
    if reply.get("error").is_none() {
        let content: Value =
            serde_json::from_str(reply["result"]["contents"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(content, json!({ "v": value }), "{uri}");
    } else {
        assert!(value.is_empty() || !engine.takes(value), "{value:?}: {reply}");
    }
    let params = json!({
        "ref": { "type": "ref/resource", "uri": "inj://{v}" }, "argument": { "name": "v", "value": value },
    });
    let reply = gateway.modern("completion/complete", params).await.json();
    silent(&reply, value);
    let Some(found) = reply["result"]["completion"]["values"].as_array() else {
        assert!(!engine.takes(value), "{value:?}: {reply}");
        return;
    };
    // What `LIKE` gives a meaning, and the end of a text where it is one of C.
    assert!(found.is_empty() || value.is_empty() || value.contains(['%', '_', '\0']), "{value:?}: {reply}");
    assert!(found.iter().all(|name| ["ada", "bob", "it's"].contains(&name.as_str().unwrap())), "{reply}");
    assert!(start.elapsed() < SLEEP, "{value:?}: {:?}", start.elapsed());
}

/// The names of columns and tables, and the order: from a list, or not at all.
async fn names(gateway: &Gateway, value: &str) {
    for tool in ["sorted", "limited", "table"] {
        if tool == "limited" && value.parse::<u32>().is_ok() {
            continue;
        }
        refused(&call(gateway, tool, value, json!({ "v": value })).await, value);
    }
    let result = call(gateway, "order", value, json!({ "v": value })).await;
    if result.get("isError").is_none() {
        assert_eq!(structured(&result)["rows"], json!([{ "id": 1 }, { "id": 2 }, { "id": 3 }]), "{value:?}");
    }
}

/// Callers whose claims are hostile: as a parameter, and where the engine has them, as a variable of the session.
async fn claims_stay_values(engine: &Engine, variable: Option<(&str, &str)>) {
    let values: Vec<&str> = PAYLOADS.iter().copied().filter(|v| !v.is_empty()).collect();
    let keys = values.iter().enumerate().map(|(n, value)| {
        json!({ "name": format!("caller{n}"), "key": format!("a-key-of-caller-{n}"), "claims": { "tenant": value } })
    });
    let mut config = json!({
        "auth": { "api_keys": keys.collect::<Vec<_>>() },
        "sources": { "db": { "sql": engine.source } },
        "tools": { "who": engine.tool(&json!({ "from": "caller.claims.tenant" }), "SELECT CAST(:v AS TEXT) AS v") },
    });
    if let Some((name, read)) = variable {
        config["sources"]["db"]["sql"]["session"] = json!({ name: "caller.claims.tenant" });
        config["tools"]["session"] =
            json!({ "description": "D.", "sql": engine.sql(&format!("SELECT {read} AS v")) });
    }
    let gateway = Gateway::start(&config.to_string()).await;
    for (n, value) in values.iter().enumerate() {
        for tool in if variable.is_some() { &["who", "session"][..] } else { &["who"] } {
            let mut headers = modern_headers("tools/call", Some(tool));
            headers.push(("Authorization".to_owned(), format!("Bearer a-key-of-caller-{n}")));
            let start = Instant::now();
            let body = modern("tools/call", json!({ "name": tool })).to_string();
            let reply = gateway.post(&headers, body.as_bytes()).await.json();
            assert!(start.elapsed() < SLEEP, "{value:?}");
            silent(&reply, value);
            let result = &reply["result"];
            if engine.takes(value) {
                assert_eq!(structured(result)["rows"], json!([{ "v": value }]), "{tool} {value:?}");
            } else {
                refused(result, value);
            }
        }
    }
}

#[tokio::test]
async fn hostile_values_stay_values_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let engine = sqlite(&folder);
    values_stay_values(&engine).await;
    claims_stay_values(&engine, None).await;
}

#[tokio::test]
async fn hostile_values_stay_values_on_postgres() {
    let Some(own) = Own::open("injection", &(FILL.join("; ") + ";")).await else { return };
    let engine = postgres(&own);
    values_stay_values(&engine).await;
    claims_stay_values(&engine, Some(("app.tenant", "current_setting('app.tenant')"))).await;
    own.gone().await;
}

#[tokio::test]
async fn hostile_values_stay_values_on_mysql() {
    let Some(own) = mysql::Own::open("injection", &FILL).await else { return };
    let engine = mariadb(&own);
    values_stay_values(&engine).await;
    claims_stay_values(&engine, Some(("tenant", "@tenant"))).await;
    own.gone().await;
}

#[tokio::test]
async fn a_choice_of_names_is_a_list_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&sqlite(&folder).config().to_string()).await;
    for by in ["name", "n"] {
        let result = gateway.call("sorted", json!({ "v": by })).await;
        assert_eq!(structured(&result)["rows"], json!([{ "id": 1 }, { "id": 2 }, { "id": 3 }]));
    }
    let limited = gateway.call("limited", json!({ "v": 2 })).await;
    assert_eq!(structured(&limited)["rows"], json!([{ "id": 1 }, { "id": 2 }]));
    assert!(text(&gateway.call("sorted", json!({ "v": "token" })).await).contains("name"));
}
