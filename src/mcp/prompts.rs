//! `prompts/get`: binds the arguments, fetches the data, renders the messages.

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::asking::Round;
use super::method::{push_string, required};
use super::talking::{self, Wanted};
use super::{Context, Era, Params, RpcError, content};
use crate::call::{self, Call, CallError, Code, Content, Input, Outcome, Record, RequestId, Seen, Talk};
use crate::live::{Prompt, Route};
use crate::params::Arguments;
use crate::plan::Role;
use crate::telemetry::one_line;
use crate::template::{self, Unfilled};

pub(super) async fn get(params: &Params<'_>, era: Era, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let name = required(params.name, "name")?;
    let Some(prompt) = cx.live.prompt(&name) else {
        let shown: String = name.chars().take(80).filter(|c| !c.is_control()).collect();
        return Err(RpcError::invalid_params(format!("there is no prompt `{shown}`")));
    };
    let id = RequestId::fresh();
    let counted = cx.call(id, era, Talk::silent());
    let record = Record::begin(&prompt.meter, &cx.live.audit, &counted);
    let arguments = match allowed(prompt, &name, params, &counted, &record.seen) {
        Ok(arguments) => arguments,
        Err(error) => {
            record.finish(Err(&error));
            return Err(match error.code {
                Code::InvalidArguments => RpcError::invalid_params(error.message),
                _ => RpcError::from_call(&error, id),
            });
        }
    };
    let routes: Vec<&Route> = prompt.data.iter().map(|(_, route)| route).collect();
    let mut round = Round::of(&routes, "prompts/get", &name, params, era, cx)?;
    let asking = round.as_mut().and_then(|r| r.asking.take());
    let result = talking::run(&Wanted::default(), asking, true, cx, async |talk| {
        let limit = prompt.plan.policy.timeout.0 + talk.patience();
        let this = cx.call(id, era, talk);
        tokio::time::timeout(limit, messages(prompt, &arguments, &this)).await
    })
    .await;
    let result = result.unwrap_or_else(|_| Err(CallError::internal("the prompt's data took too long")));
    match &result {
        Ok(_) => record.succeed(),
        Err(error) => {
            record.finish(Err(error));
        }
    }
    let messages = match (result, round, era) {
        (Err(CallError { unanswered: Some(why), .. }), Some(round), Era::Modern) => {
            return round.unanswered(*why);
        }
        (result, ..) => result.map_err(|e| RpcError::from_call(&e, id))?,
    };
    let mut out = vec![b'{'];
    if let Some(description) = &prompt.plan.description {
        out.extend_from_slice(b"\"description\":");
        push_string(&mut out, description.trim_end());
        out.push(b',');
    }
    out.extend_from_slice(b"\"messages\":[");
    for (index, (role, content)) in messages.iter().enumerate() {
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let comma = if index > 0 { "," } else { "" };
        out.extend_from_slice(format!("{comma}{{\"role\":\"{role}\",\"content\":").as_bytes());
        content::push(&mut out, content, &name);
        out.push(b'}');
    }
    out.push(b']');
    era.close(&mut out, &cx.live);
    Ok(out)
}

/// The arguments of a caller who may ask for the prompt, and did not too often.
fn allowed(
    prompt: &Prompt,
    name: &str,
    params: &Params<'_>,
    call: &Call<'_>,
    seen: &Seen,
) -> Result<Arguments, CallError> {
    let auth = &prompt.plan.policy.auth;
    let denied = |denied| CallError::denied(&denied);
    auth.before(call.caller, name).map_err(denied)?;
    call::admit(prompt.limit.as_deref(), call)?;
    let declared = &prompt.plan.params;
    let arguments = declared.bind(params.arguments, call.caller).map_err(CallError::arguments)?;
    seen.arguments(declared, &arguments);
    auth.after(call.caller, name, || declared.named(&arguments)).map_err(denied)?;
    Ok(arguments)
}

async fn messages(
    prompt: &Prompt,
    arguments: &Arguments,
    call: &Call<'_>,
) -> Result<Vec<(Role, Content)>, CallError> {
    let mut values = Map::new();
    for (index, param) in prompt.plan.params.params.iter().enumerate() {
        // An absent one stays undefined, so that a template must say what it means.
        if let Some(value) = arguments.get(index) {
            values.insert(param.name.clone(), value.clone());
        }
    }
    for (name, route) in &prompt.data {
        let outcome =
            call::run(route, Input::Bound(arguments), call).await.map_err(|e| for_value(e, name))?;
        values.insert(name.clone(), value(outcome));
    }
    let (plans, until) = (prompt.plan.messages.clone(), Instant::now() + prompt.plan.policy.timeout.0);
    let rendered = template::filled(values, until, move |values| {
        plans.iter().map(|m| Ok((m.role, m.render(values)?))).collect::<Result<_, String>>()
    });
    let failed = |unfilled| match unfilled {
        Unfilled::Late => CallError::internal("its templates were not filled in time"),
        Unfilled::Failed(why) => CallError::internal(why),
    };
    rendered.await.map_err(failed).inspect_err(|e| {
        let trace = call.trace.id().map(tracing::field::display);
        tracing::warn!(request = %call.id, trace, prompt = %prompt.plan.name, detail = %one_line(&e.detail), "prompt not rendered");
    })
}

/// A failed fetch, saying for which value.
fn for_value(error: CallError, name: &str) -> CallError {
    CallError { message: format!("`{name}`: {}", error.message), ..error }
}

/// What templates see of an outcome: its structure, else its text.
fn value(outcome: Outcome) -> Value {
    if let Some(structured) = outcome.structured
        && let Ok(value) = serde_json::from_str(&structured)
    {
        return value;
    }
    let texts = outcome.content.into_iter().map(|c| match c {
        Content::Text(text) => text,
        Content::Blob { data, .. } => data,
        Content::Resource { text, .. } => text.unwrap_or_default(),
        Content::Link(link) => link.to_string(),
    });
    Value::String(texts.collect())
}
