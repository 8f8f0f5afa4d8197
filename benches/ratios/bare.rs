//! The SQL floor: what a handler written by hand does with sqlx, or for SQLite with rusqlite. The gateway's statement on a pool of the gateway's size, rows
//! decoded to their types, written by serde. As a server, and as a loop without HTTP. Vectors are made by the gateway's own code.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use rusqlite::OpenFlags;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ColumnIndex, Decode, FromRow, PgPool, Row, SqlitePool, Type};
use tokio::net::TcpListener;

use crate::floors::{self, Call, Reply};
use crate::hash::HashEmbedder;
use crate::tables::DIMENSIONS;
use crate::{Result, process};

/// The gateway's default.
const POOL: u32 = 10;
/// Calls of the loop before it is measured.
const WARM_UP: usize = 200;

/// What is asked of which engine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    SqliteItem,
    /// By rusqlite, on the threads that the runtime has for what blocks.
    SqliteDirect,
    PostgresItem,
    PostgresItems,
    Nearest,
}

impl Asked {
    const ALL: [Self; 5] =
        [Self::SqliteItem, Self::SqliteDirect, Self::PostgresItem, Self::PostgresItems, Self::Nearest];

    pub fn name(self) -> &'static str {
        match self {
            Self::SqliteItem => "sqlite-item",
            Self::SqliteDirect => "sqlite-direct",
            Self::PostgresItem => "postgres-item",
            Self::PostgresItems => "postgres-items",
            Self::Nearest => "nearest",
        }
    }

    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|asked| asked.name() == name);
        found.ok_or_else(|| format!("nothing asked is called {name}").into())
    }

    pub fn postgres(self) -> bool {
        !matches!(self, Self::SqliteItem | Self::SqliteDirect)
    }

    /// The statement, with the engine's mark in the place of its parameter.
    pub fn statement(self, mark: &str) -> String {
        match self {
            Self::SqliteItem | Self::SqliteDirect => {
                format!("SELECT id, name, note, price FROM items WHERE id = {mark}")
            }
            Self::PostgresItem => {
                format!("SELECT id, name, note, price FROM sidegate_ratios.items WHERE id = {mark}")
            }
            Self::PostgresItems => format!(
                "SELECT id, name, note, price FROM sidegate_ratios.items WHERE id > {mark} ORDER BY id LIMIT 100"
            ),
            Self::Nearest => format!(
                "SELECT id, content, embedding <=> {mark} AS distance FROM sidegate_ratios.passages \
                 ORDER BY embedding <=> {mark} LIMIT 5"
            ),
        }
    }
}

#[derive(Clone)]
pub struct Bare {
    asked: Asked,
    text: Arc<str>,
    pool: Pool,
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    Direct(Arc<Direct>),
}

/// Connections of rusqlite.
struct Direct {
    file: String,
    idle: Mutex<Vec<rusqlite::Connection>>,
}

impl Direct {
    fn item(&self, text: &str, id: i64) -> Result<Item> {
        let idle = || self.idle.lock().map_err(|_| "a call has ended in the middle");
        let connection = match idle()?.pop() {
            Some(connection) => connection,
            None => rusqlite::Connection::open_with_flags(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let read = |row: &rusqlite::Row| {
            Ok(Item { id: row.get(0)?, name: row.get(1)?, note: row.get(2)?, price: row.get(3)? })
        };
        let item = connection.prepare_cached(text)?.query_row([id], read)?;
        idle()?.push(connection);
        Ok(item)
    }
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(default)]
    id: i64,
    #[serde(borrow, default)]
    question: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Item(Item),
    Items { rows: Vec<Item> },
    Nearest { matches: Vec<Match> },
}

#[derive(Serialize)]
struct Item {
    id: i64,
    name: String,
    note: String,
    price: f64,
}

#[derive(Serialize)]
struct Match {
    id: i64,
    score: f64,
    text: String,
}

impl FromRow<'_, PgRow> for Match {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let distance: f64 = row.try_get("distance")?;
        // Four decimals, as the gateway shows.
        let score = ((1.0 - distance) * 1e4).round() / 1e4;
        Ok(Self { id: row.try_get("id")?, score, text: row.try_get("content")? })
    }
}

/// As sqlx's derive would write it.
impl<'r, R: Row> FromRow<'r, R> for Item
where
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    f64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            note: row.try_get("note")?,
            price: row.try_get("price")?,
        })
    }
}

impl Bare {
    /// `file` is the SQLite database; PostgreSQL's address comes from the environment.
    pub fn open(asked: Asked, file: &str) -> Result<Self> {
        let pool = if asked.postgres() {
            let url = std::env::var("TEST_POSTGRES_URL")?;
            Pool::Postgres(
                sqlx::postgres::PgPoolOptions::new().max_connections(POOL).connect_lazy_with(url.parse()?),
            )
        } else if asked == Asked::SqliteDirect {
            Pool::Direct(Arc::new(Direct { file: file.to_owned(), idle: Mutex::default() }))
        } else {
            let options = SqliteConnectOptions::new().filename(file).read_only(true);
            Pool::Sqlite(
                sqlx::sqlite::SqlitePoolOptions::new().max_connections(POOL).connect_lazy_with(options),
            )
        };
        let mark = if asked.postgres() { "$1" } else { "?1" };
        Ok(Self { asked, text: asked.statement(mark).into(), pool })
    }

    async fn ask(&self, arguments: &Arguments<'_>) -> Result<Answer> {
        let text = sqlx::AssertSqlSafe(self.text.clone());
        Ok(match (self.asked, &self.pool) {
            (Asked::PostgresItems, Pool::Postgres(pool)) => {
                Answer::Items { rows: sqlx::query_as(text).bind(arguments.id).fetch_all(pool).await? }
            }
            (Asked::Nearest, Pool::Postgres(pool)) => {
                let vector = pgvector::Vector::from(HashEmbedder::new(DIMENSIONS).embed(&arguments.question));
                Answer::Nearest { matches: sqlx::query_as(text).bind(vector).fetch_all(pool).await? }
            }
            (_, Pool::Direct(direct)) => {
                let (direct, text, id) = (direct.clone(), self.text.clone(), arguments.id);
                Answer::Item(tokio::task::spawn_blocking(move || direct.item(&text, id)).await??)
            }
            (_, Pool::Postgres(pool)) => {
                Answer::Item(sqlx::query_as(text).bind(arguments.id).fetch_one(pool).await?)
            }
            (_, Pool::Sqlite(pool)) => {
                Answer::Item(sqlx::query_as(text).bind(arguments.id).fetch_one(pool).await?)
            }
        })
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        let call: Call = serde_json::from_slice(&body)?;
        let arguments: Arguments = serde_json::from_str(call.params.arguments.get())?;
        let answer: Box<RawValue> = to_raw_value(&self.ask(&arguments).await?)?;
        let wrapped = serde_json::to_vec(&Reply::new(call.id, answer.get(), Some(&answer)))?;
        Ok(floors::json(wrapped.into()))
    }

    pub async fn serve(self, listener: TcpListener) -> Result<()> {
        floors::serve(listener, move |request| self.clone().answer(request)).await
    }

    /// The statement again and again on the pool, one call at a time.
    pub async fn repeat(self, arguments: &str, length: Duration) -> Result<Looped> {
        let arguments: Arguments = serde_json::from_str(arguments)?;
        for _ in 0..WARM_UP {
            self.ask(&arguments).await?;
        }
        let (before, started, mut calls) = (process::own_cpu()?, Instant::now(), 0_u32);
        while started.elapsed() < length {
            self.ask(&arguments).await?;
            calls += 1;
        }
        let (wall, cpu) = (started.elapsed(), process::own_cpu()?.saturating_sub(before));
        Ok(Looped::of(wall, cpu, calls.max(1)))
    }
}

/// What one call of the loop costs.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Looped {
    pub wall_us: f64,
    pub cpu_us: f64,
}

impl Looped {
    fn of(wall: Duration, cpu: Duration, calls: u32) -> Self {
        Self { wall_us: crate::report::micros(wall / calls), cpu_us: crate::report::micros(cpu / calls) }
    }
}
