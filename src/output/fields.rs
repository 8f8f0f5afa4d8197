//! What the results of a jq program have that a client may read, as far as its text tells: for saying what another program in its
//! place no longer gives.

use std::collections::BTreeMap;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};

/// What the results of a program look like.
enum Form {
    Object(BTreeMap<String, Form>),
    List(Box<Form>),
    /// Whatever the reply has there.
    Open,
}

/// What of the results of a program another one in its place does not give.
#[derive(Debug, PartialEq, Eq)]
pub enum Fewer {
    /// These fields; none where each is still there.
    Fields(Vec<String>),
    /// It cannot be told from their texts.
    Unknown,
}

/// Compares the results of two programs that compile.
#[must_use]
pub fn fewer(old: &str, new: &str) -> Fewer {
    let form = |text: &str| jaq_core::load::parse(text, |p| p.term()).map(|term| form(&term));
    let (Some(old), Some(new)) = (form(old), form(new)) else { return Fewer::Unknown };
    let same = matches!((&old, &new), (Form::Object(_), Form::Object(_)) | (Form::List(_), Form::List(_)));
    if !same {
        return Fewer::Unknown;
    }
    let mut gone = Vec::new();
    compare(&old, &new, "", &mut gone);
    Fewer::Fields(gone)
}

fn compare(old: &Form, new: &Form, path: &str, gone: &mut Vec<String>) {
    match (old, new) {
        (Form::Object(before), Form::Object(after)) => {
            for (name, old) in before {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match after.get(name) {
                    Some(new) => compare(old, new, &path, gone),
                    None => gone.push(path),
                }
            }
        }
        (Form::List(old), Form::List(new)) => compare(old, new, &format!("{path}[]"), gone),
        (Form::Open, _) | (_, Form::Open) => {}
        // Another kind of value in its place.
        (Form::Object(_), Form::List(_)) | (Form::List(_), Form::Object(_)) => gone.push(path.to_owned()),
    }
}

fn form(term: &Term<&str>) -> Form {
    match term {
        Term::Obj(entries) => {
            let fields = entries
                .iter()
                .map(|(key, value)| Some((name(key)?, value.as_ref().map_or(Form::Open, form))));
            fields.collect::<Option<_>>().map_or(Form::Open, Form::Object)
        }
        Term::Arr(Some(inner)) => Form::List(Box::new(form(inner))),
        Term::Call("map", inner) => match inner.as_slice() {
            [inner] => Form::List(Box::new(form(inner))),
            _ => Form::Open,
        },
        Term::BinOp(_, BinaryOp::Pipe(_), last) | Term::Def(_, last) | Term::Label(_, last) => form(last),
        _ => Form::Open,
    }
}

/// The name that a key gives, where it is written out.
fn name(key: &Term<&str>) -> Option<String> {
    match key {
        Term::Var(name) => Some(name.trim_start_matches('$').to_owned()),
        Term::Str(None, parts) => parts
            .iter()
            .map(|part| match part {
                StrPart::Str(text) => Some((*text).to_owned()),
                StrPart::Char(c) => Some(c.to_string()),
                StrPart::Term(_) => None,
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_go_are_named_by_where_they_were() {
        for (old, new, gone) in [
            ("{id, status}", "{id}", &["status"][..]),
            ("{id}", "{id, status}", &[]),
            ("{id, total: .sum}", "{total: .amount, \"id\": .number}", &[]),
            ("{id, lines: [.lines[] | {sku, qty}]}", "{id, lines: [.rows[] | {sku}]}", &["lines[].qty"]),
            ("[.items[] | {id, a: {b, c}}]", ".items | map({id, a: {b}})", &["[].a.c"]),
            (". as $x | {id, $x}", "{id}", &["x"]),
            ("{a: [1], b: {c: 1}}", "{a: {c: 1}, b: .b}", &["a"]),
            ("def f: 1; {a: f, b: 2}", "{b: 2}", &["a"]),
        ] {
            let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
            assert_eq!(fewer(old, new), Fewer::Fields(gone), "{old} / {new}");
        }
    }

    #[test]
    fn what_a_text_does_not_tell_is_not_guessed() {
        for (old, new) in [
            (".items", ".data.items"),
            ("{id}", "."),
            ("{(.k): 1}", "{id}"),
            ("{id}, {total}", "{id}"),
            ("{id} + .more", "{id}"),
            ("[.a]", "{a}"),
            ("if .a then {id} else {no} end", "{id}"),
        ] {
            assert_eq!(fewer(old, new), Fewer::Unknown, "{old} / {new}");
        }
    }
}
