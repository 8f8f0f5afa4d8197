//! stdio: one message a line, nothing else on the output. The connection is the session. Requests run side by side; a cancelled
//! one says nothing more; at the end of the input running calls get `drain` to end.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info};

use crate::call::Caller;
use crate::live::LiveHandle;
use crate::mcp::{self, Answer, Context, Hearer, Listener, Peers, RpcError, Session};
use crate::talk::News;

/// The longest line that is read.
const MAX_LINE: usize = 16 << 20;
/// How long a request waits for others to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// Answers that may wait for a client that does not read; beyond, nothing more is read from it.
const QUEUE: usize = 64;

/// How a client takes a request back.
const CANCELLED: &str = "notifications/cancelled";

/// A line of the input.
enum Line {
    Message(Vec<u8>),
    TooLong,
    End,
}

/// Serves one client until its input ends or `shutdown` is done.
///
/// # Errors
/// If the input cannot be read.
pub async fn run(
    live: LiveHandle,
    news: News,
    input: impl tokio::io::AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let (answers, queue) = mpsc::channel::<Vec<u8>>(QUEUE);
    let writer = crate::tasks::spawn(write(queue, output));
    let mut input = BufReader::with_capacity(64 << 10, input);
    let client = Arc::new(Client {
        live,
        session: Arc::new(Session::new(String::new(), Caller::Local)),
        peers: Peers::with(news),
        answers,
    });
    client.session.listens(&client.hearer());
    let telling = crate::tasks::spawn(tell(client.clone()));
    let mut tasks = JoinSet::new();
    let mut shutdown = Shutdown { asked: false, wish: std::pin::pin!(shutdown) };
    let places = Arc::new(Semaphore::new(client.live.load().plan.server.max_concurrent_calls));
    let result = loop {
        while tasks.try_join_next().is_some() {}
        let line = tokio::select! {
            biased;
            () = shutdown.asked() => break Ok(()),
            // Nobody reads what is said any more.
            () = client.answers.closed() => break Ok(()),
            line = read_line(&mut input) => line,
        };
        let line = match line {
            Ok(Line::End) => break Ok(()),
            Ok(Line::TooLong) => None,
            Ok(Line::Message(line)) => Some(line),
            Err(error) => break Err(error),
        };
        // While the client does not read, or has too many requests open, nothing more is read from it.
        let open = tokio::select! {
            () = shutdown.asked() => break Ok(()),
            open = take(line, &client, &places, &mut tasks) => open,
        };
        if !open {
            break Ok(());
        }
    };
    telling.abort();
    client.peers.close();
    // Nothing is read any more, so that nobody answers what was asked.
    client.session.close();
    let drain = client.live.load().plan.server.drain.0;
    drop(client);
    end(tasks, writer, drain, shutdown).await;
    result
}

/// Lets running calls end: `drain` long, or until it is said once more that it should end.
async fn end(
    mut tasks: JoinSet<()>,
    writer: JoinHandle<()>,
    drain: Duration,
    mut shutdown: Shutdown<impl Future<Output = ()> + Unpin>,
) {
    if !tasks.is_empty() {
        info!("input ended: running calls have {drain:?} to end");
    }
    let finish = async {
        while tasks.join_next().await.is_some() {}
        let _ = writer.await;
    };
    // Who wished it before the input ended has said so once; a second wish ends the process.
    let wished = async {
        if shutdown.asked {
            std::future::pending::<()>().await;
        }
        shutdown.asked().await;
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(drain, finish) => ended.is_ok(),
        () = wished => false,
    };
    if !ended {
        debug!("calls were cut off");
        // So that each can say that it was.
        let _ = tokio::time::timeout(PATIENCE, tasks.shutdown()).await;
    }
}

/// The wish that this ends, which is heard once.
struct Shutdown<F> {
    asked: bool,
    wish: F,
}

impl<F: Future<Output = ()> + Unpin> Shutdown<F> {
    async fn asked(&mut self) {
        (&mut self.wish).await;
        self.asked = true;
    }
}

/// The one client and what serves it.
struct Client {
    live: LiveHandle,
    session: Arc<Session>,
    peers: Peers,
    answers: mpsc::Sender<Vec<u8>>,
}

impl Client {
    async fn process(&self, line: &[u8]) -> Answer {
        match mcp::parse(line) {
            Ok(message) if mcp::listens(&message, None) => {
                // In a statement of its own: the stream outlives the configuration that granted it.
                let begun = mcp::listen(&message, &self.context());
                match begun {
                    Ok(listen) => listen.run(&self.answers, Owner(self.live.clone())).await,
                    Err(refusal) => refusal,
                }
            }
            // Before `initialize` nobody has said that batches are known.
            _ => {
                let version = self.session.version().unwrap_or_default();
                mcp::answer_bytes(line, Some(version), &self.context()).await
            }
        }
    }

    fn hearer(&self) -> Hearer {
        Owner(self.live.clone()).hearer()
    }

    fn context(&self) -> Context<'_> {
        Context {
            outlet: Some(&self.answers),
            session: Some(&self.session),
            ..Context::local(self.live.load(), Caller::Local, &self.peers)
        }
    }
}

/// The person who started the program, who stays who they are.
struct Owner(LiveHandle);

impl Owner {
    fn hearer(&self) -> Hearer {
        Hearer { live: self.0.load(), caller: Caller::Local, local: true }
    }
}

impl Listener for Owner {
    async fn now(&mut self) -> Option<Hearer> {
        Some(self.hearer())
    }

    async fn lapsed(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// Tells a legacy client what has changed; a modern one listens by a request of its own.
async fn tell(client: Arc<Client>) {
    let Some(mut listening) = client.peers.news.listen() else { return };
    let mut told = client.session.missed(&client.hearer());
    loop {
        // Before `initialize` there is nobody to be told, who will read the lists as they are then.
        if client.session.version().is_some() {
            for notification in told {
                let _ = client.answers.send(notification).await;
            }
        }
        let Some(heard) = listening.next().await else { return };
        told = client.session.notifications(&heard, &client.hearer());
    }
}

/// Takes one line, `None` if it was too long; false once the client is gone.
async fn take(
    line: Option<Vec<u8>>,
    client: &Arc<Client>,
    places: &Arc<Semaphore>,
    tasks: &mut JoinSet<()>,
) -> bool {
    let Some(line) = line else {
        let error = RpcError::invalid_request(format!("a message is at most {MAX_LINE} bytes"));
        return client.answers.send(error.body(None)).await.is_ok();
    };
    match mcp::parse(&line) {
        Ok(message) if message.id.is_none() && message.method.as_deref() == Some(CANCELLED) => {
            if let Some(target) = message.params.request_id {
                client.session.cancel(target.get());
            }
        }
        // What later lines build on is done before they are read.
        Ok(message) if message.id.is_none() || message.method.as_deref().is_none_or(settles) => {
            if let Answer::Reply { body, .. } = client.process(&line).await {
                return client.answers.send(body.into_vec()).await.is_ok();
            }
        }
        // They are limited where news are told, and would hold their places for as long as the client is there.
        Ok(message) if mcp::listens(&message, None) => {
            let id = message.id.map(std::borrow::Cow::into_owned);
            start(line, id, None, client, tasks);
        }
        parsed => {
            let id = parsed.ok().and_then(|m| m.id).map(std::borrow::Cow::into_owned);
            // Not longer: all places may be held by calls that wait for an answer further down the input.
            match tokio::time::timeout(PATIENCE, places.clone().acquire_owned()).await {
                Ok(Ok(place)) => start(line, id, Some(place), client, tasks),
                _ => {
                    let error =
                        RpcError::overloaded("too many requests at once; try again when some have ended");
                    return client.answers.send(error.body(id.as_deref())).await.is_ok();
                }
            }
        }
    }
    !client.answers.is_closed()
}

/// Whether a method changes what is known of the client.
fn settles(method: &str) -> bool {
    matches!(method, "initialize" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
}

/// Starts the answer to one line in a task of its own.
fn start(
    line: Vec<u8>,
    id: Option<String>,
    place: Option<OwnedSemaphorePermit>,
    client: &Arc<Client>,
    tasks: &mut JoinSet<()>,
) {
    let own = client.clone();
    let work = async move { own.process(&line).await };
    let (running, begin) = client.session.running(id, work);
    let answers = client.answers.clone();
    let task = tasks.spawn(crate::tasks::work(async move {
        let _place = place;
        if let (Answer::Reply { body, .. }, false) = running.await {
            let _ = answers.send(body.into_vec()).await;
        }
    }));
    begin.with(task);
}

async fn write(mut queue: mpsc::Receiver<Vec<u8>>, mut output: impl AsyncWrite + Unpin) {
    while let Some(mut message) = queue.recv().await {
        message.push(b'\n');
        // A client that went away ends the loop; the reader then sees its own end.
        if output.write_all(&message).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

/// Reads one line without its end; blank lines are passed over, and one that is too long is read to its end and dropped.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let buffer = input.fill_buf().await?;
        if buffer.is_empty() {
            let rest = line.iter().any(|b: &u8| !b.is_ascii_whitespace());
            return Ok(if rest { Line::Message(line) } else { Line::End });
        }
        let (part, ended) = match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => (buffer.get(..at).unwrap_or_default(), true),
            None => (buffer, false),
        };
        too_long |= line.len() + part.len() > MAX_LINE;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(ended);
        input.consume(used);
        match (ended, too_long) {
            (true, true) => return Ok(Line::TooLong),
            (true, false) if line.iter().all(u8::is_ascii_whitespace) => line.clear(),
            (true, false) => return Ok(Line::Message(line)),
            (false, _) => {}
        }
    }
}
