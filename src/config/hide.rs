//! Secrets that stand in the text itself: they are hidden before anything of it is shown, read into types or not.

use crate::diag::{FileId, SourceMap, Span};
use crate::yaml::{Node, NodeKind};

/// Keys whose values are secrets.
const KEYS: [&str; 16] = [
    "bearer",
    "password",
    "client_secret",
    "secret_access_key",
    "session_token",
    "api_key",
    "token",
    "secret",
    "key",
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-auth-token",
    "api-key",
    "sha256",
];
/// Blocks in which everything is a secret but these.
const BLOCKS: [&str; 3] = ["credentials", "api_keys", "cookies"];
const OPEN: [&str; 13] = [
    "username",
    "header",
    "query",
    "name",
    "token_url",
    "client_id",
    "client_auth",
    "scopes",
    "audience",
    "resource",
    "region",
    "service",
    "access_key_id",
];

fn is_secret_key(name: &str) -> bool {
    KEYS.iter().any(|key| key.eq_ignore_ascii_case(name))
}

/// Hides a secret scalar unless it only names a variable or a parameter, or is a SQLite file.
pub(super) fn secret(span: Span, text: &str, sources: &mut SourceMap) {
    let slice = text.get(span.start as usize..span.end as usize).unwrap_or("");
    let bare = slice.trim_matches(['"', '\'']);
    let one = bare.matches('{').count() == 1 && bare.ends_with('}');
    let named = one && (bare.starts_with('{') || bare.starts_with("${") && !bare.contains(":-"));
    if !named && !bare.starts_with("sqlite:") {
        sources.hide(span);
    }
}

/// Hides what stands under secret keys and in URLs, and gives the places of credentials that are written literally.
pub(super) fn in_tree(tree: &Node, text: &str, sources: &mut SourceMap) -> Vec<Span> {
    let mut literal = Vec::new();
    walk(tree, &mut Vec::new(), text, sources, &mut literal);
    literal
}

fn walk<'a>(
    node: &'a Node,
    path: &mut Vec<&'a str>,
    text: &str,
    sources: &mut SourceMap,
    literal: &mut Vec<Span>,
) {
    match &node.kind {
        NodeKind::Scalar(scalar) if !node.is_null() => {
            let name = path.last().copied().unwrap_or("");
            let block = path.iter().any(|key| BLOCKS.contains(key)) && !OPEN.contains(&name);
            // The key of a certificate is a file, and everybody may know the digest of a certificate.
            let open = path.ends_with(&["tls", "key"]) || path.ends_with(&["client_certificates", "sha256"]);
            if (block || is_secret_key(name)) && !open {
                secret(node.span, text, sources);
                // Elsewhere the same words may name something else: a query parameter, a column.
                let credential = match path.as_slice() {
                    ["sources", _, "rest", "headers", _] => true,
                    ["sources", ..] => block || name == "api_key",
                    ["auth", "api_keys", name] => *name == "key",
                    _ => false,
                };
                if credential && !scalar.text.contains("${") {
                    literal.push(node.span);
                }
            }
            in_urls(node.span, text, sources);
            if matches!(path.as_slice(), ["sources", .., "sql" | "pgvector", "url"])
                && has_password(&scalar.text)
            {
                literal.push(node.span);
            }
        }
        NodeKind::Scalar(_) => {}
        NodeKind::List(items) => items.iter().for_each(|i| walk(i, path, text, sources, literal)),
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                let NodeKind::Scalar(name) = &key.kind else { continue };
                path.push(&name.text);
                walk(value, path, text, sources, literal);
                path.pop();
            }
        }
    }
}

/// Whether a password stands in the URL itself.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").filter(|_| !url.starts_with("${")).map_or("", |(_, rest)| rest);
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let user = rest.get(..host).and_then(|rest| rest.rsplit_once('@')).map_or("", |(user, _)| user);
    // What a variable gives stands elsewhere, and so does its default, which is for trying things out.
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !password.contains("${"))
}

/// Hides user, password and query of every URL in `span`.
fn in_urls(span: Span, text: &str, sources: &mut SourceMap) {
    let slice = text.get(span.start as usize..span.end as usize).unwrap_or("");
    // Most values have none; to see that takes less than to look for the whole mark.
    if !slice.as_bytes().contains(&b':') {
        return;
    }
    let mut from = 0;
    while let Some(at) = slice.get(from..).and_then(|rest| rest.find("://")) {
        let start = from + at + 3;
        let rest = slice.get(start..).unwrap_or("");
        let end =
            rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',')).unwrap_or(rest.len());
        let url = rest.get(..end).unwrap_or("");
        let host_end = url.find(['/', '?', '#']).unwrap_or(url.len());
        let user = url.get(..host_end).and_then(|u| u.rfind('@')).map(|at| 0..at);
        let query = url.find('?').map(|at| at + 1..url.len());
        for range in user.into_iter().chain(query) {
            let offset = |n: usize| span.start + u32::try_from(start + n).unwrap_or(0);
            sources.hide(Span { file: span.file, start: offset(range.start), end: offset(range.end) });
        }
        from = start + end;
    }
}

/// A text that is not YAML has no tree: the rest of every line with a secret key is hidden, and the lines below it that
/// are further in.
pub(super) fn in_broken(text: &str, file: FileId, sources: &mut SourceMap) {
    let mut start = 0;
    let mut block: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let inside = line.trim().is_empty() || block.is_some_and(|outer| indent > outer);
        if !inside {
            block = None;
        }
        let hidden = if block.is_some() { Some(0) } else { secret_key(line) };
        let span = |from: usize, to: usize| {
            let offset = |n: usize| u32::try_from(start + n).unwrap_or(u32::MAX);
            Span { file, start: offset(from), end: offset(to) }
        };
        match hidden {
            Some(at) => {
                sources.hide(span(at, line.len()));
                block = block.or(Some(indent));
            }
            None => in_urls(span(0, line.len()), text, sources),
        }
        start += line.len();
    }
}

/// Where the value of the line's first secret key begins.
fn secret_key(line: &str) -> Option<usize> {
    line.match_indices(':').find_map(|(at, _)| {
        let before = line.get(..at)?.trim_end().trim_end_matches(['"', '\'']);
        let word = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'));
        let name = before.rsplit(word).next()?;
        (is_secret_key(name) || BLOCKS.contains(&name)).then_some(at + 1)
    })
}
