//! A request of the comparison, as data: what is sent, in which era, and in what session.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::message::{self, headers, meta};

/// Which of the two protocols a request is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Modern,
    Legacy,
}

/// Where a request stands in a legacy session. `Own` is whatever the server gave at `initialize`, if it gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    None,
    Own,
    /// As `Own`, before `notifications/initialized`.
    Early,
    /// As `Own`, after DELETE.
    Ended,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub name: String,
    pub era: Era,
    pub verb: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub session: Session,
    /// The version of the session.
    pub version: &'static str,
}

impl Request {
    /// A right modern request; its name header follows from its parameters.
    pub fn modern(name: &str, method: &str, params: Value) -> Self {
        let target = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
        let target = target.filter(|_| matches!(method, "tools/call" | "prompts/get" | "resources/read"));
        Self {
            name: format!("modern: {name}"),
            era: Era::Modern,
            verb: "POST",
            headers: message::modern_headers(method, target.as_deref()),
            body: message::modern(method, params).to_string().into_bytes(),
            session: Session::None,
            version: message::MODERN,
        }
    }

    /// A right request in a session of 2025-11-25.
    pub fn legacy(name: &str, method: &str, params: &Value) -> Self {
        Self {
            name: format!("legacy: {name}"),
            era: Era::Legacy,
            verb: "POST",
            headers: message::plain_headers(),
            body: message::legacy(method, params).to_string().into_bytes(),
            session: Session::Own,
            version: "2025-11-25",
        }
        .with("MCP-Protocol-Version", "2025-11-25")
    }

    /// The same request in both eras.
    pub fn both(name: &str, method: &str, params: &Value) -> [Self; 2] {
        [Self::modern(name, method, params.clone()), Self::legacy(name, method, params)]
    }

    /// A body written by hand, in both eras, with the headers of `tools/list`. `ENVELOPE` stands for what a modern
    /// request has in its parameters, `CALL` for that with a comma.
    pub fn written(name: &str, body: &str) -> [Self; 2] {
        let envelope = format!("\"_meta\":{}", meta());
        let modern = body.replace("ENVELOPE", &envelope).replace("CALL", &format!("{envelope},"));
        let legacy = body.replace("ENVELOPE", "").replace("CALL", "");
        let [a, b] = Self::both(name, "tools/list", &json!({}));
        [a.body(modern.as_bytes()), b.body(legacy.as_bytes())]
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.extend(headers(&[(name, value)]));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Changes the message.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut message = serde_json::from_slice(&self.body).unwrap();
        change(&mut message);
        self.body = message.to_string().into_bytes();
        self
    }

    pub fn verb(mut self, verb: &'static str) -> Self {
        self.verb = verb;
        if verb != "POST" {
            self.body.clear();
            self = self.without("Content-Type");
        }
        self
    }

    pub fn session(mut self, session: Session) -> Self {
        self.session = session;
        self
    }

    /// In a session of another version, named by the header since 2025-06-18.
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self = self.without("MCP-Protocol-Version");
        if version >= "2025-06-18" { self.with("MCP-Protocol-Version", version) } else { self }
    }

    /// The id that was sent, if the message has one.
    pub fn id(&self) -> Option<Value> {
        #[derive(Deserialize)]
        struct Message {
            id: Option<Value>,
        }
        // A derived reader would take a list for an object.
        let first = self.body.iter().find(|b| !b.is_ascii_whitespace());
        serde_json::from_slice::<Message>(&self.body).ok().filter(|_| first == Some(&b'{'))?.id
    }

    /// The bytes on the wire, in the session that a server gave.
    pub fn bytes(&self, session: Option<&str>) -> Vec<u8> {
        let mut head = format!("{} /mcp HTTP/1.1\r\n", self.verb);
        let session = session.map(|id| ("Mcp-Session-Id".to_owned(), id.to_owned()));
        for (name, value) in self.headers.iter().chain(&session) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || self.verb == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}
