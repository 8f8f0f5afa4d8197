//! The headers that repeat a modern request's body.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::differential::request::Request;

fn base64(text: &str) -> String {
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
}

fn say(name: &str) -> Request {
    Request::modern(&format!("header: {name}"), "tools/call", json!({ "name": "say" }))
}

pub fn routing() -> Vec<Request> {
    let read = |name: &str| {
        Request::modern(&format!("header: {name}"), "resources/read", json!({ "uri": "test://text" }))
    };
    let get = |name: &str| {
        let params = json!({ "name": "greet", "arguments": { "who": "Ann" } });
        Request::modern(&format!("header: {name}"), "prompts/get", params)
    };
    vec![
        say("no version").without("MCP-Protocol-Version"),
        say("another version").set("MCP-Protocol-Version", "2025-11-25"),
        say("unknown version").set("MCP-Protocol-Version", "2099-01-01"),
        say("empty version").set("MCP-Protocol-Version", ""),
        say("version twice").with("MCP-Protocol-Version", "2026-07-28"),
        say("two versions").with("MCP-Protocol-Version", "2025-11-25"),
        say("another version first")
            .set("MCP-Protocol-Version", "2025-11-25")
            .with("MCP-Protocol-Version", "2026-07-28"),
        say("version in base64").set("MCP-Protocol-Version", &base64("2026-07-28")),
        say("no method").without("Mcp-Method"),
        say("another method").set("Mcp-Method", "tools/list"),
        say("method in capitals").set("Mcp-Method", "Tools/Call"),
        say("empty method").set("Mcp-Method", ""),
        say("method twice").with("Mcp-Method", "tools/call"),
        say("two methods").with("Mcp-Method", "tools/list"),
        say("method in base64").set("Mcp-Method", &base64("tools/call")),
        say("method in blanks").set("Mcp-Method", " \ttools/call \t"),
        say("header names in capitals").without("Mcp-Method").with("MCP-METHOD", "tools/call"),
        say("no name").without("Mcp-Name"),
        say("another name").set("Mcp-Name", "fail"),
        say("name in capitals").set("Mcp-Name", "Say"),
        say("empty name").set("Mcp-Name", ""),
        say("name twice").with("Mcp-Name", "say"),
        say("two names").with("Mcp-Name", "fail"),
        say("name not ASCII").set("Mcp-Name", "säy"),
        say("name in blanks").set("Mcp-Name", " \tsay \t"),
        say("name in base64").set("Mcp-Name", &base64("say")),
        say("another in base64").set("Mcp-Name", &base64("fail")),
        say("base64 without padding").set("Mcp-Name", "=?base64?ZmFpbA?="),
        say("base64 with too much padding").set("Mcp-Name", "=?base64?c2F5=?="),
        say("base64 with a stray letter").set("Mcp-Name", "=?base64?c2*5?="),
        say("base64 with a blank").set("Mcp-Name", "=?base64?c2 F5?="),
        say("base64 of the URL alphabet").set("Mcp-Name", "=?base64?c2-5?="),
        say("base64 that is not UTF-8").set("Mcp-Name", "=?base64?//79?="),
        say("empty base64").set("Mcp-Name", "=?base64??="),
        say("base64 marks in capitals").set("Mcp-Name", "=?BASE64?c2F5?="),
        say("first base64 mark only").set("Mcp-Name", "=?base64?c2F5"),
        say("base64 marks that overlap").set("Mcp-Name", "=?base64?="),
        read("no URI").without("Mcp-Name"),
        read("another URI").set("Mcp-Name", "test://blob"),
        read("URI in base64").set("Mcp-Name", &base64("test://text")),
        read("URI in capitals").set("Mcp-Name", "TEST://text"),
        get("no prompt").without("Mcp-Name"),
        get("another prompt").set("Mcp-Name", "say"),
        Request::modern("header: name of a list", "tools/list", json!({})).with("Mcp-Name", "say"),
        Request::modern("header: unknown method without its header", "nope", json!({})).without("Mcp-Method"),
        Request::modern("header: unknown tool without its name", "tools/call", json!({ "name": "nope" }))
            .without("Mcp-Name"),
        Request::modern("header: discover without a method", "server/discover", json!({}))
            .without("Mcp-Method"),
        say("session id").with("Mcp-Session-Id", "abc"),
        say("last event id").with("Last-Event-ID", "7"),
        say("unknown Mcp header").with("Mcp-Other", "x"),
        say("param header of none").with("Mcp-Param-Region", "eu"),
    ]
}

pub fn params() -> Vec<Request> {
    let route = |name: &str, arguments: Value, sent: &[(&str, &str)]| {
        let params = json!({ "name": "route", "arguments": arguments });
        let request = Request::modern(&format!("param: {name}"), "tools/call", params);
        sent.iter().fold(request, |request, (header, value)| request.with(header, value))
    };
    let region =
        |name: &str, sent: &str| route(name, json!({ "region": "eu" }), &[("Mcp-Param-Region", sent)]);
    let number = |name: &str, value: Value, sent: &str| {
        let both = [("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", sent)];
        route(name, json!({ "region": "eu", "number": value }), &both)
    };
    let flag = |name: &str, value: Value, sent: &str| {
        let both = [("Mcp-Param-Region", "eu"), ("Mcp-Param-Flag", sent)];
        route(name, json!({ "region": "eu", "flag": value }), &both)
    };
    vec![
        region("equal", "eu"),
        region("another", "us"),
        region("in capitals", "EU"),
        region("empty", ""),
        region("not ASCII", "eü"),
        region("in base64", &base64("eu")),
        region("another in base64", &base64("us")),
        region("base64 without padding", "=?base64?ZXU?="),
        route("absent", json!({ "region": "eu" }), &[]),
        route("twice", json!({ "region": "eu" }), &[("Mcp-Param-Region", "eu"), ("Mcp-Param-Region", "eu")]),
        route(
            "two values",
            json!({ "region": "eu" }),
            &[("Mcp-Param-Region", "eu"), ("Mcp-Param-Region", "us")],
        ),
        route("name in small letters", json!({ "region": "eu" }), &[("mcp-param-region", "eu")]),
        route(
            "beyond ASCII in base64",
            json!({ "region": "Zürich" }),
            &[("Mcp-Param-Region", &base64("Zürich"))],
        ),
        route("blanks in base64", json!({ "region": " eu " }), &[("Mcp-Param-Region", &base64(" eu "))]),
        route("blanks as they are", json!({ "region": " eu " }), &[("Mcp-Param-Region", " eu ")]),
        route(
            "looks like base64",
            json!({ "region": "=?base64?x?=" }),
            &[("Mcp-Param-Region", "=?base64?x?=")],
        ),
        route("empty value", json!({ "region": "" }), &[("Mcp-Param-Region", "")]),
        route("null argument", json!({ "region": "eu", "number": null }), &[("Mcp-Param-Region", "eu")]),
        route(
            "header of a null argument",
            json!({ "region": "eu", "number": null }),
            &[("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "42")],
        ),
        route(
            "header of an absent argument",
            json!({ "region": "eu" }),
            &[("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "42")],
        ),
        route(
            "unknown param header",
            json!({ "region": "eu" }),
            &[("Mcp-Param-Region", "eu"), ("Mcp-Param-Else", "1")],
        ),
        route("number absent", json!({ "region": "eu", "number": 42 }), &[("Mcp-Param-Region", "eu")]),
        number("number equal", json!(42), "42"),
        number("number negative", json!(-7), "-7"),
        number("number with a zero fraction", json!(42), "42.0"),
        number("argument with a zero fraction", json!(42.0), "42"),
        number("number as an exponent", json!(100), "1e2"),
        number("number with a plus", json!(42), "+42"),
        number("number with a leading zero", json!(42), "042"),
        number("another number", json!(42), "43"),
        number("number with a blank", json!(42), "4 2"),
        number("number in base64", json!(42), &base64("42")),
        number("beyond 2^53, equal", json!(9_007_199_254_740_993_i64), "9007199254740993"),
        number("beyond 2^53, another", json!(9_007_199_254_740_993_i64), "9007199254740992"),
        number("number is a string", json!("42"), "42"),
        flag("flag", json!(true), "true"),
        flag("another flag", json!(true), "false"),
        flag("flag in capitals", json!(true), "True"),
        flag("flag as a digit", json!(true), "1"),
        route("argument of a wrong type", json!({ "region": 7 }), &[("Mcp-Param-Region", "7")]),
        route("argument is an object", json!({ "region": {} }), &[("Mcp-Param-Region", "{}")]),
        route("no argument, no header", json!({}), &[]),
        route("no argument, but its header", json!({}), &[("Mcp-Param-Region", "eu")]),
    ]
}
