//! One call: a caller, a route, arguments, and what becomes of it. `run` is the whole path, read top to bottom.

mod attempts;
mod cached;
mod code;
mod confirm;
mod error;
mod record;
mod run;

pub use crate::output::{Content, Outcome};
pub use code::{Code, Origin};
pub use error::{CallError, whole_seconds};
pub use record::{Record, Seen};
pub use run::{Call, Input, Way, admit, run};

pub use crate::caller::Caller;
pub use crate::talk::{Said, Talk, Unanswered};

/// The id under which one call appears in the log and in messages: eight letters and digits, not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64);

impl RequestId {
    /// A fresh one.
    #[must_use]
    pub fn fresh() -> Self {
        Self(fastrand::u64(..))
    }
}

impl RequestId {
    /// Its letters and digits.
    #[must_use]
    pub fn letters(self) -> [u8; 8] {
        // Without letters that read alike.
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut rest = self.0;
        [(); 8].map(|()| {
            let letter = LETTERS.get((rest % 32) as usize).copied().unwrap_or(b'a');
            rest /= 32;
            letter
        })
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.letters()).unwrap_or_default())
    }
}
