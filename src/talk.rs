//! What a running call says to its client: progress and log lines. A call does not know who listens, or whether anybody does.

use serde_json::Value;
use tokio::sync::mpsc;

/// How important a log line is (RFC 5424, as MCP names the levels), least first.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Level")]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What is worth knowing.
    Notice,
    /// What may go wrong.
    Warning,
    /// What went wrong.
    Error,
    /// What breaks a part.
    Critical,
    /// What needs a person now.
    Alert,
    /// What breaks everything.
    Emergency,
}

impl Level {
    /// The level's name in MCP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

/// One thing said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// How far the call is.
    Progress {
        /// Grows with every report.
        progress: f64,
        /// What `progress` will be at the end.
        total: Option<f64>,
        /// A few words.
        message: Option<String>,
    },
    /// A log line.
    Log {
        /// Its importance.
        level: Level,
        /// Who logs.
        logger: Option<String>,
        /// What.
        data: Value,
    },
}

/// The speaking end, held by the call.
#[derive(Clone, Debug, Default)]
pub struct Talk(Option<mpsc::Sender<Said>>);

/// How much may be said before the listener has taken any of it.
const QUEUE: usize = 16;

impl Talk {
    /// Nobody listens.
    #[must_use]
    pub const fn silent() -> Self {
        Self(None)
    }

    /// A speaking end and its listening one.
    #[must_use]
    pub fn pair() -> (Self, mpsc::Receiver<Said>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(Some(sender)), receiver)
    }

    /// Says something, if anybody listens; waits while the listener is behind.
    pub async fn say(&self, said: Said) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(said).await;
        }
    }

    /// Reports how far a call of `total` stages is.
    pub async fn stage(&self, progress: u8, total: u8, message: &str) {
        if self.0.is_some() {
            let (progress, total) = (f64::from(progress), Some(f64::from(total)));
            self.say(Said::Progress { progress, total, message: Some(message.to_owned()) }).await;
        }
    }
}
