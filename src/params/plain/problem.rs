//! What is wrong with a value, in the words and in the order of the library.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use super::{Bound, Check, Members, Node, Plain, Size, Types};

/// How many options of an `enum` are told, and how many where there are more.
const MOST_OPTIONS: usize = 3;
const FIRST_OPTIONS: usize = 2;

/// Why a value does not fit.
#[derive(Debug)]
pub struct Problem<'a> {
    /// The place of the value, as a JSON pointer.
    pub at: String,
    /// The place of the keyword in the schema, as a JSON pointer.
    pub keyword: String,
    value: &'a Value,
    why: Why<'a>,
}

#[derive(Debug)]
enum Why<'a> {
    Fails(&'a Check),
    Missing(&'a str),
    Unexpected(Vec<&'a str>),
}

/// One step into a value, and those before it.
#[derive(Clone, Copy)]
struct Trail<'t> {
    step: Step<'t>,
    before: Option<&'t Trail<'t>>,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Root,
    Member(&'t str),
    Item(usize),
}

impl Trail<'_> {
    /// Writes the place in the value, or the one in the schema.
    fn write(&self, schema: bool, out: &mut String) {
        if let Some(before) = self.before {
            before.write(schema, out);
        }
        match self.step {
            Step::Root => {}
            Step::Member(name) => {
                out.push_str(if schema { "/properties/" } else { "/" });
                out.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Step::Item(_) if schema => out.push_str("/items"),
            Step::Item(index) => {
                // Writing into a text cannot fail.
                let _ = write!(out, "/{index}");
            }
        }
    }
}

/// The problems found so far, and how many are wanted.
struct Found<'a> {
    problems: Vec<Problem<'a>>,
    most: usize,
}

impl<'a> Found<'a> {
    fn full(&self) -> bool {
        self.problems.len() >= self.most
    }

    fn push(&mut self, trail: &Trail<'_>, value: &'a Value, keyword: &str, why: Why<'a>) {
        if self.full() {
            return;
        }
        let (mut at, mut place) = (String::new(), String::new());
        trail.write(false, &mut at);
        trail.write(true, &mut place);
        place.push('/');
        place.push_str(keyword);
        self.problems.push(Problem { at, keyword: place, value, why });
    }
}

impl Plain {
    /// The first problems of a value, at most `most`.
    #[must_use]
    pub fn problems<'a>(&'a self, value: &'a Value, most: usize) -> Vec<Problem<'a>> {
        let mut found = Found { problems: Vec::new(), most };
        self.0.find(value, &Trail { step: Step::Root, before: None }, &mut found);
        found.problems
    }
}

impl Node {
    fn find<'a>(&'a self, value: &'a Value, trail: &Trail<'_>, found: &mut Found<'a>) {
        for check in &self.0 {
            if found.full() {
                return;
            }
            check.find(value, trail, found);
        }
    }
}

impl Check {
    fn find<'a>(&'a self, value: &'a Value, trail: &Trail<'_>, found: &mut Found<'a>) {
        match (self, value) {
            (Self::Required(names), Value::Object(object)) => {
                for name in names.iter().filter(|name| !object.contains_key(&***name)) {
                    found.push(trail, value, self.keyword(), Why::Missing(name));
                }
            }
            (Self::Members(members), Value::Object(object)) => members.find_in(value, object, trail, found),
            (Self::Items(node), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if found.full() {
                        return;
                    }
                    node.find(item, &Trail { step: Step::Item(index), before: Some(trail) }, found);
                }
            }
            (Self::Empty, Value::Object(object)) => {
                if let Some(first) = object.values().next() {
                    found.push(trail, first, self.keyword(), Why::Fails(self));
                }
            }
            _ if self.holds(value) => {}
            _ => found.push(trail, value, self.keyword(), Why::Fails(self)),
        }
    }

    const fn keyword(&self) -> &'static str {
        match self {
            Self::Type(_) => "type",
            Self::Const(_) => "const",
            Self::Enum(_) => "enum",
            Self::Bound(Bound::Minimum, _) => "minimum",
            Self::Bound(Bound::Maximum, _) => "maximum",
            Self::Bound(Bound::ExclusiveMinimum, _) => "exclusiveMinimum",
            Self::Bound(Bound::ExclusiveMaximum, _) => "exclusiveMaximum",
            Self::Size(Size::MinLength, _) => "minLength",
            Self::Size(Size::MaxLength, _) => "maxLength",
            Self::Size(Size::MinItems, _) => "minItems",
            Self::Size(Size::MaxItems, _) => "maxItems",
            Self::Required(_) => "required",
            Self::Members(_) | Self::Empty => "additionalProperties",
            Self::Items(_) => "items",
        }
    }
}

impl Members {
    fn find_in<'a>(
        &'a self,
        value: &'a Value,
        object: &'a Map<String, Value>,
        trail: &Trail<'_>,
        found: &mut Found<'a>,
    ) {
        let mut unexpected = Vec::new();
        let within = |name: &str, node: &'a Node, inner: &'a Value, found: &mut Found<'a>| {
            node.find(inner, &Trail { step: Step::Member(name), before: Some(trail) }, found);
        };
        if self.by_value(object) {
            for (name, inner) in object {
                match self.find(name) {
                    Some(node) => within(name, node, inner, found),
                    None if self.closed => unexpected.push(name.as_str()),
                    None => {}
                }
            }
        } else {
            for (name, node) in &self.list {
                if let Some(inner) = object.get(&**name) {
                    within(name, node, inner, found);
                }
            }
        }
        if !unexpected.is_empty() {
            found.push(trail, value, "additionalProperties", Why::Unexpected(unexpected));
        }
        // One that is not declared is never there, as the library sees it.
        if let Some(name) = self.needs.as_deref()
            && (!object.contains_key(name) || self.find(name).is_none())
        {
            found.push(trail, value, "required", Why::Missing(name));
        }
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Missing(name) => write!(f, "{} is a required property", Value::from(*name)),
            Why::Unexpected(names) => {
                f.write_str("Additional properties are not allowed (")?;
                for (index, name) in names.iter().enumerate() {
                    f.write_str(if index == 0 { "'" } else { ", '" })?;
                    write!(f, "{name}'")?;
                }
                f.write_str(if names.len() == 1 { " was unexpected)" } else { " were unexpected)" })
            }
            Why::Fails(check) => check.tell(self.value, f),
        }
    }
}

impl Check {
    fn tell(&self, value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(types) => types.tell(value, f),
            Self::Const(wanted) => write!(f, "{} was expected", wanted.0),
            Self::Enum(options) => {
                let options = &options.list;
                write!(f, "{value} is not one of ")?;
                let told = if options.len() <= MOST_OPTIONS { options.len() } else { FIRST_OPTIONS };
                for (index, option) in options.iter().take(told).enumerate() {
                    let before = match index {
                        0 => "",
                        last if last + 1 == options.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}{}", option.0)?;
                }
                match options.len() - told {
                    0 => Ok(()),
                    more => write!(f, " or {more} other candidates"),
                }
            }
            Self::Bound(bound, limit) => {
                let how = match bound {
                    Bound::Minimum => "less than the minimum of",
                    Bound::Maximum => "greater than the maximum of",
                    Bound::ExclusiveMinimum => "less than or equal to the minimum of",
                    Bound::ExclusiveMaximum => "greater than or equal to the maximum of",
                };
                write!(f, "{value} is {how} {}", limit.0)
            }
            Self::Size(size, limit) => {
                let (how, what) = match size {
                    Size::MinLength => ("is shorter than", "character"),
                    Size::MaxLength => ("is longer than", "character"),
                    Size::MinItems => ("has less than", "item"),
                    Size::MaxItems => ("has more than", "item"),
                };
                write!(f, "{value} {how} {limit} {what}{}", if *limit == 1 { "" } else { "s" })
            }
            Self::Empty => write!(f, "False schema does not allow {value}"),
            // They tell of what is in them.
            Self::Required(_) | Self::Members(_) | Self::Items(_) => Ok(()),
        }
    }
}

impl Types {
    fn tell(self, value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = self.0.count_ones() > 1;
        write!(f, "{value} is not of type{} ", if several { "s" } else { "" })?;
        for (index, name) in self.names().enumerate() {
            write!(f, "{}\"{name}\"", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
