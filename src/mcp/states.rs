//! `requestState`: what a round of a request leaves with its client for the next one (MCP 2026-07-28, patterns/mrtr). It comes
//! back through hands that may change it, so it is signed, it fits one caller and one request only, and it does not last.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RpcError;
use crate::talk::Answers;

/// How long a person has to answer.
const LIFE: Duration = Duration::from_secs(600);
/// The longest state that is read or made, in bytes.
const MAX_STATE: usize = 64 << 10;
/// States that are remembered as used.
const MAX_USED: usize = 100_000;

/// Makes and checks states with a key of this process.
#[derive(Debug)]
pub(super) struct States {
    /// Absent if the system gave no randomness, and then nothing is signed.
    key: Option<hmac::Key>,
    used: Mutex<Used>,
}

/// States that have done their work, oldest first.
#[derive(Debug, Default)]
struct Used {
    known: HashSet<String>,
    order: VecDeque<(u64, String)>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    /// Seconds since 1970 after which it is worth nothing.
    expires: u64,
    /// Tells it from every other.
    nonce: String,
    /// A digest of caller, method, name and arguments.
    request: String,
    given: Map<String, Value>,
    asked: HashMap<String, String>,
}

/// A state that has been checked.
pub(super) struct State {
    pub answers: Answers,
    nonce: String,
    expires: u64,
}

/// `length` random bytes as text.
///
/// # Errors
/// -32603 if the system gives none.
pub fn random_text(length: usize) -> Result<String, RpcError> {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).map_err(|_| RpcError::internal("this server failed on its side"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A digest of what a state belongs to. Arguments are compared as values: a client may write them in another order.
pub(super) fn request_digest(caller: &str, method: &str, name: &str, arguments: Option<&str>) -> String {
    let arguments: Value = arguments.and_then(|a| serde_json::from_str(a).ok()).unwrap_or_default();
    let arguments = match arguments {
        Value::Null => Value::Object(Map::new()),
        other => sorted(other),
    };
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [caller, method, name, &arguments.to_string()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl States {
    /// With a fresh key.
    pub(super) fn new() -> Self {
        let mut secret = [0; 32];
        let key = rand::fill(&mut secret).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &secret));
        Self { key, used: Mutex::default() }
    }

    /// Signs what has been answered and asked so far.
    ///
    /// # Errors
    /// -32602 if the answers are too long to be carried.
    pub(super) fn sign(&self, request: &str, answers: &Answers) -> Result<String, RpcError> {
        self.sign_until(now() + LIFE.as_secs(), request, answers)
    }

    fn sign_until(&self, expires: u64, request: &str, answers: &Answers) -> Result<String, RpcError> {
        let payload = Payload {
            expires,
            nonce: random_text(16)?,
            request: request.to_owned(),
            given: answers.given.clone(),
            asked: answers.asked.clone(),
        };
        let payload = serde_json::to_vec(&payload).unwrap_or_default();
        let key = self.key.as_ref().ok_or_else(|| RpcError::internal("this server failed on its side"))?;
        let tag = hmac::sign(key, &payload);
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(tag));
        if text.len() > MAX_STATE {
            return Err(RpcError::invalid_params("the answers to this request are too long"));
        }
        Ok(text)
    }

    /// Checks a state that came back.
    ///
    /// # Errors
    /// -32602 if it is not ours, not of this request, or too old.
    pub(super) fn check(&self, text: &str, request: &str) -> Result<State, RpcError> {
        let wrong =
            || RpcError::invalid_params("`requestState` is not one of this request; start again without it");
        if text.len() > MAX_STATE {
            return Err(wrong());
        }
        let (payload, tag) = text.split_once('.').ok_or_else(wrong)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| wrong())?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| wrong())?;
        let key = self.key.as_ref().ok_or_else(wrong)?;
        hmac::verify(key, &payload, &tag).map_err(|_| wrong())?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| wrong())?;
        if payload.request != request {
            return Err(wrong());
        }
        if payload.expires < now() {
            let message = "`requestState` is too old; start again without it";
            return Err(RpcError::invalid_params(message));
        }
        let answers = Answers { given: payload.given, asked: payload.asked };
        Ok(State { answers, nonce: payload.nonce, expires: payload.expires })
    }

    /// Marks a state as used; whether it was not before. Where that cannot be remembered, it counts as used.
    pub(super) fn spend(&self, state: &State) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        while used.order.front().is_some_and(|(expires, _)| *expires < now) {
            if let Some((_, nonce)) = used.order.pop_front() {
                used.known.remove(&nonce);
            }
        }
        let fresh = used.order.len() < MAX_USED && used.known.insert(state.nonce.clone());
        if fresh {
            used.order.push_back((state.expires, state.nonce.clone()));
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answers() -> Answers {
        let given = json!({ "who": { "action": "accept", "content": { "name": "Ada" } } });
        Answers { given: given.as_object().unwrap().clone(), asked: HashMap::default() }
    }

    #[test]
    fn a_state_comes_back_as_it_was_and_no_changed_byte_passes() {
        let states = States::new();
        let request = request_digest("a", "tools/call", "t", Some(r#"{"x":1}"#));
        let text = states.sign(&request, &answers()).unwrap();
        assert_eq!(states.check(&text, &request).ok().unwrap().answers, answers());
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed == text || states.check(&changed, &request).is_err(), "byte {at}");
        }
        assert!(states.check(&format!("{text}-TAMPERED"), &request).is_err());
        assert!(States::new().check(&text, &request).is_err(), "another key");
    }

    #[test]
    fn a_state_fits_one_caller_method_name_and_arguments() {
        let states = States::new();
        let of = |caller, method, name, arguments| request_digest(caller, method, name, Some(arguments));
        let request = of("a", "tools/call", "t", r#"{"x":1,"y":{"b":2,"a":3}}"#);
        let text = states.sign(&request, &answers()).unwrap();
        for other in [
            of("b", "tools/call", "t", r#"{"x":1,"y":{"b":2,"a":3}}"#),
            of("a", "prompts/get", "t", r#"{"x":1,"y":{"b":2,"a":3}}"#),
            of("a", "tools/call", "u", r#"{"x":1,"y":{"b":2,"a":3}}"#),
            of("a", "tools/call", "t", r#"{"x":2,"y":{"b":2,"a":3}}"#),
            of("a", "tools/call", "t", "{}"),
        ] {
            assert!(states.check(&text, &other).is_err());
        }
        assert!(
            states.check(&text, &of("a", "tools/call", "t", r#"{ "y": {"a":3,"b":2}, "x": 1 }"#)).is_ok()
        );
        assert_eq!(of("a", "m", "n", "{}"), request_digest("a", "m", "n", None));
    }

    #[test]
    fn a_state_does_not_last_and_is_spent_once() {
        let states = States::new();
        let old = states.sign_until(now() - 1, "r", &answers()).unwrap();
        assert!(states.check(&old, "r").is_err());
        let fresh = states.sign("r", &answers()).unwrap();
        let state = states.check(&fresh, "r").ok().unwrap();
        assert!(states.spend(&state));
        assert!(!states.spend(&state));
    }
}
