//! The MCP endpoint: the checks in their order (host, origin, key, method, place, type, size), then the message, with its session if
//! it is of the era that has them.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use tokio::sync::mpsc;

use super::auth::Proof;
use super::body::Unread;
use super::http::{self, Reply, refuse};
use super::pace::Exchange;
use super::peer::Peer;
use super::sessions::Sessions;
use super::standing::Standing;
use super::{Server, auth, cors, guard, stream};
use crate::call::Caller;
use crate::live::Live;
use crate::mcp::{
    self, Answer, Context, Era, Headers as _, Hearer, Listen, Message, Peers, RpcError, Session,
};
use crate::net::{self, Network};
use crate::talk::Place;

/// The longest request to listen, which is kept as long as its stream.
const MAX_LISTEN: usize = 64 << 10;
/// The header that names a legacy session.
const SESSION: &str = "mcp-session-id";
/// Random bytes in the id of a session.
const ID_LENGTH: usize = 24;

/// Answers one request.
#[allow(clippy::manual_async_fn, reason = "an `async fn` would be larger by a request")]
pub(super) fn respond<'a>(
    request: Request<Incoming>,
    exchange: Arc<Exchange>,
    peer: &'a Arc<Peer>,
    server: &'a Server,
    live: Arc<Live>,
) -> impl Future<Output = Reply> + Send + 'a {
    async move {
        let plan = &live.plan.server;
        let caller = match check(&request, peer, &live).await {
            Ok(caller) => caller,
            Err(refusal) => return *refusal,
        };
        if request.method() != Method::POST {
            return session_request(&request, peer, caller, server, &live);
        }
        let max_body = plan.max_body.0;
        let (parts, body) = request.into_parts();
        let body = match server.bodies.read(body, max_body, server.limits.body, &exchange).await {
            Ok(body) => body,
            Err(unread) => return refusal(unread, max_body),
        };
        drop(exchange);
        let (uri, headers, peer, peers) = (parts.uri, parts.headers, peer.clone(), server.peers.clone());
        let ip = client(peer.ip, &headers, &live.plan.server.trusted_proxies);
        let post = Post { live, caller, peer, ip, uri, headers, body, place: None, peers, session: None };
        post.answer(server).await
    }
}

fn overloaded(id: Option<&str>) -> Reply {
    let error = RpcError::overloaded("too many calls at once; try again in a second");
    let mut reply = http::json(StatusCode::SERVICE_UNAVAILABLE, error.body(id));
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    reply
}

/// Where a request comes from, by what the proxies say that are trusted.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    if trusted.is_empty() {
        return peer.to_canonical();
    }
    let said = headers.get_all("x-forwarded-for").iter().map(|v| v.to_str().unwrap_or_default());
    let said: Vec<&str> = said.flat_map(|list| list.split(',')).collect();
    net::client(peer, said.into_iter(), trusted)
}

/// Everything that can be refused, or answered, before the body is read.
async fn check(request: &Request<Incoming>, peer: &Peer, live: &Live) -> Result<Caller, Box<Reply>> {
    let plan = &live.plan.server;
    let refused = |status, message: &str| Err(Box::new(refuse(status, -32600, message)));
    let headers = request.headers();
    if let Err((status, why)) = guard::host(request.uri(), headers, plan) {
        return refused(status, why);
    }
    if let Err(why) = guard::origin(headers, plan) {
        return refused(StatusCode::FORBIDDEN, &why);
    }
    if request.method() == Method::OPTIONS
        && let Some(preflight) = cors::preflight(headers, plan)
    {
        return Err(Box::new(preflight));
    }
    let caller = auth::caller(request.uri(), headers, Some(peer), live).await?;
    let of_session =
        matches!(*request.method(), Method::GET | Method::DELETE) && headers.contains_key(SESSION);
    // A modern client has no sessions: there is nothing to GET for it.
    if of_session && headers.one("mcp-protocol-version") != Ok(Some(mcp::MODERN)) {
        return Ok(caller);
    }
    if request.method() != Method::POST {
        let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED, -32600, "messages are sent by POST");
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
        return Err(Box::new(reply));
    }
    // No header at all means anything.
    if headers.contains_key(header::ACCEPT) && accepted(headers) != (true, true) {
        return refused(StatusCode::NOT_ACCEPTABLE, "`Accept` lists application/json and text/event-stream");
    }
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "`Content-Type` is application/json");
    }
    // RFC 9110, section 15.5.16: nothing is unpacked here.
    let plain =
        |coding: &HeaderValue| coding.is_empty() || coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
        return refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a body comes as it is here, without a `Content-Encoding`",
        );
    }
    if request.body().size_hint().lower() > plan.max_body.0 as u64 {
        return Err(Box::new(too_large(plan.max_body.0)));
    }
    Ok(caller)
}

/// Whether a type of content is JSON, with whatever parameters.
fn is_json(kind: &HeaderValue) -> bool {
    let essence = || kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind == "application/json" || essence().eq_ignore_ascii_case("application/json")
}

/// Which forms of reply are listed, by name or by wildcard: JSON, and a stream.
fn accepted(headers: &HeaderMap) -> (bool, bool) {
    let mut values = headers.get_all(header::ACCEPT).iter();
    // What most clients say.
    if values.next().is_some_and(|first| first == "application/json, text/event-stream")
        && values.next().is_none()
    {
        return (true, true);
    }
    let (mut json, mut stream) = ((0, false), (0, false));
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            // RFC 9110, section 12.4.2: a weight of 0 means not acceptable.
            let weight = |part: &str| part.strip_prefix(['q', 'Q'])?.strip_prefix('=')?.parse::<f32>().ok();
            let wanted = !parts.any(|part| weight(part) == Some(0.0));
            heed(&mut json, ["*/*", "application/*", "application/json"], kind, wanted);
            heed(&mut stream, ["*/*", "text/*", "text/event-stream"], kind, wanted);
        }
    }
    (json.1, stream.1)
}

/// What one range says of a form of reply: the most specific of its `names` wins (RFC 9110, section 12.5.1).
fn heed(heard: &mut (usize, bool), names: [&str; 3], kind: &str, wanted: bool) {
    let Some(rank) = names.iter().position(|name| kind.eq_ignore_ascii_case(name)) else { return };
    let rank = rank + 1;
    if rank > heard.0 {
        *heard = (rank, wanted);
    } else if rank == heard.0 {
        heard.1 |= wanted;
    }
}

/// What a client hears whose body was not read.
fn refusal(unread: Unread, max: usize) -> Reply {
    match unread {
        Unread::Overloaded => overloaded(None),
        Unread::TooLarge => too_large(max),
        Unread::Broken => refuse(StatusCode::BAD_REQUEST, -32700, "the body broke off"),
        Unread::Slow => refuse(StatusCode::REQUEST_TIMEOUT, -32700, "the body took too long"),
    }
}

fn too_large(max: usize) -> Reply {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, -32600, &format!("the body is larger than {max} bytes"))
}

/// GET and DELETE of a legacy session: its stream of news, and its end.
fn session_request(
    request: &Request<Incoming>,
    peer: &Arc<Peer>,
    caller: Caller,
    server: &Server,
    live: &Arc<Live>,
) -> Reply {
    match request.headers().one("mcp-protocol-version") {
        Ok(None) => {}
        Ok(Some(version)) if mcp::LEGACY.contains(&version) => {}
        // 2025-11-25, basic/transports.
        _ => {
            return refuse(StatusCode::BAD_REQUEST, -32600, "this `MCP-Protocol-Version` is not spoken here");
        }
    }
    let session = match session(request.headers(), &caller, &server.sessions, live) {
        Ok(session) => session,
        Err(refusal) => return *refusal,
    };
    if request.method() == Method::DELETE {
        server.sessions.remove(session.id());
        // Not 202: the Python client takes that for a failure.
        return http::empty(StatusCode::NO_CONTENT);
    }
    let (_, streams) = accepted(request.headers());
    if !streams {
        return refuse(StatusCode::NOT_ACCEPTABLE, -32600, "`Accept` lists text/event-stream");
    }
    let (uri, headers) = (request.uri(), request.headers());
    let ip = client(peer.ip, headers, &live.plan.server.trusted_proxies);
    let who = (caller, guard::is_local(ip, uri, headers));
    session.listens(&Hearer { live: live.clone(), caller: who.0.clone(), local: who.1 });
    let Some(listening) = server.peers.news.listen() else { return overloaded(None) };
    let who = standing(who, headers, peer, server, live.generation);
    match session.stream() {
        Some(stream) => stream::news((session, stream), listening, who, server),
        None => unknown_session(),
    }
}

/// Who was let in by these headers, for a stream that outlives their request; `who` is a caller, and whether it is on this machine.
fn standing(
    who: (Caller, bool),
    headers: &HeaderMap,
    peer: &Arc<Peer>,
    server: &Server,
    generation: u64,
) -> Standing {
    let proof = (Proof::of(headers), peer.clone());
    Standing::new(proof, who, (server.live.clone(), generation), server.limits.proof)
}

fn unknown_session() -> Reply {
    refuse(StatusCode::NOT_FOUND, -32600, "this session has ended; start a new one with `initialize`")
}

/// The session that the header names.
fn session(
    headers: &HeaderMap,
    caller: &Caller,
    sessions: &Sessions,
    live: &Live,
) -> Result<Arc<Session>, Box<Reply>> {
    let Ok(Some(id)) = headers.one(SESSION) else {
        return Err(Box::new(refuse(StatusCode::BAD_REQUEST, -32600, "`Mcp-Session-Id` is given once")));
    };
    let idle = live.plan.server.session_idle.0;
    sessions.find(id, (caller, Proof::of(headers)), idle).ok_or_else(|| Box::new(unknown_session()))
}

/// One POST with its body.
struct Post {
    live: Arc<Live>,
    caller: Caller,
    peer: Arc<Peer>,
    ip: IpAddr,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// Its place among the calls, held to its end; what is no call has none.
    place: Option<Arc<Place>>,
    peers: Arc<Peers>,
    session: Option<Arc<Session>>,
}

/// What has to be known of a message before it is answered.
struct Kind {
    era: Era,
    /// Of one that outlives its client.
    id: Option<String>,
    way: Way,
}

/// How a message is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By one object.
    Plain,
    /// Other messages may come before the answer. Dropping the reply drops the call: a client of the modern era that goes away
    /// has cancelled.
    Talks,
    /// The same, but the call goes on without its client (MCP 2025-11-25, basic/transports).
    Outlives,
    /// By a stream that lives as long as the client wants.
    Listens,
    /// By one object, with a session.
    Initializes,
}

impl Kind {
    fn of(message: &Result<Message<'_>, Answer>, headers: &HeaderMap) -> Self {
        let Ok(message) = message else {
            // A batch, or nothing that will be answered at length.
            return Self { era: Era::Legacy, id: None, way: Way::Outlives };
        };
        let era = mcp::era(message, Some(headers));
        let way = match (era, message.method.as_deref()) {
            _ if mcp::listens(message, Some(headers)) => Way::Listens,
            (Era::Legacy, Some("initialize")) => Way::Initializes,
            (Era::Legacy, Some("tools/call" | "prompts/get" | "resources/read" | "completion/complete")) => {
                Way::Outlives
            }
            (Era::Modern, _) if mcp::may_talk(message) => Way::Talks,
            _ => Way::Plain,
        };
        let id = message.id.as_deref().filter(|_| way == Way::Outlives).map(str::to_owned);
        Self { era, id, way }
    }
}

impl Post {
    /// Answers the message: as one JSON object, or as a stream where messages come before the answer.
    #[allow(clippy::manual_async_fn, reason = "an `async fn` would be larger by a request")]
    fn answer(mut self, server: &Server) -> impl Future<Output = Reply> + Send {
        async move {
            let body = self.body.clone();
            let parsed = mcp::parse(&body);
            let kind = Kind::of(&parsed, &self.headers);
            if let Ok(message) = &parsed
                && let Some(id) = message.id.as_deref()
                && let Err(denied) = mcp::admit(message, &self.caller, &self.live)
            {
                mcp::refused(message, kind.era, &denied, &self.context(None));
                return auth::denied(&denied, Some(id), &self.uri, &self.headers, &self.live);
            }
            // An answer to a question and a cancellation are let in always: calls that run wait for them.
            let mut place = None;
            let calls =
                parsed.as_ref().is_ok_and(|m| m.id.is_some() && m.method.is_some()) || mcp::is_batch(&body);
            if calls && kind.way != Way::Listens {
                place = server.calls.take();
                if place.is_none() {
                    return overloaded(parsed.as_ref().ok().and_then(|message| message.id.as_deref()));
                }
            }
            if kind.way == Way::Initializes {
                return Box::pin(self.initialize(&server.sessions)).await;
            }
            if kind.way == Way::Listens && body.len() > MAX_LISTEN {
                return too_large(MAX_LISTEN);
            }
            if kind.era == Era::Legacy && self.headers.contains_key(SESSION) {
                match session(&self.headers, &self.caller, &server.sessions, &self.live) {
                    Ok(session) => self.session = Some(session),
                    Err(refusal) => return *refusal,
                }
            }
            if let (Way::Plain, Ok(message)) = (kind.way, &parsed) {
                return http::reply(mcp::answer(message, &self.context(None)).await);
            }
            drop(parsed);
            self.place = place.map(Arc::new);
            let (outlet, messages) = mpsc::channel(16);
            if kind.way == Way::Listens {
                let begun = self.listen();
                let who = (self.caller.clone(), guard::is_local(self.ip, &self.uri, &self.headers));
                let who = standing(who, &self.headers, &self.peer, server, self.live.generation);
                // Nothing of this request is needed any more, least of all its configuration.
                drop(self);
                let task = match begun {
                    Ok(listen) => crate::tasks::spawn(async move { listen.run(&outlet, who).await }),
                    Err(refusal) => return http::reply(refusal),
                };
                return stream::respond(stream::attached(task), messages).await;
            }
            if kind.way != Way::Outlives {
                // In a task, so that it goes on to its end or its deadline while the client does not read.
                let task = crate::tasks::spawn(async move { self.process(Some(&outlet)).await });
                return stream::respond(stream::attached(task), messages).await;
            }
            let session = self.session.clone();
            let outliving = server.outliving.subscribe();
            let work = async move {
                // The end of this server waits for it, also when its connection has gone.
                let _outliving = outliving;
                self.process(Some(&outlet)).await
            };
            let task = match session {
                Some(session) => {
                    let (running, begin) = session.running(kind.id, work);
                    let task = crate::tasks::spawn(async move { running.await.0 });
                    begin.with(task.abort_handle());
                    task
                }
                // Nobody can cancel it by its id.
                None => crate::tasks::spawn(work),
            };
            stream::respond(stream::detached(task), messages).await
        }
    }

    /// Answers `initialize`; a session comes with it if there is room for one.
    async fn initialize(mut self, sessions: &Sessions) -> Reply {
        let plan = &self.live.plan.server;
        let (max, idle) = (plan.max_sessions, plan.session_idle.0);
        if max > 0
            && let Ok(id) = mcp::random_text(ID_LENGTH)
        {
            self.session = Some(Arc::new(Session::new(id, self.caller.clone())));
        }
        let mut reply = http::reply(self.process(None).await);
        if let Some(session) = self.session.filter(|s| s.version().is_some())
            && let Ok(value) = HeaderValue::from_str(session.id())
            && sessions.insert(session, max, idle)
        {
            reply.headers_mut().insert(SESSION, value);
        }
        reply
    }

    fn listen(&self) -> Result<Listen, Answer> {
        mcp::listen(&mcp::parse(&self.body)?, &self.context(None))
    }

    fn context<'a>(&'a self, outlet: Option<&'a mcp::Outlet>) -> Context<'a> {
        // Only the status asks for it, and only where it is a resource.
        let asked = self.live.plan.server.status.resource;
        Context {
            ip: Some(self.ip),
            local: asked && guard::is_local(self.ip, &self.uri, &self.headers),
            headers: Some(&self.headers),
            outlet,
            session: self.session.as_deref(),
            place: self.place.clone(),
            ..Context::local(self.live.clone(), self.caller.clone(), &self.peers)
        }
    }

    async fn process(&self, outlet: Option<&mcp::Outlet>) -> Answer {
        let cx = self.context(outlet);
        let negotiated = self.session.as_ref().and_then(|s| s.version());
        let said = self.headers.one("mcp-protocol-version").ok().flatten();
        mcp::answer_bytes(&self.body, negotiated.or(said), &cx).await
    }
}
