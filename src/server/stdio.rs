//! stdio: one message a line, nothing else on the output. Requests run side by side; a cancelled one says nothing more; at
//! the end of the input running calls get `drain` to end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info};

use crate::call::Caller;
use crate::live::LiveHandle;
use crate::mcp::{self, Answer, Context, RpcError};

/// The longest line that is read.
const MAX_LINE: usize = 16 << 20;
/// Answers that may wait for a client that does not read; beyond, nothing more is read from it.
const QUEUE: usize = 64;

/// Running requests by id, so that they can be cancelled. Held for single operations only.
type Running = Arc<Mutex<HashMap<String, Job>>>;

/// A running request.
struct Job {
    task: AbortHandle,
    /// Set when it is cancelled; also tells it from another one with the same id.
    cancelled: Arc<AtomicBool>,
}

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
    input: impl tokio::io::AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let (answers, queue) = mpsc::channel::<Vec<u8>>(QUEUE);
    let writer = tokio::spawn(write(queue, output));
    let mut input = BufReader::with_capacity(64 << 10, input);
    let running = Running::default();
    let mut tasks = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let result = loop {
        while tasks.try_join_next().is_some() {}
        let line = tokio::select! {
            () = &mut shutdown => break Ok(()),
            line = read_line(&mut input) => line,
        };
        match line {
            Ok(Line::End) => break Ok(()),
            Ok(Line::TooLong) => {
                let error = RpcError::invalid_request(format!("a message is at most {MAX_LINE} bytes"));
                if answers.send(error.body(None)).await.is_err() {
                    break Ok(());
                }
            }
            Ok(Line::Message(line)) => {
                if answers.is_closed() {
                    break Ok(());
                }
                start(line, &live, &answers, &running, &mut tasks);
            }
            Err(error) => break Err(error),
        }
    };
    drop(answers);
    let drain = live.load().plan.server.drain.0;
    if !tasks.is_empty() {
        info!("input ended: running calls have {drain:?} to end");
    }
    let finish = async {
        while tasks.join_next().await.is_some() {}
        let _ = writer.await;
    };
    if tokio::time::timeout(drain, finish).await.is_err() {
        debug!("calls were cut off after {drain:?}");
    }
    result
}

/// Starts the answer to one line in a task of its own.
fn start(
    line: Vec<u8>,
    live: &LiveHandle,
    answers: &mpsc::Sender<Vec<u8>>,
    running: &Running,
    tasks: &mut JoinSet<()>,
) {
    let mut id = None;
    if let Ok(message) = mcp::parse(&line) {
        if message.method.as_deref() == Some("notifications/cancelled") {
            let target = message.params.request_id.map(|r| r.get().to_owned());
            let mut running = lock(running);
            if let Some(job) = target.and_then(|t| running.remove(&t)) {
                job.cancelled.store(true, Ordering::Relaxed);
                job.task.abort();
            }
            return;
        }
        id = message.id.map(std::borrow::Cow::into_owned);
    }
    let (live, answers, own_id, own_running) = (live.load(), answers.clone(), id.clone(), running.clone());
    let cancelled = Arc::new(AtomicBool::new(false));
    let own = cancelled.clone();
    let (begin, may_begin) = tokio::sync::oneshot::channel::<()>();
    let task = tasks.spawn(async move {
        // Not before it is registered, so that it always takes itself out again.
        let _ = may_begin.await;
        let cx = Context { live, caller: Caller::Local, headers: None, outlet: Some(&answers) };
        let answer = match mcp::parse(&line) {
            Ok(message) => mcp::answer(&message, &cx).await,
            Err(refusal) => refusal,
        };
        // Once it is out of the table a cancellation comes too late, and the answer is sent.
        let stopped = finish(&own_running, own_id.as_deref(), &own);
        if let (Answer::Reply { body, .. }, false) = (answer, stopped) {
            let _ = answers.send(body).await;
        }
    });
    if let Some(id) = id {
        lock(running).insert(id, Job { task, cancelled });
    }
    let _ = begin.send(());
}

/// Takes a request out of the table; says whether it was cancelled.
fn finish(running: &Running, id: Option<&str>, own: &Arc<AtomicBool>) -> bool {
    let mut running = lock(running);
    if let Some(id) = id
        && running.get(id).is_some_and(|job| Arc::ptr_eq(&job.cancelled, own))
    {
        running.remove(id);
    }
    own.load(Ordering::Relaxed)
}

fn lock(running: &Running) -> std::sync::MutexGuard<'_, HashMap<String, Job>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
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
