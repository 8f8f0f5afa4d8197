//! Qdrant: what it is asked, its words and names, and what is told when it does not fit. The real one of `TEST_QDRANT_URL`, else the
//! contract server of the test tree.

use serde_json::{Value, json};

use crate::support::qdrant::KEY;
use crate::support::upstream::json as good;
use crate::support::vectors::{World, ids, matches, points};
use crate::support::{Gateway, Upstream, failure};

#[tokio::test]
async fn qdrant_is_asked_in_its_own_words_and_its_misfits_are_told() {
    let world = World::new("words").await;
    let World { qdrant, embedder, .. } = &world;
    let vectors = json!({ "title vec": { "size": 2, "distance": "Cosine" } });
    let named = qdrant.collection("named", vectors, points(Some("title vec"))).await;
    let asked = json!({ "openai": { "base_url": format!("{}/v1", embedder.url()), "model": "own" } });
    let source = |collection: &str, more: Value| {
        let mut at = json!({ "url": format!("{}/", qdrant.url), "collection": collection, "api_key": KEY });
        at.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "vector": { "qdrant": at, "embedder": asked } })
    };
    let mut sources = json!({
        "named": source(&named, json!({ "vector_name": "title vec", "metadata": ["lang", "year"] })),
        "unnamed": source(&named, json!({})),
        "other": source(&named, json!({ "vector_name": "titel" })),
        "gone": source("not there", json!({})),
        "text": source(&named, json!({ "vector_name": "title vec", "text": "lang" })),
    });
    sources["l2"] = source(&named, json!({ "vector_name": "title vec" }));
    sources["l2"]["vector"]["distance"] = json!("l2");
    if qdrant.contract.is_some() {
        sources["key"] = source(&named, json!({ "api_key": "wrong-key-55" }));
    }
    let mut tools = json!({});
    for (name, _) in sources.as_object().unwrap() {
        for mode in ["vector", "text", "hybrid"] {
            let params = json!({ "q": { "type": "string" }, "lang": { "type": "string", "optional": true } });
            let op = json!({ "source": name, "search": "{q}", "mode": mode, "limit": 3, "ef_search": 64, "where": { "lang": "{lang}" } });
            tools[format!("{mode}_{name}")] = json!({ "description": "D.", "params": params, "vector": op });
        }
    }
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    if let Some(server) = &qdrant.contract {
        server.take();
    }
    let found = gateway.call("vector_named", json!({ "q": "[0,1]", "lang": "en" })).await;
    assert_eq!(ids(&found), [2, 1]);
    assert_eq!(matches(&found)[0]["metadata"], json!({ "lang": "en", "year": 2021 }));
    if let Some(server) = &qdrant.contract {
        let seen = server.take();
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (seen[0].method.as_str(), seen[0].target.as_str()),
            ("GET", format!("/collections/{}", named.replace('_', "%5F")).as_str())
        );
        let body: Value = serde_json::from_slice(&seen[1].body).unwrap();
        let wanted = json!({
            "query": [0.0, 1.0], "using": "title vec", "filter": { "must": [{ "key": "lang", "match": { "value": "en" } }] },
            "params": { "hnsw_ef": 64 }, "limit": 3, "with_payload": ["content", "lang", "year"]
        });
        assert_eq!(body, wanted);
    }
    // Words: the share of them, and both lists merged.
    let text = gateway.call("text_named", json!({ "q": "Green APPLE tree" })).await;
    assert_eq!(ids(&text), [2, 1]);
    assert_eq!(matches(&text)[0]["score"], json!(0.6667));
    assert_eq!(ids(&gateway.call("text_named", json!({ "q": "apple", "lang": "de" })).await), [] as [u64; 0]);
    assert_eq!(ids(&gateway.call("text_named", json!({ "q": "?!" })).await), [] as [u64; 0]);
    let hybrid = gateway.call("hybrid_named", json!({ "q": "[1,0] green apple" })).await;
    assert_eq!(ids(&hybrid)[..2], [1, 2]);
    for (tool, wanted) in [
        ("vector_unnamed", "no vector of the name"),
        ("vector_other", "no vector of the name"),
        ("vector_gone", "its collection is not there"),
        ("vector_l2", "another distance"),
        ("text_text", "no full-text index"),
        ("hybrid_text", "no full-text index"),
        ("vector_key", "credentials"),
    ] {
        if tool == "vector_key" && qdrant.contract.is_none() {
            continue;
        }
        let said = gateway.call(tool, json!({ "q": "[1,0] apple" })).await;
        assert!(failure(&said).contains(wanted), "{tool}: {}", failure(&said));
        assert!(!failure(&said).contains("wrong-key-55") && !failure(&said).contains("127.0.0.1"));
    }
    world.gone().await;
}

#[tokio::test]
async fn a_qdrant_that_is_down_or_answers_nonsense_is_told() {
    let nonsense = Upstream::start(|_| {
        good("{\"result\":{\"config\":{\"params\":{\"vectors\":{\"size\":16,\"distance\":\"Cosine\"}}}}}")
    })
    .await;
    let down = Upstream::refusing().await;
    let mut sources = json!({});
    let mut tools = json!({});
    for (name, url) in [("nonsense", nonsense.url()), ("down", format!("http://{down}"))] {
        sources[name] = json!({ "vector": { "qdrant": { "url": url, "collection": "c" }, "embedder": { "hash": { "dimensions": 16 } } } });
        let op = json!({ "source": name, "search": "{q}" });
        tools[name] = json!({ "description": "D.", "params": { "q": { "type": "string" } }, "vector": op });
    }
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    let said = gateway.call("nonsense", json!({ "q": "apple" })).await;
    assert!(failure(&said).contains("no points from Qdrant"), "{}", failure(&said));
    let said = gateway.call("down", json!({ "q": "apple" })).await;
    assert!(failure(&said).contains("The source `down` cannot be reached"), "{}", failure(&said));
}
