//! Signatures of AWS (Signature Version 4), checked at a recording upstream by a verifier of its own: written from the documented
//! algorithm, held to AWS's published examples, and sharing no code with what signs.

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::upstream::{Seen, Step, json as good, reply};
use crate::support::{Connection, Gateway, Upstream, failure, message, structured};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEBYaD/token+of/a+session==";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// `UriEncode` of the documentation.
fn encode(text: &[u8], slash: bool) -> String {
    let one = |b: &u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*b).to_string(),
        b'/' if !slash => "/".to_owned(),
        b => format!("%{b:02X}"),
    };
    text.iter().map(one).collect()
}

fn decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// How a service reads a path.
#[derive(Clone, Copy)]
enum Path {
    /// It is encoded once more than it is sent.
    Twice,
    /// It is encoded once.
    Once,
    /// The same, and it stays as it is in all else (S3).
    AsIs,
}

fn canonical_path(sent: &str, path: Path) -> String {
    let normal = || {
        let mut parts: Vec<&str> = Vec::new();
        for part in sent.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." {
                parts.pop();
            } else {
                parts.push(part);
            }
        }
        let end = if sent.ends_with('/') && !parts.is_empty() { "/" } else { "" };
        format!("/{}{end}", parts.join("/"))
    };
    match path {
        Path::Twice => encode(normal().as_bytes(), false),
        Path::Once => encode(&decode(&normal()), false),
        Path::AsIs => encode(&decode(sent), false),
    }
}

fn canonical_query(sent: &str) -> String {
    let mut pairs: Vec<(String, String)> = sent
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(&decode(name), true), encode(&decode(value), true)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&")
}

/// The parts of `Authorization`: the scope after the id, the names of the signed headers, the signature.
fn parts(seen: &Seen) -> (String, Vec<String>, String) {
    let header = seen.header("authorization").unwrap();
    let rest = header.strip_prefix(&format!("AWS4-HMAC-SHA256 Credential={KEY}/")).unwrap().to_owned();
    let mut parts = rest.split(", ");
    let scope = parts.next().unwrap().to_owned();
    let signed = parts.next().unwrap().strip_prefix("SignedHeaders=").unwrap();
    let signature = parts.next().unwrap().strip_prefix("Signature=").unwrap().to_owned();
    assert_eq!(parts.next(), None);
    (scope, signed.split(';').map(str::to_owned).collect(), signature)
}

/// The signature that a request should have, by what came of it and what it says was signed.
fn expected(seen: &Seen, scope: &str, signed: &[String], path: Path) -> String {
    let mut canonical = format!("{}\n", seen.method);
    canonical += &format!("{}\n{}\n", canonical_path(seen.path(), path), canonical_query(seen.query()));
    for name in signed {
        let values: Vec<String> = seen
            .all(name)
            .iter()
            .map(|v| {
                let text = String::from_utf8(v.to_vec()).unwrap();
                text.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert!(!values.is_empty(), "`{name}` was signed and not sent");
        canonical += &format!("{name}:{}\n", values.join(","));
    }
    canonical += &format!("\n{}\n{}", signed.join(";"), sha256(&seen.body));
    let date = seen.header("x-amz-date").unwrap();
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for word in scope.split('/') {
        key = mac(&key, word);
    }
    hex(&mac(&key, &text))
}

/// Checks all of a request that came.
fn verify(seen: &Seen, service: &str, path: Path) {
    let (scope, signed, signature) = parts(seen);
    let date = seen.header("x-amz-date").unwrap();
    assert_eq!(scope, format!("{}/eu-central-1/{service}/aws4_request", &date[..8]));
    for needed in ["host", "x-amz-date", "x-amz-content-sha256"] {
        assert!(signed.iter().any(|name| name == needed), "`{needed}` is not signed: {signed:?}");
    }
    let others = seen.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    for name in others.filter(|n| n.starts_with("x-amz-") || n == "content-type") {
        assert!(signed.contains(&name), "`{name}` was sent and not signed");
    }
    assert_eq!(seen.all("x-amz-date").len() + seen.all("authorization").len(), 2);
    assert_eq!(seen.header("x-amz-content-sha256").unwrap(), sha256(&seen.body));
    assert_eq!(signature, expected(seen, &scope, &signed, path), "{seen:?}");
}

/// AWS's published examples: the request, what is signed, and the signature.
fn examples() -> Vec<(&'static str, &'static str, &'static str, &'static str, &'static str)> {
    let session = "X-Amz-Security-Token:6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    vec![
        (
            "POST /",
            "Content-Type:application/x-www-form-urlencoded|Content-Length:13|X-Amz-Content-Sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
            "Param1=value1",
            "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        ),
        (
            "GET /",
            "",
            "",
            "host;x-amz-date",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "",
            "",
            "host;x-amz-date",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        (
            "GET /?Param2=value2&Param1=value1",
            "",
            "",
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "GET /ሴ",
            "",
            "",
            "host;x-amz-date",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "GET /example%20space/",
            "",
            "",
            "host;x-amz-date",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "GET //example//",
            "",
            "",
            "host;x-amz-date",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "POST /?Param1=value1",
            "",
            "",
            "host;x-amz-date",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ),
        (
            "GET /",
            "My-Header1: value1|My-Header2: \"a   b   c\"",
            "",
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "GET /",
            session,
            "",
            "host;x-amz-date;x-amz-security-token",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
    ]
}

#[test]
fn the_verifier_agrees_with_the_published_examples() {
    for (line, headers, body, signed, signature) in examples() {
        let (method, target) = line.split_once(' ').unwrap();
        let mut all = vec![("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")];
        all.extend(headers.split('|').filter_map(|h| h.split_once(':')));
        let seen = Seen {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: all.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
            body: body.as_bytes().to_vec(),
        };
        let signed: Vec<String> = signed.split(';').map(str::to_owned).collect();
        let scope = "20150830/us-east-1/service/aws4_request";
        assert_eq!(expected(&seen, scope, &signed, Path::Once), signature, "{line}");
    }
    assert_eq!(
        canonical_path("/test/@connections/JBDvjfGEIAMCERw%3D", Path::Twice),
        "/test/%40connections/JBDvjfGEIAMCERw%253D"
    );
}

fn yaml(api: &str, service: &str, more: &Value) -> String {
    let mut credentials = json!({
        "region": "eu-central-1", "service": service, "access_key_id": KEY, "secret_access_key": SECRET,
    });
    credentials.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "server": { "log": { "level": "trace" } },
        "sources": { "aws": { "rest": {
            "base_url": api, "follow_redirects": 2, "headers": { "Authorization": "never", "X-Amz-Date": "never", "X-Amz-Target": "T.1" },
            "credentials": { "aws_sigv4": credentials }
        } } },
        "tools": {
            "get": {
                "description": "G.",
                "params": { "p": { "type": "string" }, "q": { "type": "string", "optional": true }, "h": { "type": "string", "optional": true } },
                "rest": { "source": "aws", "get": "/a+b/{p*}", "query": { "q": "{q}", "a": "1" }, "headers": { "X-Amz-Meta-H": "{h}" } }
            },
            "post": {
                "description": "P.",
                "params": { "b": { "type": "string" } },
                "rest": { "source": "aws", "post": "/x", "json": { "b": "{b}" }, "idempotency_key": "X-Amz-Key" },
                "policy": { "retry": { "attempts": 2, "backoff": "1s" } }
            },
            "own": { "description": "O.", "rest": { "source": "aws", "get": "/own", "headers": { "Authorization": "Own 1" } } }
        }
    })
    .to_string()
}

#[tokio::test]
async fn what_is_sent_is_what_was_signed() {
    for (service, path) in [("execute-api", Path::Twice), ("s3", Path::AsIs)] {
        let api = Upstream::recorder().await;
        let gateway = Gateway::start(&yaml(&api.url(), service, &json!({}))).await;
        let texts =
            ["x", "a/b c/d", "ä/€/𝄞", "~-._", "100%", "a+b&c=d", "(x)!*'", "%41", "k:@,;$", "a//b", "?#[]"];
        let mut sent = 0;
        for text in texts {
            for arguments in [
                json!({ "p": text }),
                json!({ "p": "k", "q": text }),
                json!({ "p": "k", "q": "", "h": text }),
                json!({ "p": "k", "h": format!("a   {text}  b") }),
            ] {
                let result = gateway.call("get", arguments.clone()).await;
                if text == "a//b" && arguments["p"] == text {
                    // An empty part of a path is refused before anything is sent, or signed as it is sent.
                    sent += usize::from(result.get("isError").is_none());
                    continue;
                }
                structured(&result);
                sent += 1;
            }
            structured(&gateway.call("post", json!({ "b": text })).await);
            sent += 1;
        }
        let seen = api.take();
        assert_eq!(seen.len(), sent);
        for seen in &seen {
            verify(seen, service, path);
            assert_eq!(seen.header("x-amz-target").as_deref(), Some("T.1"));
        }
        // A verifier that took everything would show nothing.
        let (scope, signed, signature) = parts(&seen[0]);
        for change in 0..5 {
            let mut other = seen[0].clone();
            match change {
                0 => other.method = "PUT".to_owned(),
                1 => other.target = other.target.replace("/x", "/y"),
                2 => other.target.push_str("&z=1"),
                3 => other.body.push(b' '),
                _ => other.headers.iter_mut().for_each(|(_, value)| value.push(b'1')),
            }
            assert_ne!(expected(&other, &scope, &signed, path), signature, "{change}");
        }
    }
}

#[tokio::test]
async fn a_route_with_a_header_of_its_own_is_not_signed() {
    let api = Upstream::recorder().await;
    let gateway = Gateway::start(&yaml(&api.url(), "s3", &json!({}))).await;
    structured(&gateway.call("own", json!({})).await);
    assert_eq!(api.take()[0].all("authorization"), [b"Own 1"]);
}

#[tokio::test]
async fn a_token_of_a_session_is_sent_and_signed() {
    let api = Upstream::recorder().await;
    let gateway = Gateway::start(&yaml(&api.url(), "execute-api", &json!({ "session_token": TOKEN }))).await;
    structured(&gateway.call("get", json!({ "p": "x" })).await);
    let seen = api.take().remove(0);
    assert_eq!(seen.header("x-amz-security-token").as_deref(), Some(TOKEN));
    verify(&seen, "execute-api", Path::Twice);
}

fn date(seen: &Seen) -> String {
    seen.header("x-amz-date").unwrap()
}

#[tokio::test]
async fn each_try_and_each_redirect_is_signed_anew() {
    let api = Upstream::start(|seen| match seen.path() {
        "/x" => vec![Step::Send(reply("503 Busy", "application/json", b"{}"))],
        "/a+b/x" => {
            let to = b"HTTP/1.1 307 There\r\nLocation: /elsewhere?b=2&a=%20\r\nContent-Length: 0\r\n\r\n";
            vec![Step::Send(to.to_vec())]
        }
        _ => good("{}"),
    })
    .await;
    let gateway = Gateway::start(&yaml(&api.url(), "execute-api", &json!({}))).await;
    structured(&gateway.call("get", json!({ "p": "x" })).await);
    let seen = api.take();
    assert_eq!(seen.iter().map(Seen::path).collect::<Vec<_>>(), ["/a+b/x", "/elsewhere"]);
    seen.iter().for_each(|seen| verify(seen, "execute-api", Path::Twice));
    assert_ne!(parts(&seen[0]).2, parts(&seen[1]).2);

    failure(&gateway.call("post", json!({ "b": "1" })).await);
    let seen = api.take();
    assert_eq!(seen.len(), 2);
    seen.iter().for_each(|seen| verify(seen, "execute-api", Path::Twice));
    assert_eq!(seen[0].body, seen[1].body);
    assert!(date(&seen[0]) <= date(&seen[1]));
}

#[tokio::test]
async fn no_credential_follows_a_redirect_to_another_origin() {
    let other = Upstream::recorder().await;
    let to = format!("HTTP/1.1 307 There\r\nLocation: {}/x\r\nContent-Length: 0\r\n\r\n", other.url());
    let api = Upstream::start(move |_| vec![Step::Send(to.clone().into_bytes())]).await;
    let gateway = Gateway::start(&yaml(&api.url(), "s3", &json!({}))).await;
    assert!(failure(&gateway.call("get", json!({ "p": "x" })).await).contains("status 307"));
    assert_eq!((api.count(), other.count()), (1, 0));
}

#[tokio::test]
async fn neither_secret_nor_signature_reaches_the_log_when_it_is_echoed() {
    let api = Upstream::start(|seen| {
        let headers = ["authorization", "x-amz-security-token"].map(|n| seen.header(n).unwrap_or_default());
        let signature = headers[0].rsplit('=').next().unwrap();
        let text = format!("{signature} {} {SECRET}", headers[1]);
        vec![Step::Send(reply("403 Forbidden", "text/plain", text.as_bytes()))]
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let yaml = yaml(&api.url(), "s3", &json!({ "session_token": TOKEN }));
    let (process, address) = Process::serve(folder.path(), &yaml).await;
    let mut connection = Connection::open(address).await.unwrap();
    let body = message::modern("tools/call", json!({ "name": "get", "arguments": { "p": "x" } })).to_string();
    let headers = message::modern_headers("tools/call", Some("get"));
    let told = connection.send("POST", "/mcp", &headers, body.as_bytes()).await.unwrap().text();
    // The line of the call is written beside its answer.
    let written = async {
        while !process.log().contains("status 403") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), written).await.expect("a line about it");
    let log = process.log();
    let signature = parts(&api.take()[0]).2;
    assert!(log.contains("TRACE") && told.contains("isError"), "{log}");
    for secret in [SECRET, TOKEN, signature.as_str()] {
        assert!(!log.contains(secret) && !told.contains(secret), "{secret} in {log} {told}");
    }
}
