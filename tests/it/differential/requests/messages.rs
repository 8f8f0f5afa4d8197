//! What is no JSON, no JSON-RPC message, or an unusual one: written by hand, in both eras.

use serde_json::json;

use crate::differential::request::Request;

pub fn texts() -> Vec<Request> {
    let good = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{ENVELOPE}}"#;
    let rows = [
        ("empty body", String::new()),
        ("blanks", "  \r\n".to_owned()),
        ("one brace", "{".to_owned()),
        ("a word", "nope".to_owned()),
        ("a number", "7".to_owned()),
        ("a string", "\"x\"".to_owned()),
        ("null", "null".to_owned()),
        ("empty object", "{}".to_owned()),
        ("cut off", good[..good.len() - 2].to_owned()),
        ("trailing comma", good.replace("}}", "},}")),
        ("comment", format!("{good} // x")),
        ("trailing garbage", format!("{good}x")),
        ("two messages", format!("{good}\n{good}")),
        ("byte order mark", format!("\u{feff}{good}")),
        ("blanks around", format!("\r\n\t {good} \n")),
        ("line breaks inside", good.replace(',', ",\n")),
        ("single quotes", good.replace('"', "'")),
        ("empty list", "[]".to_owned()),
        ("list of one request", format!("[{good}]")),
        ("list of two requests", format!("[{good},{}]", good.replace(":1,", ":2,"))),
        ("list of a notification", r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#.to_owned()),
        ("list of numbers", "[1,2]".to_owned()),
        ("escaped member names", good.replace("method", "\\u006dethod")),
        ("a lone surrogate", good.replace("tools/list", "tools/list\\ud800")),
        ("a zero byte", good.replace("tools/list", "tools/list\\u0000")),
        (
            "deep params",
            good.replace("{ENVELOPE}", &format!("{{CALL\"x\":{}{}}}", "[".repeat(100), "]".repeat(100))),
        ),
        (
            "very deep params",
            good.replace("{ENVELOPE}", &format!("{{CALL\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000))),
        ),
        (
            "larger than 4 MiB",
            good.replace("{ENVELOPE}", &format!("{{CALL\"x\":\"{}\"}}", "x".repeat(5 << 20))),
        ),
    ];
    let mut all: Vec<Request> =
        rows.iter().flat_map(|(name, body)| Request::written(&format!("body: {name}"), body)).collect();
    let invalid =
        [br#"{"jsonrpc":"2.0","id":1,"method":""#.as_slice(), b"\xff\xfe", br#"","params":{}}"#].concat();
    all.extend(Request::written("body: not UTF-8", "").map(|r| r.body(&invalid)));
    all
}

pub fn members() -> Vec<Request> {
    let id =
        |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{ENVELOPE}}}}"#);
    let call =
        |rest: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{CALL{rest}}}}}"#);
    let rows = [
        ("id is null", id("null")),
        ("id is a fraction", id("1.5")),
        ("id with a zero fraction", id("1.0")),
        ("id is an exponent", id("1e2")),
        ("id is negative", id("-7")),
        ("id is zero", id("0")),
        ("id is true", id("true")),
        ("id is an object", id("{}")),
        ("id is a list", id("[1]")),
        ("id is an empty text", id("\"\"")),
        ("id is a text", id("\"a-1\"")),
        ("id is a numeric text", id("\"1\"")),
        ("id with escapes", id(r#""a\"b\\\n\ud83d\ude00""#)),
        ("id beyond 2^53", id("9007199254740993")),
        ("id beyond 63 bits", id("18446744073709551615")),
        ("id beyond 64 bits", id("18446744073709551616")),
        ("id of 200 letters", id(&format!("\"{}\"", "x".repeat(200)))),
        ("id of 1000 letters", id(&format!("\"{}\"", "x".repeat(1000)))),
        ("no jsonrpc", r#"{"id":1,"method":"tools/list","params":{ENVELOPE}}"#.to_owned()),
        ("jsonrpc 1.0", id("1").replace("2.0", "1.0")),
        ("jsonrpc is a number", id("1").replace("\"2.0\"", "2.0")),
        ("jsonrpc in capitals", id("1").replace("jsonrpc", "JSONRPC")),
        ("no method", r#"{"jsonrpc":"2.0","id":1,"params":{ENVELOPE}}"#.to_owned()),
        ("method is a number", id("1").replace("\"tools/list\"", "7")),
        ("method is null", id("1").replace("\"tools/list\"", "null")),
        ("method in capitals", id("1").replace("method", "Method")),
        ("params in capitals", id("1").replace("params", "Params")),
        ("id in capitals", id("1").replace("\"id\"", "\"ID\"")),
        ("one more member", id("1").replace("\"id\"", "\"more\":[1],\"id\"")),
        ("method and result", id("1").replace("\"id\"", "\"result\":{},\"id\"")),
        ("method and error", id("1").replace("\"id\"", "\"error\":{\"code\":1,\"message\":\"x\"},\"id\"")),
        ("jsonrpc twice", id("1").replace("\"id\"", "\"jsonrpc\":\"2.0\",\"id\"")),
        ("id twice", id("1").replace("\"id\"", "\"id\":2,\"id\"")),
        ("method twice", id("1").replace("\"method\"", "\"method\":\"ping\",\"method\"")),
        ("params twice", id("1").replace("\"params\"", "\"params\":{},\"params\"")),
        ("_meta twice", id("1").replace("ENVELOPE", "CALL\"_meta\":{}")),
    ];
    let called = [
        ("name twice", call(r#""name":"say","name":"fail""#)),
        ("name in two cases", call(r#""name":"say","Name":"fail""#)),
        ("Name only", call(r#""Name":"say""#)),
        ("arguments twice", call(r#""name":"say","arguments":{},"arguments":{"a":1}"#)),
        ("arguments in two cases", call(r#""name":"say","arguments":{},"Arguments":{"a":1}"#)),
        (
            "an argument twice",
            call(r#""name":"order","arguments":{"id":"A","count":1,"count":2,"size":"small"}"#),
        ),
    ];
    let plain = rows.iter().flat_map(|(name, body)| Request::written(&format!("message: {name}"), body));
    let called = called.iter().flat_map(|(name, body)| {
        let tool = if body.contains("order") { "order" } else { "say" };
        Request::written(&format!("message: {name}"), body).map(|request| {
            let modern = request.headers.iter().any(|(n, _)| n == "Mcp-Method");
            if modern { request.set("Mcp-Method", "tools/call").with("Mcp-Name", tool) } else { request }
        })
    });
    plain.chain(called).collect()
}

pub fn notifications() -> Vec<Request> {
    let rows = [
        ("notifications/initialized", json!({})),
        ("notifications/cancelled", json!({ "requestId": 1 })),
        ("notifications/cancelled", json!({})),
        ("notifications/progress", json!({ "progressToken": 1, "progress": 1 })),
        ("notifications/roots/list_changed", json!({})),
        ("notifications/nope", json!({})),
        ("tools/list", json!({})),
        ("tools/call", json!({ "name": "say" })),
        (
            "initialize",
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "a", "version": "0" } }),
        ),
    ];
    let mut all = Vec::new();
    for (method, params) in rows {
        let name = format!("notification: `{method}` with {} members", params.as_object().unwrap().len());
        all.extend(Request::both(&name, method, &params).map(|r| {
            r.edit(|m| {
                m.as_object_mut().unwrap().remove("id");
            })
        }));
    }
    let bare = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    let [modern, _] =
        Request::both("notification: without an envelope", "notifications/cancelled", &json!({}));
    all.push(modern.clone().body(bare.to_string().as_bytes()));
    all.push(
        Request { name: "modern: notification: without an envelope or headers".to_owned(), ..modern }
            .body(bare.to_string().as_bytes())
            .without("MCP-Protocol-Version")
            .without("Mcp-Method"),
    );
    for (name, body) in [
        ("response: a result", json!({ "jsonrpc": "2.0", "id": 1, "result": {} })),
        (
            "response: an error",
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -1, "message": "no" } }),
        ),
        (
            "response: an error without an id",
            json!({ "jsonrpc": "2.0", "error": { "code": -1, "message": "no" } }),
        ),
        ("response: without an id", json!({ "jsonrpc": "2.0", "result": {} })),
        (
            "response: result and error",
            json!({ "jsonrpc": "2.0", "id": 1, "result": {}, "error": { "code": -1, "message": "no" } }),
        ),
    ] {
        all.extend(Request::written(name, &body.to_string()));
    }
    all
}
