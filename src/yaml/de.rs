//! A serde deserializer over the tree. After a mistake the value that holds it is set aside and the whole is read
//! again, so that one run finds all mistakes while the configuration types stay plain derived serde types.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::one_or_many::ONE_OR_MANY;
use super::text_or::{TEXT_OR, VALUE_OR, VALUE_VARIANTS, VARIANTS};
use super::{Losses, Node, NodeKind, Scalar};
use crate::diag::{Diagnostic, Diagnostics, SPANNED, Span};
use crate::secret::SECRET;

/// The most mistakes of one file that are told: each one costs another reading.
const MAX_MISTAKES: usize = 200;

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
                let node = error.node.unwrap_or(root.id);
                if !error.follows_from_another {
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
    secrets: RefCell<Vec<Span>>,
}

/// A problem on its way up; it gets its place from the innermost node it passes.
#[derive(Debug)]
pub(super) struct Error {
    code: &'static str,
    message: String,
    help: Option<String>,
    missing: Option<&'static str>,
    follows_from_another: bool,
    node: Option<u32>,
    span: Option<Span>,
}

impl Error {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
            missing: None,
            follows_from_another: false,
            node: None,
            span: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn into_diagnostic(self, fallback: Span) -> Diagnostic {
        Diagnostic::error(self.code, self.message).at(self.span.unwrap_or(fallback), "").maybe_help(self.help)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("wrong-value", message.to_string())
    }
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("wrong-type", format!("expected {expected}"))
    }
    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("wrong-value", format!("expected {expected}"))
    }
    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::new("wrong-value", format!("expected {expected}"))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new("wrong-value", format!("expected {}", choices(expected)));
        match crate::name::nearest(variant, expected.iter().copied()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        }
    }
    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new("missing-key", format!("`{field}` is missing here")) }
    }
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
        result.map_err(|mut error| {
            if error.node.is_none() {
                error.node = Some(self.node.id);
                error.span = Some(self.node.label_span());
            }
            error
        })
    }

    fn found(&self) -> &'static str {
        match &self.node.kind {
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a block of keys",
            NodeKind::Scalar(_) if self.node.is_null() => "nothing",
            NodeKind::Scalar(_) => "a single value",
        }
    }

    fn scalar(&self, expected: &str) -> Result<&'de Scalar, Error> {
        match &self.node.kind {
            NodeKind::Scalar(scalar) if !self.node.is_null() => Ok(scalar),
            _ => Err(Error::new("wrong-type", format!("expected {expected}, found {}", self.found()))),
        }
    }

    /// The text of a scalar that may be read as a number or boolean: unquoted, or from `${…}`.
    fn literal(&self, expected: &str) -> Result<&'de str, Error> {
        let scalar = self.scalar(expected)?;
        if scalar.plain || scalar.interpolated {
            return Ok(&scalar.text);
        }
        let error = Error::new("wrong-type", format!("expected {expected}, found quoted text"));
        Err(error.help("write it without quotes"))
    }

    fn integer<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Error> {
        let text = self.literal("a whole number")?;
        if let Ok(number) = text.parse::<u64>() {
            return visitor.visit_u64(number).map_err(|_: Error| out_of_range());
        }
        if let Ok(number) = text.parse::<i64>() {
            return visitor.visit_i64(number).map_err(|_: Error| out_of_range());
        }
        Err(Error::new("wrong-type", "expected a whole number"))
    }

    fn map_entries(&self, expected: &str) -> Result<&'de [(Node, Node)], Error> {
        match &self.node.kind {
            NodeKind::Map(entries) => Ok(entries),
            _ => Err(Error::new("wrong-type", format!("expected {expected}, found {}", self.found()))),
        }
    }

    fn read_struct<V: Visitor<'de>>(
        &self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let known = || fields.iter().copied().filter(|f| !f.ends_with('*'));
        let NodeKind::Map(entries) = &self.node.kind else {
            let shown: Vec<String> = known().take(4).map(|f| format!("`{f}`")).collect();
            let more = if known().count() > 4 { ", …" } else { "" };
            let expected = format!("a block with {}{more}", shown.join(", "));
            return Err(Error::new("wrong-type", format!("expected {expected}, found {}", self.found())));
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
                kept.push((key, value));
            } else {
                meant.extend(crate::name::nearest(name, known()));
                self.complain_unknown(key, name, &known().collect::<Vec<_>>());
                self.hide(value);
            }
        }
        let aside = kept.iter().filter(|(_, value)| self.state.aside.borrow().contains(&value.id));
        let aside = aside.filter_map(|(key, _)| match &key.kind {
            NodeKind::Scalar(s) => Some(s.text.as_str()),
            _ => None,
        });
        let lost: Vec<&str> = aside.chain(meant).collect();
        let access = MapAccess { entries: kept.into_iter(), value: None, state: self.state };
        visitor.visit_map(access).map_err(|mut error| {
            if error.node.is_none() && error.missing.is_some_and(|m| lost.contains(&m)) {
                error.follows_from_another = true;
            }
            error
        })
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

    fn complain_unknown(&self, key: &Node, name: &str, known: &[&str]) {
        let near = crate::name::nearest(name, known.iter().copied()).map(str::to_owned);
        if self.state.complained.borrow_mut().insert(key.id, near).is_some() {
            return;
        }
        let problem = Diagnostic::error("unknown-key", format!("unknown key `{name}`"))
            .at(key.span, "")
            .help(crate::name::did_you_mean(name, known.iter().copied(), "keys here"));
        self.state.problems.borrow_mut().push(problem);
    }
}

/// `a`, or one of several.
fn choices(words: &[&str]) -> String {
    let shown: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
    format!("{}{}", if shown.len() > 1 { "one of " } else { "" }, shown.join(", "))
}

fn out_of_range() -> Error {
    Error::new("wrong-value", "this number is out of range here")
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
        self.placed(self.literal("`true` or `false`").and_then(|text| match text {
            "true" | "True" | "TRUE" => visitor.visit_bool(true),
            "false" | "False" | "FALSE" => visitor.visit_bool(false),
            _ => Err(Error::new("wrong-type", "expected `true` or `false`")),
        }))
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
        self.placed(self.literal("a number").and_then(|text| match text.parse::<f64>() {
            Ok(number) if number.is_finite() => visitor.visit_f64(number),
            _ => Err(Error::new("wrong-type", "expected a number")),
        }))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.scalar("text").and_then(|s| visitor.visit_str(&s.text)))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            SPANNED => visitor.visit_seq(SpannedAccess { de: self, step: 0 }),
            SECRET => {
                if let NodeKind::Scalar(_) = self.node.kind {
                    self.state.secrets.borrow_mut().push(self.node.span);
                }
                visitor.visit_newtype_struct(self)
            }
            ONE_OR_MANY => {
                let items = match &self.node.kind {
                    NodeKind::List(items) => items.iter(),
                    _ => std::slice::from_ref(self.node).iter(),
                };
                self.placed(visitor.visit_seq(ListAccess { items, state: self.state }))
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(match &self.node.kind {
            NodeKind::List(items) => visitor.visit_seq(ListAccess { items: items.iter(), state: self.state }),
            _ => Err(Error::new("wrong-type", format!("expected a list, found {}", self.found()))),
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(self.map_entries("a block of names").and_then(|entries| {
            let entries: Vec<_> = entries.iter().map(|(k, v)| (k, v)).collect();
            visitor.visit_map(MapAccess { entries: entries.into_iter(), value: None, state: self.state })
        }))
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
            let variant = if matches!(self.node.kind, NodeKind::Scalar(_)) { text } else { block };
            return self.placed(visitor.visit_enum(TextOrAccess(self, variant)));
        }
        if name == VALUE_OR {
            let [value, block] = VALUE_VARIANTS;
            let variant = if matches!(self.node.kind, NodeKind::Map(_)) { block } else { value };
            return self.placed(visitor.visit_enum(TextOrAccess(self, variant)));
        }
        self.placed(
            self.scalar(&choices(variants)).and_then(|s| {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(s.text.as_str()))
            }),
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
        let state = self.state;
        let next = self.items.find(|n| !state.aside.borrow().contains(&n.id));
        next.map(|node| De { node, state }).map(|de| de.placed(seed.deserialize(de))).transpose()
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
        let state = self.state;
        let next = self.entries.find(|(_, value)| !state.aside.borrow().contains(&value.id));
        let Some((key, value)) = next else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(KeyDe(De { node: key, state })).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let node = self
            .value
            .take()
            .ok_or_else(|| Error::new("internal", "a value was asked for before its key"))?;
        // A type that refuses what it was given (a duration, a size) knows no place: it is that of the value.
        let de = De { node, state: self.state };
        de.placed(seed.deserialize(de))
    }
}

/// A key: always text, whatever it looks like.
struct KeyDe<'de>(De<'de>);

impl<'de> Deserializer<'de> for KeyDe<'de> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.node.kind {
            NodeKind::Scalar(s) => visitor.visit_borrowed_str(&s.text),
            _ => Err(Error::new("key-not-text", "a key is a word")),
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

struct SpannedAccess<'de> {
    de: De<'de>,
    step: u8,
}

impl<'de> de::SeqAccess<'de> for SpannedAccess<'de> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let span = self.de.node.span;
        let number = match self.step {
            0 => span.file.0,
            1 => span.start,
            2 => span.end,
            3 => {
                self.step = 4;
                return seed.deserialize(self.de).map(Some);
            }
            _ => return Ok(None),
        };
        self.step += 1;
        seed.deserialize(U32Deserializer::<Error>::new(number)).map(Some)
    }
}
