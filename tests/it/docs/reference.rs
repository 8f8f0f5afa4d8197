//! `docs/configuration.md`: the tables of keys, made from the JSON Schema, in a hand-written frame. A line
//! `<!-- keys: Http -->` of the frame becomes the table of that block.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sidegate::config::schema;

const HEAD: &str = "<!-- Generated from the JSON Schema by tests/it/docs.rs (UPDATE_DOCS=1). The frame is tests/it/docs/configuration.template.md. -->\n\n";

/// The frame with its tables filled in. Every block of the schema has its table once.
pub(super) fn generate(frame: &str) -> String {
    let schema = schema();
    let blocks = Blocks { definitions: definitions(&schema), places: places(frame) };
    let mut page = HEAD.to_owned();
    let mut shown = Vec::new();
    for line in frame.lines() {
        match named(line) {
            Some("Sidegate") => page.push_str(&blocks.table(&schema)),
            Some(name) => {
                let block = blocks.definitions.get(name).unwrap_or_else(|| panic!("no block `{name}`"));
                page.push_str(&blocks.table(block));
                shown.push(name);
            }
            None => page.extend([line, "\n"]),
        }
    }
    for (name, definition) in &blocks.definitions {
        let times = shown.iter().filter(|s| *s == name).count();
        let wanted = usize::from(definition.get("properties").is_some());
        assert_eq!(times, wanted, "`{name}` has {times} tables in the frame");
    }
    page
}

/// How a heading is linked to.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn named(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- keys: ")?.strip_suffix(" -->")
}

fn definitions(schema: &Value) -> Map<String, Value> {
    schema["$defs"].as_object().unwrap().clone()
}

/// The heading over each table.
fn places(frame: &str) -> BTreeMap<String, String> {
    let mut heading = String::new();
    let mut places = BTreeMap::new();
    for line in frame.lines() {
        if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        }
        if let Some(name) = named(line) {
            places.insert(name.to_owned(), anchor(&heading));
        }
    }
    places
}

struct Blocks {
    definitions: Map<String, Value>,
    places: BTreeMap<String, String>,
}

impl Blocks {
    fn table(&self, block: &Value) -> String {
        let required: Vec<&str> =
            block["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut table = "| key | type | description |\n|---|---|---|\n".to_owned();
        let mut rest = Vec::new();
        for (key, value) in block["properties"].as_object().unwrap() {
            if value == &Value::Bool(true) {
                rest.push(format!("`{key}`"));
                continue;
            }
            let need = if required.contains(&key.as_str()) { "**required** " } else { "" };
            let row = [format!("`{key}`"), self.kind(value), format!("{need}{}", self.description(value))];
            table.push_str(&format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | ")));
        }
        if !rest.is_empty() {
            table.push_str(&format!("| {} | | As in JSON Schema 2020-12. |\n", rest.join(", ")));
        }
        table
    }

    /// The type of a value in a few words.
    fn kind(&self, value: &Value) -> String {
        if let Some(reference) = value["$ref"].as_str() {
            return self.reference(reference.trim_start_matches("#/$defs/"));
        }
        if let Some(choices) = value["anyOf"].as_array() {
            if let (Some("string"), Some(block)) = (choices[0]["type"].as_str(), choices[1]["$ref"].as_str())
            {
                return format!("text or {}", self.reference(block.trim_start_matches("#/$defs/")));
            }
            if let (Some(word), Some(block)) = (choices[0]["const"].as_str(), choices[1]["$ref"].as_str()) {
                return format!("`{word}` or {}", self.reference(block.trim_start_matches("#/$defs/")));
            }
            if let (true, Some(block)) = (choices[0]["type"].is_array(), choices[1]["$ref"].as_str()) {
                return format!("value or {}", self.reference(block.trim_start_matches("#/$defs/")));
            }
            // The other one is "absent", a variable, or a list of the same.
            return self.kind(&choices[0]);
        }
        if value.get("enum").is_some() {
            return "text".to_owned();
        }
        let kind = match &value["type"] {
            Value::String(one) => one.as_str(),
            Value::Array(many) => many[0].as_str().unwrap(),
            _ => return "any value".to_owned(),
        };
        match kind {
            "string" => "text".to_owned(),
            "array" if value.get("items").is_some() => format!("list of {}", self.kind(&value["items"])),
            "array" => "list".to_owned(),
            "object" => format!("name: {}", self.kind(&value["additionalProperties"])),
            "boolean" => "`true` or `false`".to_owned(),
            other => other.to_owned(),
        }
    }

    fn reference(&self, name: &str) -> String {
        match name {
            "Secret" => "secret text".to_owned(),
            _ if self.definitions[name]["properties"].is_null()
                && self.definitions[name]["type"] == "object" =>
            {
                "`{}`".to_owned()
            }
            "File" | "Size" | "Duration" | "Rate" => name.to_lowercase(),
            _ => match (self.places.get(name), self.choices(name)) {
                (Some(place), _) => format!("[{}](#{place})", words(name)),
                (None, Some(choices)) => {
                    let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
                    names.join(", ")
                }
                (None, None) => panic!("`{name}` is neither a block nor a choice"),
            },
        }
    }

    /// The words of a choice, with what each means.
    fn choices(&self, name: &str) -> Option<Vec<(String, String)>> {
        // A choice may also come from a variable, which is the second of two alternatives.
        let definition = &self.definitions[name];
        let list = definition["oneOf"].as_array().or_else(|| definition["anyOf"][0]["oneOf"].as_array())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // A block of which exactly one key is wanted is written as alternatives too, without words.
        let words = list.iter().map(|c| Some((c["const"].as_str()?.to_owned(), text(&c["description"]))));
        words.collect()
    }

    /// The description, followed by what each word of a choice means.
    fn description(&self, value: &Value) -> String {
        let own = value["description"].as_str().unwrap_or_default().replace('\n', " ");
        let reference = value["$ref"].as_str().or_else(|| value["anyOf"][0]["$ref"].as_str());
        let choices = reference.and_then(|r| self.choices(r.trim_start_matches("#/$defs/")));
        let meanings = choices.into_iter().flatten().filter(|(name, _)| !own.contains(&format!("`{name}` ")));
        let meanings: String = meanings.map(|(name, meaning)| format!(" `{name}`: {meaning}")).collect();
        format!("{own}{meanings}")
    }
}

/// `RestSource` as `rest source`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(letter.to_lowercase());
    }
    out
}
