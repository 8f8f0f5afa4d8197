//! What passes between a running call and its client: progress and log lines, questions and their answers, and news for
//! everybody. A call does not know who listens, or how a question travels.

mod ask;
mod capabilities;
mod news;
mod place;

pub use ask::{Answers, Ask, Asked, Question, Unanswered};
pub use capabilities::Capabilities;
pub use news::{Change, Heard, Listening, News};
pub use place::{Place, Places};

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

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

/// What a call hands over while it runs.
#[derive(Debug)]
pub enum Item {
    /// Something said.
    Said(Said),
    /// Something asked on the client's own stream; the answer is its result object.
    Asked {
        /// The question.
        ask: Ask,
        /// Where the answer goes; dropped without one if the client refused.
        answer: oneshot::Sender<Value>,
    },
}

/// How much may be said before the listener has taken any of it.
const QUEUE: usize = 16;

/// The call's end.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    items: Option<mpsc::Sender<Item>>,
    asking: Option<Arc<Asking>>,
    news: Option<News>,
}

/// Whom a call may ask, and how.
#[derive(Debug)]
pub struct Asking {
    /// What the client said it can do.
    pub capabilities: Capabilities,
    /// How answers come.
    pub way: Way,
}

/// How answers come.
#[derive(Debug)]
pub enum Way {
    /// With the next try of the same request (MCP 2026-07-28, patterns/mrtr); these have come so far.
    Rounds(Answers),
    /// On the client's stream, while the call waits without its place.
    Stream(Option<Arc<Place>>),
}

impl Talk {
    /// Nobody listens.
    #[must_use]
    pub const fn silent() -> Self {
        Self { items: None, asking: None, news: None }
    }

    /// A speaking end and its listening one.
    #[must_use]
    pub fn pair() -> (Self, mpsc::Receiver<Item>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { items: Some(sender), ..Self::silent() }, receiver)
    }

    /// The same, with somebody to ask.
    #[must_use]
    pub fn asking(self, asking: Option<Asking>) -> Self {
        Self { asking: asking.map(Arc::new), ..self }
    }

    /// The same, with everybody to tell.
    #[must_use]
    pub fn telling(self, news: News) -> Self {
        Self { news: Some(news), ..self }
    }

    /// Says something, if anybody listens; waits while the listener is behind.
    pub async fn say(&self, said: Said) {
        if let Some(items) = &self.items {
            let _ = items.send(Item::Said(said)).await;
        }
    }

    /// Reports how far a call of `total` stages is.
    pub async fn stage(&self, progress: u8, total: u8, message: &str) {
        if self.items.is_some() {
            let (progress, total) = (f64::from(progress), Some(f64::from(total)));
            self.say(Said::Progress { progress, total, message: Some(message.to_owned()) }).await;
        }
    }

    /// Tells every client that listens that something has changed.
    pub fn announce(&self, change: Change) {
        if let Some(news) = &self.news {
            news.tell(change);
        }
    }

    /// How long a call may wait for a person in addition to its own deadline.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self.asking.as_deref() {
            Some(Asking { way: Way::Stream(_), .. }) => PATIENCE,
            _ => Duration::ZERO,
        }
    }

    /// The answers that came with this round; none on a stream.
    #[must_use]
    pub fn known(&self) -> Option<&Answers> {
        match self.asking.as_deref() {
            Some(Asking { way: Way::Rounds(answers), .. }) => Some(answers),
            _ => None,
        }
    }

    /// Checks that the client has declared capabilities.
    ///
    /// # Errors
    /// [`Unanswered::Missing`] with all of them.
    pub fn require(&self, required: &Value) -> Result<(), Unanswered> {
        match self.asking.as_deref() {
            Some(asking) if asking.capabilities.have(required) => Ok(()),
            Some(_) => Err(Unanswered::Missing(required.clone())),
            None => Err(Unanswered::Nobody),
        }
    }

    /// Asks the client everything at once. Optional questions that it cannot be asked are left out.
    ///
    /// # Errors
    /// [`Unanswered`]: why there is no answer, or not yet.
    pub async fn ask(&self, questions: &[Question<'_>]) -> Result<Map<String, Value>, Unanswered> {
        let Some(asking) = self.asking.as_deref() else {
            return Err(Unanswered::Nobody);
        };
        let able = |q: &Question<'_>| asking.capabilities.have(&q.ask.needs());
        let needed: Vec<_> = questions.iter().filter(|q| !able(q) && !q.optional).collect();
        if !needed.is_empty() {
            let mut all = Map::new();
            all.extend(needed.iter().filter_map(|q| q.ask.needs().as_object().cloned()).flatten());
            return Err(Unanswered::Missing(Value::Object(all)));
        }
        let questions: Vec<_> = questions.iter().filter(|q| able(q)).collect();
        match &asking.way {
            Way::Rounds(answers) => answers.of(&questions),
            Way::Stream(_) if questions.is_empty() => Ok(Map::new()),
            Way::Stream(place) => {
                let items = self.items.as_ref().ok_or(Unanswered::Nobody)?;
                let all = futures_util::future::try_join_all(questions.iter().map(|q| on_stream(items, q)));
                let all = match place {
                    Some(place) => place.without(all).await.ok_or(Unanswered::Crowded)?,
                    None => all.await,
                };
                all.map(|all| all.into_iter().collect())
            }
        }
    }
}

/// How long a person has to answer while a call waits on a stream.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Asks one question on the stream and checks the answer.
async fn on_stream(
    items: &mpsc::Sender<Item>,
    question: &Question<'_>,
) -> Result<(String, Value), Unanswered> {
    let (answer, coming) = oneshot::channel();
    let asked = Item::Asked { ask: question.ask.clone(), answer };
    items.send(asked).await.map_err(|_| Unanswered::Nobody)?;
    match tokio::time::timeout(PATIENCE, coming).await {
        Ok(Ok(value)) if question.fits(&value) => Ok((question.key.clone(), value)),
        Ok(Ok(_)) => Err(Unanswered::Unfit),
        Ok(Err(_)) => Err(Unanswered::Refused),
        Err(_) => Err(Unanswered::Late),
    }
}
