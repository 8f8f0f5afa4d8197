//! The bodies of requests: read as a whole, within time, and with a bound on what all of them take together that slow ones cannot use
//! up for others.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::pace::Exchange;

/// Bodies that are read at the same time.
const MAX_BODIES: usize = 16 << 10;
/// What each of them may take without asking: more than most need.
const FREE: usize = 16 << 10;
/// What all of them together may take beyond that.
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
    places: Semaphore,
    memory: Semaphore,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { places: Semaphore::new(MAX_BODIES), memory: Semaphore::new(MEMORY) }
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
        let begun = Instant::now();
        let _place = self.places.try_acquire().map_err(|_| Unread::Overloaded)?;
        let mut memory = None;
        let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
        loop {
            let length = first.len() + whole.len();
            exchange.waits();
            let deadline = begun + time + Duration::from_secs((length / RATE) as u64);
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(Unread::Broken),
                Ok(None) => break,
                Err(_) => return Err(Unread::Slow),
            };
            let Ok(data) = frame.into_data() else { continue };
            if length + data.len() > max {
                return Err(Unread::TooLarge);
            }
            self.charge(&mut memory, length + data.len())?;
            if length == 0 {
                first = data;
            } else {
                // Not before there is a second piece: most have none.
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&data);
            }
        }
        exchange.works();
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// Makes what was charged for a body that of `length` bytes.
    fn charge<'a>(&'a self, memory: &mut Option<SemaphorePermit<'a>>, length: usize) -> Result<(), Unread> {
        let held = memory.as_ref().map_or(0, SemaphorePermit::num_permits);
        let due = length.saturating_sub(FREE).min(MOST).saturating_sub(held);
        if due == 0 {
            return Ok(());
        }
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        let more = self.memory.try_acquire_many(due).map_err(|_| Unread::Overloaded)?;
        match memory {
            Some(held) => held.merge(more),
            None => *memory = Some(more),
        }
        Ok(())
    }
}
