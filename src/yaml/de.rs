//! A serde deserializer over the tree. After a mistake the value that holds it is set aside and the whole is read
//! again, so that one run finds all mistakes while the configuration types stay plain derived serde types.
//!
//! All of it is made once for each type of the configuration, so what does not depend on the type stands in functions of its own
//! that are not inlined, and an error is one word.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::value::U128Deserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::one_or_many::ONE_OR_MANY;
use super::text_or::{TEXT_OR, VALUE_OR, VALUE_VARIANTS, VARIANTS};
use super::{Losses, Node, NodeKind, Scalar};
use crate::diag::{Diagnostic, Diagnostics, SPANNED, Span};
use crate::secret::SECRET;

/// The most mistakes of one file that are told: each one costs another reading.
const MAX_MISTAKES: usize = 200;

/// Keys that limit or guard something: with nothing under them they would be as good as not there, which nobody who writes them means.
pub const GUARDS: [&str; 24] = [
    "admin",
    "audit",
    "auth",
    "circuit_breaker",
    "client_ca",
    "clients",
    "concurrency",
    "confirm",
    "credentials",
    "from",
    "max_body",
    "max_bytes",
    "max_concurrent_calls",
    "max_response",
    "max_rows",
    "max_tokens",
    "rate_limit",
    "read_only",
    "redact",
    "select",
    "statement_timeout",
    "timeout",
    "tls",
    "when",
];

/// What reading a tree gave.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value; `None` if the whole could not be read.
    pub value: Option<T>,
    /// The places of secret values.
    pub secrets: Vec<Span>,
    /// What of the text is not in the value.
    pub losses: Losses,
}

/// Reads `root` into `T`. All problems are recorded; the nodes in `skip` (ids already complained about) are passed over.
pub fn from_tree<T: for<'de> Deserialize<'de>>(
    root: &Node,
    skip: Vec<u32>,
    diagnostics: &mut Diagnostics,
) -> Reading<T> {
    let mut mistakes = 0;
    let state = State { aside: RefCell::new(skip.into_iter().collect()), ..State::default() };
    let result = loop {
        match T::deserialize(De { node: root, state: &state }) {
            Ok(value) => break Some(value),
            Err(error) => {
                let node = error.0.node.unwrap_or(root.id);
                if !error.0.follows_from_another {
                    diagnostics.push(error.into_diagnostic(root.label_span()));
                }
                // Setting the same node aside twice would never end; the root cannot be done without.
                mistakes += 1;
                if node == root.id || mistakes == MAX_MISTAKES || !state.aside.borrow_mut().insert(node) {
                    break None;
                }
            }
        }
    };
    for problem in state.problems.into_inner() {
        diagnostics.push(problem);
    }
    let losses = Losses::find(root, &state.aside.into_inner(), &state.complained.into_inner());
    Reading { value: result, secrets: state.secrets.into_inner(), losses }
}

#[derive(Default)]
struct State {
    /// Node ids that were found faulty: read as if they were not there.
    aside: RefCell<HashSet<u32>>,
    /// Problems that do not stop the reading, such as unknown keys.
    problems: RefCell<Vec<Diagnostic>>,
    /// Keys already complained about (a reading may be repeated), and the key that was meant, where one is near.
    complained: RefCell<HashMap<u32, Option<String>>>,
    /// Values of [`GUARDS`]: nothing is not one of them.
    guards: RefCell<HashSet<u32>>,
    secrets: RefCell<Vec<Span>>,
}

/// A problem on its way up; it gets its place from the innermost node it passes.
#[derive(Debug)]
pub(super) struct Error(Box<Problem>);

#[derive(Debug)]
struct Problem {
    code: &'static str,
    message: String,
    help: Option<String>,
    missing: Option<&'static str>,
    follows_from_another: bool,
    node: Option<u32>,
    span: Option<Span>,
}

impl Error {
    #[cold]
    #[inline(never)]
    fn new(code: &'static str, message: String) -> Self {
        Self(Box::new(Problem {
            code,
            message,
            help: None,
            missing: None,
            follows_from_another: false,
            node: None,
            span: None,
        }))
    }

    #[cold]
    #[inline(never)]
    fn expected(code: &'static str, expected: fmt::Arguments<'_>) -> Self {
        Self::new(code, format!("expected {expected}"))
    }

    #[cold]
    #[inline(never)]
    fn help(mut self, help: String) -> Self {
        self.0.help = Some(help);
        self
    }

    #[cold]
    #[inline(never)]
    fn follows_from(mut self, lost: &[&str]) -> Self {
        if self.0.node.is_none() && self.0.missing.is_some_and(|m| lost.contains(&m)) {
            self.0.follows_from_another = true;
        }
        self
    }

    fn into_diagnostic(self, fallback: Span) -> Diagnostic {
        let Problem { code, message, help, span, .. } = *self.0;
        Diagnostic::error(code, message).at(span.unwrap_or(fallback), "").maybe_help(help)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    #[cold]
    #[inline(never)]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("wrong-value", message.to_string())
    }
    #[cold]
    #[inline(never)]
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected("wrong-type", format_args!("{expected}"))
    }
    #[cold]
    #[inline(never)]
    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected("wrong-value", format_args!("{expected}"))
    }
    #[cold]
    #[inline(never)]
    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::expected("wrong-value", format_args!("{expected}"))
    }
    #[cold]
    #[inline(never)]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::expected("wrong-value", format_args!("{}", choices(expected)));
        match crate::name::nearest(variant, expected.iter().copied()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        }
    }
    #[cold]
    #[inline(never)]
    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new("missing-key", format!("`{field}` is missing here"));
        error.0.missing = Some(field);
        error
    }
    #[cold]
    #[inline(never)]
    fn duplicate_field(field: &'static str) -> Self {
        Self::new("duplicate-key", format!("`{field}` is given twice"))
    }
}

#[derive(Clone, Copy)]
struct De<'de> {
    node: &'de Node,
    state: &'de State,
}

impl<'de> De<'de> {
    /// Gives an error this place unless it already has one.
    fn placed<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.place(error)),
        }
    }

    #[cold]
    #[inline(never)]
    fn place(&self, mut error: Error) -> Error {
        if error.0.node.is_none() {
            error.0.node = Some(self.node.id);
            error.0.span = Some(self.node.label_span());
        }
        error
    }

    #[cold]
    #[inline(never)]
    fn other_than(&self, expected: &str) -> Error {
        Error::expected("wrong-type", format_args!("{expected}, found {}", self.found()))
    }

    fn found(&self) -> &'static str {
        match &self.node.kind {
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a block of keys",
            NodeKind::Scalar(_) if self.node.is_null() => "nothing",
            NodeKind::Scalar(_) => "a single value",
        }
    }

    #[inline(never)]
    fn scalar(&self, expected: &str) -> Result<&'de Scalar, Error> {
        match &self.node.kind {
            NodeKind::Scalar(scalar) if !self.node.is_null() => Ok(scalar),
            _ => Err(self.other_than(expected)),
        }
    }

    /// The text of a scalar that may be read as a number or boolean: unquoted, or from `${…}`.
    #[inline(never)]
    fn literal(&self, expected: &str) -> Result<&'de str, Error> {
        let scalar = self.scalar(expected)?;
        if scalar.plain || scalar.interpolated {
            return Ok(&scalar.text);
        }
        let error = Error::expected("wrong-type", format_args!("{expected}, found quoted text"));
        Err(error.help("write it without quotes".to_owned()))
    }

    #[inline(never)]
    fn boolean(&self) -> Result<bool, Error> {
        match self.literal("`true` or `false`")? {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(Error::expected("wrong-type", format_args!("`true` or `false`"))),
        }
    }

    #[inline(never)]
    fn number(&self) -> Result<f64, Error> {
        match self.literal("a number")?.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(Error::expected("wrong-type", format_args!("a number"))),
        }
    }

    /// A whole number: one that is not negative, or one that is.
    #[inline(never)]
    fn whole(&self) -> Result<Result<u64, i64>, Error> {
        let text = self.literal("a whole number")?;
        let number = text.parse::<u64>().map(Ok).or_else(|_| text.parse::<i64>().map(Err));
        number.map_err(|_| Error::expected("wrong-type", format_args!("a whole number")))
    }

    fn integer<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Error> {
        let read = match self.whole()? {
            Ok(number) => visitor.visit_u64(number),
            Err(number) => visitor.visit_i64(number),
        };
        read.map_err(|_: Error| out_of_range())
    }

    #[inline(never)]
    fn word(&self, words: &'static [&'static str]) -> Result<&'de str, Error> {
        match &self.node.kind {
            NodeKind::Scalar(scalar) if !self.node.is_null() => Ok(&scalar.text),
            _ => Err(self.other_than(&choices(words))),
        }
    }

    #[inline(never)]
    fn list(&self) -> Result<ListAccess<'de>, Error> {
        match &self.node.kind {
            NodeKind::List(items) => Ok(ListAccess { items: items.iter(), state: self.state }),
            _ => Err(self.other_than("a list")),
        }
    }

    #[inline(never)]
    fn one_or_many(&self) -> ListAccess<'de> {
        let items = match &self.node.kind {
            NodeKind::List(items) => items.iter(),
            _ => std::slice::from_ref(self.node).iter(),
        };
        ListAccess { items, state: self.state }
    }

    #[inline(never)]
    fn map(&self) -> Result<MapAccess<'de>, Error> {
        match &self.node.kind {
            NodeKind::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(key, value)| (key, value)).collect();
                Ok(MapAccess { entries: entries.into_iter(), value: None, state: self.state })
            }
            _ => Err(self.other_than("a block of names")),
        }
    }

    /// Hides the value if it is a single one.
    #[inline(never)]
    fn hide_secret(&self) {
        if let NodeKind::Scalar(_) = self.node.kind {
            self.state.secrets.borrow_mut().push(self.node.span);
        }
    }

    /// The entries of a block whose keys are known, and the keys that are missing because of another mistake.
    #[inline(never)]
    fn entries(&self, fields: &'static [&'static str]) -> Result<(MapAccess<'de>, Vec<&'de str>), Error> {
        let known = || fields.iter().copied().filter(|f| !f.ends_with('*'));
        let NodeKind::Map(entries) = &self.node.kind else {
            let shown: Vec<String> = known().take(4).map(|f| format!("`{f}`")).collect();
            let more = if known().count() > 4 { ", …" } else { "" };
            return Err(self.other_than(&format!("a block with {}{more}", shown.join(", "))));
        };
        let open = fields.iter().any(|f| f.ends_with('*'));
        let mut kept = Vec::with_capacity(entries.len());
        let mut meant = Vec::new();
        for (key, value) in entries {
            let NodeKind::Scalar(name) = &key.kind else {
                continue;
            };
            let name = name.text.as_str();
            let starts = |f: &&str| f.strip_suffix('*').is_some_and(|p| name.starts_with(p));
            if fields.contains(&name) || open && fields.iter().any(starts) {
                if GUARDS.contains(&name) && value.is_null() {
                    self.state.guards.borrow_mut().insert(value.id);
                }
                kept.push((key, value));
            } else {
                meant.extend(crate::name::nearest(name, known()));
                self.complain_unknown(key, value, name, &known().collect::<Vec<_>>());
                self.hide(value);
            }
        }
        let aside = kept.iter().filter(|(_, value)| self.state.aside.borrow().contains(&value.id));
        let aside = aside.filter_map(|(key, _)| match &key.kind {
            NodeKind::Scalar(s) => Some(s.text.as_str()),
            _ => None,
        });
        let lost: Vec<&str> = aside.chain(meant).collect();
        Ok((MapAccess { entries: kept.into_iter(), value: None, state: self.state }, lost))
    }

    fn read_struct<V: Visitor<'de>>(
        &self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (entries, lost) = self.entries(fields)?;
        match visitor.visit_map(entries) {
            Ok(value) => Ok(value),
            Err(error) => Err(error.follows_from(&lost)),
        }
    }

    /// Nobody knows what a block is whose key is wrong: a misspelt one may hold secrets.
    fn hide(&self, block: &Node) {
        let parts: Vec<&Node> = match &block.kind {
            NodeKind::Scalar(_) => return,
            NodeKind::List(items) => items.iter().collect(),
            NodeKind::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        };
        for part in parts {
            match &part.kind {
                NodeKind::Scalar(_) if !part.is_null() => self.state.secrets.borrow_mut().push(part.span),
                _ => self.hide(part),
            }
        }
    }

    fn complain_unknown(&self, key: &Node, value: &Node, name: &str, known: &[&str]) {
        let near = crate::name::nearest(name, known.iter().copied()).map(str::to_owned);
        if self.state.complained.borrow_mut().insert(key.id, near).is_some() {
            return;
        }
        // The rest of a text after its comma looks like a key with nothing under it.
        let help = if name.contains(' ') && value.is_null() && value.span.start == value.span.end {
            "inside `{ … }` a text with a comma in it wants quotes".to_owned()
        } else {
            crate::name::did_you_mean(name, known.iter().copied(), "keys here")
        };
        let problem =
            Diagnostic::error("unknown-key", format!("unknown key `{name}`")).at(key.span, "").help(help);
        self.state.problems.borrow_mut().push(problem);
    }
}

/// `a`, or one of several.
fn choices(words: &[&str]) -> String {
    let shown: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
    format!("{}{}", if shown.len() > 1 { "one of " } else { "" }, shown.join(", "))
}

#[cold]
#[inline(never)]
fn out_of_range() -> Error {
    Error::new("wrong-value", "this number is out of range here".to_owned())
}

/// Core-schema reading of an unquoted scalar (YAML 1.2.2 section 10.3.2).
fn visit_plain<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, Error> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return visitor.visit_unit(),
        "true" | "True" | "TRUE" => return visitor.visit_bool(true),
        "false" | "False" | "FALSE" => return visitor.visit_bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if digits.starts_with(|c: char| c.is_ascii_digit()) && !leading_zero {
        if let Ok(number) = text.parse::<u64>() {
            return visitor.visit_u64(number);
        }
        if let Ok(number) = text.parse::<i64>() {
            return visitor.visit_i64(number);
        }
        if let Ok(number) = text.parse::<f64>()
            && number.is_finite()
        {
            return visitor.visit_f64(number);
        }
    }
    visitor.visit_str(text)
}

impl<'de> Deserializer<'de> for De<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(match &self.node.kind {
            NodeKind::Scalar(s) if s.plain => visit_plain(&s.text, visitor),
            NodeKind::Scalar(s) => visitor.visit_str(&s.text),
            NodeKind::List(_) => return self.deserialize_seq(visitor),
            NodeKind::Map(_) => return self.deserialize_map(visitor),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.boolean().and_then(|value| visitor.visit_bool(value)))
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.integer(visitor))
    }
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.integer(visitor))
    }
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.integer(visitor))
    }
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.integer(visitor))
    }
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.integer(visitor))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.number().and_then(|value| visitor.visit_f64(value)))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.scalar("text").and_then(|s| visitor.visit_str(&s.text)))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let nothing = self.node.is_null() && !self.state.guards.borrow().contains(&self.node.id);
        if nothing { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            SPANNED => visitor.visit_seq(SpannedAccess { de: self, placed: false }),
            SECRET => {
                self.hide_secret();
                visitor.visit_newtype_struct(self)
            }
            ONE_OR_MANY => self.placed(visitor.visit_seq(self.one_or_many())),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.list().and_then(|items| visitor.visit_seq(items)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.map().and_then(|entries| visitor.visit_map(entries)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.placed(self.read_struct(fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == TEXT_OR {
            let [text, block] = VARIANTS;
            // Where there is nothing, the block says best what could be there.
            let is_text = matches!(self.node.kind, NodeKind::Scalar(_)) && !self.node.is_null();
            let variant = if is_text { text } else { block };
            return self.placed(visitor.visit_enum(TextOrAccess(self, variant)));
        }
        if name == VALUE_OR {
            let [value, block] = VALUE_VARIANTS;
            let variant = if matches!(self.node.kind, NodeKind::Map(_)) { block } else { value };
            return self.placed(visitor.visit_enum(TextOrAccess(self, variant)));
        }
        self.placed(
            self.word(variants)
                .and_then(|word| visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(word))),
        )
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct ListAccess<'de> {
    items: std::slice::Iter<'de, Node>,
    state: &'de State,
}

impl<'de> de::SeqAccess<'de> for ListAccess<'de> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        match self.next() {
            Some(de) => de.placed(seed.deserialize(de)).map(Some),
            None => Ok(None),
        }
    }
}

impl<'de> ListAccess<'de> {
    #[inline(never)]
    fn next(&mut self) -> Option<De<'de>> {
        let state = self.state;
        let next = self.items.find(|n| !state.aside.borrow().contains(&n.id));
        next.map(|node| De { node, state })
    }
}

struct MapAccess<'de> {
    entries: std::vec::IntoIter<(&'de Node, &'de Node)>,
    value: Option<&'de Node>,
    state: &'de State,
}

impl<'de> de::MapAccess<'de> for MapAccess<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        match self.next() {
            Some(key) => seed.deserialize(KeyDe(key)).map(Some),
            None => Ok(None),
        }
    }

    // One for each type of value, and not one for each key.
    #[inline(never)]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let de = self.value()?;
        // A type that refuses what it was given (a duration, a size) knows no place: it is that of the value.
        de.placed(seed.deserialize(de))
    }
}

impl<'de> MapAccess<'de> {
    /// The key of the next entry.
    #[inline(never)]
    fn next(&mut self) -> Option<De<'de>> {
        let state = self.state;
        let (key, value) = self.entries.find(|(_, value)| !state.aside.borrow().contains(&value.id))?;
        self.value = Some(value);
        Some(De { node: key, state })
    }

    /// The value of the last key.
    fn value(&mut self) -> Result<De<'de>, Error> {
        match self.value.take() {
            Some(node) => Ok(De { node, state: self.state }),
            None => Err(Error::new("internal", "a value was asked for before its key".to_owned())),
        }
    }
}

/// A key: always text, whatever it looks like.
struct KeyDe<'de>(De<'de>);

impl<'de> Deserializer<'de> for KeyDe<'de> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.node.kind {
            NodeKind::Scalar(s) => visitor.visit_borrowed_str(&s.text),
            _ => Err(Error::new("key-not-text", "a key is a word".to_owned())),
        }
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_newtype_struct(name, visitor)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Gives the variant of a [`super::TextOr`] or [`super::ValueOr`] that was chosen by what was written.
struct TextOrAccess<'de>(De<'de>, &'static str);

impl<'de> de::EnumAccess<'de> for TextOrAccess<'de> {
    type Error = Error;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        Ok((seed.deserialize(IntoDeserializer::<Error>::into_deserializer(self.1))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for TextOrAccess<'de> {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.0)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_struct("", fields, visitor)
    }
}

/// Gives a place and then what stands there.
struct SpannedAccess<'de> {
    de: De<'de>,
    placed: bool,
}

impl<'de> de::SeqAccess<'de> for SpannedAccess<'de> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.placed {
            return seed.deserialize(self.de).map(Some);
        }
        self.placed = true;
        seed.deserialize(U128Deserializer::<Error>::new(self.de.node.span.to_number())).map(Some)
    }
}
