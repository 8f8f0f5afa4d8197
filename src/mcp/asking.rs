//! How the questions of a call reach its client: with the result of a round in the modern era, as requests on the session's stream
//! in the legacy one. Only routes that ask come here.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::states::request_digest;
use super::{Context, Era, Params, RpcError};
use crate::live::Route;
use crate::plan::CONFIRM;
use crate::talk::{Answers, Asked, Asking, Capabilities, Unanswered, Way};

/// A request whose routes may ask.
pub(super) struct Round<'a> {
    /// Whom they may ask; `None` if nobody.
    pub asking: Option<Asking>,
    /// What its state belongs to; empty in the legacy era.
    digest: String,
    /// What was answered and asked before, as far as these routes know the names.
    answers: Answers,
    cx: &'a Context<'a>,
}

impl<'a> Round<'a> {
    /// Reads what the client sent along; `None` if no route asks.
    ///
    /// # Errors
    /// -32602 if the state is not of its form, or not ours.
    pub(super) fn of(
        routes: &[&Route],
        method: &str,
        name: &str,
        params: &Params<'_>,
        era: Era,
        cx: &'a Context<'a>,
    ) -> Result<Option<Self>, RpcError> {
        if !routes.iter().any(|r| r.plan.asks()) {
            return Ok(None);
        }
        if era == Era::Legacy {
            let capabilities = cx.session.and_then(|s| s.capabilities()).cloned();
            let way = || Way::Stream(cx.place.clone());
            let asking = capabilities.map(|capabilities| Asking { capabilities, way: way() });
            return Ok(Some(Self { asking, digest: String::new(), answers: Answers::default(), cx }));
        }
        let digest = request_digest(cx.caller.key(), method, name, params.arguments.map(RawValue::get));
        let confirms = routes.iter().any(|r| r.plan.confirm.is_some());
        let mut answers = Answers::default();
        if let Some(state) = params.request_state {
            let text: String = serde_json::from_str(state.get())
                .map_err(|_| RpcError::invalid_params("`requestState` is a string"))?;
            let state = cx.peers.states.check(&text, &digest)?;
            // One yes is for one run; without it the question is asked again.
            if !confirms || cx.peers.states.spend(&state) {
                answers = state.answers;
            }
        }
        if let Some(raw) = params.input_responses {
            // What is no object answers nothing, so that everything is asked again.
            let sent: Map<String, Value> = serde_json::from_str(raw.get()).unwrap_or_default();
            let known =
                |key: &str| key == CONFIRM || routes.iter().any(|r| r.plan.op.questions().any(|q| q == key));
            // Others are ignored, as the specification wants it.
            answers.given.extend(sent.into_iter().filter(|(key, _)| known(key)));
        }
        let capabilities =
            params.meta.as_ref().and_then(|m| m.client_capabilities).map_or("{}", RawValue::get);
        let capabilities = Capabilities::new(capabilities);
        let asking = Asking { capabilities, way: Way::Rounds(answers.clone()) };
        Ok(Some(Self { asking: Some(asking), digest, answers, cx }))
    }

    /// What a call without an answer ends with.
    ///
    /// # Errors
    /// -32021 if the client has to declare more; -32602 if the answers so far are too long to be carried.
    pub(super) fn unanswered(&self, why: Unanswered) -> Result<Vec<u8>, RpcError> {
        match why {
            Unanswered::Open(asked) => self.input_required(asked),
            Unanswered::Missing(capabilities) => Err(RpcError::missing_capability(&capabilities)),
            // In this era the other reasons do not arise.
            _ => Err(RpcError::internal("this client cannot be asked")),
        }
    }

    /// The result that asks the client (MCP 2026-07-28, patterns/mrtr).
    ///
    /// # Errors
    /// -32602 if the answers so far are too long to be carried.
    fn input_required(&self, asked: Asked) -> Result<Vec<u8>, RpcError> {
        let mut answers = self.answers.clone();
        let mut requests = Map::new();
        for (key, ask) in asked.open {
            answers.given.remove(&key);
            answers.asked.insert(key.clone(), ask.digest());
            requests.insert(key, json!({ "method": ask.method(), "params": ask.params() }));
        }
        let state = self.cx.peers.states.sign(&self.digest, &answers)?;
        let info = &self.cx.live.plan.catalog.server_info;
        let result = json!({
            "resultType": "input_required",
            "inputRequests": requests,
            "requestState": state,
            "_meta": { "io.modelcontextprotocol/serverInfo": info },
        });
        Ok(result.to_string().into_bytes())
    }
}
