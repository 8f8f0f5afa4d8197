//! Suggestions for prompt arguments and template variables, in both eras.

use serde_json::{Value, json};

use crate::support::Gateway;

const CONFIG: &str = r#"
sources: { db: { sql: { url: "sqlite::memory:", init: cities.sql } } }
resources:
  "geo://{country}/{city}":
    name: city
    sql: { source: db, query: "SELECT * FROM cities WHERE country = :country AND name = :city", row: one }
    complete:
      city:
        sql:
          source: db
          query: "SELECT name FROM cities WHERE name LIKE :value || '%' AND (:country IS NULL OR country = :country) ORDER BY name"
      country: { values: [de, fr] }
prompts:
  greet:
    description: Greets.
    params: { tone: { enum: [friendly, formal, Frosty] }, whom: { description: Whom } }
    messages: [{ user: "Greet {{ whom }} in a {{ tone }} tone." }]
"#;

async fn gateway() -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let many: String = (0..120).map(|n| format!("INSERT INTO cities VALUES ('xx', 'X{n:03}');")).collect();
    let script = format!(
        "CREATE TABLE cities (country TEXT, name TEXT); INSERT INTO cities VALUES \
         ('de', 'Bonn'), ('de', 'Berlin'), ('fr', 'Bordeaux'); {many}"
    );
    std::fs::write(folder.path().join("cities.sql"), script).unwrap();
    Gateway::start_in(folder, CONFIG).await
}

async fn values(gateway: &Gateway, params: Value) -> Value {
    let old = gateway.legacy("completion/complete", &params).await.json();
    let new = gateway.modern("completion/complete", params).await.json();
    assert_eq!(old["result"]["completion"], new["result"]["completion"], "both eras say the same");
    assert_eq!(new["result"]["resultType"], "complete");
    new["result"]["completion"].clone()
}

#[tokio::test]
async fn values_come_from_lists_enums_and_statements() {
    let gateway = gateway().await;
    let city = json!({ "type": "ref/resource", "uri": "geo://{country}/{city}" });
    let prompt = json!({ "type": "ref/prompt", "name": "greet" });
    for (reference, argument, typed, known, wanted) in [
        (&city, "country", "", json!({}), json!(["de", "fr"])),
        (&city, "country", "F", json!({}), json!(["fr"])),
        (&city, "city", "B", json!({}), json!(["Berlin", "Bonn", "Bordeaux"])),
        (&city, "city", "B", json!({ "country": "de" }), json!(["Berlin", "Bonn"])),
        (&city, "city", "' OR 1=1 --", json!({}), json!([])),
        (&prompt, "tone", "f", json!({}), json!(["friendly", "formal", "Frosty"])),
        (&prompt, "whom", "A", json!({}), json!([])),
    ] {
        let params = json!({
            "ref": reference, "argument": { "name": argument, "value": typed }, "context": { "arguments": known },
        });
        assert_eq!(values(&gateway, params).await["values"], wanted, "{argument} {typed:?} {known}");
    }
}

#[tokio::test]
async fn more_than_a_hundred_are_cut_and_counted() {
    let gateway = gateway().await;
    let params = json!({
        "ref": { "type": "ref/resource", "uri": "geo://{country}/{city}" },
        "argument": { "name": "city", "value": "X" },
    });
    let completion = values(&gateway, params).await;
    assert_eq!(completion["values"].as_array().unwrap().len(), 100);
    assert_eq!((&completion["total"], &completion["hasMore"]), (&json!(120), &json!(true)));
}

#[tokio::test]
async fn what_is_not_there_or_not_of_the_form_is_told() {
    let gateway = gateway().await;
    let argument = json!({ "name": "tone", "value": "f" });
    for params in [
        json!({}),
        json!({ "ref": { "type": "ref/prompt", "name": "nobody" }, "argument": argument }),
        json!({ "ref": { "type": "ref/tool", "name": "greet" }, "argument": argument }),
        json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "nothing", "value": "" } }),
        json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": ["tone", "f"] }),
        json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "tone", "value": 1 } }),
        json!({ "ref": { "type": "ref/resource", "uri": "geo://de/Bonn" }, "argument": argument }),
    ] {
        let reply = gateway.modern("completion/complete", params.clone()).await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{params}: {}", reply.text());
    }
}
