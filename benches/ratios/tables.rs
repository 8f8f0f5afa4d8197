//! The tables in PostgreSQL that the contests read, in a schema of their own.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::Result;
use crate::hash::HashEmbedder;

const ITEMS: &str = "CREATE TABLE sidegate_ratios.items
    (id bigint PRIMARY KEY, name text NOT NULL, note text NOT NULL, price double precision NOT NULL);
INSERT INTO sidegate_ratios.items
    SELECT id, 'item ' || id, 'kept on shelf ' || (id % 97), id % 89 + 0.5 FROM generate_series(1, 10000) AS id;
ANALYZE sidegate_ratios.items";

/// The length of the vectors.
pub const DIMENSIONS: usize = 384;
const PASSAGES: i64 = 20_000;
const WORDS: [&str; 16] = [
    "locker", "invoice", "harbour", "kettle", "garden", "ladder", "returns", "parcel", "bicycle", "window",
    "sailing", "thunder", "bakery", "lantern", "meadow", "copper",
];

/// Where they are.
pub fn url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

pub async fn make(vectors: bool) -> Result<()> {
    clear().await?;
    let mut connection = connect().await?;
    sqlx::raw_sql("CREATE SCHEMA sidegate_ratios").execute(&mut connection).await?;
    sqlx::raw_sql(AssertSqlSafe(ITEMS)).execute(&mut connection).await?;
    if vectors {
        passages(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

async fn passages(connection: &mut PgConnection) -> Result<()> {
    let table = format!(
        "CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE sidegate_ratios.passages
            (id bigint PRIMARY KEY, content text NOT NULL, embedding vector({DIMENSIONS}) NOT NULL)"
    );
    sqlx::raw_sql(AssertSqlSafe(table)).execute(&mut *connection).await?;
    let embedder = HashEmbedder::new(DIMENSIONS);
    let ids: Vec<i64> = (1..=PASSAGES).collect();
    for ids in ids.chunks(1000) {
        let texts: Vec<String> = ids.iter().map(|id| passage(*id)).collect();
        let vectors: Vec<pgvector::Vector> = texts.iter().map(|text| embedder.embed(text).into()).collect();
        let insert = "INSERT INTO sidegate_ratios.passages SELECT * FROM unnest($1::bigint[], $2::text[], $3::vector[])";
        sqlx::query(insert).bind(ids).bind(texts).bind(vectors).execute(&mut *connection).await?;
    }
    // Enough for the whole of it, which is then built in one go.
    let index = "SET maintenance_work_mem = '256MB'; CREATE INDEX ON sidegate_ratios.passages USING hnsw (embedding vector_cosine_ops);
        ANALYZE sidegate_ratios.passages";
    sqlx::raw_sql(index).execute(connection).await?;
    Ok(())
}

/// A passage of five words and its own number.
fn passage(id: i64) -> String {
    let words = [1, 3, 7, 11, 13].map(|step| {
        let place = usize::try_from(id * step / 5 + id / 16 * step).unwrap_or_default() % WORDS.len();
        WORDS.get(place).copied().unwrap_or_default()
    });
    format!("Passage {id} tells of {}.", words.join(", "))
}

pub async fn clear() -> Result<()> {
    let mut connection = connect().await?;
    sqlx::raw_sql("SET client_min_messages = warning; DROP SCHEMA IF EXISTS sidegate_ratios CASCADE")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

async fn connect() -> Result<PgConnection> {
    let url = url().ok_or("TEST_POSTGRES_URL is not set")?;
    Ok(PgConnection::connect(&url).await?)
}
