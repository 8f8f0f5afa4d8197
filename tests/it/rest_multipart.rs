//! Multipart bodies at a recording upstream: every part holds its argument byte for byte, or nothing is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::naughty::STRINGS;
use crate::rest_requests::{refused, sender, sent};
use crate::support::upstream::Seen;

/// The head and the content of every part.
fn parts(seen: &Seen) -> Vec<(String, Vec<u8>)> {
    let kind = seen.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert_eq!(boundary.len(), 32);
    let line = format!("--{boundary}");
    let mut rest = seen.body.as_slice();
    let mut found = Vec::new();
    loop {
        rest = rest.strip_prefix(line.as_bytes()).unwrap();
        if rest == b"--\r\n" {
            return found;
        }
        rest = rest.strip_prefix(b"\r\n").unwrap();
        let head = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let end = format!("\r\n{line}");
        let content = &rest[head + 4..];
        let length = content.windows(end.len()).position(|w| w == end.as_bytes()).unwrap();
        found.push((String::from_utf8(rest[..head].to_vec()).unwrap(), content[..length].to_vec()));
        rest = &content[length + 2..];
    }
}

#[tokio::test]
async fn every_string_is_the_content_of_its_part_and_nothing_else() {
    let request = "post: /x, multipart: { t: \"{v}\", in: \"a{v}b\", f: { content: \"{v}\", filename: a.txt }, b: { content: \"{d}\", base64: true, mime_type: image/png } }";
    let (api, gateway) = sender("{ v: { type: string }, d: { type: string } }", request).await;
    let mut boundaries = std::collections::BTreeSet::new();
    for value in STRINGS {
        let seen = sent(&api, &gateway, json!({ "v": value, "d": STANDARD.encode(value) })).await;
        let name = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
        let wanted = [
            (name("t"), value.as_bytes().to_vec()),
            (name("in"), format!("a{value}b").into_bytes()),
            (
                name("f") + "; filename=\"a.txt\"\r\nContent-Type: text/plain; charset=utf-8",
                value.as_bytes().to_vec(),
            ),
            (name("b") + "\r\nContent-Type: image/png", value.as_bytes().to_vec()),
        ];
        assert_eq!(parts(&seen), wanted, "{value:?}");
        boundaries.insert(seen.header("content-type").unwrap());
    }
    assert_eq!(boundaries.len(), STRINGS.len(), "a boundary came twice");
}

#[tokio::test]
async fn names_and_media_types_of_files_arrive_or_are_refused() {
    let request = "post: /x, multipart: { f: { content: c, filename: \"{n}\", mime_type: \"{m}\" } }";
    let params = "{ n: { type: string, optional: true }, m: { type: string, optional: true } }";
    let (api, gateway) = sender(params, request).await;
    let mut arrived = 0;
    for value in STRINGS {
        if value.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
            refused(&api, &gateway, json!({ "n": value })).await;
        } else {
            let head = parts(&sent(&api, &gateway, json!({ "n": value })).await).remove(0).0;
            let kind = "Content-Type: text/plain; charset=utf-8";
            let wanted =
                format!("Content-Disposition: form-data; name=\"f\"; filename=\"{value}\"\r\n{kind}");
            assert_eq!(head, wanted);
            arrived += 1;
        }
        // No naughty string is a media type but those of two plain words.
        let word = |w: &str| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        if value.split_once('/').is_some_and(|(a, b)| word(a) && word(b)) {
            let head = parts(&sent(&api, &gateway, json!({ "m": value })).await).remove(0).0;
            assert_eq!(head, format!("Content-Disposition: form-data; name=\"f\"\r\nContent-Type: {value}"));
        } else {
            refused(&api, &gateway, json!({ "m": value })).await;
        }
    }
    assert!(arrived > 10 && arrived < STRINGS.len(), "{arrived}");
    for wrong in ["a\"; name=\"b", "a\r\n\r\nx", "a\\", "a\0"] {
        refused(&api, &gateway, json!({ "n": wrong })).await;
    }
    for wrong in ["pdf", "a/b; x=y", "a/b\r\nX-Evil: 1", "/", "a/b/c"] {
        refused(&api, &gateway, json!({ "m": wrong })).await;
    }
}

#[tokio::test]
async fn bytes_are_those_of_the_base64_and_what_is_none_is_refused() {
    let request = "post: /x, headers: { Content-Type: text/plain }, multipart: { d: { content: \"{d}\", base64: true } }";
    let (api, gateway) = sender("{ d: { type: string } }", request).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let found = parts(&sent(&api, &gateway, json!({ "d": STANDARD.encode(&bytes) })).await);
    let head = "Content-Disposition: form-data; name=\"d\"\r\nContent-Type: application/octet-stream";
    assert_eq!(found, [(head.to_owned(), bytes)]);
    for wrong in ["!", "YQ", "YQ= =", "YWJj\n", "YW Jj", "-_-_", "data:text/plain;base64,YQ=="] {
        refused(&api, &gateway, json!({ "d": wrong })).await;
    }
}

#[tokio::test]
async fn absent_parts_are_left_out_and_lists_repeat_theirs() {
    let request = "post: /x, multipart: { a: \"{a}\", l: \"{l}\", f: { content: \"{a}\", filename: x } }";
    let params =
        "{ a: { type: [string, \"null\"], optional: true }, l: { type: array, items: {}, optional: true } }";
    let (api, gateway) = sender(params, request).await;
    for none in [json!({}), json!({ "a": null, "l": [] })] {
        assert_eq!(parts(&sent(&api, &gateway, none).await), []);
    }
    let found = parts(&sent(&api, &gateway, json!({ "l": [1, null, "x", true] })).await);
    let contents: Vec<&[u8]> = found.iter().map(|(_, content)| content.as_slice()).collect();
    assert_eq!(contents, [b"1".as_slice(), b"x", b"true"]);
    assert!(found.iter().all(|(head, _)| head.ends_with("name=\"l\"")));
}
