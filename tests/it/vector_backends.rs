//! What holds for every kind of collection alike: scores by the reference's scales, conditions that no argument can widen, questions
//! and vectors that cannot be compared. PostgreSQL where `tests/engines/run.sh` brings it; Qdrant is the real one of
//! `TEST_QDRANT_URL`, else the contract server of the test tree.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::naughty::STRINGS;
use crate::support::failure;
use crate::support::gateway::{online, problems};
use crate::support::message::{modern, modern_headers};
use crate::support::qdrant::KEY;
use crate::support::vectors::{ROWS, World, ids, matches};

/// The score of the reference: cosine, 1/(1+d), the product.
fn score(distance: &str, a: [f64; 2], b: [f64; 2]) -> f64 {
    let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
    match distance {
        "cosine" => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        "l2" => 1.0 / (1.0 + ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt()),
        _ => dot(a, b),
    }
}

#[tokio::test]
async fn scores_are_those_of_the_reference_on_every_engine() {
    let mut world = World::new("scores").await;
    let tools = json!({
        "all_SOURCE": { "description": "A.", "params": { "q": { "type": "string" } }, "vector": { "source": "SOURCE", "search": "{q}" } },
        "floor_SOURCE": { "description": "F.", "params": { "q": { "type": "string" } }, "vector": { "source": "SOURCE", "search": "{q}", "min_score": 0.45 } }
    });
    let names = world.names();
    let gateway = world.gateway(&tools).await;
    assert_eq!(names.len(), if world.own.is_some() { 8 } else { 5 });
    for name in &names {
        let distance = name.split_once('-').unwrap().1;
        for question in [[0.6, 0.8], [3.0, -1.0], [-2.0, 0.25]] {
            let mut wanted: Vec<(f64, u64)> =
                ROWS.iter().map(|row| (score(distance, question, row.2), row.0)).collect();
            wanted.sort_by(|a, b| b.0.total_cmp(&a.0));
            let asked = format!("[{},{}]", question[0], question[1]);
            let result = gateway.call(&format!("all_{name}"), json!({ "q": asked })).await;
            assert_eq!(ids(&result), wanted.iter().map(|w| w.1).collect::<Vec<_>>(), "{name}: {question:?}");
            for (found, (score, id)) in matches(&result).iter().zip(&wanted) {
                let got = found["score"].as_f64().unwrap();
                assert!((got - score).abs() < 1e-3, "{name}: {question:?}: {id} has {got}, not {score}");
            }
            let floor = gateway.call(&format!("floor_{name}"), json!({ "q": asked })).await;
            assert_eq!(ids(&floor).len(), wanted.iter().filter(|w| w.0 >= 0.45).count(), "{name}");
        }
        let result = gateway.call(&format!("all_{name}"), json!({ "q": "[1,0]" })).await;
        let first = &matches(&result)[0];
        if distance != "inner_product" {
            let draft = if name.starts_with("sqlite") { json!(1) } else { json!(true) };
            let metadata = json!({ "lang": "en", "year": 2020, "price": 1.5, "draft": draft });
            assert_eq!(
                *first,
                json!({ "id": 1, "score": 1.0, "text": "red apple pie", "metadata": metadata })
            );
        }
    }
    world.gone().await;
}

#[test]
fn an_inner_product_is_refused_where_the_engine_has_none() {
    let yaml = r#"sources: { c: { vector: { sqlite: { url: "sqlite:c.db", table: c }, distance: inner_product, embedder: { hash: { dimensions: 16 } } } } }"#;
    let said = problems(std::path::Path::new("."), yaml);
    assert!(said.contains("SQLite has no inner product") && said.contains("^^^^"), "{said}");
}

/// What a call with these arguments has to give.
enum Wanted {
    Ids(&'static [u64]),
    Refused,
}
use Wanted::{Ids, Refused};

fn conditions() -> Value {
    let tool = |params: Value, filter: Value| {
        let mut params = params;
        params["q"] = json!({ "default": "[1,0]" });
        json!({ "description": "D.", "params": params, "vector": { "source": "SOURCE", "search": "{q}", "limit": 1000, "where": filter } })
    };
    // `{}` is any JSON value: what a schema lets through has to be met by the condition itself.
    json!({
        "needed_SOURCE": tool(json!({ "v": {} }), json!({ "lang": "{v}" })),
        "optional_SOURCE": tool(json!({ "v": { "optional": true } }), json!({ "lang": "{v}" })),
        "text_SOURCE": tool(json!({ "v": { "const": "e" }, "w": { "optional": true } }), json!({ "lang": "{v}{w}" })),
        "in_SOURCE": tool(json!({ "v": {} }), json!({ "lang": { "in": "{v}" } })),
        "in-optional_SOURCE": tool(json!({ "v": { "optional": true } }), json!({ "lang": { "in": "{v}" } })),
        "in-list_SOURCE": tool(json!({ "v": { "optional": true }, "w": { "optional": true } }), json!({ "lang": { "in": ["{v}", "{w}"] } })),
        "years_SOURCE": tool(json!({ "v": {} }), json!({ "year": { "in": "{v}" } })),
        "range_SOURCE": tool(json!({ "from": {}, "to": { "optional": true } }), json!({ "year": { "gte": "{from}", "lt": "{to}" } })),
        "above_SOURCE": tool(json!({ "v": {} }), json!({ "price": { "gt": "{v}", "lte": 9 } })),
        "number_SOURCE": tool(json!({ "v": {} }), json!({ "price": "{v}" })),
        "year_SOURCE": tool(json!({ "v": { "type": "integer" } }), json!({ "year": "{v}" })),
        "draft_SOURCE": tool(json!({ "v": {} }), json!({ "draft": "{v}" })),
        "tenant_SOURCE": tool(json!({ "v": { "optional": true }, "t": { "const": "en" } }), json!({ "lang": "{t}", "year": "{v}" }))
    })
}

const ALL: &[u64] = &[1, 2, 3, 4, 5];

fn cases() -> Vec<(&'static str, Value, Wanted)> {
    let mut cases = vec![
        ("needed", json!({ "v": "en" }), Ids(&[1, 2])),
        ("needed", json!({ "v": "nothing" }), Ids(&[])),
        ("needed", json!({ "v": "" }), Ids(&[])),
        ("needed", json!({ "v": "en' OR '1'='1" }), Ids(&[])),
        ("needed", json!({ "v": "en\"}]},{\"x\":\"" }), Ids(&[])),
        ("needed", json!({ "v": "%" }), Ids(&[])),
        ("needed", json!({}), Refused),
        ("optional", json!({ "v": "de" }), Ids(&[3])),
        ("optional", json!({}), Ids(ALL)),
        ("text", json!({ "w": "n" }), Ids(&[1, 2])),
        ("text", json!({}), Refused),
        ("in", json!({ "v": ["en", "fr", "xx"] }), Ids(&[1, 2, 4])),
        ("in", json!({ "v": ["de"] }), Ids(&[3])),
        ("in", json!({ "v": [] }), Ids(&[])),
        ("in", json!({ "v": ["a\",\"en", "{en}", "en,fr"] }), Ids(&[])),
        ("in", json!({}), Refused),
        ("in-optional", json!({}), Ids(ALL)),
        ("in-optional", json!({ "v": [] }), Ids(&[])),
        ("in-list", json!({ "v": "de" }), Ids(&[3])),
        ("in-list", json!({ "v": "de", "w": "fr" }), Ids(&[3, 4])),
        ("in-list", json!({}), Ids(&[])),
        ("years", json!({ "v": [1999, 2022] }), Ids(&[3, 4])),
        ("range", json!({ "from": 2021 }), Ids(&[2, 3, 5])),
        ("range", json!({ "from": 2021, "to": 2023 }), Ids(&[2, 3])),
        ("range", json!({ "from": 2023, "to": 1999 }), Ids(&[])),
        ("range", json!({ "to": 2023 }), Refused),
        ("above", json!({ "v": 2.25 }), Ids(&[3, 5])),
        ("number", json!({ "v": 2.25 }), Ids(&[2])),
        ("number", json!({ "v": 3 }), Ids(&[3])),
        ("year", json!({ "v": 2020 }), Ids(&[1])),
        ("year", json!({ "v": 2020.0 }), Ids(&[1])),
        ("draft", json!({ "v": true }), Ids(&[1])),
        ("draft", json!({ "v": false }), Ids(&[2, 3, 4, 5])),
        ("tenant", json!({}), Ids(&[1, 2])),
        ("tenant", json!({ "v": 2021 }), Ids(&[2])),
        ("tenant", json!({ "v": 2022 }), Ids(&[])),
        ("tenant", json!({ "t": "de" }), Refused),
        ("tenant", json!({ "t": null }), Refused),
        ("tenant", json!({ "v": { "gte": 0 } }), Refused),
    ];
    // Shapes that a condition does not have.
    for wrong in [json!(null), json!({}), json!({ "in": ["en"] }), json!({ "$ne": "" }), json!({ "gte": "" })]
    {
        for tool in ["needed", "in", "years", "number", "draft", "above"] {
            cases.push((tool, json!({ "v": wrong }), Refused));
        }
        cases.push(("range", json!({ "from": wrong }), Refused));
    }
    for list in [json!([]), json!(["en"]), json!([["en"]]), json!([null])] {
        for tool in ["needed", "optional", "number", "draft", "above"] {
            cases.push((tool, json!({ "v": list }), Refused));
        }
        cases.push(("range", json!({ "from": list }), Refused));
    }
    for list in [json!(["en", null]), json!([["en"]]), json!([{ "a": 1 }]), json!("en"), json!(true)] {
        cases.push(("in", json!({ "v": list }), Refused));
    }
    cases.push(("above", json!({ "v": true }), Refused));
    cases
}

#[tokio::test]
async fn no_argument_widens_a_condition_on_any_engine() {
    let mut world = World::new("conditions").await;
    let names = world.names();
    let gateway = world.gateway(&conditions()).await;
    for name in names.iter().filter(|n| n.ends_with("cosine")) {
        for (tool, arguments, wanted) in cases() {
            let result = gateway.call(&format!("{tool}_{name}"), arguments.clone()).await;
            match wanted {
                Ids(wanted) => {
                    let found: BTreeSet<u64> = ids(&result).into_iter().collect();
                    assert_eq!(found, wanted.iter().copied().collect(), "{name}: {tool}: {arguments}");
                }
                Refused => {
                    let said = failure(&result);
                    assert!(
                        !said.contains("(request "),
                        "not a sentence for the caller: {name}: {tool}: {arguments}: {said}"
                    );
                }
            }
        }
        // A text where the column holds numbers is smaller or larger than all of them to some engines.
        for text in ["", "zzz", "~", "a1", "1a", "9999"] {
            for tool in ["range", "above"] {
                let key = if tool == "range" { "from" } else { "v" };
                let result = gateway.call(&format!("{tool}_{name}"), json!({ key: text })).await;
                if result.get("isError").is_none() {
                    assert_eq!(ids(&result), [] as [u64; 0], "{name}: {tool}: {text}");
                }
            }
        }
    }
    world.gone().await;
}

#[tokio::test]
async fn what_cannot_be_compared_is_told_on_every_engine() {
    let mut world = World::new("hostile").await;
    let params = json!({ "q": { "type": "string" }, "limit": { "type": "integer", "default": 3 } });
    let tools = json!({ "find_SOURCE": { "description": "F.", "params": params, "vector": { "source": "SOURCE", "search": "{q}", "limit": "{limit}" } } });
    let names = world.names();
    let gateway = world.gateway(&tools).await;
    for name in &names {
        let tool = format!("find_{name}");
        for (question, wanted) in [
            ("[nan,1]", "The embedder of the source"),
            ("[1,inf]", "The embedder of the source"),
            ("[1,-inf]", "The embedder of the source"),
            ("[]", "a vector of the wrong length"),
            (" \n", "is empty"),
            ("", "is empty"),
        ] {
            let said = gateway.call(&tool, json!({ "q": question })).await;
            assert!(failure(&said).contains(wanted), "{name}: {question}: {}", failure(&said));
        }
        for question in ["[1,2,3]", "[1]"] {
            let said = gateway.call(&tool, json!({ "q": question })).await;
            assert!(failure(&said).contains(&format!("`{name}`")), "{name}: {}", failure(&said));
            if !name.starts_with("sqlite") {
                assert!(failure(&said).contains("another length"), "{name}: {}", failure(&said));
            }
        }
        for limit in [0, -1, 1001, 1_000_000_000] {
            let said = gateway.call(&tool, json!({ "q": "[1,0]", "limit": limit })).await;
            assert!(failure(&said).contains("from 1 to 1000"), "{name}: {limit}");
        }
        // Nothing is near to nothing.
        assert_eq!(ids(&gateway.call(&tool, json!({ "q": "[0,0]" })).await), [] as [u64; 0], "{name}");
        assert_eq!(
            ids(&gateway.call(&tool, json!({ "q": "[1,0]", "limit": 1000 })).await).len(),
            5,
            "{name}"
        );
        assert_eq!(ids(&gateway.call(&tool, json!({ "q": "[1,0]" })).await).len(), 3, "{name}");
    }
    world.gone().await;
}

#[tokio::test]
async fn a_condition_on_who_calls_shows_each_caller_its_own_rows_and_others_none() {
    let mut world = World::new("callers").await;
    world.auth = Some(json!({ "api_keys": [
        { "name": "ada", "key": "key-of-ada", "claims": { "lang": "en", "langs": ["de", "fr"] } },
        { "name": "bob", "key": "key-of-bob", "claims": { "lang": "de", "langs": [] } },
        { "name": "eve", "key": "key-of-eve" },
        { "name": "nil", "key": "key-of-nil", "claims": { "lang": null, "langs": null } },
        { "name": "all", "key": "key-of-all", "claims": { "lang": ["en", "de"], "langs": "en" } },
    ] }));
    let tool = |params: Value, filter: Value| {
        let mut params = params;
        params["q"] = json!({ "default": "[1,0]" });
        params["year"] = json!({ "optional": true });
        json!({ "description": "D.", "params": params, "vector": { "source": "SOURCE", "search": "{q}", "limit": 100, "where": filter } })
    };
    let from = |claim: &str| json!({ "own": { "from": format!("caller.claims.{claim}") } });
    let tools = json!({
        "one_SOURCE": tool(from("lang"), json!({ "lang": "{own}", "year": "{year}" })),
        "text_SOURCE": tool(from("lang"), json!({ "lang": "{own}{year}" })),
        "many_SOURCE": tool(from("langs"), json!({ "lang": { "in": "{own}" }, "year": "{year}" }))
    });
    let names = world.names();
    let gateway = world.gateway(&tools).await;
    let call = async |tool: &str, who: &str, arguments: Value| {
        let mut headers = modern_headers("tools/call", Some(tool));
        headers.push(("Authorization".to_owned(), format!("Bearer key-of-{who}")));
        let body = modern("tools/call", json!({ "name": tool, "arguments": arguments })).to_string();
        gateway.post(&headers, body.as_bytes()).await.json()["result"].clone()
    };
    for name in names.iter().filter(|n| n.ends_with("cosine")) {
        for (tool, who, wanted) in [
            ("one", "ada", Ids(&[1, 2])),
            ("one", "bob", Ids(&[3])),
            ("one", "eve", Refused),
            ("one", "nil", Refused),
            ("one", "all", Refused),
            ("text", "ada", Refused),
            ("many", "ada", Ids(&[3, 4])),
            ("many", "bob", Ids(&[])),
            ("many", "eve", Refused),
            ("many", "nil", Refused),
            ("many", "all", Refused),
        ] {
            let result = call(&format!("{tool}_{name}"), who, json!({})).await;
            match wanted {
                Ids(wanted) => {
                    let found: BTreeSet<u64> = ids(&result).into_iter().collect();
                    assert_eq!(found, wanted.iter().copied().collect(), "{name}: {tool}: {who}");
                }
                Refused => assert!(!failure(&result).is_empty(), "{name}: {tool}: {who}"),
            }
        }
        for hostile in [
            json!({ "own": "en" }),
            json!({ "own": null }),
            json!({ "year": { "gte": 0 } }),
            json!({ "year": [] }),
        ] {
            failure(&call(&format!("one_{name}"), "bob", hostile.clone()).await);
        }
        assert_eq!(ids(&call(&format!("one_{name}"), "ada", json!({ "year": 2022 })).await), [] as [u64; 0]);
    }
    world.gone().await;
}

#[tokio::test]
async fn check_online_says_what_would_fail_or_slow_every_search() {
    let mut world = World::new("online").await;
    // The embedder gives two numbers for the word that is tried.
    world.sources.retain(|name, _| name.ends_with("cosine"));
    let down = crate::support::Upstream::refusing().await;
    for (name, source) in world.sources.clone() {
        let engine = name.split_once('-').unwrap().0.to_owned();
        let mut failing = source.clone();
        failing["vector"]["embedder"]["openai"]["base_url"] = json!(format!("http://{down}"));
        failing["vector"]["embedder"]["openai"]["timeout"] = json!("1s");
        if engine == "sqlite" {
            failing["vector"]["sqlite"]["url"] = json!("sqlite:down.db");
        }
        world.sources.insert(format!("{engine}-down"), failing);
        if engine != "sqlite" {
            let mut long = source.clone();
            long["vector"]["embedder"] = json!({ "hash": { "dimensions": 16 } });
            world.sources.insert(format!("{engine}-long"), long);
        }
        if engine == "qdrant" {
            let mut other = source.clone();
            other["vector"]["distance"] = json!("l2");
            world.sources.insert("qdrant-other".to_owned(), other);
        }
    }
    let yaml = json!({ "sources": world.sources }).to_string();
    let said = online(world.folder(), &yaml).await;
    let of = |source: &str| {
        let mut parts = said.split("\n\n").filter(|part| part.contains(&format!("`{source}`")));
        parts.next().map(str::to_owned)
    };
    for engine in ["sqlite", "pgvector", "qdrant"] {
        if engine == "pgvector" && world.own.is_none() {
            continue;
        }
        assert_eq!(of(&format!("{engine}-cosine")), None, "{said}");
        let failing = of(&format!("{engine}-down")).unwrap();
        assert!(failing.contains("embedder: unavailable"), "{failing}");
        if engine != "sqlite" {
            let long = of(&format!("{engine}-long")).unwrap();
            assert!(long.contains("16 numbers from the embedder, 2 in the collection"), "{long}");
        }
    }
    let other = of("qdrant-other").unwrap();
    assert!(other.contains("Cosine, and `distance` says Euclid"), "{other}");
    assert!(!said.contains(KEY), "{said}");
    if let Some(own) = &mut world.own {
        // The one that works has no index; with one of another distance it still has none that helps.
        assert_eq!(said.matches("warning[no-vector-index]").count(), 1, "{said}");
        world.sources.retain(|name, _| name == "pgvector-cosine");
        let yaml = json!({ "sources": world.sources }).to_string();
        for (operators, warned) in [("vector_l2_ops", true), ("vector_cosine_ops", false)] {
            let index =
                format!("CREATE INDEX ON \"My \"\"own\"\" rows\" USING hnsw (\"vec.tor\" {operators})");
            own.run(&index).await;
            let said = online(std::path::Path::new("."), &yaml).await;
            assert_eq!(said.contains("no-vector-index"), warned, "{operators}: {said}");
        }
    }
    world.gone().await;
}

#[tokio::test]
async fn hostile_texts_are_questions_and_values_and_nothing_else() {
    let mut world = World::new("texts").await;
    let mut tools = json!({});
    for mode in ["vector", "text", "hybrid"] {
        let params = json!({ "q": { "type": "string" }, "v": { "type": "string", "optional": true } });
        let op = json!({ "source": "SOURCE", "search": "{q}", "mode": mode, "where": { "lang": { "in": ["{v}", "en", "de", "fr"] } } });
        tools[format!("{mode}_SOURCE")] = json!({ "description": "D.", "params": params, "vector": op });
    }
    world.sources.retain(|name, _| name.ends_with("cosine"));
    let names = world.names();
    let gateway = world.gateway(&tools).await;
    for name in &names {
        for text in STRINGS {
            for mode in ["vector", "text", "hybrid"] {
                let tool = format!("{mode}_{name}");
                // The brackets are the question's vector to this embedder.
                let asked = gateway.call(&tool, json!({ "q": format!("[1,0] {text}") })).await;
                if asked.get("isError").is_none() {
                    assert!(ids(&asked).len() <= 4 && !ids(&asked).contains(&5), "{tool}: {text:?}");
                } else {
                    assert!(!failure(&asked).contains("(request "), "{tool}: {text:?}: {asked}");
                }
                // As a value beside others it lets no row in that they do not.
                let filtered = gateway.call(&tool, json!({ "q": "[1,0] apple", "v": text })).await;
                if filtered.get("isError").is_none() {
                    assert!(!ids(&filtered).contains(&5) && ids(&filtered).len() >= 2, "{tool}: {text:?}");
                } else {
                    assert!(!failure(&filtered).contains("(request "), "{tool}: {text:?}: {filtered}");
                }
            }
        }
    }
    world.gone().await;
}
