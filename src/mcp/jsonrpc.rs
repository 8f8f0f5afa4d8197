//! JSON-RPC 2.0 messages: exact member names, duplicates refused, ids echoed as they came.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Answer, Era, Pieces, RpcError};
use crate::talk::Level;

/// The longest id that is echoed, in bytes as written.
const MAX_ID: usize = 4096;

/// One message, borrowed from the bytes it came in.
#[derive(Debug)]
pub struct Message<'a> {
    /// A request's or response's id: the JSON text of a string or an integer.
    pub id: Option<Cow<'a, str>>,
    /// The method; absent in a response.
    pub method: Option<Cow<'a, str>>,
    /// The members of `params` that MCP methods use.
    pub params: Params<'a>,
    /// The result of a response.
    pub result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A whole message, read in one go. Whatever is wrong with it is found again, and told, member by member.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    params: Option<Params<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Borrowed where it has no escapes, which a text within something else is not by itself.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

/// `null` is a value here, and not the same as absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A token is a string or an integer (MCP 2026-07-28, patterns/progress) and is sent back as it came; what is neither, or what not
/// every reader takes, is as good as none.
fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(deserializer)?;
    Ok(raw.filter(|r| valid_id(r.get())))
}

/// A derived reader would take a list for an object.
fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_option(Object(PhantomData))
}

/// What is wrong with `_meta`, if anything is.
#[derive(Deserialize)]
struct OnlyMeta<'a> {
    #[serde(borrow, default, rename = "_meta", deserialize_with = "meta")]
    _meta: Option<Meta<'a>>,
}

fn meta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Meta<'de>>, D::Error> {
    let Some(raw) = Option::<&RawValue>::deserialize(deserializer)? else { return Ok(None) };
    if !raw.get().starts_with('{') {
        return Err(serde::de::Error::custom("`_meta` is an object"));
    }
    serde_json::from_str(raw.get()).map(Some).map_err(serde::de::Error::custom)
}

/// Members of `params`, unparsed. Others are ignored, as the specification lets clients send more.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// A tool's or prompt's name.
    #[serde(borrow, default)]
    pub name: Option<&'a RawValue>,
    /// A resource's URI.
    #[serde(borrow, default)]
    pub uri: Option<&'a RawValue>,
    /// Arguments of a tool or prompt.
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
    /// A list's cursor.
    #[serde(borrow, default)]
    pub cursor: Option<&'a RawValue>,
    /// `initialize`: the version asked for.
    #[serde(borrow, default, rename = "protocolVersion")]
    pub protocol_version: Option<&'a RawValue>,
    /// `notifications/cancelled`: which request.
    #[serde(borrow, default, rename = "requestId")]
    pub request_id: Option<&'a RawValue>,
    /// `completion/complete`: the prompt or template.
    #[serde(borrow, default, rename = "ref")]
    pub reference: Option<&'a RawValue>,
    /// `completion/complete`: the argument and what was typed.
    #[serde(borrow, default)]
    pub argument: Option<&'a RawValue>,
    /// `completion/complete`: the arguments known so far.
    #[serde(borrow, default)]
    pub context: Option<&'a RawValue>,
    /// `initialize`: what the client can do.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// `logging/setLevel`: the level.
    #[serde(borrow, default)]
    pub level: Option<&'a RawValue>,
    /// `subscriptions/listen`: what to hear.
    #[serde(borrow, default)]
    pub notifications: Option<&'a RawValue>,
    /// Answers to the questions of an earlier round.
    #[serde(borrow, default, rename = "inputResponses", deserialize_with = "present")]
    pub input_responses: Option<&'a RawValue>,
    /// What that round left with the client.
    #[serde(borrow, default, rename = "requestState", deserialize_with = "present")]
    pub request_state: Option<&'a RawValue>,
    /// The envelope of modern requests.
    #[serde(borrow, default, rename = "_meta", deserialize_with = "object")]
    pub meta: Option<Meta<'a>>,
}

/// Members of `params._meta` that we use.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Meta<'a> {
    /// Required in modern requests: a string.
    #[serde(
        borrow,
        default,
        rename = "io.modelcontextprotocol/protocolVersion",
        deserialize_with = "present"
    )]
    pub protocol_version: Option<&'a RawValue>,
    /// Required in modern requests: an object.
    #[serde(
        borrow,
        default,
        rename = "io.modelcontextprotocol/clientCapabilities",
        deserialize_with = "present"
    )]
    pub client_capabilities: Option<&'a RawValue>,
    /// Optional: report progress under this token.
    #[serde(borrow, default, rename = "progressToken", deserialize_with = "token")]
    pub progress_token: Option<&'a RawValue>,
    /// Optional: a log level.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    pub log_level: Option<&'a RawValue>,
    /// Optional: the span that the request comes from, as the W3C's header of that name (MCP 2026-07-28, basic/index).
    #[serde(borrow, default)]
    pub traceparent: Option<&'a RawValue>,
    /// Optional: what belongs to it.
    #[serde(borrow, default)]
    pub tracestate: Option<&'a RawValue>,
}

impl Params<'_> {
    /// Whether `_meta` names a protocol version, which makes the request a modern one.
    #[must_use]
    pub fn has_envelope(&self) -> bool {
        self.meta.as_ref().is_some_and(|m| m.protocol_version.is_some())
    }

    /// Whether `params.protocolVersion` is there, which makes `initialize` a legacy one.
    #[must_use]
    pub fn has_protocol_version(&self) -> bool {
        self.protocol_version.is_some()
    }
}

/// A string member.
///
/// # Errors
/// -32602 if it is there and is not a string.
pub(super) fn string<'a>(member: Option<&'a RawValue>, name: &str) -> Result<Option<Cow<'a, str>>, RpcError> {
    let Some(raw) = member else { return Ok(None) };
    let text = raw.get();
    // Most names have no escapes and can be borrowed.
    if let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'))
        && !inner.contains('\\')
    {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    serde_json::from_str::<String>(text)
        .map(|s| Some(Cow::Owned(s)))
        .map_err(|_| RpcError::invalid_params(format!("`{name}` is a string")))
}

/// A log level; `None` if it is none. A derived reader alone would also take an object.
pub(super) fn level(member: &RawValue) -> Option<Level> {
    Some(member.get()).filter(|text| text.starts_with('"')).and_then(|text| serde_json::from_str(text).ok())
}

/// Whether these are several messages in one list, or would be if they were JSON.
#[must_use]
pub fn is_batch(bytes: &[u8]) -> bool {
    bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[')
}

/// Parses one message.
///
/// # Errors
/// The response to send instead: -32700 for what is not JSON, -32600 for what is no message, -32602 for bad `params`. A
/// readable id is echoed.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, Answer> {
    let refuse = |error: RpcError, id: Option<&str>| {
        let body = error.body(id).into();
        Answer::Reply { status: 400, body, retry_after: None }
    };
    let text =
        std::str::from_utf8(bytes).map_err(|_| refuse(RpcError::parse("the message is not UTF-8"), None))?;
    if is_batch(bytes) {
        let message = "batches exist in protocol version 2025-03-26 only; send one message at a time";
        return Err(refuse(RpcError::invalid_request(message), None));
    }
    let whole = serde_json::from_str(text).ok().and_then(sound);
    whole.map_or_else(|| slowly(text), Ok)
}

/// A request as most are, or nothing if it is anything else.
fn sound(whole: Whole<'_>) -> Option<Message<'_>> {
    let Whole { jsonrpc, id, method, params, result: None, error: None } = whole else { return None };
    let id = id.map(RawValue::get);
    if jsonrpc?.get() != "\"2.0\"" || id.is_some_and(|id| !valid_id(id)) {
        return None;
    }
    let (id, method) = (id.map(Cow::Borrowed), Some(method?.0));
    Some(Message { id, method, params: params.unwrap_or_default(), result: None })
}

/// Parses one message step by step, so that whatever is wrong with it has its own answer.
fn slowly(text: &str) -> Result<Message<'_>, Answer> {
    let refuse = |error: RpcError, id: Option<&str>| {
        let body = error.body(id).into();
        Answer::Reply { status: 400, body, retry_after: None }
    };
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|e| {
        let error = if e.is_data() && !text.trim_start().starts_with('{') {
            RpcError::invalid_request("a message is a JSON object")
        } else if e.is_data() {
            RpcError::invalid_request(format!("not a JSON-RPC message: {e}"))
        } else {
            RpcError::parse(format!("not JSON: {e}"))
        };
        // The id may be readable although the rest is not (MCP 2026-07-28, basic/index).
        let only: Option<OnlyId<'_>> = serde_json::from_str(text).ok();
        refuse(error, only.and_then(|o| o.id).map(RawValue::get).filter(|id| valid_id(id)))
    })?;
    let id = match envelope.id {
        None => None,
        Some(raw) if valid_id(raw.get()) => Some(Cow::Borrowed(raw.get())),
        Some(raw) => {
            let why = if raw.get().len() > MAX_ID && is_text(raw.get()) {
                format!("this id is longer than {MAX_ID} bytes")
            } else {
                "an id is a string or an integer".to_owned()
            };
            return Err(refuse(RpcError::invalid_request(why), None));
        }
    };
    let version = envelope.jsonrpc.map(RawValue::get);
    if version != Some("\"2.0\"") {
        return Err(refuse(RpcError::invalid_request("`jsonrpc` is \"2.0\""), id.as_deref()));
    }
    let response = envelope.result.is_some() || envelope.error.is_some();
    // An error may belong to a request whose id could not be read.
    let whole =
        envelope.result.is_some() != envelope.error.is_some() && (id.is_some() || envelope.error.is_some());
    if envelope.method.is_some() == response || (response && !whole) {
        return Err(refuse(
            RpcError::invalid_request(
                "a message has a method, or is a response with an id and one of `result`, `error`",
            ),
            id.as_deref(),
        ));
    }
    let params = match envelope.params {
        None => Params::default(),
        Some(raw) if !raw.get().starts_with('{') => {
            return Err(refuse(RpcError::envelope("`params` is an object"), id.as_deref()));
        }
        Some(raw) => serde_json::from_str::<OnlyMeta<'_>>(raw.get())
            .and_then(|_| serde_json::from_str(raw.get()))
            .map_err(|e| refuse(RpcError::invalid_params(format!("bad `params`: {e}")), id.as_deref()))?,
    };
    Ok(Message { id, method: envelope.method, params, result: envelope.result })
}

/// A JSON string, or an integer that fits 64 bits: what every client can read back.
fn valid_id(text: &str) -> bool {
    text.len() <= MAX_ID && (is_text(text) || text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok())
}

/// Whether JSON is a string that a text can hold: the grammar lets lone surrogates through, and readers do not.
fn is_text(json: &str) -> bool {
    json.starts_with('"') && (!json.contains('\\') || serde_json::from_str::<String>(json).is_ok())
}

/// A response that carries a result.
pub(super) fn response(id: &str, result: Pieces) -> Pieces {
    result.within(&[b"{\"jsonrpc\":\"2.0\",\"id\":", id.as_bytes(), b",\"result\":"], b'}')
}

impl RpcError {
    /// The response that carries this error; without an id if none could be read.
    #[must_use]
    pub fn body(&self, id: Option<&str>) -> Vec<u8> {
        let mut error = serde_json::Map::new();
        error.insert("code".to_owned(), self.code.into());
        error.insert("message".to_owned(), self.message.as_str().into());
        if let Some(data) = &self.data {
            error.insert("data".to_owned(), data.clone());
        }
        let error = serde_json::Value::Object(error);
        match id {
            Some(id) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into_bytes(),
            None => format!("{{\"jsonrpc\":\"2.0\",\"error\":{error}}}").into_bytes(),
        }
    }

    /// The whole answer. Legacy errors travel with 200, as clients of that era expect, unless HTTP itself has a word for them.
    #[must_use]
    pub fn answer(&self, id: Option<&str>, era: Era) -> Answer {
        let status = match era {
            Era::Modern => self.status,
            Era::Legacy if self.retry_after.is_some() => self.status,
            Era::Legacy => 200,
        };
        Answer::Reply { status, body: self.body(id).into(), retry_after: self.retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &[u8]) -> i64 {
        match parse(text) {
            Ok(_) => 0,
            Err(Answer::Reply { status, body, .. }) => {
                assert_eq!(status, 400);
                let body: serde_json::Value = serde_json::from_slice(&body.into_vec()).unwrap();
                body["error"]["code"].as_i64().unwrap()
            }
            Err(Answer::Accepted) => 1,
        }
    }

    #[test]
    fn messages_are_told_from_what_is_none() {
        let deep =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{}", "[".repeat(200_000));
        let cases: [(&[u8], i64); 22] = [
            (br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, 0),
            (br#"{"jsonrpc":"2.0","id":"a\"b","method":"ping","params":{}}"#, 0),
            (br#"{"jsonrpc":"2.0","method":"notifications/x"}"#, 0),
            (br#"{"jsonrpc":"2.0","id":1,"result":null}"#, 0),
            (b"", -32700),
            (b"{", -32700),
            (b"nope", -32700),
            (b"\xff\xfe", -32700),
            (deep.as_bytes(), -32700),
            (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
            (b"1", -32600),
            (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
            (br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
            (br#"{"jsonrpc":"2.0","id":"\ud83d\ude00","method":"ping"}"#, 0),
            (br#"{"jsonrpc":"2.0","id":"\ud83d","method":"ping"}"#, -32600),
            (br#"{"jsonrpc":"2.0","id":1e400,"method":"ping"}"#, -32600),
            (br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
            (br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
            (br#"{"jsonrpc":"2.0","id":1}"#, -32600),
            (br#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, -32600),
            (br#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#, -32602),
            (br#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"a","name":"b"}}"#, -32602),
        ];
        for (text, wanted) in cases {
            let shown = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
            assert_eq!(code(text), wanted, "{shown}");
        }
    }

    #[test]
    fn a_message_is_the_same_however_it_is_read() {
        let meta = r#"{"io.modelcontextprotocol/protocolVersion":"x","progressToken":7,"more":[{}]}"#;
        for params in [
            String::new(),
            r#","params":null"#.to_owned(),
            r#","params":{}"#.to_owned(),
            r#","params":[]"#.to_owned(),
            r#","params":{"name":"a\u0062","arguments":{"a":[1e400,{"b":"\ud83d"}]},"other":{"x":[]}}"#
                .to_owned(),
            format!(r#","params":{{"name":"a","_meta":{meta}}}"#),
            r#","params":{"_meta":null,"inputResponses":null}"#.to_owned(),
            r#","params":{"_meta":[]}"#.to_owned(),
            r#","params":{"_meta":{"progressToken":1,"progressToken":2}}"#.to_owned(),
            r#","params":{"name":"a","name":"b"}"#.to_owned(),
            r#","params":{"name":"a"}}"#.to_owned(),
        ] {
            for head in [
                r#""id":1,"method":"a""#,
                r#""method":"a\n""#,
                r#""id":[],"method":"a""#,
                r#""id":1,"result":{}"#,
            ] {
                for version in ["2.0", "1.0"] {
                    let text = format!(r#"{{"jsonrpc":"{version}",{head}{params}}}"#);
                    let shown = |message: Result<Message<'_>, Answer>| format!("{message:?}");
                    assert_eq!(shown(parse(text.as_bytes())), shown(slowly(&text)), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_long_id_is_echoed_and_one_that_is_too_long_is_told_so() {
        let of = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let text = |bytes: usize| format!("\"{}\"", "a".repeat(bytes - 2));
        let longest = of(&text(MAX_ID));
        assert_eq!(parse(longest.as_bytes()).unwrap().id, Some(text(MAX_ID).into()));
        for (id, why) in [
            (text(MAX_ID + 1), "this id is longer than 4096 bytes"),
            ("1".repeat(MAX_ID + 1), "an id is a string or an integer"),
            ("[]".to_owned(), "an id is a string or an integer"),
        ] {
            let Err(Answer::Reply { body, .. }) = parse(of(&id).as_bytes()) else { panic!("{id}") };
            let body: serde_json::Value = serde_json::from_slice(&body.into_vec()).unwrap();
            assert_eq!(body["error"]["message"], why);
        }
    }

    #[test]
    fn member_names_are_exact() {
        let message =
            parse(br#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"Name":"b","NAME":"c","name":"d"}}"#);
        assert_eq!(message.unwrap().params.name.unwrap().get(), "\"d\"");
    }

    #[test]
    fn a_progress_token_that_not_every_client_can_read_back_is_none() {
        for (token, taken) in [
            ("7", true),
            ("-15", true),
            ("-1.5", false),
            (r#""a\nb""#, true),
            ("1e400", false),
            (r#""\ud800""#, false),
            ("true", false),
            ("null", false),
            ("[]", false),
        ] {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"_meta":{{"progressToken":{token}}}}}}}"#
            );
            let meta = parse(text.as_bytes()).unwrap().params.meta.unwrap();
            assert_eq!(meta.progress_token.map(RawValue::get), Some(token).filter(|_| taken), "{token}");
        }
    }
}
