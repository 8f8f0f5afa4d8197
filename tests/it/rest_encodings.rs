//! Compressed answers of an API: each encoding is asked for and read, and what unpacks to too much ends at the cap.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, Crc, FlushCompress};
use serde_json::json;

use crate::support::upstream::{Seen, reply};
use crate::support::{Gateway, Step, Upstream, failure, structured, text};

const MIB: usize = 1 << 20;

fn encoded(encoding: &str, plain: &[u8]) -> Vec<u8> {
    let level = Compression::default();
    match encoding {
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
            writer.write_all(plain).unwrap();
            writer.finish().unwrap()
        }
        "deflate" => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), level);
            writer.write_all(plain).unwrap();
            writer.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            brotli::BrotliCompress(&mut &*plain, &mut out, &brotli::enc::BrotliEncoderParams::default())
                .unwrap();
            out
        }
        "zstd" => zstd::encode_all(plain, 1).unwrap(),
        other => panic!("no such encoding: {other}"),
    }
}

/// A gzip file of so many MiB of spaces: one MiB is compressed and stands in it again and again.
fn bomb(mib: usize) -> Vec<u8> {
    let plain = vec![b' '; MIB];
    let mut packed = Vec::with_capacity(16 << 10);
    Compress::new(Compression::default(), false)
        .compress_vec(&plain, &mut packed, FlushCompress::Full)
        .unwrap();
    let (mut one, mut sum) = (Crc::new(), Crc::new());
    one.update(&plain);
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for _ in 0..mib {
        out.extend_from_slice(&packed);
        sum.combine(&one);
    }
    // The last block, empty.
    out.extend_from_slice(&[3, 0]);
    out.extend_from_slice(&sum.sum().to_le_bytes());
    out.extend_from_slice(&u32::try_from(mib * MIB).unwrap().to_le_bytes());
    out
}

fn packed(encoding: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The answers that are too large once they are unpacked: made once, as making them takes seconds.
static BOMBS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let spaces = vec![b' '; 20 * MIB];
    let mut all = vec![("bomb", packed("gzip", "text/plain", &bomb(1024)))];
    for (name, encoding) in [("deflate-bomb", "deflate"), ("br-bomb", "br"), ("zstd-bomb", "zstd")] {
        all.push((name, packed(encoding, "text/plain", &encoded(encoding, &spaces))));
    }
    all
});

fn answers(seen: &Seen) -> Vec<Step> {
    let json = json!({ "words": "so it is ".repeat(500) }).to_string();
    let path = seen.path().trim_start_matches('/');
    let bytes = match path {
        "gzip" | "deflate" | "br" | "zstd" => {
            packed(path, "application/json", &encoded(path, json.as_bytes()))
        }
        "identity" => packed("identity", "application/json", json.as_bytes()),
        "unknown" => packed("compress", "application/json", json.as_bytes()),
        "broken" => packed("gzip", "application/json", json.as_bytes()),
        "cut" => {
            let whole = encoded("gzip", json.as_bytes());
            packed("gzip", "application/json", &whole[..whole.len() - 12])
        }
        "wrong-sum" => {
            let mut whole = encoded("gzip", json.as_bytes());
            let at = whole.len() - 6;
            whole[at] ^= 1;
            packed("gzip", "application/json", &whole)
        }
        "small-bomb" => packed("gzip", "text/plain", &bomb(3)),
        other => BOMBS.iter().find(|(name, _)| *name == other).unwrap().1.clone(),
    };
    vec![Step::Send(bytes)]
}

async fn gateway(api: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
sources: {{ packed: {{ rest: {{ base_url: "{}", max_response: 4MiB }} }} }}
tools:
  get: {{ description: G., params: {{ p: {{ type: string }} }}, rest: {{ source: packed, get: "/{{p}}" }} }}
"#,
        api.url()
    ))
    .await
}

#[tokio::test]
async fn every_encoding_is_asked_for_and_read() {
    let api = Upstream::start(answers).await;
    let gateway = gateway(&api).await;
    for encoding in ["gzip", "deflate", "br", "zstd", "identity"] {
        let result = gateway.call("get", json!({ "p": encoding })).await;
        assert_eq!(structured(&result)["words"], "so it is ".repeat(500), "{encoding}");
        let asked = api.take().remove(0).header("accept-encoding").unwrap();
        let mut asked: Vec<&str> = asked.split(',').map(str::trim).collect();
        asked.sort_unstable();
        assert_eq!(asked, ["br", "deflate", "gzip", "zstd"]);
    }
}

#[tokio::test]
async fn what_does_not_decode_is_an_error_and_the_next_call_works() {
    let api = Upstream::start(answers).await;
    let gateway = gateway(&api).await;
    for (path, part) in [
        ("unknown", "an encoding that was not asked for"),
        ("broken", "cannot be used"),
        ("cut", "cannot be used"),
        ("wrong-sum", "cannot be used"),
    ] {
        let result = gateway.call("get", json!({ "p": path })).await;
        assert!(failure(&result).contains(part), "{path}: {}", failure(&result));
        assert!(!failure(&result).contains("so it is"), "{path}: {}", failure(&result));
        structured(&gateway.call("get", json!({ "p": "gzip" })).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_unpacks_to_a_gibibyte_ends_at_the_cap() {
    let api = Upstream::start(answers).await;
    let gateway = gateway(&api).await;
    assert!(bomb(1024).len() < 3 * MIB);
    // Three of the same are a sound file, so that it is the size which ends the large one. The quickest of five tells what the
    // work is, however busy the machine; unpacked to its end a bomb would be 341 times as much.
    let mut sound = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let result = gateway.call("get", json!({ "p": "small-bomb" })).await;
        sound = sound.min(started.elapsed());
        assert!(result.get("isError").is_none() && text(&result).contains("of 3145728 bytes"), "{result}");
    }
    for (bomb, _) in BOMBS.iter() {
        let mut took = Duration::MAX;
        for _ in 0..5 {
            let started = Instant::now();
            let result = gateway.call("get", json!({ "p": bomb })).await;
            took = took.min(started.elapsed());
            assert!(failure(&result).contains("larger than 4194304 bytes"), "{bomb}: {}", failure(&result));
        }
        assert!(took < sound * 32, "{bomb} took {took:?}, a sound file {sound:?}");
    }
    structured(&gateway.call("get", json!({ "p": "gzip" })).await);
}

#[tokio::test]
async fn a_failure_is_told_by_its_status_however_large_its_body() {
    let big = vec![b'x'; 5 * MIB];
    let api = Upstream::start(move |seen| match seen.path() {
        "/named" => vec![Step::Send(reply("500 Oh", "text/plain", &big))],
        "/endless" => vec![
            Step::Send(b"HTTP/1.1 503 Oh\r\nConnection: close\r\n\r\n".to_vec()),
            Step::Send(vec![b'x'; 65 << 10]),
            Step::Hang,
        ],
        _ => vec![Step::Send(reply("200 OK", "text/plain", &big))],
    })
    .await;
    let gateway = gateway(&api).await;
    for (path, part) in
        [("named", "failed (status 500)"), ("endless", "status 503"), ("fine", "larger than 4194304 bytes")]
    {
        let result = gateway.call("get", json!({ "p": path })).await;
        assert!(failure(&result).contains(part), "{path}: {}", failure(&result));
    }
}
