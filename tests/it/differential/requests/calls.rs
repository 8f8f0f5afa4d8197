//! Every method with right values, and with values that name nothing or are of a wrong type: in both eras.
#![allow(clippy::needless_pass_by_value, reason = "rows are written with JSON literals")]

use serde_json::{Value, json};

use crate::differential::request::Request;

type Row = (&'static str, &'static str, Value);

fn in_both(rows: Vec<Row>) -> Vec<Request> {
    rows.iter().flat_map(|(name, method, params)| Request::both(name, method, params)).collect()
}

fn call(name: &'static str, tool: &str, arguments: Value) -> Row {
    (name, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

fn order(id: Value, count: Value, size: Value) -> Value {
    json!({ "id": id, "count": count, "size": size })
}

pub fn good() -> Vec<Request> {
    let mut all = in_both(vec![
        ("list tools", "tools/list", json!({})),
        ("list resources", "resources/list", json!({})),
        ("list templates", "resources/templates/list", json!({})),
        ("list prompts", "prompts/list", json!({})),
        call("text", "say", json!({})),
        ("text without arguments", "tools/call", json!({ "name": "say" })),
        call("tool error", "fail", json!({})),
        call("image", "picture", json!({})),
        call("structured", "facts", json!({})),
        call("typed arguments", "order", order(json!("A"), json!(1), json!("small"))),
        call(
            "optional argument",
            "order",
            json!({ "id": "A", "count": 10, "size": "large", "note": "Now." }),
        ),
        call("work in silence", "work", json!({})),
        call("announce changes", "change", json!({})),
        ("read a text", "resources/read", json!({ "uri": "test://text" })),
        ("read a blob", "resources/read", json!({ "uri": "test://blob" })),
        ("read by template", "resources/read", json!({ "uri": "test://items/42" })),
        ("prompt", "prompts/get", json!({ "name": "greet", "arguments": { "who": "Ann", "tone": "stern" } })),
        ("prompt with a default", "prompts/get", json!({ "name": "greet", "arguments": { "who": "Ann" } })),
        complete("complete a prompt", json!({ "type": "ref/prompt", "name": "greet" }), "who", json!("par")),
        complete("complete from nothing", json!({ "type": "ref/prompt", "name": "greet" }), "who", json!("")),
        complete("complete to nothing", json!({ "type": "ref/prompt", "name": "greet" }), "who", json!("x")),
        complete("complete an enum", json!({ "type": "ref/prompt", "name": "greet" }), "tone", json!("k")),
        complete("complete a template", template("test://items/{id}"), "id", json!("1")),
        ("more in params", "tools/list", json!({ "com.example/more": [1, { "a": null }] })),
    ]);
    let reference = json!({ "type": "ref/prompt", "name": "greet" });
    let (_, method, mut params) = complete("complete in a context", reference, "who", json!("par"));
    params["context"] = json!({ "arguments": { "tone": "kind" } });
    all.extend(Request::both("complete in a context", method, &params));
    let routed = json!({ "name": "route", "arguments": { "region": "eu" } });
    let [modern, legacy] = Request::both("argument in a header", "tools/call", &routed);
    all.extend([modern.with("Mcp-Param-Region", "eu"), legacy]);
    all.push(Request::modern("discover", "server/discover", json!({})));
    all
}

fn template(uri: &str) -> Value {
    json!({ "type": "ref/resource", "uri": uri })
}

fn complete(name: &'static str, reference: Value, argument: &str, value: Value) -> Row {
    let argument = json!({ "name": argument, "value": value });
    (name, "completion/complete", json!({ "ref": reference, "argument": argument }))
}

pub fn bad_tools() -> Vec<Request> {
    let small = || json!("small");
    in_both(vec![
        call("unknown tool", "nope", json!({})),
        call("tool in capitals", "Say", json!({})),
        call("empty tool name", "", json!({})),
        ("no tool name", "tools/call", json!({ "arguments": {} })),
        ("tool name is a number", "tools/call", json!({ "name": 7 })),
        ("tool name is null", "tools/call", json!({ "name": null })),
        ("arguments are a list", "tools/call", json!({ "name": "say", "arguments": [] })),
        ("arguments are a text", "tools/call", json!({ "name": "say", "arguments": "{}" })),
        ("arguments are null", "tools/call", json!({ "name": "say", "arguments": null })),
        call("argument of none", "say", json!({ "loud": true })),
        call("no arguments of some", "order", json!({})),
        call("missing argument", "order", json!({ "count": 1, "size": "small" })),
        call("argument in capitals", "order", json!({ "ID": "A", "count": 1, "size": "small" })),
        call("string is a number", "order", order(json!(7), json!(1), small())),
        call("string is null", "order", order(Value::Null, json!(1), small())),
        call("integer is a string", "order", order(json!("A"), json!("1"), small())),
        call("integer is a fraction", "order", order(json!("A"), json!(1.5), small())),
        call("integer with a zero fraction", "order", order(json!("A"), json!(2.0), small())),
        call("integer is true", "order", order(json!("A"), json!(true), small())),
        call("integer below its minimum", "order", order(json!("A"), json!(0), small())),
        call("integer above its maximum", "order", order(json!("A"), json!(11), small())),
        call("integer beyond 64 bits", "order", order(json!("A"), json!(1e30), small())),
        call("not of the enum", "order", order(json!("A"), json!(1), json!("huge"))),
        call("enum in capitals", "order", order(json!("A"), json!(1), json!("Small"))),
        call(
            "optional argument is null",
            "order",
            json!({ "id": "A", "count": 1, "size": "small", "note": null }),
        ),
        call("unknown argument", "order", json!({ "id": "A", "count": 1, "size": "small", "more": 1 })),
    ])
}

pub fn bad_others() -> Vec<Request> {
    let greet = |arguments: Value| json!({ "name": "greet", "arguments": arguments });
    let prompt = || json!({ "type": "ref/prompt", "name": "greet" });
    in_both(vec![
        ("bad cursor of tools", "tools/list", json!({ "cursor": "x" })),
        ("bad cursor of resources", "resources/list", json!({ "cursor": "x" })),
        ("bad cursor of templates", "resources/templates/list", json!({ "cursor": "x" })),
        ("bad cursor of prompts", "prompts/list", json!({ "cursor": "x" })),
        ("empty cursor", "tools/list", json!({ "cursor": "" })),
        ("cursor is null", "tools/list", json!({ "cursor": null })),
        ("cursor is a number", "tools/list", json!({ "cursor": 1 })),
        ("unknown resource", "resources/read", json!({ "uri": "test://nope" })),
        ("resource in capitals", "resources/read", json!({ "uri": "TEST://text" })),
        ("resource with a fragment", "resources/read", json!({ "uri": "test://text#a" })),
        ("not of the template", "resources/read", json!({ "uri": "test://items/abc" })),
        ("nothing for the template", "resources/read", json!({ "uri": "test://items/" })),
        ("the template itself", "resources/read", json!({ "uri": "test://items/{id}" })),
        ("encoded for the template", "resources/read", json!({ "uri": "test://items/%34%32" })),
        ("more than the template", "resources/read", json!({ "uri": "test://items/42/more" })),
        ("empty URI", "resources/read", json!({ "uri": "" })),
        ("no URI", "resources/read", json!({})),
        ("URI is a number", "resources/read", json!({ "uri": 7 })),
        ("unknown prompt", "prompts/get", json!({ "name": "nope" })),
        ("no prompt name", "prompts/get", json!({})),
        ("prompt without its argument", "prompts/get", json!({ "name": "greet" })),
        ("prompt argument is a number", "prompts/get", greet(json!({ "who": 7 }))),
        ("prompt argument not of the enum", "prompts/get", greet(json!({ "who": "Ann", "tone": "loud" }))),
        ("unknown prompt argument", "prompts/get", greet(json!({ "who": "Ann", "more": "x" }))),
        ("prompt arguments are a list", "prompts/get", greet(json!([]))),
        complete(
            "complete an unknown prompt",
            json!({ "type": "ref/prompt", "name": "nope" }),
            "who",
            json!(""),
        ),
        complete("complete an unknown argument", prompt(), "nope", json!("")),
        complete(
            "complete an unknown kind",
            json!({ "type": "ref/tool", "name": "order" }),
            "size",
            json!(""),
        ),
        complete("complete an unknown template", template("test://nope/{id}"), "id", json!("")),
        complete("complete a plain resource", template("test://text"), "id", json!("")),
        complete("complete a number", prompt(), "who", json!(7)),
        (
            "complete without ref",
            "completion/complete",
            json!({ "argument": { "name": "who", "value": "" } }),
        ),
        (
            "complete without argument",
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "greet" } }),
        ),
    ])
}
