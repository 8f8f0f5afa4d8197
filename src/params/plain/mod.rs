//! Schemas that need no library: objects, lists and single values with few keywords, which nearly all tools have. What is accepted here
//! is well formed by JSON Schema 2020-12, and verdicts, problems and their order are those of the library, which takes every other schema.

mod number;
mod problem;
mod read;

use std::cmp::Ordering;
use std::fmt::Display;
use std::hash::{Hash, Hasher};

use serde_json::{Map, Number, Value};

pub use problem::Problem;

/// From how many members on a name is searched by halves and not one by one. The library changes its ways at the same number: from
/// there on it goes by the order of the value alone.
const MANY: usize = 15;

/// A compiled plain schema. Equal ones check the same and say the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Plain(Node);

/// What a value must be, in the order in which problems are told.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Node(Box<[Check]>);

/// One keyword, or several that are told together.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Check {
    Type(Types),
    Const(Box<Exact<Value>>),
    Enum(Box<Options>),
    Bound(Bound, Exact<Number>),
    Size(Size, u64),
    Required(Box<[Box<str>]>),
    Members(Box<Members>),
    /// No member at all: nothing is declared, and nothing else is allowed.
    Empty,
    Items(Node),
}

/// The values of an `enum`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Options {
    /// As written.
    list: Box<[Exact<Value>]>,
    /// The places of many texts by what they say; empty where they are few, or not all texts.
    sorted: Box<[usize]>,
}

/// A limit of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// A limit of texts, in characters, or of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Size {
    MinLength,
    MaxLength,
    MinItems,
    MaxItems,
}

/// The name of a declared member, and what it must be.
type Member = (Box<str>, Node);

/// The declared members of an object.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Members {
    /// As written where they are few, else by their names.
    list: Box<[Member]>,
    /// Whether others are refused.
    closed: bool,
    /// The only one that is required, where it is told after the others.
    needs: Option<Box<str>>,
}

/// What looks the same when it is written: 0.0 is not -0.0, and the order of members counts.
#[derive(Debug)]
struct Exact<T>(T);

impl<T: Display> PartialEq for Exact<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl<T: Display> Eq for Exact<T> {}

impl<T: Display> Hash for Exact<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_string().hash(state);
    }
}

/// A set of JSON types, a bit for each of [`Types::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Types(u8);

impl Types {
    /// In the order in which several are told.
    const NAMES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
    const INTEGER: u8 = 1 << 2;
    const NUMBER: u8 = 1 << 3;

    fn named(name: &str) -> Option<Self> {
        Some(Self(1 << Self::NAMES.iter().position(|n| *n == name)?))
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name)
    }

    fn hold(self, value: &Value) -> bool {
        let of_value = match value {
            Value::Null => 1,
            Value::Bool(_) => 1 << 1,
            Value::Number(_) if self.0 & Self::NUMBER != 0 => return true,
            Value::Number(number) => return self.0 & Self::INTEGER != 0 && number::is_whole(number),
            Value::String(_) => 1 << 4,
            Value::Array(_) => 1 << 5,
            Value::Object(_) => 1 << 6,
        };
        self.0 & of_value != 0
    }
}

impl Plain {
    /// Whether a value fits.
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        self.0.holds(value)
    }
}

impl Node {
    fn holds(&self, value: &Value) -> bool {
        self.0.iter().all(|check| check.holds(value))
    }
}

impl Check {
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Type(types), _) => types.hold(value),
            (Self::Const(wanted), _) => number::equal(value, &wanted.0),
            (Self::Enum(options), _) => options.hold(value),
            (Self::Bound(bound, limit), Value::Number(number)) => bound.holds(number, &limit.0),
            (Self::Size(size, limit), _) => size.holds(value, *limit),
            (Self::Required(names), Value::Object(object)) => names.iter().all(|n| object.contains_key(&**n)),
            (Self::Members(members), Value::Object(object)) => members.hold(object),
            (Self::Empty, Value::Object(object)) => object.is_empty(),
            (Self::Items(node), Value::Array(items)) => items.iter().all(|item| node.holds(item)),
            // A keyword says nothing about values of another type.
            _ => true,
        }
    }
}

impl Options {
    fn text(&self, place: usize) -> &str {
        self.list.get(place).and_then(|option| option.0.as_str()).unwrap_or_default()
    }

    fn hold(&self, value: &Value) -> bool {
        if self.sorted.is_empty() {
            return self.list.iter().any(|option| number::equal(value, &option.0));
        }
        let Value::String(text) = value else { return false };
        self.sorted.binary_search_by(|place| self.text(*place).cmp(text)).is_ok()
    }
}

impl Bound {
    fn holds(self, number: &Number, limit: &Number) -> bool {
        let order = number::order(number, limit);
        match self {
            Self::Minimum => order.is_some_and(Ordering::is_ge),
            Self::Maximum => order.is_some_and(Ordering::is_le),
            Self::ExclusiveMinimum => order.is_some_and(Ordering::is_gt),
            Self::ExclusiveMaximum => order.is_some_and(Ordering::is_lt),
        }
    }
}

impl Size {
    fn holds(self, value: &Value, limit: u64) -> bool {
        match (self, value) {
            (Self::MinLength, Value::String(text)) => text.chars().count() as u64 >= limit,
            (Self::MaxLength, Value::String(text)) => text.chars().count() as u64 <= limit,
            (Self::MinItems, Value::Array(items)) => items.len() as u64 >= limit,
            (Self::MaxItems, Value::Array(items)) => items.len() as u64 <= limit,
            _ => true,
        }
    }
}

impl Members {
    fn find(&self, name: &str) -> Option<&Node> {
        if self.list.len() < MANY {
            return self.list.iter().find(|(known, _)| **known == *name).map(|(_, node)| node);
        }
        let place = self.list.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.list.get(place).map(|(_, node)| node)
    }

    /// Whether to go through the members of the value, and not through those that are declared.
    fn by_value(&self, object: &Map<String, Value>) -> bool {
        self.closed || self.list.len() >= MANY || object.len() <= self.list.len()
    }

    fn hold(&self, object: &Map<String, Value>) -> bool {
        let declared = if self.by_value(object) {
            object.iter().all(|(name, value)| match self.find(name) {
                Some(node) => node.holds(value),
                None => !self.closed,
            })
        } else {
            let mut list = self.list.iter();
            list.all(|(name, node)| object.get(&**name).is_none_or(|value| node.holds(value)))
        };
        declared && self.needs.as_deref().is_none_or(|name| object.contains_key(name))
    }
}

#[cfg(test)]
mod dice;
#[cfg(test)]
mod same;
