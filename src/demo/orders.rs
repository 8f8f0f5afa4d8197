//! The sample legacy API that the demo puts the gateway in front of: a shop's orders over HTTP/1.1.
//! JSON only, one bearer token, its data in a `SQLite` file that is filled on the first start.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long running connections may take to end.
const GRACE: Duration = Duration::from_secs(2);
const MAX_BODY: usize = 64 * 1024;
/// What of a body that is too large is read and dropped, so that the client gets to see the answer.
const MAX_DRAIN: usize = 1024 * 1024;
const STATUSES: [&str; 5] = ["open", "shipped", "delivered", "returned", "cancelled"];

/// Why the orders API cannot run.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// The file cannot be created or is no database.
    #[error("cannot open the orders database")]
    Open(#[source] sqlx::Error),
    /// The script for an empty database failed.
    #[error("cannot fill the orders database")]
    Fill(#[source] sqlx::Error),
}

/// Why a request gets no data; the text goes to the client.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("a valid bearer token is needed")]
    Token,
    #[error("no such path")]
    Path,
    #[error("no such order")]
    Order,
    #[error("only {0} is possible here")]
    Method(&'static str),
    #[error("{0}")]
    Input(&'static str),
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    #[error("the orders database does not answer")]
    Database(#[from] sqlx::Error),
}

type Reply = Result<(StatusCode, Value), Refusal>;

struct Api {
    database: SqlitePool,
    token: String,
}

/// Serves the API on `listener` until `shutdown`, then gives running requests two seconds.
///
/// The database is created if it is missing, and filled by `script` if it has no tables.
///
/// # Errors
///
/// When the database cannot be opened or filled. Errors of single connections and requests do not
/// end the server.
pub async fn serve(
    listener: TcpListener,
    database: PathBuf,
    script: &'static str,
    token: String,
    shutdown: impl Future<Output = ()>,
) -> Result<(), OrdersError> {
    let database = open(&database, script).await?;
    let api = Arc::new(Api { database: database.clone(), token });
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(crate::tasks::work(connection(stream, &api, &graceful)));
                }
                Err(error) => {
                    // Mostly "too many open files", which passes.
                    tracing::warn!(%error, "the orders API cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("the orders API ends with requests unanswered");
    }
    connections.shutdown().await;
    database.close().await;
    Ok(())
}

async fn open(database: &Path, script: &'static str) -> Result<SqlitePool, OrdersError> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(5));
    fill(&options, script).await?;
    let pool = SqlitePoolOptions::new().max_connections(4);
    pool.connect_with(options).await.map_err(OrdersError::Open)
}

/// Runs the script unless there are tables. Somebody else may be filling the same file just now:
/// then the script fails, and a moment later there are tables.
async fn fill(options: &SqliteConnectOptions, script: &'static str) -> Result<(), OrdersError> {
    let mut attempts = 0;
    loop {
        // A new connection each time: a script that fails leaves its transaction open.
        let mut connection = options.connect().await.map_err(OrdersError::Open)?;
        if has_tables(&mut connection).await.map_err(OrdersError::Open)? {
            return connection.close().await.map_err(OrdersError::Open);
        }
        let filled = sqlx::raw_sql(script).execute(&mut connection).await;
        connection.close().await.map_err(OrdersError::Open)?;
        attempts += 1;
        match filled {
            Ok(_) => return Ok(()),
            Err(error) if attempts == 5 => return Err(OrdersError::Fill(error)),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn has_tables(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')")
        .fetch_one(connection)
        .await
}

fn connection(
    stream: TcpStream,
    api: &Arc<Api>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let api = Arc::clone(api);
    let service = service_fn(move |request| answer(Arc::clone(&api), request));
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the orders API broke");
        }
    }
}

async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = match api.reply(request).await {
        Ok((status, value)) => response(status, &value),
        Err(refusal) => refusal.response(),
    };
    Ok(reply)
}

fn response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}

fn set(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Path | Self::Order => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Input(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = response(self.status(), &json!({ "message": self.to_string() }));
        match self {
            Self::Token => set(&mut response, header::WWW_AUTHENTICATE, "Bearer"),
            Self::Method(allowed) => set(&mut response, header::ALLOW, allowed),
            Self::Database(error) => tracing::warn!(%error, "the orders database failed"),
            Self::Path | Self::Order | Self::Input(_) | Self::TooLarge => {}
        }
        response
    }
}

/// What a path names; which method it takes is checked next.
#[derive(Debug, PartialEq)]
enum Place {
    Orders,
    Order(String),
    Notes(String),
    Products,
}

impl Place {
    fn parse(path: &str) -> Option<Self> {
        let segments = path
            .strip_prefix("/v1/")?
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(Cow::into_owned))
            .collect::<Option<Vec<String>>>()?;
        let mut segments = segments.into_iter();
        let place = match (segments.next()?.as_str(), segments.next(), segments.next().as_deref()) {
            ("orders", None, None) => Self::Orders,
            ("orders", Some(id), None) => Self::Order(id),
            ("orders", Some(id), Some("notes")) => Self::Notes(id),
            ("products", None, None) => Self::Products,
            _ => return None,
        };
        segments.next().is_none().then_some(place)
    }

    fn method(&self) -> (Method, &'static str) {
        match self {
            Self::Orders | Self::Order(_) | Self::Products => (Method::GET, "GET"),
            Self::Notes(_) => (Method::POST, "POST"),
        }
    }
}

/// The values of the query string; an empty one is as good as none.
struct Query(HashMap<String, String>);

impl Query {
    fn parse(text: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().filter(|(_, value)| !value.is_empty()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str, otherwise: &'static str) -> Result<Option<i64>, Refusal> {
        let number = self.get(name).map(str::parse).transpose();
        number.map_err(|_| Refusal::Input(otherwise))
    }
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
    #[serde(default)]
    urgent: bool,
    author: String,
}

/// id, status, customer, time and total of an order.
type OrderRow = (String, String, i64, String, f64);
/// sku, name, quantity and unit price of an order line.
type LineRow = (String, String, i64, f64);
/// sku, name, price and stock of a product.
type ProductRow = (String, String, f64, i64);
/// id, order, text, urgency, author and time of a note.
type NoteRow = (i64, String, String, bool, String, String);

impl Api {
    async fn reply(&self, request: Request<Incoming>) -> Reply {
        if !self.admits(request.headers()) {
            return Err(Refusal::Token);
        }
        let place = Place::parse(request.uri().path()).ok_or(Refusal::Path)?;
        let (method, name) = place.method();
        if *request.method() != method {
            return Err(Refusal::Method(name));
        }
        let query = Query::parse(request.uri().query());
        match place {
            Place::Orders => self.orders(&query).await,
            Place::Order(id) => self.order(&id, &query).await,
            Place::Notes(id) => self.add_note(&id, request.into_body()).await,
            Place::Products => self.products(&query).await,
        }
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        value
            .and_then(|value| value.split_once(' '))
            .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token == self.token)
    }

    async fn orders(&self, query: &Query) -> Reply {
        let status = query.get("status");
        if status.is_some_and(|status| !STATUSES.contains(&status)) {
            return Err(Refusal::Input("status is open, shipped, delivered, returned or cancelled"));
        }
        let customer = query.number("customer", "customer is a number")?;
        let limit = query.number("limit", LIMIT)?.unwrap_or(50);
        if !(1..=100).contains(&limit) {
            return Err(Refusal::Input(LIMIT));
        }
        let rows: Vec<OrderRow> = sqlx::query_as(
            "SELECT id, status, customer_id, placed_at, total FROM orders \
             WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR customer_id = ?2) \
             ORDER BY placed_at DESC, id DESC LIMIT ?3",
        )
        .bind(status)
        .bind(customer)
        .bind(limit)
        .fetch_all(&self.database)
        .await?;
        let count = rows.len();
        let data: Vec<Value> = rows.into_iter().map(summary).collect();
        Ok((StatusCode::OK, json!({ "data": data, "meta": { "count": count } })))
    }

    async fn order(&self, id: &str, query: &Query) -> Reply {
        let expand = query.get("expand");
        if !matches!(expand, None | Some("customer" | "notes")) {
            return Err(Refusal::Input("expand is customer or notes"));
        }
        let row: Option<OrderRow> =
            sqlx::query_as("SELECT id, status, customer_id, placed_at, total FROM orders WHERE id = ?1")
                .bind(id)
                .fetch_optional(&self.database)
                .await?;
        let row = row.ok_or(Refusal::Order)?;
        let customer = row.2;
        let mut order = summary(row);
        let mut put = |name: &str, value: Value| {
            if let Some(order) = order.as_object_mut() {
                order.insert(name.to_owned(), value);
            }
        };
        put("lines", self.lines(id).await?);
        match expand {
            Some("customer") => put("customer", self.customer(customer).await?),
            Some("notes") => put("notes", self.notes(id).await?),
            _ => {}
        }
        Ok((StatusCode::OK, order))
    }

    async fn lines(&self, order: &str) -> Result<Value, Refusal> {
        let rows: Vec<LineRow> = sqlx::query_as(
            "SELECT l.sku, p.name, l.qty, l.unit_price FROM order_lines AS l \
             JOIN products AS p ON p.sku = l.sku WHERE l.order_id = ?1 ORDER BY l.rowid",
        )
        .bind(order)
        .fetch_all(&self.database)
        .await?;
        Ok(rows.into_iter().map(line).collect())
    }

    async fn customer(&self, id: i64) -> Result<Value, Refusal> {
        let row: Option<(i64, String, String)> =
            sqlx::query_as("SELECT id, name, email FROM customers WHERE id = ?1")
                .bind(id)
                .fetch_optional(&self.database)
                .await?;
        Ok(row.map_or(Value::Null, |(id, name, email)| json!({ "id": id, "name": name, "email": email })))
    }

    async fn notes(&self, order: &str) -> Result<Value, Refusal> {
        let rows: Vec<NoteRow> = sqlx::query_as(
            "SELECT id, order_id, text, urgent, author, created_at FROM order_notes \
             WHERE order_id = ?1 ORDER BY id",
        )
        .bind(order)
        .fetch_all(&self.database)
        .await?;
        Ok(rows.into_iter().map(note).collect())
    }

    async fn add_note(&self, order: &str, body: Incoming) -> Reply {
        let body = read(body).await?;
        let new: NewNote = serde_json::from_slice(&body)
            .map_err(|_| Refusal::Input("the body is JSON with text, urgent and author"))?;
        if new.text.trim().is_empty() || new.author.trim().is_empty() {
            return Err(Refusal::Input("text and author must not be empty"));
        }
        // All rows are fetched although there is one at most: only then is the insert surely done.
        let rows: Vec<NoteRow> = sqlx::query_as(
            "INSERT INTO order_notes (order_id, text, urgent, author) \
             SELECT id, ?2, ?3, ?4 FROM orders WHERE id = ?1 \
             RETURNING id, order_id, text, urgent, author, created_at",
        )
        .bind(order)
        .bind(new.text)
        .bind(new.urgent)
        .bind(new.author)
        .fetch_all(&self.database)
        .await?;
        let stored = rows.into_iter().next().ok_or(Refusal::Order)?;
        Ok((StatusCode::CREATED, note(stored)))
    }

    async fn products(&self, query: &Query) -> Reply {
        let rows: Vec<ProductRow> = sqlx::query_as(
            "SELECT sku, name, price, stock FROM products \
             WHERE instr(lower(name), lower(?1)) > 0 OR instr(lower(sku), lower(?1)) > 0 \
             ORDER BY sku",
        )
        .bind(query.get("q").unwrap_or_default())
        .fetch_all(&self.database)
        .await?;
        let data: Vec<Value> = rows.into_iter().map(product).collect();
        Ok((StatusCode::OK, json!({ "data": data })))
    }
}

const LIMIT: &str = "limit is a number from 1 to 100";

fn summary((id, status, customer, placed_at, total): OrderRow) -> Value {
    json!({
        "id": id,
        "status": status,
        "customer_id": customer,
        "placed_at": placed_at,
        "total": total,
    })
}

fn line((sku, name, qty, unit_price): LineRow) -> Value {
    json!({ "sku": sku, "name": name, "qty": qty, "unit_price": unit_price })
}

fn product((sku, name, price, stock): ProductRow) -> Value {
    json!({ "sku": sku, "name": name, "price": price, "stock": stock })
}

fn note((id, order, text, urgent, author, created_at): NoteRow) -> Value {
    json!({
        "id": id,
        "order_id": order,
        "text": text,
        "urgent": urgent,
        "author": author,
        "created_at": created_at,
    })
}

async fn read(mut body: Incoming) -> Result<Bytes, Refusal> {
    let mut kept = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Input("the body broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen = seen.saturating_add(data.len());
        if seen > MAX_DRAIN {
            break;
        }
        if seen <= MAX_BODY {
            kept.extend_from_slice(&data);
        }
    }
    if seen > MAX_BODY { Err(Refusal::TooLarge) } else { Ok(kept.freeze()) }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::net::SocketAddr;
    use std::time::Instant;

    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    type Outcome = Result<(), Box<dyn Error>>;

    const SCRIPT: &str = include_str!("../../examples/shop.sql");

    /// A running API over a database of its own, and a client of it.
    struct Shop {
        address: SocketAddr,
        folder: TempDir,
        stop: oneshot::Sender<()>,
        task: JoinHandle<Result<(), OrdersError>>,
    }

    struct Answer {
        status: u16,
        head: String,
        json: Value,
    }

    impl Shop {
        async fn open() -> Result<Self, Box<dyn Error>> {
            Self::open_in(tempfile::tempdir()?).await
        }

        async fn open_in(folder: TempDir) -> Result<Self, Box<dyn Error>> {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let database = folder.path().join("shop.db");
            let (stop, stopped) = oneshot::channel();
            let shutdown = async {
                stopped.await.ok();
            };
            let task = tokio::spawn(serve(listener, database, SCRIPT, "secret".into(), shutdown));
            Ok(Self { address, folder, stop, task })
        }

        async fn close(self) -> Result<TempDir, Box<dyn Error>> {
            self.stop.send(()).map_err(|()| "the server has ended by itself")?;
            self.task.await??;
            Ok(self.folder)
        }

        async fn get(&self, path: &str) -> Result<Answer, Box<dyn Error>> {
            self.send("GET", path, "Bearer secret", "").await
        }

        async fn post(&self, path: &str, body: &str) -> Result<Answer, Box<dyn Error>> {
            self.send("POST", path, "Bearer secret", body).await
        }

        async fn send(
            &self,
            method: &str,
            path: &str,
            authorization: &str,
            body: &str,
        ) -> Result<Answer, Box<dyn Error>> {
            let mut stream = TcpStream::connect(self.address).await?;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\
                 Authorization: {authorization}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of the head")?;
            let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
            let head = head.to_ascii_lowercase();
            assert!(head.contains("content-type: application/json"), "{head}");
            Ok(Answer { status, head, json: serde_json::from_str(body)? })
        }
    }

    fn ids(answer: &Answer) -> Vec<&str> {
        let data = answer.json.pointer("/data").and_then(Value::as_array);
        let id = |row| Value::pointer(row, "/id").or_else(|| row.pointer("/sku"));
        data.into_iter().flatten().filter_map(id).filter_map(Value::as_str).collect()
    }

    #[tokio::test]
    async fn an_order_has_its_lines_and_on_wish_its_customer_or_its_notes() -> Outcome {
        let shop = Shop::open().await?;
        let plain = shop.get("/v1/orders/ORD-1001").await?;
        assert_eq!(plain.status, 200);
        let mut order = json!({
            "id": "ORD-1001", "status": "shipped", "customer_id": 7,
            "placed_at": "2026-09-02T08:14:00Z", "total": 122.6,
            "lines": [
                { "sku": "GRI-30", "name": "Hand coffee grinder", "qty": 1, "unit_price": 79.0 },
                { "sku": "COF-50", "name": "House blend coffee 1 kg", "qty": 2, "unit_price": 21.8 },
            ],
        });
        assert_eq!(plain.json, order);
        assert_eq!(shop.get("/v1/orders/ORD%2D1001?expand=").await?.json, order);

        let with_notes = shop.get("/v1/orders/ORD-1001?expand=notes").await?.json;
        assert_eq!(with_notes.pointer("/notes/1/text"), Some(&json!("Search opened with the carrier.")));
        assert_eq!(with_notes.pointer("/notes/0/urgent"), Some(&json!(true)));
        let without = shop.get("/v1/orders/ORD-1002?expand=notes").await?.json;
        assert_eq!(without.pointer("/notes"), Some(&json!([])));

        let customer = json!({ "id": 7, "name": "Ines Carvalho", "email": "ines.carvalho@example.com" });
        order.as_object_mut().ok_or("no object")?.insert("customer".into(), customer);
        assert_eq!(shop.get("/v1/orders/ORD-1001?expand=customer").await?.json, order);
        assert_eq!(shop.get("/v1/orders/ORD-1001?expand=lines").await?.status, 400);
        Ok(())
    }

    #[tokio::test]
    async fn orders_are_listed_newest_first_by_status_and_customer() -> Outcome {
        let shop = Shop::open().await?;
        let all = shop.get("/v1/orders").await?;
        assert_eq!((all.status, ids(&all).len()), (200, 24));
        let open = shop.get("/v1/orders?status=open&customer=7").await?;
        assert_eq!(ids(&open), ["ORD-1022", "ORD-1020", "ORD-1018", "ORD-1016"]);
        assert_eq!(open.json.pointer("/meta"), Some(&json!({ "count": 4 })));
        assert_eq!(
            open.json.pointer("/data/1"),
            Some(&json!({
                "id": "ORD-1020", "status": "open", "customer_id": 7,
                "placed_at": "2026-10-21T22:14:00Z", "total": 38.5,
            }))
        );
        let two = shop.get("/v1/orders?customer=7&limit=2&status=").await?;
        assert_eq!(ids(&two), ["ORD-1022", "ORD-1020"]);
        assert_eq!(ids(&shop.get("/v1/orders?customer=99").await?).len(), 0);
        for wrong in ["status=lost", "customer=x", "limit=0", "limit=101", "limit=two"] {
            let answer = shop.get(&format!("/v1/orders?{wrong}")).await?;
            assert_eq!(answer.status, 400, "{wrong}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_note_is_stored_as_it_came() -> Outcome {
        let shop = Shop::open().await?;
        let body = json!({ "text": "It's late; \"call\" 📞", "urgent": true, "author": "assistant" });
        let stored = shop.post("/v1/orders/ORD-1016/notes", &body.to_string()).await?;
        assert_eq!(stored.status, 201);
        for name in ["text", "urgent", "author"] {
            assert_eq!(stored.json.get(name), body.get(name));
        }
        assert_eq!(stored.json.get("order_id"), Some(&json!("ORD-1016")));
        let time = stored.json.get("created_at").and_then(Value::as_str).unwrap_or_default();
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
        let order = shop.get("/v1/orders/ORD-1016?expand=notes").await?.json;
        assert_eq!(order.pointer("/notes"), Some(&json!([stored.json])));

        let quiet = r#"{"text": "fine", "author": "assistant"}"#;
        let answer = shop.post("/v1/orders/ORD-1016/notes", quiet).await?;
        assert_eq!(answer.json.get("urgent"), Some(&json!(false)));
        let unknown = shop.post("/v1/orders/ORD-1/notes", quiet).await?;
        assert_eq!((unknown.status, unknown.json), (404, json!({ "message": "no such order" })));
        Ok(())
    }

    #[tokio::test]
    async fn a_note_that_is_no_note_is_refused() -> Outcome {
        let shop = Shop::open().await?;
        for body in [
            "",
            "{",
            "[]",
            r#"{"text": "x"}"#,
            r#"{"text": "x", "urgent": "yes", "author": "a"}"#,
            r#"{"text": " ", "author": "a"}"#,
        ] {
            let answer = shop.post("/v1/orders/ORD-1016/notes", body).await?;
            assert_eq!(answer.status, 400, "{body}");
        }
        let note = |length| json!({ "text": "x".repeat(length), "author": "a" }).to_string();
        let frame = note(0).len();
        let fits = shop.post("/v1/orders/ORD-1016/notes", &note(MAX_BODY - frame)).await?;
        assert_eq!(fits.status, 201);
        for length in [MAX_BODY - frame + 1, MAX_BODY * 8] {
            let answer = shop.post("/v1/orders/ORD-1016/notes", &note(length)).await?;
            assert_eq!(answer.status, 413);
            assert_eq!(answer.json, json!({ "message": "the body is larger than 64 KiB" }));
        }
        Ok(())
    }

    #[tokio::test]
    async fn products_are_found_by_name_and_by_number() -> Outcome {
        let shop = Shop::open().await?;
        assert_eq!(ids(&shop.get("/v1/products").await?).len(), 10);
        let mugs = shop.get("/v1/products?q=MUG").await?;
        assert_eq!(ids(&mugs), ["MUG-21", "MUG-22"]);
        assert_eq!(
            mugs.json.pointer("/data/0"),
            Some(&json!({ "sku": "MUG-21", "name": "Stoneware mug blue", "price": 14.5, "stock": 180 }))
        );
        assert_eq!(ids(&shop.get("/v1/products?q=green+tea").await?), ["TEA-60"]);
        assert_eq!(ids(&shop.get("/v1/products?q=%25").await?).len(), 0);
        assert_eq!(ids(&shop.get("/v1/products?q='%20OR%201=1%20--").await?).len(), 0);
        Ok(())
    }

    #[tokio::test]
    async fn without_the_token_nothing_is_told() -> Outcome {
        let shop = Shop::open().await?;
        for authorization in ["", "secret", "Bearer", "Bearer wrong", "Basic secret"] {
            for path in ["/v1/orders", "/elsewhere"] {
                let answer = shop.send("GET", path, authorization, "").await?;
                assert_eq!(answer.status, 401, "{authorization}");
                assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
                assert_eq!(answer.json, json!({ "message": "a valid bearer token is needed" }));
            }
        }
        assert_eq!(shop.send("GET", "/v1/orders", "bearer secret", "").await?.status, 200);
        Ok(())
    }

    #[tokio::test]
    async fn other_paths_and_other_methods_are_refused() -> Outcome {
        let shop = Shop::open().await?;
        let unknown = shop.get("/v1/orders/ORD-9").await?;
        assert_eq!((unknown.status, unknown.json), (404, json!({ "message": "no such order" })));
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v2/orders",
            "/v1/orders/ORD-1001/lines",
            "/v1/products/x",
            "/v1/orders/%ff",
            "/v1/orders/ORD-1001/notes/1",
        ] {
            let answer = shop.get(path).await?;
            assert_eq!((answer.status, answer.json), (404, json!({ "message": "no such path" })), "{path}");
        }
        // An encoded slash is part of the number, not of the path.
        assert_eq!(Place::parse("/v1/orders/a%2Fnotes"), Some(Place::Order("a/notes".into())));
        for (method, path, allowed) in [
            ("DELETE", "/v1/orders/ORD-1001", "get"),
            ("POST", "/v1/products", "get"),
            ("GET", "/v1/orders/ORD-1001/notes", "post"),
        ] {
            let answer = shop.send(method, path, "Bearer secret", "").await?;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.head.contains(&format!("allow: {allowed}")), "{}", answer.head);
        }
        Ok(())
    }

    #[tokio::test]
    async fn the_data_outlives_the_server() -> Outcome {
        let shop = Shop::open().await?;
        let note = r#"{"text": "remember me", "author": "assistant"}"#;
        assert_eq!(shop.post("/v1/orders/ORD-1002/notes", note).await?.status, 201);
        let shop = Shop::open_in(shop.close().await?).await?;
        let order = shop.get("/v1/orders/ORD-1002?expand=notes").await?.json;
        assert_eq!(order.pointer("/notes/0/text"), Some(&json!("remember me")));
        Ok(())
    }

    #[tokio::test]
    async fn two_servers_may_fill_the_same_file_at_once() -> Outcome {
        let folder = tempfile::tempdir()?;
        let database = folder.path().join("shop.db");
        let (one, two) = tokio::join!(open(&database, SCRIPT), open(&database, SCRIPT));
        for pool in [one?, two?] {
            let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&pool).await?;
            assert_eq!(orders, 24);
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_is_no_database_or_no_script_is_an_error() -> Outcome {
        let folder = tempfile::tempdir()?;
        let missing = open(&folder.path().join("none/shop.db"), SCRIPT).await;
        assert!(matches!(missing, Err(OrdersError::Open(_))));
        let broken = open(&folder.path().join("shop.db"), "BEGIN; CREATE TABLE a (b); nonsense;").await;
        assert!(matches!(broken, Err(OrdersError::Fill(_))));
        Ok(())
    }

    #[tokio::test]
    async fn shutdown_lets_a_running_request_finish_but_not_for_ever() -> Outcome {
        let shop = Shop::open().await?;
        let request = |length| {
            format!(
                "POST /v1/orders/ORD-1002/notes HTTP/1.1\r\nHost: shop\r\n\
                 Authorization: Bearer secret\r\nContent-Length: {length}\r\n\r\n{{"
            )
        };
        let rest = r#""text": "x", "author": "a"}"#;
        let mut running = TcpStream::connect(shop.address).await?;
        running.write_all(request(rest.len() + 1).as_bytes()).await?;
        let mut stuck = TcpStream::connect(shop.address).await?;
        stuck.write_all(request(100).as_bytes()).await?;
        sleep(Duration::from_millis(200)).await;

        let begin = Instant::now();
        let address = shop.address;
        let closing = tokio::spawn(async move { shop.close().await.map(drop).map_err(|e| e.to_string()) });
        sleep(Duration::from_millis(200)).await;
        assert!(TcpStream::connect(address).await.is_err());
        running.write_all(rest.as_bytes()).await?;
        let mut answer = String::new();
        running.read_to_string(&mut answer).await?;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        closing.await??;
        let took = begin.elapsed();
        assert!(took >= GRACE && took < GRACE * 2, "{took:?}");
        assert_eq!(stuck.read(&mut [0; 1]).await.unwrap_or(0), 0);
        Ok(())
    }
}
