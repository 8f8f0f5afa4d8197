//! The same requests to the gateway and to a server of the official Rust SDK: every difference in what a client sees stands in
//! `differences.md`, with the clause of the specification that decides it.

mod outcome;
mod request;
mod requests;
mod surface;
mod table;
mod twin;
mod wire;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures_util::StreamExt as _;

use crate::support::Gateway;
use crate::support::message::{initialize, plain_headers};
use outcome::Outcome;
use request::{Era, Request, Session};
use table::Row;

/// Opens a legacy session; gives its id if the server uses them.
async fn open(address: SocketAddr, request: &Request) -> Option<String> {
    let hello = Request {
        headers: plain_headers(),
        body: initialize(request.version).to_string().into_bytes(),
        verb: "POST",
        ..request.clone()
    };
    let reply = wire::exchange(address, &hello.bytes(None)).await.expect("an answer to `initialize`");
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let id = reply.header("mcp-session-id").map(str::to_owned);
    if request.session != Session::Early {
        let ready = hello.body(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let reply = wire::exchange(address, &ready.bytes(id.as_deref())).await.unwrap();
        assert_eq!(reply.status, 202, "{}", String::from_utf8_lossy(&reply.body));
    }
    id
}

async fn ask(address: SocketAddr, request: &Request) -> Outcome {
    let session = match request.session {
        Session::None => None,
        Session::Own | Session::Early | Session::Ended => open(address, request).await,
    };
    if request.session == Session::Ended {
        let end = request.clone().verb("DELETE");
        wire::exchange(address, &end.bytes(session.as_deref())).await.unwrap();
    }
    let reply = wire::exchange(address, &request.bytes(session.as_deref())).await;
    outcome::of(reply.as_ref(), request.id().as_ref())
}

/// Statuses whose reply may have any body: the specification asks for the status alone.
const BARE: [u16; 5] = [403, 405, 406, 413, 415];
/// And these in the legacy era, where no code goes with them.
const BARE_IN_LEGACY: [u16; 2] = [400, 404];

/// What is different, as rows without clause and verdict. Framing, `_meta` and the bodies of bare refusals are each server's
/// habit, so they make one row for all requests.
fn differences(answers: &[(&Request, Outcome, Outcome)]) -> Vec<Row> {
    let mut habits = BTreeSet::new();
    let mut rows = Vec::new();
    let row = |request: &str, ours: &str, theirs: &str| Row {
        request: request.to_owned(),
        ours: ours.to_owned(),
        theirs: theirs.to_owned(),
        ..Row::default()
    };
    for (request, ours, theirs) in answers {
        let era = if request.era == Era::Modern { "modern" } else { "legacy" };
        let bare = BARE.contains(&ours.status)
            || (request.era == Era::Legacy && BARE_IN_LEGACY.contains(&ours.status));
        if ours.status == theirs.status && bare {
            let name = format!("every {era} refusal with {}", ours.status);
            if ours.form != theirs.form {
                habits.insert((name, ours.form.clone(), theirs.form.clone()));
            }
            continue;
        }
        if ours.form != theirs.form {
            let alike = ours.stamped.is_some() == theirs.stamped.is_some();
            let (one, other) = if alike { (&ours.form, &theirs.form) } else { (&ours.brief, &theirs.brief) };
            rows.push(row(&request.name, one, other));
            continue;
        }
        if ours.framing != theirs.framing {
            let name = format!("every {era} reply: framing");
            habits.insert((name, ours.framing.to_owned(), theirs.framing.to_owned()));
        }
        if ours.stamped != theirs.stamped {
            let show = |outcome: &Outcome| if outcome.stamped == Some(true) { "there" } else { "not there" };
            let name = format!("every {era} result: `_meta`");
            habits.insert((name, show(ours).to_owned(), show(theirs).to_owned()));
        }
    }
    habits.iter().map(|(request, ours, theirs)| row(request, ours, theirs)).chain(rows).collect()
}

/// Prints what both did, for the requests whose name has a part that was asked for.
#[allow(clippy::print_stdout, reason = "asked for by name")]
fn show(answers: &[(&Request, Outcome, Outcome)]) {
    let Ok(part) = std::env::var("SHOW_OUTCOMES") else { return };
    for (request, ours, theirs) in answers.iter().filter(|(r, ..)| r.name.contains(&part)) {
        println!("{}\n  ours {}\n  rmcp {}", request.name, ours.form, theirs.form);
    }
}

/// A row with the clause it had; its verdict stands only while the facts are the same.
fn judged(row: Row, known: &[Row]) -> Row {
    let named: Vec<&Row> = known.iter().filter(|k| k.request == row.request).collect();
    let same = named.iter().find(|k| k.ours == row.ours && k.theirs == row.theirs);
    let clause = same.or(named.first()).map(|k| k.clause.clone()).unwrap_or_default();
    let verdict = same.map(|k| k.verdict.clone()).unwrap_or_default();
    Row { clause, verdict, ..row }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_difference_from_the_official_sdk_stands_in_the_table() {
    let gateway = Gateway::start(surface::CONFIG).await;
    let (ours, theirs) = (gateway.address, twin::start().await);
    let requests = requests::all();
    let answers = futures_util::stream::iter(&requests).map(async |request| {
        let (one, other) = tokio::join!(ask(ours, request), ask(theirs, request));
        (request, one, other)
    });
    let answers: Vec<_> = answers.buffered(32).collect().await;
    show(&answers);
    let found = differences(&answers);
    let (before, known) = table::read();
    if std::env::var_os("UPDATE_DIFFERENCES").is_some() {
        let judged = found.into_iter().map(|row| judged(row, &known));
        return table::write(&before, &judged.collect::<Vec<_>>());
    }
    let facts = |row: &Row| format!("{}\n    ours {}\n    rmcp {}", row.request, row.ours, row.theirs);
    let found: BTreeSet<String> = found.iter().map(facts).collect();
    let known: BTreeSet<String> = known.iter().map(facts).collect();
    let new: Vec<_> = found.difference(&known).cloned().collect();
    let gone: Vec<_> = known.difference(&found).cloned().collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "UPDATE_DIFFERENCES=1 rewrites the table; each row needs a clause.\nnot in the table:\n  {}\nno longer so:\n  {}",
        new.join("\n  "),
        gone.join("\n  ")
    );
}

#[test]
fn every_row_names_its_clause_and_its_verdict() {
    let (_, rows) = table::read();
    assert!(!rows.is_empty());
    for row in &rows {
        assert!(!row.clause.is_empty(), "no clause: {}", row.request);
        let verdict = row.verdict.split([':', ' ']).next().unwrap_or_default();
        assert!(table::VERDICTS.contains(&verdict), "no verdict: {}", row.request);
    }
}

#[test]
fn the_requests_are_many_and_each_has_a_name_of_its_own() {
    let requests = requests::all();
    for era in [Era::Modern, Era::Legacy] {
        let count = requests.iter().filter(|r| r.era == era).count();
        assert!(count >= 100, "{count} of {era:?}");
    }
    let names: BTreeSet<&str> = requests.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names.len(), requests.len());
}
