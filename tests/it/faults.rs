//! Upstreams that fail in every way, one row a fault: the call ends in time with the row's sentence, nothing of the upstream shows in
//! it, and what came over a broken connection never reaches the next call.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::support::faults::{Faults, When};
use crate::support::upstream::reply;
use crate::support::{Gateway, Step, Upstream, failure};

mod rows;

use rows::{Line, Row, SECRET};

/// The deadline of every row, with its tenth.
const DEADLINE: Duration = Duration::from_millis(1100);
/// What a busy machine may take besides.
const MARGIN: Duration = Duration::from_secs(10);
const CAP: &str = "1MiB";

/// One gateway with a source and a tool for each row.
async fn serve(rows: Vec<Row>) -> (Vec<(Row, Faults)>, Gateway) {
    let (mut sources, mut tools, mut all) = (Map::new(), Map::new(), Vec::new());
    for row in rows {
        let faults = Faults::start(row.when, row.steps.clone()).await;
        let scheme = if row.name.starts_with("tls_") { "https" } else { "http" };
        let base = format!("{scheme}://{}", faults.address);
        sources.insert(
            row.name.to_owned(),
            json!({ "rest": { "base_url": base, "timeout": "1s", "max_response": CAP } }),
        );
        let rest = json!({ "source": row.name, "get": "/things" });
        tools.insert(row.name.to_owned(), json!({ "description": "D.", "rest": rest }));
        all.push((row, faults));
    }
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    (all, gateway)
}

/// What is wrong with the failing call of a row; nothing if it is as the row says.
async fn fails(gateway: &Gateway, row: &Row, faults: &Faults) -> Result<(), String> {
    let started = Instant::now();
    let result = gateway.call(row.name, json!({})).await;
    let took = started.elapsed();
    ensure(took < DEADLINE + MARGIN, || format!("took {took:?}"))?;
    ensure(result["isError"] == true, || format!("is no error: {:.200}", result.to_string()))?;
    let sentence = failure(&result);
    ensure(sentence.contains(row.says) && sentence.contains(&format!("`{}`", row.name)), || {
        format!("says {sentence}")
    })?;
    ensure(sentence.contains("(request "), || format!("names no request: {sentence}"))?;
    let (port, whole) = (faults.address.port().to_string(), result.to_string());
    let hidden = ["127.0.0.1", port.as_str(), SECRET, "/things", "http:", "reqwest", "hyper", "os error"];
    let told = hidden.into_iter().find(|hidden| whole.contains(hidden));
    ensure(told.is_none(), || format!("tells {told:?} in {whole}"))
}

/// The next call of a healed row has to work, on a new connection where the old one is not to be trusted.
async fn heals(gateway: &Gateway, row: &Row, faults: &Faults) -> Result<(), String> {
    let before = faults.lines().len();
    faults.heal();
    // What answers does not speak TLS.
    if !row.name.starts_with("tls_") {
        let next = gateway.call(row.name, json!({})).await;
        ensure(next["structuredContent"] == json!({ "fine": true }), || format!("the next call had {next}"))?;
        let counts: Vec<usize> = faults.lines().iter().map(|line| line.requests.len()).collect();
        if row.line == Line::Either {
            return Ok(());
        }
        if row.line == Line::Kept {
            return ensure(counts == [2], || format!("not one connection for both, but {counts:?}"));
        }
        ensure(counts.len() == before + 1, || {
            format!("the good call had no connection of its own: {counts:?}")
        })?;
    }
    let until = Instant::now() + Duration::from_secs(60);
    while faults.lines()[..before].iter().any(|line| line.closed.is_none()) {
        ensure(Instant::now() < until, || "the broken connection is still open".to_owned())?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

/// All rows at once; every one that is not as it says is named.
async fn each(rows: Vec<Row>) {
    let (rows, gateway) = serve(rows).await;
    let gateway = &gateway;
    let calls = rows.iter().map(async |(row, faults)| {
        let result = match fails(gateway, row, faults).await {
            Ok(()) => heals(gateway, row, faults).await,
            complaint => complaint,
        };
        result.map_err(|complaint| format!("{}: {complaint}", row.name))
    });
    let complaints: Vec<String> =
        futures_util::future::join_all(calls).await.into_iter().filter_map(Result::err).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_too_late_is_an_error_by_the_deadline() {
    each(rows::late()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_is_an_error_and_its_connection_is_over() {
    each([rows::broken(), rows::no_heads(), rows::doubtful()].into_iter().flatten().collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_ends_at_the_cap() {
    each(rows::large()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_an_error_and_its_connection_serves_on() {
    each(rows::unusable()).await;
}

/// A source whose every answer says which request it is for and brings bytes that nobody asked for; gives what calls got.
async fn with_more(more: fn(&[u8]) -> Vec<Step>, between: Duration) -> Vec<Value> {
    let poison = reply("200 OK", "application/json", b"{\"poison\":true}");
    let api = Upstream::start(move |seen| {
        let own = json!({ "path": seen.path() }).to_string();
        let mut steps = vec![Step::Send(reply("200 OK", "application/json", own.as_bytes()))];
        let after = more(&poison);
        if let (Step::Send(first), Some(Step::Send(second))) = (&mut steps[0], after.first()) {
            first.extend_from_slice(second);
        } else {
            steps.extend(after);
        }
        steps
    })
    .await;
    let sources = json!({ "s": { "rest": { "base_url": api.url(), "timeout": "1s" } } });
    let rest = json!({ "source": "s", "get": "/{p}" });
    let tool = json!({ "description": "D.", "params": { "p": { "type": "integer" } }, "rest": rest });
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": { "get": tool } }).to_string()).await;
    let mut answers = Vec::new();
    for p in 0..40 {
        answers.push(gateway.call("get", json!({ "p": p })).await["structuredContent"].take());
        tokio::time::sleep(between).await;
    }
    answers
}

#[tokio::test]
async fn bytes_after_an_answer_never_become_the_next_one() {
    let own: Vec<Value> = (0..40).map(|p| json!({ "path": format!("/{p}") })).collect();
    assert_eq!(
        with_more(|poison| vec![Step::Send(poison.to_vec())], Duration::ZERO).await,
        own,
        "in one piece with the answer"
    );
    let later = |poison: &[u8]| vec![Step::Wait(Duration::from_millis(5)), Step::Send(poison.to_vec())];
    assert_eq!(with_more(later, Duration::from_millis(20)).await, own, "while the connection was idle");
}

#[tokio::test]
async fn an_answer_before_the_request_is_that_of_one_call_at_most() {
    let early = vec![Step::Send(reply("200 OK", "application/json", b"{\"early\":true}")), Step::Hang];
    let faults = Faults::start(When::Connected, early).await;
    let sources =
        json!({ "s": { "rest": { "base_url": format!("http://{}", faults.address), "timeout": "1s" } } });
    let tool = json!({ "description": "D.", "rest": { "source": "s", "get": "/" } });
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": { "get": tool } }).to_string()).await;
    let calls = (0..8).map(|_| gateway.call("get", json!({})));
    let answers = futures_util::future::join_all(calls).await;
    let taken = answers.iter().filter(|a| a["structuredContent"]["early"] == true).count();
    assert!(taken <= faults.lines().len(), "{taken} answers of {} connections", faults.lines().len());
    assert!(
        answers.iter().all(|a| a["isError"] == true || a["structuredContent"]["early"] == true),
        "{answers:?}"
    );
}
