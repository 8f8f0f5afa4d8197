//! Jobs that an API does after it has answered: asks for their state until they are done, and gives what they made.

use std::time::Duration;

use reqwest::header::{HeaderName, LOCATION};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;

use super::client::{Rest, Target};
use super::config::RestOpConfig;
use super::plan::{Method, RestOp};
use crate::diag::{Diagnostic, Spanned};
use crate::output::{Jq, JqError, JsonPath, Reply};
use crate::params::Arguments;
use crate::source::http::Answer;
use crate::source::{Attempt, OpCx, Said, SourceError, time_limit};
use crate::talk;
use crate::units::Period;

/// Where some APIs write the address of a job's state.
const OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");
/// How many failures in a row are taken for passing ones.
const MAX_FAILURES: u32 = 3;
/// The shortest time between two questions.
const LEAST: Duration = Duration::from_millis(100);
/// The longest that a job is waited for.
const LONGEST: Duration = Duration::from_secs(3600);

/// A job that goes on after the reply. The address of its state is in the first reply, on the same origin and under the base URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Poll")]
pub struct PollConfig {
    /// A jq program over the state: whether the job is done, such as `.state == "done"`.
    pub until: Spanned<String>,
    /// The time between two questions, at least 100ms. Default `1s`; a `Retry-After` of the API that is longer wins.
    pub every: Option<Spanned<Period>>,
    /// How long the job is waited for, beside `policy.timeout`, at most an hour. Default `2m`.
    pub at_most: Option<Spanned<Period>>,
    /// A jq program over the state: whether the job has failed.
    pub failed: Option<Spanned<String>>,
    /// Where the first reply has the address of the state, as a path such as `.links.status`. Default: its header
    /// `Operation-Location` or `Location`.
    pub status: Option<Spanned<String>>,
    /// Where the last state has the address of the result, as a path such as `.links.result`. Default: the last state is the
    /// result.
    pub result: Option<Spanned<String>>,
}

/// A job after compile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PollPlan {
    until: Jq,
    every: Period,
    pub(super) at_most: Period,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Jq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<JsonPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<JsonPath>,
}

/// The outer `None` is a mistake.
#[allow(clippy::option_option, reason = "a mistake, and no job, are different things here")]
pub(super) fn compile(config: &RestOpConfig, cx: &mut OpCx<'_>) -> Option<Option<PollPlan>> {
    let Some(written) = &config.poll else { return Some(None) };
    let before = cx.diagnostics.errors();
    let diagnostics = &mut *cx.diagnostics;
    if let Some(page) = &config.page {
        let problem = Diagnostic::error("bad-poll", "a request has `page` or `poll`, not both");
        diagnostics.push(problem.at(written.until.span, "").at(page.span, ""));
    }
    let every = time_limit(written.every, 1, "every", diagnostics);
    let at_most = time_limit(written.at_most, 120, "at_most", diagnostics);
    if let Some(short) = written.every.filter(|p| !p.value.0.is_zero() && p.value.0 < LEAST) {
        let message = "`every` is at least 100ms: the API is asked each time";
        diagnostics.push(Diagnostic::error("bad-poll", message).at(short.span, ""));
    }
    if let Some(long) = written.at_most.filter(|p| p.value.0 > LONGEST) {
        let message = "`at_most` is at most 1h: the caller waits for the whole of it";
        diagnostics.push(Diagnostic::error("bad-poll", message).at(long.span, ""));
    }
    let until = Jq::compile(&written.until, diagnostics);
    let failed = written.failed.as_ref().map(|program| Jq::compile(program, diagnostics));
    let status = written.status.as_ref().map(|path| JsonPath::one(path, diagnostics));
    let result = written.result.as_ref().map(|path| JsonPath::one(path, diagnostics));
    (cx.diagnostics.errors() == before).then_some(())?;
    let plan = PollPlan {
        until: until?,
        every,
        at_most,
        failed: failed.flatten(),
        status: status.flatten(),
        result: result.flatten(),
    };
    Some(Some(plan))
}

fn bad(reason: &'static str) -> SourceError {
    SourceError::BadReply { reason, detail: "see `poll` of the route".to_owned() }
}

/// Why a job that was started gave nothing.
enum Broke {
    /// This says all.
    Told(SourceError),
    /// What its result was lost by.
    Lost(SourceError),
}

impl From<SourceError> for Broke {
    fn from(error: SourceError) -> Self {
        Self::Lost(error)
    }
}

impl From<Broke> for SourceError {
    fn from(broke: Broke) -> Self {
        match broke {
            Broke::Told(error) => error,
            Broke::Lost(error) => error.begun(),
        }
    }
}

/// A sentence for the caller about a job that was started: nothing of it is tried again.
fn told(status: u16, sentence: String, body: String) -> Broke {
    Broke::Told(SourceError::Answered { status, said: Said::Configured(sentence), body })
}

/// What a job has come to.
enum State {
    Running,
    Done,
    Failed,
}

impl PollPlan {
    async fn state(&self, text: &str, deadline: Instant) -> Result<State, SourceError> {
        if let Some(failed) = &self.failed
            && holds(failed, text, deadline).await?
        {
            return Ok(State::Failed);
        }
        Ok(if holds(&self.until, text, deadline).await? { State::Done } else { State::Running })
    }
}

async fn holds(program: &Jq, text: &str, deadline: Instant) -> Result<bool, SourceError> {
    match program.run(text, deadline).await {
        Ok(value) => Ok(!matches!(value, Value::Null | Value::Bool(false))),
        Err(JqError::Spent) => Err(bad("a state of a job that could not be read in time")),
        Err(JqError::Failed(detail)) => {
            Err(SourceError::BadReply { reason: "a state of a job that cannot be read", detail })
        }
    }
}

/// The answer's body, if it is JSON.
fn json(answer: &Answer) -> Option<(&str, Value)> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    Some((text, serde_json::from_str(text).ok()?))
}

impl Rest {
    /// Starts a job and waits for what it makes. Dropping the future ends the waiting; the job itself goes on.
    pub(super) async fn job(
        &self,
        plan: &PollPlan,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, SourceError> {
        let answer = self.send(op, arguments, attempt, &Target::Own).await?;
        if !matches!(answer.status, 200..=202) {
            return self.read(answer, op, arguments, attempt.max_rows).await;
        }
        // From here on the job runs, whatever comes.
        attempt.begun.tell();
        Ok(self.wait_for(plan, answer, op, arguments, attempt).await?)
    }

    /// Waits for a job that has been started with this answer.
    async fn wait_for(
        &self,
        plan: &PollPlan,
        answer: Answer,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, Broke> {
        let started = Instant::now();
        let until = (started + plan.at_most.0).min(attempt.deadline);
        if let Some((text, _)) = json(&answer)
            && answer.status != 202
            && matches!(plan.state(text, until).await, Ok(State::Done))
        {
            return self.made(plan, answer, op, arguments, attempt).await;
        }
        let url = self.state_url(plan, &answer)?;
        let look = op.look();
        let (mut pause, mut failures) = (wait(plan, &answer), 0);
        loop {
            if Instant::now() + pause >= until {
                return Err(told(202, going_on(plan, &url), String::new()));
            }
            sleep(pause).await;
            say(attempt, started, until).await;
            let answer = match self.send(&look, arguments, attempt, &Target::At(url.clone())).await {
                Ok(answer) if !matches!(answer.status, 408 | 429 | 500..=599) => answer,
                passing => {
                    failures += 1;
                    pause = passing.as_ref().map_or(plan.every.0, |answer| wait(plan, answer));
                    if failures > MAX_FAILURES {
                        let sentence = "The job was started, but how far it is cannot be asked right now. Do not start it \
                                        again before you have looked for its result.";
                        return Err(told(202, sentence.to_owned(), String::new()));
                    }
                    continue;
                }
            };
            failures = 0;
            pause = wait(plan, &answer);
            if answer.status == 303 {
                let link = header(&answer, &LOCATION);
                let url = link.and_then(|link| self.scope().take_in(&link, &answer.place().ok()?));
                let url = url.ok_or_else(|| bad("a result of a job elsewhere"))?;
                return Ok(self.fetched(url, &look, arguments, attempt).await?);
            }
            if !(200..=299).contains(&answer.status) {
                return Ok(self.read(answer, &look, arguments, attempt.max_rows).await?);
            }
            let Some((text, _)) = json(&answer) else { continue };
            match plan.state(text, until).await? {
                State::Running => {}
                State::Done => return self.made(plan, answer, &look, arguments, attempt).await,
                State::Failed => {
                    let sentence = "The job was started, but it has failed at the source.".to_owned();
                    return Err(told(answer.status, sentence, self.excerpt(&answer)));
                }
            }
        }
    }

    fn state_url(&self, plan: &PollPlan, answer: &Answer) -> Result<Url, SourceError> {
        let link = match &plan.status {
            Some(path) => json(answer).and_then(|(_, value)| path.get(&value)?.as_str().map(str::to_owned)),
            None => header(answer, &OPERATION_LOCATION).or_else(|| header(answer, &LOCATION)),
        };
        let link = link.ok_or_else(|| bad("a job without the address of its state"))?;
        self.scope().take_in(&link, &answer.place()?).ok_or_else(|| bad("a state of a job elsewhere"))
    }

    /// What a job has made: what its last state leads to, or that state.
    async fn made(
        &self,
        plan: &PollPlan,
        answer: Answer,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, Broke> {
        let Some(path) = &plan.result else {
            return Ok(self.read(answer, op, arguments, attempt.max_rows).await?);
        };
        let link = json(&answer).and_then(|(_, value)| path.get(&value)?.as_str().map(str::to_owned));
        let link = link.ok_or_else(|| bad("a job without the address of its result"))?;
        let from = answer.place()?;
        let url = self.scope().take_in(&link, &from).ok_or_else(|| bad("a result of a job elsewhere"))?;
        // The statuses of the route are those of the start, such as 202.
        Ok(self.fetched(url, &op.look(), arguments, attempt).await?)
    }

    async fn fetched(
        &self,
        url: Url,
        look: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, SourceError> {
        let answer = self.send(look, arguments, attempt, &Target::At(url)).await?;
        self.read(answer, look, arguments, attempt.max_rows).await
    }
}

impl RestOp {
    /// The GET that looks at a job: with the headers of the route, without what belongs to its body.
    fn look(&self) -> Self {
        let mut look = self.clone();
        look.method = Method::Get;
        look.body = None;
        look.idempotency_key = None;
        look.statuses = super::reply::Statuses::default();
        look.headers.retain(|(name, _)| !name.starts_with("content-") && name != "idempotency-key");
        look
    }

    /// Whether it starts a job that is waited for.
    #[must_use]
    pub const fn polls(&self) -> bool {
        self.poll.is_some()
    }

    /// How long its job may take besides the time of a call.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.poll.as_ref().map_or(Duration::ZERO, |poll| poll.at_most.0)
    }
}

fn header(answer: &Answer, name: &HeaderName) -> Option<String> {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The time until the next question.
fn wait(plan: &PollPlan, answer: &Answer) -> Duration {
    plan.every.0.max(answer.retry_after.unwrap_or_default().min(LONGEST))
}

/// Between the stages of the call: the waiting for its source is the second of three.
async fn say(attempt: Attempt<'_>, started: Instant, until: Instant) {
    let whole = until.saturating_duration_since(started).as_secs_f64().max(0.001);
    let progress = 1.0 + (started.elapsed().as_secs_f64() / whole).min(1.0) * 0.99;
    let message = Some(format!("the job is running ({}s)", started.elapsed().as_secs()));
    attempt.talk.say(talk::Said::Progress { progress, total: Some(3.0), message }).await;
}

/// The sentence for a job that is not done in time.
fn going_on(plan: &PollPlan, url: &Url) -> String {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let id = url.path_segments().and_then(|mut all| all.next_back()).filter(plain);
    let id = id.map(|id| format!(" Its state is kept under `{id}`.")).unwrap_or_default();
    format!(
        "The job was started and goes on, but was not done within {}.{id} Do not start it again; look for its result later.",
        plan.at_most
    )
}
