//! What two routes ask of their sources, and what of the replies they give.

use serde_json::Value;

use super::notes::Notes;
use super::tree;
use super::words::{word, words};
use crate::output::{Fewer, OutputPlan, fewer};
use crate::plan::value;
use crate::source::{OpPlan, SqlOp};

/// What is asked of a source.
pub(super) fn operations(old: &OpPlan, new: &OpPlan, notes: &mut Notes) {
    if old == new {
        return;
    }
    if old.reads_only() && !new.reads_only() {
        notes.loosening("it may change something: it only read before");
    }
    asked(old, new, notes);
    if let (OpPlan::Sql(_, old), OpPlan::Sql(_, new)) = (old, new) {
        rows(old, new, notes);
    }
    if let (OpPlan::Fixed(_), OpPlan::Fixed(_)) = (old, new) {
        return notes.compatible("its content changed");
    }
    let (before, after) = (super::exposed::kind(old), super::exposed::kind(new));
    match (old.source(), new.source()) {
        (Some(one), Some(other)) if one != other => {
            notes.invisible(format!("it goes to the source {} instead of {}", word(other), word(one)));
        }
        _ => {}
    }
    if before != after {
        return notes.invisible(format!("it is {} instead of {}", word(after), word(before)));
    }
    let parts = |op: &OpPlan| {
        let Value::Object(map) = value(op) else { return Value::Null };
        map.into_iter().next().map_or(Value::Null, |(_, inner)| match inner {
            Value::Array(pair) => pair.into_iter().nth(1).unwrap_or_default(),
            other => other,
        })
    };
    let (Value::Object(before), Value::Object(after)) = (parts(old), parts(new)) else { return };
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    // Which parameters a statement takes, and in which order, follows from it.
    let keys = after.keys().chain(gone).filter(|key| before.get(*key) != after.get(*key) && *key != "binds");
    let keys: Vec<&str> = keys.map(|key| if key == "text" { "statement" } else { key.as_str() }).collect();
    match keys.as_slice() {
        [] if old.source() == new.source() => notes.invisible("a secret of its operation changed"),
        [] => {}
        keys => notes.invisible(format!("its operation changed: {}", words(keys))),
    }
}

/// What the rows of two statements have.
fn rows(old: &SqlOp, new: &SqlOp, notes: &mut Notes) {
    if old == new || !old.gives_rows() || !new.gives_rows() {
        return;
    }
    match (old.columns(), new.columns()) {
        (Some(before), Some(after)) => {
            let (gone, come) = tree::apart_words(&before, &after);
            if let Some(names) = gone {
                notes.breaking(format!("its rows no longer have {names}"));
            }
            if let Some(names) = come {
                notes.compatible(format!("its rows have {names} too"));
            }
        }
        (None, Some(_)) => {
            notes.breaking("its rows have only the columns that it names now: others may be gone");
        }
        (_, None) => {}
    }
}

/// What of a reply is selected.
fn selections(old: &OutputPlan, new: &OutputPlan, read: bool, notes: &mut Notes) {
    const CHANGED: &str = "what is selected of the reply changed";
    let text = |plan: &OutputPlan| value(&plan.select).as_str().map(str::to_owned);
    // A schema on both sides says more than a program can, and is compared by itself.
    let said = !read || (old.schema.is_some() && new.schema.is_some());
    match (text(old), text(new)) {
        (old, new) if old == new => {}
        _ if said => notes.compatible(format!("{CHANGED}: look at what its clients read")),
        (None, _) => {
            notes.breaking("only a selection of the reply is given now: look at what its clients read");
        }
        (_, None) => {
            notes.breaking("the whole reply is given instead of a selection: look at what its clients read");
        }
        (Some(old), Some(new)) => match fewer(&old, &new) {
            Fewer::Fields(gone) if gone.is_empty() => {
                notes.compatible(format!("{CHANGED}, and has all the fields that it had"));
            }
            Fewer::Fields(gone) => {
                let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
                notes.breaking(format!("{} of the reply is no longer selected", words(&gone)));
            }
            Fewer::Unknown => {
                notes.breaking(format!(
                    "{CHANGED}, in a way that cannot be compared: look at what its clients read"
                ));
            }
        },
    }
}

/// What clients have to be able to do before it answers.
fn asked(old: &OpPlan, new: &OpPlan, notes: &mut Notes) {
    let fixed = |op: &OpPlan| -> (Vec<String>, Vec<String>) {
        let OpPlan::Fixed(fixed) = op else { return Default::default() };
        (fixed.questions().map(str::to_owned).collect(), fixed.requires().map(ToString::to_string).collect())
    };
    let ((questions, needs), (asks, requires)) = (fixed(old), fixed(new));
    let (gone, come) = tree::apart_words(&questions, &asks);
    if let Some(names) = come {
        notes.breaking(format!("clients are asked for {names}: those that cannot ask are refused"));
    }
    if let Some(names) = gone {
        notes.compatible(format!("clients are no longer asked for {names}"));
    }
    let (gone, come) = tree::apart_words(&needs, &requires);
    if let Some(names) = come {
        notes.breaking(format!("clients have to be capable of {names} now"));
    }
    if let Some(names) = gone {
        notes.compatible(format!("clients no longer have to be capable of {names}"));
    }
}

/// What becomes of a reply. `read` says that clients read what is selected: a prompt's messages say themselves what they want of it.
pub(super) fn outputs(old: &OutputPlan, new: &OutputPlan, read: bool, notes: &mut Notes) {
    if old == new {
        return;
    }
    selections(old, new, read, notes);
    if old.format != new.format {
        let name = |plan: &OutputPlan| value(&plan.format).as_str().unwrap_or_default().to_owned();
        notes.compatible(format!("its text is {} instead of {}", word(name(new)), word(name(old))));
    }
    for (what, old, new) in [("rows", old.max_rows, new.max_rows), ("bytes", old.max_bytes, new.max_bytes)] {
        let name = |most: usize| if most == usize::MAX { "any number of".to_owned() } else { word(most) };
        if old != new {
            notes.compatible(format!("it gives {} {what} at the most instead of {}", name(new), name(old)));
        }
    }
    let paths = |plan: &OutputPlan| -> Vec<String> {
        value(&plan.redact)
            .as_array()
            .into_iter()
            .flatten()
            .map(|path| path.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let (gone, come) = tree::apart_words(&paths(old), &paths(new));
    if let Some(paths) = gone {
        notes.loosening(format!("{paths} of the reply is no longer kept back"));
    }
    if let Some(paths) = come {
        notes.compatible(format!("{paths} of the reply is kept back now"));
    }
}
