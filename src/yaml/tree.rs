//! The tree of one YAML document: every node with its byte span. Duplicate keys, tags, unbounded aliases and
//! second documents are refused here.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};

use crate::diag::{Diagnostic, Diagnostics, FileId, Span};

/// The largest configuration text that is read, in bytes.
const MAX_TEXT: usize = 32 << 20;
/// How many nodes aliases may copy in all.
const MAX_ALIASED: usize = 100_000;
/// The id of a key that was there before: its value is dropped.
const DUPLICATE: u32 = u32::MAX;
/// How deep blocks and flow collections may nest.
const MAX_DEPTH: usize = 96;

/// One value of the document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Unique in its tree, except for copies made by aliases.
    pub id: u32,
    /// Where the value stands.
    pub span: Span,
    /// Where the key of this value stands, if it has one.
    pub key: Option<Span>,
    /// What it is.
    pub kind: NodeKind,
}

/// The three shapes of a YAML value.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A text, number, boolean or null as written.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map in written order; its keys are scalars.
    Map(Vec<(Node, Node)>),
}

/// A scalar as written.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The text after YAML's own escapes and after `${…}`.
    pub text: String,
    /// Whether it was written without quotes (then it may be a number, a boolean or null).
    pub plain: bool,
    /// Whether any of it came from `${…}`.
    pub interpolated: bool,
}

impl Node {
    /// The place to show for a problem with the whole value: its key, else itself.
    #[must_use]
    pub fn label_span(&self) -> Span {
        match self.kind {
            NodeKind::Scalar(_) => self.span,
            _ => self.key.unwrap_or(Span { end: self.span.start, ..self.span }),
        }
    }

    /// Whether this is `null`, `~` or nothing at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match &self.kind {
            NodeKind::Scalar(s) => s.plain && matches!(s.text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        }
    }
}

/// What is being built while events arrive.
enum Open {
    List(Node, Vec<Node>),
    Map(Node, Vec<(Node, Node)>, Option<Node>, HashMap<String, Span>),
}

struct Builder {
    next_id: u32,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    anchor_of_open: Vec<usize>,
    aliased: usize,
    root: Option<Node>,
    duplicates: Diagnostics,
}

type Fault = Box<Diagnostic>;

/// Parses `text` (which is file `file` of the source map).
///
/// # Errors
/// One diagnostic: YAML syntax errors stop the parse, as what follows them has no certain meaning. Duplicate keys do not:
/// they are recorded, and the first one stays.
pub fn parse(text: &str, file: FileId, diagnostics: &mut Diagnostics) -> Result<Node, Fault> {
    if text.len() > MAX_TEXT {
        return Err(fault(file, 0, "too-large", "the file is larger than 32 MiB"));
    }
    let mut builder = Builder {
        next_id: 0,
        stack: Vec::new(),
        anchors: HashMap::new(),
        anchor_of_open: Vec::new(),
        aliased: 0,
        root: None,
        duplicates: Diagnostics::default(),
    };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| {
            let at = e.marker().byte_offset().unwrap_or(0);
            let problem = fault(file, at, "yaml-syntax", e.info());
            Box::new(problem.maybe_help(unquoted(text, at).or_else(|| syntax_help(&e.info()))))
        })?;
        let range = span.byte_range().unwrap_or(0..0);
        let span = Span {
            file,
            start: u32::try_from(range.start).unwrap_or(u32::MAX),
            end: u32::try_from(range.end).unwrap_or(u32::MAX),
        };
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
            if documents > 1 {
                let message = "a configuration file holds one document";
                return Err(Box::new(
                    Diagnostic::error("second-document", message).at(span, "a second one starts here"),
                ));
            }
        }
        refuse_tag(&event, text, span)?;
        builder.event(event, trimmed(text, span))?;
    }
    diagnostics.append(builder.duplicates);
    builder.root.ok_or_else(|| {
        let message = "the file is empty";
        fault(file, 0, "empty-file", message)
    })
}

#[expect(clippy::unnecessary_box_returns, reason = "errors travel boxed through this file")]
fn fault(file: FileId, at: usize, code: &'static str, message: impl Into<String>) -> Fault {
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    let span = Span { file, start: at, end: at };
    Box::new(Diagnostic::error(code, message).at(span, ""))
}

/// Whether a brace stands in the middle of a value without quotes, on the line where the reading stopped and before that place.
fn unquoted(text: &str, at: usize) -> Option<String> {
    let line = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let end = text.get(at..).map_or(at, |rest| at + rest.chars().next().map_or(0, char::len_utf8));
    let line = text.get(line..end)?;
    let (mut quote, mut before) = (None, ' ');
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') && !before.is_alphanumeric() => quote = Some(c),
            None if c == '{' && !matches!(before, '{' | '[' | ',' | ':' | ' ' | '\t') => {
                let help =
                    "inside `{ … }` a value with `{` in it wants quotes: `\"/orders/{id}\"`, `\"${NAME}\"`";
                return Some(help.to_owned());
            }
            _ => {}
        }
        before = c;
    }
    None
}

/// What usually is behind a syntax error.
fn syntax_help(why: &str) -> Option<String> {
    let help = if why.contains("tab") {
        "indent with spaces"
    } else if why.contains("quoted") || why.contains("':' indicator") || why.contains("flow") {
        "is a `[`, `{` or quote above this line not closed?"
    } else if why.contains("mapping values") {
        "keys of one block stand in one column; a text that holds `: ` wants quotes"
    } else {
        return None;
    };
    Some(help.to_owned())
}

/// Block values may span up to the next key; the shown place ends with their last visible character.
fn trimmed(text: &str, span: Span) -> Span {
    let slice = text.get(span.start as usize..span.end as usize);
    let length = slice.map_or(0, |s| s.trim_end().len());
    Span { end: span.start + u32::try_from(length).unwrap_or(0), ..span }
}

impl Builder {
    fn node(&mut self, span: Span, kind: NodeKind) -> Node {
        self.next_id += 1;
        Node { id: self.next_id, span, key: None, kind }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let scalar = Scalar {
                    text: text.into_owned(),
                    plain: matches!(style, ScalarStyle::Plain),
                    interpolated: false,
                };
                let node = self.node(span, NodeKind::Scalar(scalar));
                self.remember(anchor, &node);
                self.place(node)
            }
            Event::SequenceStart(_, anchor, _) => {
                let node = self.node(span, NodeKind::List(Vec::new()));
                self.open(Open::List(node, Vec::new()), anchor, span)
            }
            Event::MappingStart(_, anchor, _) => {
                let node = self.node(span, NodeKind::Map(Vec::new()));
                self.open(Open::Map(node, Vec::new(), None, HashMap::new()), anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open, anchor: usize, span: Span) -> Result<(), Fault> {
        if self.stack.len() >= MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} levels of nesting");
            return Err(Box::new(Diagnostic::error("too-deep", message).at(span, "")));
        }
        self.stack.push(open);
        self.anchor_of_open.push(anchor);
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Fault> {
        let anchor = self.anchor_of_open.pop().unwrap_or(0);
        let node = match self.stack.pop() {
            Some(Open::List(mut node, items)) => {
                node.span.end = items.last().map_or(end.end, |n| n.span.end.max(end.end));
                node.kind = NodeKind::List(items);
                node
            }
            Some(Open::Map(mut node, entries, ..)) => {
                node.span.end = entries.last().map_or(end.end, |(_, v)| v.span.end.max(end.end));
                node.kind = NodeKind::Map(merge(entries)?);
                node
            }
            None => return Ok(()),
        };
        self.remember(anchor, &node);
        self.place(node)
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Fault> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            let message = "an alias cannot stand inside its own anchor";
            return Err(Box::new(Diagnostic::error("alias", message).at(span, "")));
        };
        // The depth that an alias brings along is not on the stack.
        let depth = self.stack.len() + depth(&node);
        if depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} levels of nesting");
            return Err(Box::new(Diagnostic::error("too-deep", message).at(span, "")));
        }
        self.aliased += count(&node);
        if self.aliased > MAX_ALIASED {
            let message = format!("aliases repeat more than {MAX_ALIASED} values");
            return Err(Box::new(Diagnostic::error("too-many-aliases", message).at(span, "")));
        }
        self.place(node)
    }

    fn place(&mut self, mut node: Node) -> Result<(), Fault> {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending, names)) => match pending.take() {
                Some(key) if key.id == DUPLICATE => {}
                Some(key) => {
                    node.key = Some(key.span);
                    entries.push((key, node));
                }
                None => {
                    if let Some(problem) = check_key(entries, names, &node)? {
                        self.duplicates.push(problem);
                        node.id = DUPLICATE;
                    }
                    *pending = Some(node);
                }
            },
        }
        Ok(())
    }
}

fn refuse_tag(event: &Event<'_>, text: &str, span: Span) -> Result<(), Fault> {
    let tagged = match event {
        Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, _, tag) | Event::MappingStart(_, _, tag) => {
            tag.is_some()
        }
        _ => false,
    };
    if tagged {
        // The tag itself stands before the value.
        let before = text.get(..span.start as usize).unwrap_or("");
        let tag = before.rfind('!').and_then(|at| u32::try_from(at).ok());
        let length =
            tag.and_then(|t| before.get(t as usize..)?.split_whitespace().next()).map_or(0, str::len);
        let span =
            tag.map_or(span, |start| Span { start, end: start + u32::try_from(length).unwrap_or(1), ..span });
        let message = "YAML tags (`!…`) have no meaning here";
        return Err(Box::new(Diagnostic::error("yaml-tag", message).at(span, "")));
    }
    Ok(())
}

fn count(node: &Node) -> usize {
    match &node.kind {
        NodeKind::Scalar(_) => 1,
        NodeKind::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        NodeKind::Map(entries) => 1 + entries.iter().map(|(_, v)| 1 + count(v)).sum::<usize>(),
    }
}

fn depth(node: &Node) -> usize {
    match &node.kind {
        NodeKind::Scalar(_) => 0,
        NodeKind::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        NodeKind::Map(entries) => 1 + entries.iter().map(|(_, v)| depth(v)).max().unwrap_or(0),
    }
}

/// The text of a scalar key.
fn key_text(key: &Node) -> Option<&str> {
    match &key.kind {
        NodeKind::Scalar(scalar) => Some(scalar.text.as_str()),
        _ => None,
    }
}

/// Refuses keys that are not texts, and gives what there is to say of a second one. Short maps are searched; long ones (thousands of routes) keep `names`.
fn check_key(
    entries: &[(Node, Node)],
    names: &mut HashMap<String, Span>,
    key: &Node,
) -> Result<Option<Diagnostic>, Fault> {
    let Some(text) = key_text(key) else {
        let message = "a key is a word, not a list or a map";
        let help = "a `{name}` at the start of a value wants quotes: `\"{name}\"`";
        return Err(Box::new(Diagnostic::error("key-not-text", message).at(key.span, "").help(help)));
    };
    let earlier = if entries.len() < 32 {
        let same = entries.iter().find(|(k, _)| key_text(k) == Some(text));
        same.map(|(k, _)| k.span)
    } else {
        if names.is_empty() {
            names.extend(entries.iter().filter_map(|(k, _)| Some((key_text(k)?.to_owned(), k.span))));
        }
        names.insert(text.to_owned(), key.span)
    };
    Ok(earlier.map(|earlier| {
        Diagnostic::error("duplicate-key", format!("the key `{text}` is given twice"))
            .at(key.span, "the second one")
            .at(earlier, "the first one")
    }))
}

#[expect(clippy::unnecessary_box_returns, reason = "errors travel boxed through this file")]
fn not_a_map(merge: &Node) -> Fault {
    Box::new(Diagnostic::error("merge", "`<<` takes an alias of a map, or a list of them").at(merge.span, ""))
}

/// Applies `<<:` merge keys: what is written in the map itself wins.
fn merge(entries: Vec<(Node, Node)>) -> Result<Vec<(Node, Node)>, Fault> {
    let is_merge = |key: &Node| matches!(&key.kind, NodeKind::Scalar(s) if s.plain && s.text == "<<");
    if !entries.iter().any(|(k, _)| is_merge(k)) {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(k, _)| is_merge(k));
    for (key, value) in merges {
        let sources = match value.kind {
            NodeKind::Map(entries) => vec![entries],
            NodeKind::List(items) => {
                let maps = items.into_iter().map(|n| match n.kind {
                    NodeKind::Map(entries) => Ok(entries),
                    _ => Err(not_a_map(&key)),
                });
                maps.collect::<Result<_, _>>()?
            }
            NodeKind::Scalar(_) => return Err(not_a_map(&key)),
        };
        for (k, v) in sources.into_iter().flatten() {
            if !own.iter().any(|(mine, _)| key_text(mine) == key_text(&k)) {
                own.push((k, v));
            }
        }
    }
    Ok(own)
}
