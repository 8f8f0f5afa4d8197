//! JSON-RPC batches, which only protocol version 2025-03-26 has (2025-03-26, basic): several messages in one list, answered by
//! a list. They are answered one after the other, so that a batch is never more load than one client's calls.

use serde_json::value::RawValue;

use super::{Answer, Context, Era, Message, RpcError, Session, answer, is_batch, parse, session};

/// Messages in one batch.
const MAX_MESSAGES: usize = 64;
/// The versions whose clients may send batches.
const VERSIONS: [&str; 2] = ["2025-03-26", "2024-11-05"];

/// A batch, split.
#[derive(Debug)]
pub(super) struct Batch<'a>(Vec<&'a RawValue>);

/// Whether `bytes` are a batch, from a client that may send one: `version` is what it negotiated, or says in its header; none
/// means 2025-03-26 (MCP 2025-11-25, basic/transports).
///
/// # Errors
/// The response to send instead: a batch that is empty or too long, or no list at all.
#[must_use]
pub(super) fn batch<'a>(bytes: &'a [u8], version: Option<&str>) -> Option<Result<Batch<'a>, Answer>> {
    if !is_batch(bytes) || !version.is_none_or(|v| VERSIONS.contains(&v)) {
        return None;
    }
    let refuse =
        |error: RpcError| Answer::Reply { status: 400, body: error.body(None).into(), retry_after: None };
    Some(match serde_json::from_slice::<Vec<&RawValue>>(bytes) {
        Err(error) => Err(refuse(RpcError::parse(format!("not JSON: {error}")))),
        Ok(messages) if messages.is_empty() => Err(refuse(RpcError::invalid_request("the batch is empty"))),
        Ok(messages) if messages.len() > MAX_MESSAGES => {
            Err(refuse(RpcError::invalid_request(format!("a batch has at most {MAX_MESSAGES} messages"))))
        }
        Ok(messages) => Ok(Batch(messages)),
    })
}

/// A request's entry among the running ones of its session.
fn cancellable<'a>(
    message: &Result<Message<'_>, Answer>,
    session: Option<&'a Session>,
) -> Option<session::Part<'a>> {
    let message = message.as_ref().ok().filter(|message| message.method.is_some())?;
    Some(session?.part(message.id.as_deref()?))
}

impl Batch<'_> {
    /// Answers every message; the answer is a list, or nothing if no message wants one.
    pub(super) async fn answer(&self, cx: &Context<'_>) -> Answer {
        // The answer is one list: there is no stream to say or ask anything on before it.
        let cx = &Context {
            live: cx.live.clone(),
            caller: cx.caller.clone(),
            outlet: None,
            place: cx.place.clone(),
            trace: cx.trace.clone(),
            ..*cx
        };
        let messages: Vec<_> = self.0.iter().map(|raw| parse(raw.get().as_bytes())).collect();
        // Each can be cancelled, also one whose turn has not come.
        let parts: Vec<_> = messages.iter().map(|message| cancellable(message, cx.session)).collect();
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        for (message, part) in messages.into_iter().zip(parts) {
            let answer = match message {
                // 2025-03-26, basic/lifecycle.
                Ok(message) if message.method.as_deref() == Some("initialize") => {
                    let error = RpcError::invalid_request("`initialize` is not sent in a batch");
                    error.answer(message.id.as_deref(), Era::Legacy)
                }
                Ok(message) if message.params.has_envelope() => {
                    let error = RpcError::invalid_request("this protocol version has no batches");
                    error.answer(message.id.as_deref(), Era::Legacy)
                }
                Ok(message) => match part {
                    Some(part) => part.run(answer(&message, cx)).await.unwrap_or(Answer::Accepted),
                    None => answer(&message, cx).await,
                },
                Err(refusal) => refusal,
            };
            if let Answer::Reply { body, .. } = answer {
                bodies.push(body.into_vec());
            }
        }
        if bodies.is_empty() {
            return Answer::Accepted;
        }
        let mut body = b"[".to_vec();
        body.extend(bodies.join(&b','));
        body.push(b']');
        Answer::Reply { status: 200, body: body.into(), retry_after: None }
    }
}
