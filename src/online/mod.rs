//! What the sources themselves say of a plan: the schemas of results, and what is wrong with a statement before anybody calls it.

mod check;
mod describe;

pub use check::check;
pub use describe::{Told, describe};

use std::time::Duration;

/// How long one source or one statement is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are asked at the same time.
const AT_ONCE: usize = 8;
