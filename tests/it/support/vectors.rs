//! One small collection in every kind of database, and an embeddings service by which a question says its own vector.

use std::path::Path;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::qdrant::{KEY, Qdrant};
use super::upstream::{self, Upstream};
use super::{Gateway, structured};
use crate::postgres::Own;

/// `(id, text, vector, lang, year, price, draft)`.
pub type Row = (u64, &'static str, [f64; 2], Option<&'static str>, i64, f64, bool);

pub const ROWS: [Row; 5] = [
    (1, "red apple pie", [1.0, 0.0], Some("en"), 2020, 1.5, true),
    (2, "green apple", [0.6, 0.8], Some("en"), 2021, 2.25, false),
    (3, "Apfel und Birne", [0.0, 2.0], Some("de"), 2022, 3.0, false),
    (4, "old pear", [-1.0, 0.5], Some("fr"), 1999, 0.5, false),
    (5, "nobody's fruit", [0.1, 0.1], None, 2023, 9.0, false),
];

/// A service that gives the numbers between the first brackets of a text; `[nan]` is no number, and it counts what it is asked.
pub async fn embedder() -> Upstream {
    Upstream::start(|seen| {
        let ask: Value = serde_json::from_slice(&seen.body).unwrap();
        let text = ask["input"].as_str().unwrap();
        let vector = text.split(['[', ']']).nth(1).unwrap_or("1,0");
        let vector = vector.replace("nan", "NaN").replace("inf", "1e999");
        upstream::json(&format!("{{\"data\":[{{\"index\":0,\"embedding\":[{vector}]}}]}}"))
    })
    .await
}

/// The collections, by the name of their source.
pub struct World {
    pub sources: Map<String, Value>,
    folder: Option<TempDir>,
    pub own: Option<Own>,
    pub qdrant: Qdrant,
    pub embedder: Upstream,
    /// `auth` of the gateway.
    pub auth: Option<Value>,
}

impl World {
    /// Every engine that is there, with every distance that it has: `sqlite-cosine`, `pgvector-l2`, …
    pub async fn new(schema: &str) -> Self {
        let embedder = embedder().await;
        let folder = tempfile::tempdir().unwrap();
        sqlite(folder.path());
        let own = Own::open(schema, &table()).await;
        let qdrant = Qdrant::start().await;
        let asked = json!({ "openai": { "base_url": format!("{}/v1", embedder.url()), "model": "own", "timeout": "3s" } });
        let mut sources = Map::new();
        for (distance, qdrants) in [("cosine", "Cosine"), ("l2", "Euclid"), ("inner_product", "Dot")] {
            let mut add = |engine: &str, key: &str, collection: Value| {
                let source = json!({ key: collection, "distance": distance, "embedder": asked });
                sources.insert(format!("{engine}-{distance}"), json!({ "vector": source }));
            };
            if distance != "inner_product" {
                add(
                    "sqlite",
                    "sqlite",
                    json!({ "url": "sqlite:c.db", "table": "c", "init": "init.sql", "id": "key", "text": "content", "embedding": "vec" }),
                );
            }
            if let Some(own) = &own {
                let metadata = ["lang", "year", "price", "draft"];
                add(
                    "pgvector",
                    "pgvector",
                    json!({ "url": own.url, "table": format!("{}.My \"own\" rows", own.schema),
                    "id": "the id", "text": "te\"xt", "embedding": "vec.tor", "metadata": metadata }),
                );
            }
            let vectors = json!({ "size": 2, "distance": qdrants });
            let name = qdrant.collection(&format!("{schema}_{distance}"), vectors, points(None)).await;
            add("qdrant", "qdrant", json!({ "url": qdrant.url, "collection": name, "api_key": KEY }));
        }
        Self { sources, folder: Some(folder), own, qdrant, embedder, auth: None }
    }

    /// Where the files of the sources are, as long as no gateway has them.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    pub fn names(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    /// A gateway with these tools for each source; `SOURCE` in a tool's name and operation is the source's.
    pub async fn gateway(&mut self, tools: &Value) -> Gateway {
        let mut all = Map::new();
        for name in self.sources.keys() {
            let text = tools.to_string().replace("SOURCE", name);
            let tools: Map<String, Value> = serde_json::from_str(&text).unwrap();
            all.extend(tools);
        }
        let mut config = json!({ "sources": self.sources, "tools": all });
        if let Some(auth) = &self.auth {
            config["auth"] = auth.clone();
        }
        Gateway::start_in(self.folder.take().unwrap(), &config.to_string()).await
    }

    pub async fn gone(self) {
        self.qdrant.gone().await;
        if let Some(own) = self.own {
            own.gone().await;
        }
    }
}

fn sqlite(folder: &Path) {
    let mut script = "CREATE TABLE c (key INTEGER PRIMARY KEY, content TEXT, vec TEXT, lang TEXT, year INTEGER, price REAL, draft INTEGER);\n"
        .to_owned();
    for (id, text, [x, y], lang, year, price, draft) in ROWS {
        let lang = lang.map_or("NULL".to_owned(), |lang| format!("'{lang}'"));
        let text = text.replace('\'', "''");
        script.push_str(&format!(
            "INSERT INTO c VALUES ({id}, '{text}', '[{x},{y}]', {lang}, {year}, {price}, {draft});\n"
        ));
    }
    std::fs::write(folder.join("init.sql"), script).unwrap();
}

fn table() -> String {
    let mut script = "CREATE TABLE \"My \"\"own\"\" rows\" (\"the id\" bigint PRIMARY KEY, \"te\"\"xt\" text, \"vec.tor\" vector(2), lang text, year int, price numeric, draft boolean);\n"
        .to_owned();
    for (id, text, [x, y], lang, year, price, draft) in ROWS {
        let lang = lang.map_or("NULL".to_owned(), |lang| format!("'{lang}'"));
        let text = text.replace('\'', "''");
        script.push_str(&format!(
            "INSERT INTO \"My \"\"own\"\" rows\" VALUES ({id}, '{text}', '[{x},{y}]', {lang}, {year}, {price}, {draft});\n"
        ));
    }
    script
}

/// The rows as points, with a named vector if there is a name.
pub fn points(vector: Option<&str>) -> Value {
    let points = ROWS.iter().map(|(id, text, at, lang, year, price, draft)| {
        let vector = vector.map_or(json!(at), |name| json!({ name: at }));
        let mut payload = json!({ "content": text, "year": year, "price": price, "draft": draft });
        if let Some(lang) = lang {
            payload["lang"] = json!(lang);
        }
        json!({ "id": id, "vector": vector, "payload": payload })
    });
    points.collect()
}

/// The matches of a result that is no error.
pub fn matches(result: &Value) -> &Vec<Value> {
    structured(result)["matches"].as_array().unwrap()
}

/// Their ids.
pub fn ids(result: &Value) -> Vec<u64> {
    matches(result).iter().map(|m| m["id"].as_u64().unwrap()).collect()
}
