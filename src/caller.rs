//! Who stands behind a call, and what of them a configuration may use: `caller.sub`, `caller.name`, `caller.scopes`, `caller.claims.x`.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::secret::Secret;

/// Who stands behind a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The person who started us over stdio or from the shell.
    Local,
    /// Somebody who reached the port of a server that says `auth: none`, or loopback.
    Anonymous,
    /// Somebody who proved who they are.
    Known(Arc<Identity>),
}

/// Who somebody is, and the token that proved it, which is neither shown nor compared.
#[derive(Clone, Debug)]
pub struct Identity {
    known: Arc<Known>,
    /// The token that proved it, for the exchange of tokens (RFC 8693) and nothing else.
    pub token: Option<Secret>,
}

/// What is known of somebody. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// What tells it from every other caller, in every way of proving it.
    #[serde(skip)]
    pub key: String,
    /// The subject.
    pub sub: String,
    /// A name for people.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What else is said of it.
    pub claims: Map<String, Value>,
}

impl Identity {
    /// Somebody of whom this is known.
    #[must_use]
    pub fn new(known: Known) -> Self {
        Self { known: Arc::new(known), token: None }
    }

    /// The same, as this token proved it.
    #[must_use]
    pub fn with(&self, token: Secret) -> Self {
        Self { known: self.known.clone(), token: Some(token) }
    }
}

impl Deref for Identity {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.known == other.known
    }
}

impl Eq for Identity {}

impl Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.known.serialize(serializer)
    }
}

impl Caller {
    /// What tells it from every other caller.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Local => "local",
            Self::Anonymous => "anonymous",
            Self::Known(identity) => &identity.key,
        }
    }

    /// The same without the token that proved it, to be kept.
    #[must_use]
    pub fn bare(&self) -> Self {
        match self {
            Self::Known(identity) if identity.token.is_some() => {
                Self::Known(Arc::new(Identity { known: identity.known.clone(), token: None }))
            }
            other => other.clone(),
        }
    }

    /// What it may do.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        match self {
            Self::Known(identity) => &identity.scopes,
            Self::Local | Self::Anonymous => &[],
        }
    }
}

/// A part of an identity that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerField {
    /// `caller.sub`, a text.
    Sub,
    /// `caller.name`, a text.
    Name,
    /// `caller.scopes`, a list of texts.
    Scopes,
    /// `caller.claims.x`: the claim of that name, or the member it leads to where the dots do.
    Claim(String),
}

impl CallerField {
    /// The ways to write one, for help texts.
    pub const FORMS: &str = "`caller.sub`, `caller.name`, `caller.scopes` or `caller.claims.NAME`";

    /// Reads `caller.…`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("caller.")? {
            "sub" => Some(Self::Sub),
            "name" => Some(Self::Name),
            "scopes" => Some(Self::Scopes),
            rest => {
                let name = rest.strip_prefix("claims.").filter(|n| !n.is_empty())?;
                Some(Self::Claim(name.to_owned()))
            }
        }
    }

    /// The JSON type of its value, where it is always the same.
    #[must_use]
    pub const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Sub | Self::Name => Some("string"),
            Self::Scopes => Some("array"),
            Self::Claim(_) => None,
        }
    }

    /// Its value for a caller; null and what the caller does not have are nothing.
    #[must_use]
    pub fn of(&self, caller: &Caller) -> Option<Value> {
        let identity = match (caller, self) {
            (Caller::Known(identity), _) => identity,
            (Caller::Local, Self::Sub | Self::Name) => return Some(json!("local")),
            (Caller::Local, Self::Scopes) => return Some(json!([])),
            _ => return None,
        };
        match self {
            Self::Sub => Some(json!(identity.sub)),
            Self::Name => identity.name.as_ref().map(|name| json!(name)),
            Self::Scopes => Some(json!(identity.scopes)),
            Self::Claim(name) => claim(&identity.claims, name).filter(|v| !v.is_null()).cloned(),
        }
    }

    /// What a caller is told whose identity does not have it, or not as it is needed: `why` says which.
    #[must_use]
    pub fn missing(&self, why: &str) -> String {
        format!(
            "This works for callers whose identity has a `{self}`, and {why}. Tell the person who runs this server."
        )
    }

    /// Its value as one text: a list of texts with spaces between them, as OAuth writes scopes; other structures as JSON.
    #[must_use]
    pub fn text_of(&self, caller: &Caller) -> Option<String> {
        Some(match self.of(caller)? {
            Value::String(text) => text,
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        })
    }
}

/// A claim by its name, or the member that the dots of the name lead to. Names may hold dots themselves (`https://shop.example/tenant`), so the whole is looked for first.
#[must_use]
pub fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

impl fmt::Display for CallerField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sub => f.write_str("caller.sub"),
            Self::Name => f.write_str("caller.name"),
            Self::Scopes => f.write_str("caller.scopes"),
            Self::Claim(name) => write!(f, "caller.claims.{name}"),
        }
    }
}

impl Serialize for CallerField {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
impl Caller {
    /// Somebody with a key, for tests.
    pub(crate) fn with_key(sub: &str, scopes: &[&str], claims: &Value) -> Self {
        Self::Known(Arc::new(Identity::new(Known {
            key: format!("key:{sub}"),
            sub: sub.to_owned(),
            name: None,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            claims: claims.as_object().cloned().unwrap_or_default(),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(field: &str, caller: &Caller) -> Option<Value> {
        CallerField::parse(field).unwrap().of(caller)
    }

    #[test]
    fn fields_are_found_and_what_is_missing_is_nothing() {
        let claims = json!({ "org": { "id": 7 }, "https://shop.example/tenant": "t1", "none": null });
        let caller = Caller::with_key("ci", &["a", "b"], &claims);
        assert_eq!(value("caller.sub", &caller), Some(json!("ci")));
        assert_eq!(value("caller.name", &caller), None);
        assert_eq!(value("caller.claims.org.id", &caller), Some(json!(7)));
        assert_eq!(value("caller.claims.https://shop.example/tenant", &caller), Some(json!("t1")));
        assert_eq!(value("caller.claims.none", &caller), None);
        assert_eq!(value("caller.claims.org.id.x", &caller), None);
        assert_eq!(CallerField::Scopes.text_of(&caller).as_deref(), Some("a b"));
        assert_eq!(value("caller.sub", &Caller::Local), Some(json!("local")));
        assert_eq!(value("caller.sub", &Caller::Anonymous), None);
        for wrong in ["caller", "caller.", "caller.claims", "caller.claims.", "caller.id", "sub"] {
            assert_eq!(CallerField::parse(wrong), None, "{wrong}");
        }
    }
}
