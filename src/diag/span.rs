//! Places in the configuration's text, and values that remember theirs.

use std::borrow::Cow;
use std::ops::{Deref, Range};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which file of the [`SourceMap`] a span is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A byte range of one file; `end` is exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// As one number, in which a deserializer gives it.
    pub(crate) fn to_number(self) -> u128 {
        u128::from(self.file.0) << 64 | u128::from(self.start) << 32 | u128::from(self.end)
    }

    fn from_number(number: u128) -> Self {
        let part = |shift: u32| u32::try_from(number >> shift & u128::from(u32::MAX)).unwrap_or_default();
        Self { file: FileId(part(64)), start: part(32), end: part(0) }
    }
}

/// A value with its place in the text. Equality ignores the place, so that a comment line added above
/// a value is no change of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Joins a value and its place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
    fn inline_schema() -> bool {
        T::inline_schema()
    }
}

/// The newtype name by which [`Spanned`] asks the YAML deserializer for the place of a value.
pub(crate) const SPANNED: &str = "$sidegate::Spanned";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpannedVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<T> {
            type Value = Spanned<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a value of a configuration file")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let Some(span) = seq.next_element::<u128>()? else {
                    return Err(A::Error::custom("a value has a place"));
                };
                match seq.next_element()? {
                    Some(value) => Ok(Spanned { value, span: Span::from_number(span) }),
                    None => Err(A::Error::custom("a value follows its place")),
                }
            }
        }
        deserializer.deserialize_newtype_struct(SPANNED, SpannedVisitor(std::marker::PhantomData))
    }
}

/// One loaded file: its name as the user knows it, its text, and the byte ranges that must not be shown.
#[derive(Clone, Debug, Default)]
struct SourceFile {
    name: String,
    text: String,
    hidden: Vec<Range<usize>>,
}

/// The texts that spans point into.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// Adds a file and gives its id.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let id = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(SourceFile { name: name.into(), text: text.into(), hidden: Vec::new() });
        FileId(id)
    }

    fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// The file's name as it was given.
    #[must_use]
    pub fn name(&self, id: FileId) -> &str {
        self.file(id).map_or("", |f| f.name.as_str())
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self, id: FileId) -> &str {
        self.file(id).map_or("", |f| f.text.as_str())
    }

    /// Hides the bytes of `span` (a secret) from everything that is rendered.
    pub fn hide(&mut self, span: Span) {
        if let Some(file) = self.files.get_mut(span.file.0 as usize) {
            file.hidden.push(span.start as usize..span.end as usize);
        }
    }

    /// The text with hidden ranges replaced by `*`, byte for byte (line breaks stay).
    #[must_use]
    pub fn shown(&self, id: FileId) -> String {
        let Some(file) = self.file(id) else {
            return String::new();
        };
        let mut bytes = file.text.clone().into_bytes();
        for range in &file.hidden {
            for byte in bytes.get_mut(range.clone()).unwrap_or_default() {
                if *byte != b'\n' && *byte != b'\r' {
                    *byte = b'*';
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The byte range of `span`, narrowed to an occurrence of `within` (the first one, or the one after so many) if that
    /// text is in it.
    #[must_use]
    pub fn locate(&self, span: Span, within: Option<&(String, usize)>) -> Range<usize> {
        let text = self.text(span.file);
        let start = (span.start as usize).min(text.len());
        let end = (span.end as usize).clamp(start, text.len());
        let slice = text.get(start..end).unwrap_or("");
        if let Some((needle, nth)) = within
            && let Some((at, _)) = slice
                .match_indices(needle.as_str())
                .nth(*nth)
                .or_else(|| slice.match_indices(needle.as_str()).next())
        {
            return start + at..start + at + needle.len();
        }
        start..end
    }

    /// Line and column (both from 1, columns in characters) of a byte offset.
    #[must_use]
    pub fn line_column(&self, id: FileId, offset: usize) -> (usize, usize) {
        let text = self.text(id);
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).map_or(0, |l| l.chars().count()) + 1;
        (line, column)
    }
}
