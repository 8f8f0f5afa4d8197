//! What the tests share: the gateway in this process or as a child, upstreams that record or fail, a raw HTTP client.

pub mod client;
pub mod collector;
pub mod faults;
pub mod gateway;
pub mod issuer;
pub mod message;
pub mod process;
pub mod qdrant;
pub mod tls;
pub mod tls_upstream;
pub mod upstream;
pub mod vectors;

pub use client::{Connection, Reply};
pub use collector::Collector;
pub use gateway::Gateway;
pub use upstream::{Step, Upstream};

use std::time::{Duration, Instant};

use serde_json::Value;

/// How long after its time something may be seen: machines that test are busy. What goes wrong takes longer, or never comes.
pub const LATE: Duration = Duration::from_secs(20);

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < LATE, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The text of a tool result's first content.
pub fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}"))
}

/// The sentence of a tool result that has to be an error.
pub fn failure(result: &Value) -> &str {
    assert_eq!(result["isError"], true, "an error was expected: {result}");
    text(result)
}

/// The structured content of a tool result that must not be an error.
pub fn structured(result: &Value) -> &Value {
    assert!(result.get("isError").is_none(), "no error was expected: {result}");
    &result["structuredContent"]
}
