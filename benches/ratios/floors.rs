//! The floors: bare hyper servers that do the least a correct answer takes. `fixed` reads the body
//! and sends the same bytes each time; `forward` parses the call, asks the upstream and wraps its
//! JSON. That of SQL is in `bare.rs`.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::Result;

/// Serves every connection with `answer`, forever.
pub async fn serve<A, F>(listener: TcpListener, answer: A) -> Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            if let Err(error) =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await
            {
                eprintln!("ratios: a connection ended: {error:?}");
            }
        });
    }
}

pub fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub async fn fixed(listener: TcpListener, bytes: usize) -> Result<()> {
    let reply = fixed_reply(bytes)?;
    serve(listener, move |request| {
        let reply = reply.clone();
        async move {
            request.into_body().collect().await?;
            Ok(json(reply))
        }
    })
    .await
}

/// A `tools/call` reply of `bytes` bytes, or the shortest there is when that is more.
pub fn fixed_reply(bytes: usize) -> Result<Bytes> {
    let id = RawValue::from_string("1".to_owned())?;
    let of = |text: &str| serde_json::to_vec(&Reply::new(&id, text, None));
    let shortest = of("")?.len();
    Ok(of(&"x".repeat(bytes.saturating_sub(shortest)))?.into())
}

pub async fn forward(listener: TcpListener, upstream: &str) -> Result<()> {
    let forward = Forward::to(upstream);
    serve(listener, move |request| forward.clone().answer(request)).await
}

#[derive(Clone)]
pub struct Forward {
    client: Client<HttpConnector, Empty<Bytes>>,
    base: String,
}

impl Forward {
    pub fn to(upstream: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, base: format!("http://{upstream}/orders/") }
    }

    pub async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        let call: Call = serde_json::from_slice(&body)?;
        let arguments: Arguments = serde_json::from_str(call.params.arguments.get())?;
        let reply = self.client.get(format!("{}{}", self.base, arguments.id).parse()?).await?;
        if reply.status() != StatusCode::OK {
            return Err(format!("the upstream answered {}", reply.status()).into());
        }
        let order = reply.into_body().collect().await?.to_bytes();
        let order: &RawValue = serde_json::from_slice(&order)?;
        let wrapped = serde_json::to_vec(&Reply::new(call.id, order.get(), Some(order)))?;
        Ok(json(wrapped.into()))
    }
}

#[derive(Deserialize)]
pub struct Call<'a> {
    #[serde(borrow)]
    pub id: &'a RawValue,
    #[serde(borrow)]
    pub params: Params<'a>,
}

#[derive(Deserialize)]
pub struct Params<'a> {
    #[serde(borrow)]
    pub arguments: &'a RawValue,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Serialize)]
pub struct Reply<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    result_type: &'static str,
    content: [Text<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a RawValue>,
    #[serde(rename = "_meta")]
    meta: Meta,
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Meta {
    #[serde(rename = "io.modelcontextprotocol/serverInfo")]
    server: ServerInfo,
}

#[derive(Serialize)]
struct ServerInfo {
    name: &'static str,
    version: &'static str,
}

impl<'a> Reply<'a> {
    pub fn new(id: &'a RawValue, text: &'a str, structured: Option<&'a RawValue>) -> Self {
        let server = ServerInfo { name: "floor", version: "1.0.0" };
        let result = Outcome {
            result_type: "complete",
            content: [Text { r#type: "text", text }],
            structured_content: structured,
            meta: Meta { server },
        };
        Self { jsonrpc: "2.0", id, result }
    }
}
