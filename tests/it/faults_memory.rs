//! Answers of an upstream without measure: each ends at its limit, and the gateway's own memory does not grow with them. The
//! program runs as a child; its largest size is what the system says.
#![cfg(target_os = "linux")]

use serde_json::{Map, json};

use crate::support::faults::{Faults, When};
use crate::support::process::{Process, call};
use crate::support::{Step, failure, structured};

/// `max_response` of every source.
const CAP: u64 = 16 << 20;
/// What an upstream may get rid of: the cap, and what the system holds of bytes that nobody reads any more.
const MOST: usize = (16 << 20) + (32 << 20);

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn again(bytes: &[u8], times: usize) -> Step {
    Step::Repeat(bytes.to_vec(), times)
}

/// Name, what is sent, what is said. Bodies are of ten gigabytes.
fn rows() -> Vec<(&'static str, Vec<Step>, &'static str)> {
    let piece = vec![b'x'; 64 << 10];
    let chunk = [b"10000\r\n", piece.as_slice(), b"\r\n"].concat();
    let small = [b"400\r\n", [b'x'; 1024].as_slice(), b"\r\n"].concat().repeat(100);
    let sized = send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10485760000\r\n\r\n");
    let lying = send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16000000\r\n\r\n");
    let chunked = send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
    let open = send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    let large = "larger than 16777216 bytes";
    let begun = send("HTTP/1.1 200 OK\r\n");
    vec![
        ("sized", vec![sized, again(&piece, 160_000)], large),
        ("chunked", vec![chunked.clone(), again(&chunk, 160_000)], large),
        ("until_it_closes", vec![open, again(&piece, 160_000)], large),
        ("small_chunks", vec![chunked.clone(), again(&small, 100_000)], large),
        ("failed", vec![send("HTTP/1.1 500 No\r\n\r\n"), again(&piece, 160_000)], "failed (status 500)"),
        (
            "header",
            vec![begun.clone(), send("X: "), again(&[b'y'; 1024], 10_000_000)],
            "it is not sound HTTP",
        ),
        (
            "headers",
            vec![begun.clone(), again(b"X-Pad: y\r\n", 10_000), send("\r\n"), Step::Hang],
            "it is not sound HTTP",
        ),
        (
            "endless_headers",
            vec![begun, again(&b"X-Pad: y\r\n".repeat(1000), 1_000_000)],
            "it is not sound HTTP",
        ),
        (
            "extensions",
            vec![chunked.clone(), send("2"), again(&b";a=b".repeat(1000), 2_500_000)],
            "the answer broke off",
        ),
        (
            "trailers",
            vec![chunked, send("0\r\n"), again(&b"X-T: y\r\n".repeat(1000), 1_250_000)],
            "the answer broke off",
        ),
        (
            "hints",
            vec![again(&b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".repeat(1000), 250_000)],
            "no answer within",
        ),
        ("slower_than_said", vec![lying, again(&piece, 100), Step::Hang], "no answer within"),
    ]
}

/// How large the process has been at most.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_an_api_without_measure_take_no_memory() {
    let (mut sources, mut tools, mut all) = (Map::new(), Map::new(), Vec::new());
    for (name, steps, says) in rows() {
        let faults = Faults::start(When::Asked, steps).await;
        let base = format!("http://{}", faults.address);
        sources.insert(
            name.to_owned(),
            json!({ "rest": { "base_url": base, "timeout": "3s", "max_response": "16MiB" } }),
        );
        let rest = json!({ "source": name, "get": "/" });
        tools.insert(
            name.to_owned(),
            json!({ "description": "D.", "rest": rest, "policy": { "timeout": "3s" } }),
        );
        all.push((name, says, faults));
    }
    let good = Faults::start(When::Asked, Vec::new()).await;
    good.heal();
    sources.insert("good".to_owned(), json!({ "rest": { "base_url": format!("http://{}", good.address) } }));
    tools.insert("good".to_owned(), json!({ "description": "D.", "rest": { "source": "good", "get": "/" } }));
    let folder = tempfile::tempdir().unwrap();
    let (process, address) =
        Process::serve(folder.path(), &json!({ "sources": sources, "tools": tools }).to_string()).await;
    structured(&call(address, "good").await);
    let start = peak(&process);
    for (name, says, faults) in &all {
        let before = peak(&process);
        let sentence = failure(&call(address, name).await).to_owned();
        assert!(sentence.contains(says), "{name}: {sentence}");
        let (grown, sent) = (peak(&process).saturating_sub(before), faults.lines()[0].sent);
        assert!(grown < 2 * CAP, "{name}: {} MiB more", grown >> 20);
        // Whoever sends what is read over has to be read until the deadline.
        let bounded = *name == "hints" || sent < MOST;
        assert!(bounded, "{name}: {} MiB were taken", sent >> 20);
        structured(&call(address, "good").await);
    } // What the allocator keeps for the next time does not add up.
    let grown = peak(&process).saturating_sub(start);
    assert!(grown < 4 * CAP, "{} MiB more than at the start", grown >> 20);
}
