//! The tables in PostgreSQL that the contests read, in a schema of their own.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::Result;

const ITEMS: &str = "CREATE TABLE sidegate_ratios.items
    (id bigint PRIMARY KEY, name text NOT NULL, note text NOT NULL, price double precision NOT NULL);
INSERT INTO sidegate_ratios.items
    SELECT id, 'item ' || id, 'kept on shelf ' || (id % 97), id % 89 + 0.5 FROM generate_series(1, 10000) AS id;
ANALYZE sidegate_ratios.items";

/// Where they are.
pub fn url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

pub async fn make() -> Result<()> {
    clear().await?;
    let mut connection = connect().await?;
    sqlx::raw_sql("CREATE SCHEMA sidegate_ratios").execute(&mut connection).await?;
    sqlx::raw_sql(AssertSqlSafe(ITEMS)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
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
