//! Kept answers: when one is given again and to whom, that those who miss the same fetch it once, and that nothing but whole answers
//! is kept.
//!
//! | promise | shown by |
//! |---|---|
//! | F1 10,000 interleaved calls of two callers, none crossed | `callers_never_read_what_was_meant_for_another` |
//! | F2 1,000 who miss the same: one fetch, 1,000 right answers | `a_thousand_who_miss_the_same_fetch_it_once` |
//! | F3 a million different keys: bytes, entries and the process stay bounded | `many_keys::a_million_answers_take_what_the_cache_may_take` |
//! | F4 `ttlMs` and `cacheScope` by method; rounds are kept by nobody | `cache_hints` |

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::gateway::problems;
use crate::support::message::{modern, modern_headers};
use crate::support::upstream::{Step, Upstream, json as body, reply};
use crate::support::{Gateway, LATE, failure, structured};

fn config(url: &str, cache: &Value) -> Value {
    json!({
        "sources": { "api": { "rest": { "base_url": url } } },
        "tools": {
            "get": {
                "description": "D.", "params": { "id": {} }, "policy": { "cache": cache, "timeout": "5s" },
                "rest": { "source": "api", "get": "/items/{id}" }
            },
            "put": {
                "description": "D.", "params": { "id": {} }, "policy": { "invalidates": ["get"] },
                "rest": { "source": "api", "put": "/items/{id}" }
            },
        },
    })
}

fn state(result: &Value) -> &str {
    result["_meta"]["sidegate/cache"].as_str().unwrap_or("none")
}

/// An upstream that counts, and answers with its count.
async fn counting() -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::start(move |_| body(&json!({ "n": count.fetch_add(1, Ordering::SeqCst) }).to_string())).await
}

async fn until(gateway: &Gateway, wanted: &str) -> Value {
    let start = Instant::now();
    loop {
        let result = gateway.call("get", json!({ "id": "a" })).await;
        if state(&result) == wanted {
            return result;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "never {wanted}: {result}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_answer_is_given_again_until_it_is_old_or_made_wrong() {
    let upstream = counting().await;
    let gateway = Gateway::start(&config(&upstream.url(), &json!({ "ttl": "60s" })).to_string()).await;
    let get = async |id: Value| gateway.call("get", json!({ "id": id })).await;
    let first = get(json!("a")).await;
    assert_eq!((state(&first), structured(&first)), ("miss", &json!({ "n": 0 })));
    let again = get(json!("a")).await;
    assert_eq!((state(&again), structured(&again)), ("hit", &json!({ "n": 0 })));
    assert_eq!(again["content"], first["content"]);
    assert!(again["_meta"]["io.modelcontextprotocol/serverInfo"].is_object());
    assert_eq!(state(&get(json!("b")).await), "miss");
    let legacy = gateway.legacy("tools/call", &json!({ "name": "get", "arguments": { "id": "a" } })).await;
    assert_eq!(state(&legacy.json()["result"]), "hit", "both eras share it");
    // A write makes every answer of the route wrong.
    assert_eq!(state(&gateway.call("put", json!({ "id": "a" })).await), "none");
    let fresh = get(json!("a")).await;
    assert_eq!(state(&fresh), "miss");
    assert_ne!(structured(&fresh), structured(&first));
    assert_eq!(upstream.count(), 4);
}

#[tokio::test]
async fn a_write_that_fails_or_is_given_up_makes_answers_wrong_too() {
    let upstream = Upstream::start(|seen| match (seen.method.as_str(), seen.path()) {
        ("PUT", "/items/hang") => vec![Step::Hang],
        ("PUT", _) => vec![Step::Send(reply("500 Oops", "text/plain", b"no"))],
        _ => body("{}"),
    })
    .await;
    let gateway = Gateway::start(&config(&upstream.url(), &json!({ "ttl": "60s" })).to_string()).await;
    let get = async || state(&gateway.call("get", json!({ "id": "a" })).await).to_owned();
    assert_eq!((get().await.as_str(), get().await.as_str()), ("miss", "hit"));
    failure(&gateway.call("put", json!({ "id": "a" })).await);
    assert_eq!((get().await.as_str(), get().await.as_str()), ("miss", "hit"));
    let mut leaver = gateway.connect().await;
    let call = modern("tools/call", json!({ "name": "put", "arguments": { "id": "hang" } })).to_string();
    leaver.begin("POST", "/mcp", &modern_headers("tools/call", Some("put")), call.as_bytes()).await.unwrap();
    let start = Instant::now();
    while upstream.take().iter().all(|seen| seen.path() != "/items/hang") {
        assert!(start.elapsed() < LATE, "it is never sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(leaver);
    while get().await != "miss" {
        assert!(start.elapsed() < LATE, "the old answer is still given");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn arguments_that_differ_in_anything_have_answers_of_their_own() {
    let upstream = Upstream::start(|seen| body(&json!({ "path": seen.path() }).to_string())).await;
    let gateway = Gateway::start(&config(&upstream.url(), &json!({ "ttl": "60s" })).to_string()).await;
    let values = [
        json!(1),
        json!(1.5),
        json!("1"),
        json!("1.0"),
        json!(true),
        json!("true"),
        json!("null"),
        json!("x y"),
    ];
    for wanted in ["miss", "hit"] {
        for value in &values {
            assert_eq!(state(&gateway.call("get", json!({ "id": value })).await), wanted, "{value}");
        }
    }
}

#[tokio::test]
async fn a_thousand_who_miss_the_same_fetch_it_once() {
    let upstream = Upstream::start(|_| {
        let mut steps = vec![Step::Wait(Duration::from_millis(500))];
        steps.extend(body("{\"n\":1}"));
        steps
    })
    .await;
    let mut config = config(&upstream.url(), &json!({ "ttl": "60s" }));
    config["server"] = json!({ "http": { "max_concurrent_calls": 2000 } });
    let gateway = Gateway::start(&config.to_string()).await;
    let results = join_all((0..400).map(|_| gateway.call("get", json!({ "id": "a" })))).await;
    assert!(results.iter().all(|r| structured(r) == &json!({ "n": 1 })));
    let more = join_all((0..600).map(|_| async {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..400))).await;
        gateway.call("get", json!({ "id": "b" })).await
    }))
    .await;
    assert!(more.iter().all(|r| structured(r) == &json!({ "n": 1 })));
    assert_eq!(upstream.count(), 2, "one for each");
}

#[tokio::test]
async fn a_leader_who_goes_away_or_fails_spoils_it_for_nobody() {
    let fail = Arc::new(AtomicUsize::new(0));
    let failing = fail.clone();
    let upstream = Upstream::start(move |_| {
        let mut steps = vec![Step::Wait(Duration::from_secs(2))];
        steps.extend(if failing.load(Ordering::SeqCst) == 1 {
            vec![Step::Send(reply("500 Oops", "text/plain", b"no"))]
        } else {
            body("{\"n\":1}")
        });
        steps
    })
    .await;
    let gateway = Gateway::start(&config(&upstream.url(), &json!({ "ttl": "60s" })).to_string()).await;
    // The first one leaves while the others wait for what it fetches.
    let mut leader = gateway.connect().await;
    let call = modern("tools/call", json!({ "name": "get", "arguments": { "id": "a" } })).to_string();
    leader.begin("POST", "/mcp", &modern_headers("tools/call", Some("get")), call.as_bytes()).await.unwrap();
    crate::support::until("the leader asks the source", async || upstream.count() == 1).await;
    let followers = join_all((0..20).map(|_| gateway.call("get", json!({ "id": "a" }))));
    let (results, ()) = tokio::join!(followers, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(leader);
    });
    assert!(results.iter().all(|r| structured(r) == &json!({ "n": 1 })), "{results:?}");
    assert_eq!(upstream.count(), 2, "one of the followers took its place");
    // A failure is told to all who waited for it, and kept for nobody.
    fail.store(1, Ordering::SeqCst);
    let failed = join_all((0..20).map(|_| gateway.call("get", json!({ "id": "b" })))).await;
    failed
        .iter()
        .for_each(|r| assert!(failure(r).starts_with("The source `api` failed (status 500)"), "{r}"));
    assert_eq!(upstream.count(), 3);
    fail.store(0, Ordering::SeqCst);
    assert_eq!(state(&gateway.call("get", json!({ "id": "b" })).await), "miss");
    assert_eq!(state(&gateway.call("get", json!({ "id": "b" })).await), "hit");
}

#[tokio::test]
async fn an_old_answer_is_given_while_a_new_one_is_fetched_and_where_the_source_fails() {
    let fail = Arc::new(AtomicUsize::new(0));
    let (failing, count) = (fail.clone(), AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        if failing.load(Ordering::SeqCst) == 1 {
            vec![Step::Send(reply("503 Down", "text/plain", b"no"))]
        } else {
            body(&json!({ "n": n }).to_string())
        }
    })
    .await;
    let cache = json!({ "ttl": "300ms", "stale_while_revalidate": "60s", "stale_if_error": "60s" });
    let gateway = Gateway::start(&config(&upstream.url(), &cache).to_string()).await;
    assert_eq!(structured(&until(&gateway, "miss").await), &json!({ "n": 0 }));
    assert_eq!(structured(&until(&gateway, "stale").await), &json!({ "n": 0 }));
    // It came in the background.
    let fresh = until(&gateway, "hit").await;
    assert_ne!(structured(&fresh), &json!({ "n": 0 }));
    let asked = upstream.count();
    // While it fails, the old one is given, and the source is not asked for each call.
    fail.store(1, Ordering::SeqCst);
    until(&gateway, "stale").await;
    for _ in 0..30 {
        let result = gateway.call("get", json!({ "id": "a" })).await;
        assert_eq!((state(&result), structured(&result)), ("stale", structured(&fresh)));
    }
    assert!(upstream.count() <= asked + 2, "{} more", upstream.count() - asked);

    // Without `stale_while_revalidate` the source is asked first.
    let gateway = Gateway::start(
        &config(&upstream.url(), &json!({ "ttl": "200ms", "stale_if_error": "60s" })).to_string(),
    )
    .await;
    fail.store(0, Ordering::SeqCst);
    let good = until(&gateway, "miss").await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    fail.store(1, Ordering::SeqCst);
    let result = gateway.call("get", json!({ "id": "a" })).await;
    assert_eq!((state(&result), structured(&result)), ("stale", structured(&good)));
    let other = gateway.call("get", json!({ "id": "b" })).await;
    assert!(failure(&other).contains("503"), "{other}");
}

#[tokio::test]
async fn what_the_source_says_now_ends_what_was_kept() {
    for (status, cache) in [
        // It is gone, and that is not remembered either.
        ("404 Not Found", json!({ "ttl": "100ms", "stale_while_revalidate": "60s" })),
        ("404 Not Found", json!({ "ttl": "100ms", "stale_if_error": "60s" })),
        // Access was taken away, or the question is wrong now: no failure of the source.
        ("403 Forbidden", json!({ "ttl": "100ms", "stale_if_error": "60s" })),
        ("422 Unprocessable", json!({ "ttl": "100ms", "stale_if_error": "60s" })),
    ] {
        let gone = Arc::new(AtomicUsize::new(0));
        let seen = gone.clone();
        let upstream = Upstream::start(move |_| match seen.load(Ordering::SeqCst) {
            0 => body("{}"),
            _ => vec![Step::Send(reply(status, "text/plain", b"no"))],
        })
        .await;
        let gateway = Gateway::start(&config(&upstream.url(), &cache).to_string()).await;
        assert_eq!(state(&gateway.call("get", json!({ "id": "a" })).await), "miss");
        gone.store(1, Ordering::SeqCst);
        let start = Instant::now();
        while gateway.call("get", json!({ "id": "a" })).await["isError"] != true {
            assert!(start.elapsed() < LATE, "{status} {cache}: the old answer goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let again = gateway.call("get", json!({ "id": "a" })).await;
        assert_eq!(again["isError"], true, "{status} {cache}: the old answer comes back");
    }
}

#[tokio::test]
async fn those_who_wait_for_a_source_that_is_too_slow_do_not_wait_one_after_the_other() {
    let upstream = Upstream::start(|_| vec![Step::Hang]).await;
    let mut config = config(&upstream.url(), &json!({ "ttl": "60s" }));
    config["sources"]["api"]["rest"]["timeout"] = json!("500ms");
    config["tools"]["get"]["policy"]["timeout"] = json!("20s");
    let gateway = Gateway::start(&config.to_string()).await;
    let results = join_all((0..20).map(|_| gateway.call("get", json!({ "id": "a" })))).await;
    results.iter().for_each(|r| assert!(failure(r).contains("no answer within 500ms"), "{r}"));
    assert!(upstream.count() <= 2, "{} tries", upstream.count());
}

#[tokio::test]
async fn that_nothing_was_found_is_remembered_only_where_it_is_said() {
    let upstream = Upstream::start(|_| vec![Step::Send(reply("404 Not Found", "text/plain", b"no"))]).await;
    for (cache, asked) in [(json!({ "ttl": "60s" }), 3), (json!({ "ttl": "60s", "negative_ttl": "60s" }), 1)]
    {
        let before = upstream.count();
        let gateway = Gateway::start(&config(&upstream.url(), &cache).to_string()).await;
        for _ in 0..3 {
            let result = gateway.call("get", json!({ "id": "a" })).await;
            assert!(failure(&result).starts_with("Nothing was found"), "{result}");
        }
        assert_eq!(upstream.count() - before, asked, "{cache}");
    }
}

#[tokio::test]
async fn callers_never_read_what_was_meant_for_another() {
    let upstream =
        Upstream::start(|seen| body(&json!({ "who": seen.path().rsplit('/').next() }).to_string())).await;
    let mut config = config(&upstream.url(), &json!({ "ttl": "60s" }));
    config["auth"] = json!({ "api_keys": [
        { "name": "ada", "key": "key-of-ada", "claims": { "tenant": "t1" } },
        { "name": "bob", "key": "key-of-bob", "claims": { "tenant": "t2" } },
    ] });
    // The answer depends on the caller by a parameter that it neither sees nor sets.
    config["tools"]["get"]["params"] = json!({ "id": {}, "who": { "from": "caller.claims.tenant" } });
    config["tools"]["get"]["rest"]["get"] = json!("/items/{id}/{who}");
    config["tools"]["put"]["policy"] = json!({});
    let gateway = Gateway::start(&config.to_string()).await;
    let call = async |n: usize| {
        let (key, tenant) = if n.is_multiple_of(2) { ("key-of-ada", "t1") } else { ("key-of-bob", "t2") };
        let mut headers = modern_headers("tools/call", Some("get"));
        headers.push(("X-API-Key".to_owned(), key.to_owned()));
        let message =
            modern("tools/call", json!({ "name": "get", "arguments": { "id": n / 2 % 7 } })).to_string();
        let reply = gateway.post(&headers, message.as_bytes()).await;
        let result = reply.json()["result"].clone();
        assert_eq!(structured(&result), &json!({ "who": tenant }), "{result}");
        state(&result).to_owned()
    };
    let mut states = HashSet::new();
    for round in 0..100 {
        states.extend(join_all((0..100).map(|n| call(round * 100 + n))).await);
    }
    assert_eq!(states, HashSet::from(["hit".to_owned(), "miss".to_owned()]));
    assert_eq!(upstream.count(), 14, "seven for each");
}

#[tokio::test]
async fn a_list_that_was_cut_short_by_a_failure_is_not_kept() {
    let upstream = Upstream::start(|seen| match seen.query() {
        "page=1" => body(r#"{"items":[1,2]}"#),
        _ => vec![Step::Send(reply("500 Oops", "text/plain", b"no"))],
    })
    .await;
    let mut config = config(&upstream.url(), &json!({ "ttl": "60s" }));
    config["tools"]["get"]["rest"]["page"] = json!({ "number": { "query": "page" }, "follow": 3 });
    let gateway = Gateway::start(&config.to_string()).await;
    for _ in 0..2 {
        let result = gateway.call("get", json!({ "id": "a" })).await;
        assert_eq!((state(&result), &structured(&result)["items"]), ("miss", &json!([1, 2])), "{result}");
    }
}

#[test]
fn what_must_not_be_kept_or_shared_is_refused_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let told = |change: &dyn Fn(&mut Value)| {
        let mut config = config("http://127.0.0.1:1", &json!({ "ttl": "60s" }));
        change(&mut config);
        problems(folder.path(), &config.to_string())
    };
    let write = told(&|c| c["tools"]["put"]["policy"]["cache"] = json!({ "ttl": "1m" }));
    assert!(write.contains("this route changes something"), "{write}");
    let leak = told(&|c| {
        c["tools"]["get"]["params"] = json!({ "id": { "from": "caller.sub" } });
        c["tools"]["get"]["policy"]["cache"]["vary"] = json!("none");
    });
    assert!(
        leak.contains("one caller would read what was meant for another: `caller.sub` is used"),
        "{leak}"
    );
    let nothing = told(&|c| c["tools"]["put"]["policy"]["invalidates"] = json!(["gett"]));
    assert!(
        nothing.contains("there is no tool or resource `gett`") && nothing.contains("`get`"),
        "{nothing}"
    );
    let never = told(&|c| c["tools"]["get"]["policy"]["cache"]["ttl"] = json!("0s"));
    assert!(never.contains("`ttl` is zero"), "{never}");
    let word = told(&|c| c["tools"]["get"]["policy"]["cache"] = json!("off"));
    assert!(word.contains("`cache` is a block, or the word `none`"), "{word}");
    // Taken from the defaults it is left out where it does not fit.
    let fine = told(&|c| {
        c["tools"]["get"]["policy"] = json!({});
        c["defaults"] = json!({ "policy": { "cache": { "ttl": "1m" } } });
    });
    assert_eq!(fine, "");
}
