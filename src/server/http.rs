//! One HTTP request: the paths, the checks in their order (host, origin, method, place, type, size), then the message.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::stream::{self, Body};
use super::{Server, cors, guard};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::call::Caller;
use crate::live::Live;
use crate::mcp::{self, Answer, Context, Era, Headers, Malformed, RpcError};
use crate::plan::ServerPlan;

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The code of an overloaded server, outside JSON-RPC's reserved range.
const OVERLOADED: i32 = 1503;

pub(super) type Reply = Response<Body>;

impl Headers for HeaderMap {
    fn one(&self, name: &str) -> Result<Option<&str>, Malformed> {
        let mut values = self.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                value.to_str().map(|v| Some(v.trim_matches([' ', '\t']))).map_err(|_| Malformed)
            }
            (Some(_), Some(_)) => Err(Malformed),
        }
    }
}

/// Answers one request.
pub(super) async fn respond(request: Request<Incoming>, server: &Server) -> Reply {
    let live = server.live.load();
    let plan = &live.plan.server;
    match request.uri().path() {
        "/healthz" => plain(request.method(), StatusCode::OK, "{\"alive\":true}".to_owned()),
        "/readyz" => {
            let (ready, mut report) = server.probes.ready(&live).await;
            // Probes come under any name; the sources' names are for those who know one of ours.
            if guard::host(request.uri(), request.headers(), plan).is_err() {
                report = format!("{{\"ready\":{ready}}}");
            }
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            plain(request.method(), status, report)
        }
        path if path == plan.path => {
            let reader = cors::reader(request.headers(), plan);
            cors::open(endpoint(request, server, live.clone()).await, reader)
        }
        _ => refuse(
            StatusCode::NOT_FOUND,
            -32600,
            &format!("nothing is served here; the MCP endpoint is {}", plan.path),
        ),
    }
}

/// Answers one request to the MCP endpoint.
async fn endpoint(request: Request<Incoming>, server: &Server, live: Arc<Live>) -> Reply {
    let plan = &live.plan.server;
    if let Err(refusal) = check(&request, plan) {
        return *refusal;
    }
    let Ok(place) = server.calls.clone().try_acquire_owned() else {
        let message = "too many calls at once; try again in a second";
        let mut reply = refuse(StatusCode::SERVICE_UNAVAILABLE, OVERLOADED, message);
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return reply;
    };
    let max_body = plan.max_body.0;
    let (parts, body) = request.into_parts();
    match read(body, max_body).await {
        Ok(body) => answer(live, parts.headers, body, place).await,
        Err(refusal) => *refusal,
    }
}

/// Everything that can be refused, or answered, before the body is read.
fn check(request: &Request<Incoming>, plan: &ServerPlan) -> Result<(), Box<Reply>> {
    let refused = |status, message: &str| Err(Box::new(refuse(status, -32600, message)));
    let headers = request.headers();
    if let Err(why) = guard::host(request.uri(), headers, plan) {
        return refused(StatusCode::FORBIDDEN, &why);
    }
    if let Err(why) = guard::origin(headers, plan) {
        return refused(StatusCode::FORBIDDEN, &why);
    }
    if request.method() == Method::OPTIONS
        && let Some(preflight) = cors::preflight(headers, plan)
    {
        return Err(Box::new(preflight));
    }
    if request.method() != Method::POST {
        let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED, -32600, "messages are sent by POST");
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Err(Box::new(reply));
    }
    if !accepts(headers) {
        return refused(StatusCode::NOT_ACCEPTABLE, "`Accept` lists application/json and text/event-stream");
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "`Content-Type` is application/json");
    }
    if request.body().size_hint().lower() > plan.max_body.0 as u64 {
        return Err(Box::new(too_large(plan.max_body.0)));
    }
    Ok(())
}

/// Both forms of reply are listed, by name or by wildcard; no header at all means anything.
fn accepts(headers: &HeaderMap) -> bool {
    let mut seen = false;
    let (mut json, mut stream) = (false, false);
    for value in headers.get_all(header::ACCEPT) {
        seen = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            match range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                "*/*" => (json, stream) = (true, true),
                "application/json" | "application/*" => json = true,
                "text/event-stream" | "text/*" => stream = true,
                _ => {}
            }
        }
    }
    !seen || (json && stream)
}

async fn read(body: Incoming, max: usize) -> Result<Bytes, Box<Reply>> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Box::new(too_large(max))),
        Ok(Err(_)) => Err(Box::new(refuse(StatusCode::BAD_REQUEST, -32700, "the body broke off"))),
        Err(_) => Err(Box::new(refuse(StatusCode::REQUEST_TIMEOUT, -32700, "the body took too long"))),
    }
}

fn too_large(max: usize) -> Reply {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, -32600, &format!("the body is larger than {max} bytes"))
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Body::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// An error without an id: the request was not read.
fn refuse(status: StatusCode, code: i32, message: &str) -> Reply {
    let error = RpcError { code, message: message.to_owned(), data: None, status: status.as_u16() };
    json(status, error.body(None))
}

fn plain(method: &Method, status: StatusCode, body: String) -> Reply {
    if matches!(*method, Method::GET | Method::HEAD) {
        json(status, body)
    } else {
        refuse(StatusCode::METHOD_NOT_ALLOWED, -32600, "this is read by GET")
    }
}

/// Answers the message: as one JSON object, or as a stream where notifications come before the answer.
async fn answer(live: Arc<Live>, headers: HeaderMap, body: Bytes, place: OwnedSemaphorePermit) -> Reply {
    let cx = Context { live, caller: Caller::Anonymous, headers: Some(&headers), outlet: None };
    let message = match mcp::parse(&body) {
        Ok(message) => message,
        Err(refusal) => return reply(refusal),
    };
    let outlives =
        mcp::era(&message, cx.headers) == Era::Legacy && message.method.as_deref() == Some("tools/call");
    if !outlives && !mcp::may_talk(&message) {
        return reply(mcp::answer(&message, &cx).await);
    }
    let live = cx.live.clone();
    drop(message);
    let (outlet, notifications) = mpsc::channel(16);
    let running = async move {
        let _place = place;
        let cx = Context { live, caller: Caller::Anonymous, headers: Some(&headers), outlet: Some(&outlet) };
        match mcp::parse(&body) {
            Ok(message) => mcp::answer(&message, &cx).await,
            Err(refusal) => refusal,
        }
    };
    // In the legacy era a client that goes away has not cancelled (MCP 2025-11-25, basic/transports); in the modern one
    // it has, and dropping the reply drops the call.
    if outlives {
        stream::respond(stream::detached(running), notifications).await
    } else {
        stream::respond(Box::pin(running), notifications).await
    }
}

pub(super) fn reply(answer: Answer) -> Reply {
    match answer {
        Answer::Reply { status, body } => {
            json(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
        }
        Answer::Accepted => {
            let mut reply = Response::new(Body::Left(Full::default()));
            *reply.status_mut() = StatusCode::ACCEPTED;
            reply
        }
    }
}
