//! CSV and XML of an API as JSON values: rows with the names of a header line, and elements as members.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use crate::output::Rows;
use crate::source::SourceError;

/// How deep XML may be nested.
const MAX_DEPTH: usize = 64;
/// How many elements and attributes a document may have.
const MAX_NODES: usize = 200_000;

fn bad(reason: &'static str, detail: impl std::fmt::Display) -> SourceError {
    SourceError::BadReply { reason, detail: format!("{detail}") }
}

/// The first `max` rows of CSV; the header line gives the names, every cell is a text.
pub(super) fn csv(text: &str, max: usize) -> Result<Rows, SourceError> {
    const BAD: &str = "CSV that is not valid";
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().map_err(|e| bad(BAD, e))?.clone();
    let mut sorted: Vec<&str> = names.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != names.len() || sorted.first().is_none_or(|name| name.is_empty()) {
        return Err(bad("CSV whose header line does not name every column once", ""));
    }
    let mut rows = Rows { member: "rows", items: Vec::new(), more: false, page: Vec::new() };
    for record in reader.records() {
        let record = record.map_err(|e| bad(BAD, e))?;
        if rows.items.len() == max {
            rows.more = true;
            break;
        }
        let cells = names.iter().zip(&record).map(|(name, cell)| (name.to_owned(), Value::from(cell)));
        rows.items.push(Value::Object(cells.collect()));
    }
    Ok(rows)
}

/// An element while it is read.
#[derive(Default)]
struct Element {
    name: String,
    members: Map<String, Value>,
    text: String,
}

impl Element {
    fn add(&mut self, name: String, value: Value) {
        match self.members.get_mut(&name) {
            // A list is never the value of one element, so it is one of several already.
            Some(Value::Array(list)) => list.push(value),
            Some(first) => {
                let list = vec![first.take(), value];
                *first = Value::Array(list);
            }
            None => {
                self.members.insert(name, value);
            }
        }
    }

    /// A text if there is nothing else; members with the text in `#text` otherwise.
    fn value(mut self) -> Value {
        let text = self.text.trim();
        if self.members.is_empty() {
            return Value::from(text);
        }
        if !text.is_empty() {
            self.members.insert("#text".to_owned(), Value::from(text));
        }
        Value::Object(self.members)
    }
}

/// An XML document as `{root: …}`. Attributes are members with `@`, elements of one name become a list. A document type and
/// entities beyond the five of XML are refused.
pub(super) fn xml(text: &str) -> Result<Value, SourceError> {
    const BAD: &str = "XML that is not valid";
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    // The first holds the root.
    let mut open = vec![Element::default()];
    let mut nodes = 0;
    loop {
        let event = reader.read_event().map_err(|e| bad(BAD, e))?;
        let Some(current) = open.last_mut() else { return Err(bad(BAD, "more ends than starts")) };
        match event {
            Event::Start(start) => {
                let element = element(&start)?;
                nodes += 1 + element.members.len();
                if nodes > MAX_NODES || open.len() > MAX_DEPTH {
                    return Err(bad("XML with too many or too deeply nested elements", ""));
                }
                open.push(element);
            }
            Event::End(_) => {
                let done = open.pop().unwrap_or_default();
                let Some(parent) = open.last_mut() else { return Err(bad(BAD, "more ends than starts")) };
                parent.add(done.name.clone(), done.value());
            }
            Event::Text(text) => current.text.push_str(&text.xml10_content()),
            Event::CData(text) => current.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                let letter = reference.resolve_char_ref().map_err(|e| bad(BAD, e))?;
                match (letter, quick_xml::escape::resolve_predefined_entity(&name)) {
                    (Some(letter), _) => current.text.push(letter),
                    (None, Some(text)) => current.text.push_str(text),
                    (None, None) => return Err(bad("XML with entities of its own", name)),
                }
            }
            Event::DocType(_) => return Err(bad("XML with a document type", "")),
            Event::Decl(decl) => {
                let encoding = decl.encoding().transpose().map_err(|e| bad(BAD, e))?;
                let other =
                    encoding.filter(|e| !matches!(e.to_ascii_lowercase().as_str(), "utf-8" | "us-ascii"));
                if let Some(other) = other {
                    return Err(bad("XML that is not UTF-8", other));
                }
            }
            Event::Comment(_) | Event::PI(_) | Event::Empty(_) => {}
            Event::Eof => break,
        }
    }
    match (open.pop(), open.pop()) {
        (Some(whole), None) if whole.text.trim().is_empty() && whole.members.len() == 1 => {
            let root = Value::Object(whole.members);
            if root.as_object().and_then(|m| m.values().next()).is_some_and(Value::is_array) {
                return Err(bad(BAD, "several roots"));
            }
            Ok(root)
        }
        _ => Err(bad(BAD, "not one whole element")),
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, SourceError> {
    let mut element = Element { name: start.name().as_ref().to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| bad("XML that is not valid", e))?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_err(|e| bad("XML that is not valid", e))?;
        element.members.insert(format!("@{}", attribute.key.as_ref()), Value::from(value));
    }
    Ok(element)
}
