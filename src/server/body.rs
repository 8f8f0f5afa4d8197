//! The bodies of requests: read as a whole, within time, and with a bound on what all of them take together that slow ones cannot use
//! up for others.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::pace::Exchange;

/// The first bytes of each body have room of their own: most need no more, so that large ones cannot use it up for others.
const FIRST: usize = 16 << 10;
/// The least that is counted for a body of which anything came.
const LEAST: usize = 1 << 10;
/// What the first bytes of all bodies together may take, and what all may take beyond them.
const MEMORY: usize = 256 << 20;
/// The most that is asked for one body, so that no setting makes one impossible.
const MOST: usize = MEMORY / 4;
/// How much has to come in each second beyond the first ones.
const RATE: usize = 64 << 10;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Overloaded,
    TooLarge,
    Broken,
    Slow,
}

/// Room for the bodies that are being read.
#[derive(Debug)]
pub(super) struct Bodies {
    first: Semaphore,
    memory: Semaphore,
}

/// What is counted for one body, as long as it is being read.
#[derive(Debug, Default)]
struct Charged<'a> {
    first: Option<SemaphorePermit<'a>>,
    memory: Option<SemaphorePermit<'a>>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { first: Semaphore::new(MEMORY), memory: Semaphore::new(MEMORY) }
    }
}

impl Bodies {
    /// A body of at most `max` bytes, for which `time` is given and a second more for each 64 KiB of it.
    pub(super) async fn read(
        &self,
        mut body: Incoming,
        max: usize,
        time: Duration,
        exchange: &Exchange,
    ) -> Result<Bytes, Unread> {
        let mut begun = None;
        // As long as nothing came, it costs only its stream.
        let mut charged = Charged::default();
        let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
        loop {
            let length = first.len() + whole.len();
            // Most have come with the head, and need no clock.
            let next = match std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await
            {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    exchange.waits();
                    let deadline = *begun.get_or_insert_with(Instant::now)
                        + time
                        + Duration::from_secs((length / RATE) as u64);
                    let next = tokio::time::timeout_at(deadline, body.frame()).await;
                    next.map_err(|_| Unread::Slow)?
                }
            };
            let frame = match next {
                Some(frame) => frame.map_err(|_| Unread::Broken)?,
                None => break,
            };
            let Ok(data) = frame.into_data() else { continue };
            if length + data.len() > max {
                return Err(Unread::TooLarge);
            }
            self.charge(&mut charged, length + data.len())?;
            if length == 0 && body.is_end_stream() {
                // Most have no second piece.
                first = data;
            } else {
                // A piece that waits for others may keep much more in memory than it is.
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&data);
            }
        }
        exchange.is_read();
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// Makes what was charged for a body that of `length` bytes.
    fn charge<'a>(&'a self, charged: &mut Charged<'a>, length: usize) -> Result<(), Unread> {
        take(&self.first, &mut charged.first, length.clamp(LEAST, FIRST))?;
        take(&self.memory, &mut charged.memory, length.saturating_sub(FIRST).min(MOST))
    }
}

/// Makes what is held of `room` so much.
fn take<'a>(
    room: &'a Semaphore,
    held: &mut Option<SemaphorePermit<'a>>,
    length: usize,
) -> Result<(), Unread> {
    let due = length.saturating_sub(held.as_ref().map_or(0, SemaphorePermit::num_permits));
    if due == 0 {
        return Ok(());
    }
    let due = u32::try_from(due).unwrap_or(u32::MAX);
    let more = room.try_acquire_many(due).map_err(|_| Unread::Overloaded)?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}
