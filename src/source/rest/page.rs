//! Pages of an API: several are fetched in one call and joined, and what is left is reached by `next`. Nothing is lost between two
//! calls, whatever cuts the result: `next` stands for the first item that was not shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::client::{Rest, Target};
use super::config::RestOpConfig;
use super::link;
use super::plan::{Method, RestOp};
use super::url::encoded;
use crate::diag::{Diagnostic, Span, Spanned};
use crate::output::{self, JsonPath, NEXT, PageStart, Pages, Reply};
use crate::params::Arguments;
use crate::source::{Attempt, OpCx, SourceError};
use crate::tasks::{self, LITTLE};

/// The most pages that one call fetches.
const MAX_FOLLOW: u32 = 100;

/// Pages of a reply: exactly one of `cursor`, `number`, `offset` and `link_header` says how the API gives them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RestPage")]
pub struct RestPageConfig {
    /// A reply says what to send for the page after it.
    pub cursor: Option<CursorConfig>,
    /// Pages are numbered.
    pub number: Option<NumberConfig>,
    /// Pages begin after so many items.
    pub offset: Option<OffsetConfig>,
    /// A reply has a `Link` header with `rel="next"` (RFC 8288). A link that leads elsewhere than under the base URL is refused.
    pub link_header: Option<LinkHeaderConfig>,
    /// Where the list of items is, as a path such as `.data`. Default: the reply itself if it is a list, or its only list.
    pub items: Option<Spanned<String>>,
    /// How many pages one call fetches at the most, 1 to 100. Default 1.
    #[schemars(range(min = 1, max = 100))]
    pub follow: Option<Spanned<u32>>,
}

/// Pages by cursor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CursorPages")]
pub struct CursorConfig {
    /// The query parameter that takes the cursor.
    pub query: Spanned<String>,
    /// Where a reply has the cursor of the next page, as a path such as `.meta.next`. There is none where it is missing, null or empty.
    pub next: Spanned<String>,
}

/// Pages by number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NumberedPages")]
pub struct NumberConfig {
    /// The query parameter that takes the number.
    pub query: Spanned<String>,
    /// The number of the first page. Default 1.
    pub start: Option<u32>,
    /// The size of a page, where the API takes one. Without it the end is known by an empty page only.
    pub size: Option<PageSizeConfig>,
}

/// Pages by offset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OffsetPages")]
pub struct OffsetConfig {
    /// The query parameter that takes the number of items before the page.
    pub query: Spanned<String>,
    /// The size of a page.
    pub limit: PageSizeConfig,
}

/// The size of a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PageSize")]
pub struct PageSizeConfig {
    /// The query parameter that takes it.
    pub query: Spanned<String>,
    /// How many items.
    #[schemars(range(min = 1))]
    pub value: Spanned<u32>,
}

/// Pages by `Link` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LinkPages")]
pub struct LinkHeaderConfig {}

/// Pages after compile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PagePlan {
    way: Way,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<JsonPath>,
    follow: usize,
    /// The parameter that says where to go on.
    next: usize,
}

/// The names of query parameters are encoded already.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Cursor { query: String, next: JsonPath },
    Number { query: String, start: u64, size: Option<(String, u64)> },
    Offset { query: String, limit: (String, u64) },
    Link,
}

/// The outer `None` is a mistake.
#[allow(clippy::option_option, reason = "a mistake, and no pages, are different things here")]
pub(super) fn compile(config: &RestOpConfig, method: Method, cx: &mut OpCx<'_>) -> Option<Option<PagePlan>> {
    let Some(written) = &config.page else { return Some(None) };
    let before = cx.diagnostics.errors();
    let mut refuse = |message: String, at: Span, help: &str| {
        cx.diagnostics.push(Diagnostic::error("bad-page", message).absence().at(at, "").help(help));
    };
    let at = written.span;
    if method != Method::Get {
        refuse("pages are for `get`".to_owned(), at, "drop `page`, or read the list with `get`");
    }
    let ways = [
        written.cursor.is_some(),
        written.number.is_some(),
        written.offset.is_some(),
        written.link_header.is_some(),
    ];
    if ways.iter().filter(|way| **way).count() != 1 {
        let message = "pages are given in exactly one way".to_owned();
        refuse(message, at, "give one of `cursor`, `number`, `offset`, `link_header`");
    }
    let follow = written.follow.map_or(1, |f| f.value);
    if let Some(follow) = written.follow.filter(|f| !(1..=MAX_FOLLOW).contains(&f.value)) {
        refuse(format!("one call fetches 1 to {MAX_FOLLOW} pages"), follow.span, "such as `follow: 3`");
    }
    let sizes =
        [written.number.as_ref().and_then(|n| n.size.as_ref()), written.offset.as_ref().map(|o| &o.limit)];
    for size in sizes.iter().flatten().filter(|size| size.value.value == 0) {
        refuse("a page has at least one item".to_owned(), size.value.span, "such as `value: 50`");
    }
    let mut names = Vec::new();
    names.extend(written.cursor.as_ref().map(|c| &c.query));
    names.extend(written.number.as_ref().map(|n| &n.query));
    names.extend(written.offset.as_ref().map(|o| &o.query));
    names.extend(sizes.iter().flatten().map(|size| &size.query));
    for (n, name) in names.iter().enumerate() {
        let twice = names.iter().take(n).any(|other| other.value == name.value);
        if twice || config.query.names().any(|other| other == name.value) {
            let message = format!("the query parameter `{}` is written twice", name.value);
            refuse(message, name.span, "`page` sends its parameters itself");
        }
    }
    let next = cx.scope.resolve(NEXT);
    if next.is_none() {
        let message = format!("{} has no parameter `{NEXT}` to go on with", cx.scope.owner);
        refuse(message, at, "pages are for tools, which get it by themselves; elsewhere declare it");
    }
    let items = written.items.as_ref().map(|items| JsonPath::one(items, cx.diagnostics));
    let cursor = written.cursor.as_ref().map(|c| JsonPath::one(&c.next, cx.diagnostics));
    if cx.diagnostics.errors() > before {
        return None;
    }
    let size = |s: &PageSizeConfig| (encoded(&s.query), u64::from(s.value.value));
    let way = match (&written.cursor, &written.number, &written.offset) {
        (Some(c), ..) => Way::Cursor { query: encoded(&c.query), next: cursor?? },
        (_, Some(n), _) => Way::Number {
            query: encoded(&n.query),
            start: u64::from(n.start.unwrap_or(1)),
            size: n.size.as_ref().map(size),
        },
        (.., Some(o)) => Way::Offset { query: encoded(&o.query), limit: size(&o.limit) },
        _ => Way::Link,
    };
    let items = match items {
        Some(items) => Some(items?),
        None => None,
    };
    Some(Some(PagePlan { way, items, follow: follow as usize, next: next? }))
}

/// What is known of the pages so far.
#[derive(Default)]
struct Joined {
    document: Option<(Value, JsonPath)>,
    items: Vec<Value>,
    starts: Vec<PageStart>,
    more: Option<Value>,
    partial: bool,
    bytes: usize,
}

impl PagePlan {
    /// Which page a call begins with, and how many of its items were shown already.
    fn begin(&self, arguments: &Arguments) -> Result<(Value, usize), SourceError> {
        let Some(next) = arguments.get(self.next).filter(|next| !next.is_null()) else {
            return Ok((Value::Null, 0));
        };
        let known = next.as_str().and_then(output::marked);
        known.filter(|(page, _)| self.takes(page)).ok_or_else(foreign)
    }

    /// Whether a page can be asked for with this value.
    fn takes(&self, page: &Value) -> bool {
        match &self.way {
            _ if page.is_null() => true,
            Way::Cursor { .. } => page.is_string() || page.is_number(),
            Way::Number { .. } | Way::Offset { .. } => page.as_u64().is_some_and(|n| n < 1 << 53),
            Way::Link => page.is_string(),
        }
    }

    /// The request of a page.
    fn target(&self, page: &Value, rest: &Rest, own: &Url) -> Result<Target, SourceError> {
        let pair = |name: &str, value: &str| format!("{name}={}", encoded(value));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(match &self.way {
            Way::Cursor { .. } | Way::Link if page.is_null() => Target::Own,
            Way::Cursor { query, .. } => Target::With(pair(query, &text(page))),
            Way::Number { query, start, size } => {
                let number = page.as_u64().unwrap_or(*start);
                let size = size.iter().map(|(name, value)| format!("&{name}={value}"));
                Target::With(format!("{query}={number}{}", size.collect::<String>()))
            }
            Way::Offset { query, limit: (name, value) } => {
                Target::With(format!("{query}={}&{name}={value}", page.as_u64().unwrap_or(0)))
            }
            Way::Link => {
                Target::At(rest.links.open(page.as_str().unwrap_or_default(), own).ok_or_else(foreign)?)
            }
        })
    }

    /// What asks for the page after this one.
    fn after(
        &self,
        page: &Value,
        (document, items): (&Value, usize),
        (answer, rest, own): (&Answered, &Rest, &Url),
    ) -> Result<Option<Value>, SourceError> {
        let next = match &self.way {
            Way::Cursor { next, .. } => match next.get(document) {
                None | Some(Value::Null | Value::Bool(false)) => None,
                Some(Value::String(text)) if text.is_empty() => None,
                Some(cursor @ (Value::String(_) | Value::Number(_))) => Some(cursor.clone()),
                Some(_) => return Err(bad("a cursor that is no text")),
            },
            Way::Number { start, .. } => {
                (items > 0).then(|| Value::from(page.as_u64().unwrap_or(*start).saturating_add(1)))
            }
            Way::Offset { .. } => {
                (items > 0).then(|| Value::from(page.as_u64().unwrap_or(0).saturating_add(items as u64)))
            }
            Way::Link => match link::next(&answer.links) {
                Some(link) => Some(rest.links.close(&link, &answer.url, own, &rest.scope())?),
                None => None,
            },
        };
        if next.as_ref().is_some_and(|next| output::mark(next, 0).is_none()) {
            return Err(bad("a cursor that is too long"));
        }
        Ok(next)
    }

    /// Whether a page with so few items may be the last, so that it is worth a look.
    fn is_short(&self, items: usize) -> bool {
        match &self.way {
            Way::Number { size: Some((_, size)), .. } | Way::Offset { limit: (_, size), .. } => {
                (items as u64) < *size
            }
            _ => false,
        }
    }

    /// Where the items of a document are.
    fn place(&self, document: &Value) -> Result<JsonPath, SourceError> {
        if let Some(items) = &self.items {
            return Ok(items.clone());
        }
        match document {
            Value::Array(_) => Ok(JsonPath::whole()),
            Value::Object(map) => {
                let mut lists = map.iter().filter(|(_, value)| value.is_array());
                match (lists.next(), lists.next()) {
                    (Some((name, _)), None) => Ok(JsonPath::name(name)),
                    _ => Err(bad("a page without a list, or with several")),
                }
            }
            _ => Err(bad("a page without a list, or with several")),
        }
    }
}

/// What of an answer leads to the next page.
struct Answered {
    url: Url,
    links: Vec<String>,
    bytes: usize,
}

fn bad(reason: &'static str) -> SourceError {
    SourceError::BadReply { reason, detail: "see `page` of the route".to_owned() }
}

/// The document of a page; read where nobody waits long for it.
async fn parsed(text: String) -> serde_json::Result<Value> {
    if text.len() <= LITTLE {
        return serde_json::from_str(&text);
    }
    tasks::apart(move || serde_json::from_str(&text)).await
}

fn foreign() -> SourceError {
    let message = format!(
        "This `{NEXT}` was not given by this tool for these arguments, or is too old. Leave it out to begin with the first page."
    );
    SourceError::Argument(message)
}

impl Joined {
    /// Takes a page in; gives how many items it has.
    fn add(
        &mut self,
        plan: &PagePlan,
        page: &Value,
        skip: usize,
        document: &mut Value,
    ) -> Result<usize, SourceError> {
        let place = match &self.document {
            Some((_, place)) => place.clone(),
            None => plan.place(document)?,
        };
        let items = match place.get_mut(document).map(Value::take) {
            Some(Value::Array(items)) => items,
            Some(Value::Null) => Vec::new(),
            None if self.document.is_some() => Vec::new(),
            _ => return Err(bad("a page without its list")),
        };
        let (count, start) = (items.len(), self.items.len());
        let skipped = skip.min(count);
        self.starts.push(PageStart { item: start, page: page.clone(), skipped });
        self.items.extend(items.into_iter().skip(skipped));
        if self.document.is_none() {
            self.document = Some((document.take(), place));
        }
        Ok(count)
    }

    /// Whether the page that was added last has just the items of the one before it.
    fn stands_still(&self) -> bool {
        let [.., before, last] = self.starts.as_slice() else { return false };
        let page = self.items.get(last.item..).unwrap_or_default();
        !page.is_empty() && self.items.get(before.item..last.item) == Some(page)
    }

    /// Ends before a page that could not be had. A whole answer would have it.
    fn cut(&mut self, page: Value, error: &SourceError) {
        tracing::warn!(%error, pages = self.starts.len(), "a later page could not be fetched");
        self.more = Some(page);
        self.partial = true;
    }

    fn reply(self, plan: &PagePlan) -> Reply {
        let (mut document, items) = self.document.unwrap_or_else(|| plan.nothing());
        if let Some(place) = items.get_mut(&mut document) {
            *place = Value::Array(self.items);
        }
        Reply::Pages(Pages { document, items, starts: self.starts, more: self.more, partial: self.partial })
    }
}

/// What came for a page.
enum Got {
    /// A document, and what of the answer leads to the next.
    Page(Value, Answered),
    /// There is no such page: the one before was the last.
    End,
    /// Something else.
    Other(Reply),
}

impl Rest {
    /// Fetches pages up to `follow` and joins them. A page that fails after the first ends that: what is there is given, and `next`
    /// leads to the page that failed.
    pub(super) async fn pages(
        &self,
        plan: &PagePlan,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, SourceError> {
        let own = self.url(op, arguments, &Target::Own)?;
        let (mut page, mut skip) = plan.begin(arguments)?;
        let mut joined = Joined::default();
        let mut seen: Vec<Value> = Vec::new();
        loop {
            let first = seen.is_empty();
            seen.push(page.clone());
            let target = plan.target(&page, self, &own)?;
            let past = plan.may_be_past(&page);
            let got = match self.page(op, arguments, attempt, &target, (first, past)).await {
                Ok(Got::Other(reply)) => return Ok(reply),
                Ok(Got::End) => break,
                Ok(Got::Page(mut document, from)) => {
                    // Before the list is taken out of the document; a cursor may stand anywhere in it.
                    let whole = plan.needs_document().then(|| document.clone());
                    let count = joined.add(plan, &page, std::mem::take(&mut skip), &mut document);
                    count.map(|count| (count, whole, from))
                }
                Err(error) => Err(error),
            };
            let (count, whole, from) = match got {
                Ok(got) => got,
                Err(error) if first => return Err(error),
                Err(error) => {
                    joined.cut(page, &error);
                    break;
                }
            };
            joined.bytes += from.bytes;
            let document = (whole.as_ref().unwrap_or(&Value::Null), count);
            let Some(next) = plan.after(&page, document, (&from, self, &own))? else { break };
            if next == page && !joined.stands_still() {
                tracing::warn!("the last page gives itself as the next one");
                break;
            }
            if seen.contains(&next) {
                return Err(bad("the same page again and again"));
            }
            let enough = joined.items.len() >= attempt.max_rows || joined.bytes >= self.max_response();
            // One more look says whether a short page was the last.
            let follow = plan.follow + usize::from(plan.is_short(count));
            if enough || seen.len() >= follow {
                joined.more = Some(next);
                break;
            }
            page = next;
        }
        Ok(joined.reply(plan))
    }

    /// One page: the first of the call, or one that may lie past the end. Those after the first leave some of the time for what is
    /// made of all.
    async fn page(
        &self,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
        target: &Target,
        (first, past): (bool, bool),
    ) -> Result<Got, SourceError> {
        let fetch = self.send(op, arguments, attempt, target);
        let answer = if first {
            fetch.await?
        } else {
            let limit = attempt.left(std::time::Duration::MAX) / 5 * 4;
            let late = |_| SourceError::Timeout(limit);
            tokio::time::timeout(limit, fetch).await.map_err(late)??
        };
        let (url, links) = (answer.place()?, link::headers(&answer));
        let from = Answered { url, links, bytes: answer.body.len() };
        match self.read(answer, op, arguments, attempt.max_rows).await {
            Ok(Reply::Json(text)) => match parsed(text).await {
                Ok(document) => Ok(Got::Page(document, from)),
                Err(e) => {
                    Err(SourceError::BadReply { reason: "JSON that is not valid", detail: e.to_string() })
                }
            },
            Ok(Reply::Value(document)) => Ok(Got::Page(document, from)),
            Ok(Reply::Empty) if past || !first => Ok(Got::End),
            Ok(other) if first => Ok(Got::Other(other)),
            Ok(_) => Err(bad("a later page of another kind")),
            // Past the end of numbered pages some APIs have nothing at all.
            Err(error) if past && is_gone(&error) => Ok(Got::End),
            Err(error) => Err(error),
        }
    }
}

/// Whether there is nothing there, whatever is said about it.
const fn is_gone(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::NotFound
            | SourceError::Status { status: 404 | 410, .. }
            | SourceError::Answered { status: 404 | 410, .. }
    )
}

impl PagePlan {
    const fn needs_document(&self) -> bool {
        matches!(self.way, Way::Cursor { .. })
    }

    /// Whether there may be no such page, as it was counted and not named by the API.
    fn may_be_past(&self, page: &Value) -> bool {
        matches!(self.way, Way::Number { .. } | Way::Offset { .. }) && !page.is_null()
    }

    /// A document without items.
    fn nothing(&self) -> (Value, JsonPath) {
        let none = Value::Array(Vec::new());
        let around = self.items.as_ref().and_then(|items| Some((items.around(none.clone())?, items.clone())));
        around.unwrap_or_else(|| (none, JsonPath::whole()))
    }
}
