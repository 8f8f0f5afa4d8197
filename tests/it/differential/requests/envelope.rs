//! `_meta` of modern requests: its required and optional members, right and wrong.

use serde_json::{Value, json};

use crate::differential::request::Request;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const INFO: &str = "io.modelcontextprotocol/clientInfo";
const LEVEL: &str = "io.modelcontextprotocol/logLevel";

fn list(name: &str) -> Request {
    Request::modern(name, "tools/list", json!({}))
}

fn work(name: &str, key: &str, value: Value) -> Request {
    Request::modern(name, "tools/call", json!({ "name": "work" })).edit(|m| m["params"]["_meta"][key] = value)
}

pub fn all() -> Vec<Request> {
    let mut all = shapes();
    all.extend(versions());
    let members: [(&str, &str, Value); 20] = [
        ("capabilities are null", CAPABILITIES, Value::Null),
        ("capabilities are a list", CAPABILITIES, json!([])),
        ("capabilities are a text", CAPABILITIES, json!("{}")),
        ("capabilities with more", CAPABILITIES, json!({ "sampling": {}, "com.example/x": 1 })),
        ("a capability is a number", CAPABILITIES, json!({ "sampling": 7 })),
        ("client info", INFO, json!({ "name": "a", "version": "0" })),
        ("client info is null", INFO, Value::Null),
        ("client info is a number", INFO, json!(7)),
        ("client info without a version", INFO, json!({ "name": "a" })),
        ("log level", LEVEL, json!("debug")),
        ("unknown log level", LEVEL, json!("loud")),
        ("log level in capitals", LEVEL, json!("INFO")),
        ("log level is a number", LEVEL, json!(3)),
        ("log level is null", LEVEL, Value::Null),
        ("trace context", "traceparent", json!("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")),
        ("trace context that is none", "traceparent", json!("zz")),
        ("member of somebody else", "com.example/own", json!({ "a": [1] })),
        ("progress token on a list", "progressToken", json!("p")),
        ("progress token is an object", "progressToken", json!({})),
        ("subscription id", "io.modelcontextprotocol/subscriptionId", json!(1)),
    ];
    all.extend(
        members.into_iter().map(|(name, key, value)| list(name).edit(|m| m["params"]["_meta"][key] = value)),
    );
    all.extend([
        work("work with a progress token", "progressToken", json!("p")),
        work("work with a numeric progress token", "progressToken", json!(7)),
        work("work with a fractional progress token", "progressToken", json!(1.5)),
        work("work with a null progress token", "progressToken", Value::Null),
        work("work with a log level", LEVEL, json!("debug")),
        work("work with an unknown log level", LEVEL, json!("loud")),
    ]);
    all
}

fn shapes() -> Vec<Request> {
    let without = |key: &'static str| {
        move |m: &mut Value| {
            m["params"]["_meta"].as_object_mut().unwrap().remove(key);
        }
    };
    vec![
        list("no params").edit(|m| {
            m.as_object_mut().unwrap().remove("params");
        }),
        list("params are null").edit(|m| m["params"] = Value::Null),
        list("params are a list").edit(|m| m["params"] = json!([])),
        list("params are a text").edit(|m| m["params"] = json!("x")),
        list("no _meta").edit(|m| m["params"] = json!({})),
        list("_meta is null").edit(|m| m["params"]["_meta"] = Value::Null),
        list("_meta is a list").edit(|m| m["params"]["_meta"] = json!([1])),
        list("_meta is a text").edit(|m| m["params"]["_meta"] = json!("x")),
        list("_meta in capitals").edit(|m| {
            let meta = m["params"]["_meta"].take();
            m["params"] = json!({ "_META": meta });
        }),
        list("no version").edit(without(VERSION)),
        list("no capabilities").edit(without(CAPABILITIES)),
        list("empty _meta").edit(|m| m["params"]["_meta"] = json!({})),
        list("version in capitals").edit(|m| {
            without(VERSION)(m);
            m["params"]["_meta"]["IO.MODELCONTEXTPROTOCOL/PROTOCOLVERSION"] = json!("2026-07-28");
        }),
        Request::modern("no _meta, no headers", "tools/list", json!({}))
            .edit(|m| m["params"] = json!({}))
            .without("MCP-Protocol-Version")
            .without("Mcp-Method"),
        Request::modern("discover without _meta", "server/discover", json!({}))
            .edit(|m| m["params"] = json!({})),
        Request::modern("discover without params", "server/discover", json!({})).edit(|m| {
            m.as_object_mut().unwrap().remove("params");
        }),
        Request::modern("discover without capabilities", "server/discover", json!({}))
            .edit(without(CAPABILITIES)),
        Request::modern("unknown method without capabilities", "nope", json!({})).edit(without(CAPABILITIES)),
    ]
}

fn versions() -> Vec<Request> {
    let named = |version: &str| {
        let version = version.to_owned();
        let header = version.clone();
        list(&format!("version `{header}`"))
            .edit(|m| m["params"]["_meta"][VERSION] = json!(version))
            .set("MCP-Protocol-Version", &header)
    };
    let mut all: Vec<Request> = [
        "2099-01-01",
        "1999-01-01",
        "v999",
        "",
        "2026-07-28 ",
        "2025-11-25",
        "2025-06-18",
        "2025-03-26",
        "2024-11-05",
    ]
    .map(named)
    .into();
    all.extend([
        list("version is a number").edit(|m| m["params"]["_meta"][VERSION] = json!(20_260_728)),
        list("version is null").edit(|m| m["params"]["_meta"][VERSION] = Value::Null),
        Request::modern("discover of 2099-01-01", "server/discover", json!({}))
            .edit(|m| m["params"]["_meta"][VERSION] = json!("2099-01-01"))
            .set("MCP-Protocol-Version", "2099-01-01"),
        Request::modern("unknown method of 2099-01-01", "nope", json!({}))
            .edit(|m| m["params"]["_meta"][VERSION] = json!("2099-01-01"))
            .set("MCP-Protocol-Version", "2099-01-01"),
    ]);
    all
}
