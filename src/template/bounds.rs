//! What a Jinja template may make of the values that it is given: so much text and no more, and where it may take long, on another thread.

use std::cell::Cell;
use std::io::{self, Write};

use minijinja::value::{Kwargs, StringInput};
use minijinja::{Environment, Error, ErrorKind, State, Value as Jinja, filters};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::tasks;

/// The most bytes that one text may have, and that a filter may make on its way.
const MOST: usize = 4 << 20;
/// How many values are filled in where the call runs, and how many bytes: what a template does with all of them for each of them is soon
/// done then.
const FEW: usize = 1 << 10;

/// Why templates were not filled.
#[derive(Debug)]
pub enum Unfilled {
    /// They were not done in their time.
    Late,
    /// The template's own error, for the log.
    Failed(String),
}

/// Fills templates with values, until `deadline`. Who waits for that keeps nobody else waiting.
///
/// # Errors
/// [`Unfilled`] as described there.
pub async fn filled<T: Send + 'static>(
    values: Map<String, Value>,
    deadline: Instant,
    fill: impl FnOnce(&Map<String, Value>) -> Result<T, String> + Send + 'static,
) -> Result<T, Unfilled> {
    let done = if values.values().try_fold(FEW, left).is_some() {
        Some(fill(&values))
    } else {
        Box::pin(tasks::lasting(deadline, move || fill(&values))).await
    };
    done.ok_or(Unfilled::Late)?.map_err(Unfilled::Failed)
}

/// What is left of a number when a value and all in it have been taken from it.
fn left(most: usize, value: &Value) -> Option<usize> {
    let most = most.checked_sub(1)?;
    match value {
        Value::String(text) => most.checked_sub(text.len()),
        Value::Array(items) => items.iter().try_fold(most, left),
        Value::Object(members) => {
            members.iter().try_fold(most, |most, (name, value)| left(most.checked_sub(name.len())?, value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(most),
    }
}

/// The most that one text may have become when it is put together anew at each step: what then is kept of it has so many bytes.
const PILED: usize = 64 << 20;
/// The least steps of a template, whatever it is given.
const LEAST: u64 = 400;
/// Steps of a loop that puts one text behind another.
const LOOP: usize = 4;

thread_local! {
    /// How much was written of values since a template was begun.
    static WRITTEN: Cell<usize> = const { Cell::new(0) };
}

/// How many steps a template may take with these values, `most` if there is no long text among them: each step may add the longest of
/// them to another text.
pub(super) fn fuel(values: &Map<String, Value>, most: u64) -> u64 {
    let longest = values.values().map(longest).max().unwrap_or(0);
    let steps = u64::try_from(PILED / longest.max(1) * LOOP).unwrap_or(most);
    steps.clamp(LEAST, most)
}

fn longest(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Value::Object(members) => members.values().map(longest).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Puts filters that make no more than they may in the place of those that multiply what they are given, and counts what is written of
/// values, also where it is kept for later (`{% set %}…{% endset %}`).
pub(super) fn bound(environment: &mut Environment<'_>) {
    environment.add_filter("join", join);
    environment.add_filter("replace", replace);
    environment.add_filter("indent", indent);
    environment.add_filter("batch", batch);
    environment.add_filter("slice", slice);
    environment.set_formatter(|out, state, value| {
        let bytes = value.as_str().map_or(1, str::len);
        let written = WRITTEN.get().saturating_add(bytes);
        WRITTEN.set(written);
        fits(Some(written))?;
        minijinja::escape_formatter(out, state, value)
    });
}

fn fits(bytes: Option<usize>) -> Result<(), Error> {
    match bytes {
        Some(bytes) if bytes <= MOST => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidOperation, too_large())),
    }
}

fn too_large() -> String {
    format!("the text would have more than {MOST} bytes")
}

fn join(
    state: &mut State<'_, '_>,
    value: &Jinja,
    joiner: Option<StringInput<'_>>,
    attribute: Option<&str>,
    kwargs: Kwargs,
) -> Result<Jinja, Error> {
    let between = match &joiner {
        Some(joiner) => joiner.as_str().len(),
        None => kwargs.peek::<&str>("d").map_or(0, str::len),
    };
    let mut all = value.len().unwrap_or(0).checked_mul(between);
    if attribute.is_none() && all.is_some_and(|all| all <= MOST) {
        for item in value.try_iter()? {
            all = all.and_then(|all| all.checked_add(item.as_str().map_or(1, str::len)));
            if all.is_none_or(|all| all > MOST) {
                break;
            }
        }
    }
    fits(all)?;
    filters::join(state, value, joiner, attribute, kwargs)
}

fn replace(
    state: &mut State<'_, '_>,
    value: StringInput<'_>,
    from: StringInput<'_>,
    to: StringInput<'_>,
) -> Result<Jinja, Error> {
    let (text, longer) = (value.as_str(), to.as_str().len().saturating_sub(from.as_str().len()));
    if longer > 0 {
        let places = text.matches(from.as_str()).count();
        fits(places.checked_mul(longer).and_then(|more| more.checked_add(text.len())))?;
    }
    filters::replace(state, value, from, to)
}

fn indent(
    value: StringInput<'_>,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<Jinja, Error> {
    let (text, spaces) = (value.as_str(), width.or_else(|| kwargs.peek("width").ok()).unwrap_or(4));
    fits(text.split('\n').count().checked_mul(spaces).and_then(|more| more.checked_add(text.len())))?;
    filters::indent(value, width, first, blank, kwargs)
}

fn batch(state: &State<'_, '_>, value: Jinja, count: usize, fill: Option<Jinja>) -> Result<Jinja, Error> {
    fits(Some(count))?;
    filters::batch(state, value, count, fill)
}

fn slice(state: &State<'_, '_>, value: Jinja, count: usize, fill: Option<Jinja>) -> Result<Jinja, Error> {
    fits(Some(count))?;
    filters::slice(state, value, count, fill)
}

/// A text that is written, and does not become larger than it may.
pub(super) struct Bounded(Vec<u8>);

impl Bounded {
    /// Nothing is written yet on this thread.
    pub(super) fn begin() -> Self {
        WRITTEN.set(0);
        Self(Vec::new())
    }

    /// The text.
    pub(super) fn text(self) -> Result<String, String> {
        String::from_utf8(self.0).map_err(|e| e.to_string())
    }
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.0.len() + part.len() > MOST {
            return Err(io::Error::other(too_large()));
        }
        self.0.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::Jinja;
    use super::*;
    use crate::diag::{Diagnostics, Span, Spanned};
    use crate::yaml::Outside;

    fn template(text: &str) -> Jinja {
        let mut diagnostics = Diagnostics::default();
        let text = Spanned::new(text.to_owned(), Span::default());
        let template =
            Jinja::compile(&text, &Outside::default(), &["ids", "note"], "a test", &mut diagnostics);
        template.unwrap_or_else(|| panic!("{diagnostics:?}"))
    }

    fn values(ids: usize, note: usize) -> Map<String, Value> {
        let values = json!({ "ids": vec![1; ids], "note": "x".repeat(note) });
        values.as_object().unwrap().clone()
    }

    #[test]
    fn what_a_template_makes_is_bounded_whatever_it_is_given() {
        for text in [
            "{% for i in ids %}{{ note }}{% endfor %}",
            "{{ ids | join(note) }}",
            "{{ (ids | join('a')) | replace('a', note) }}",
            "{% set all = ids | join('\n') %}{{ all | indent(note | length) }}",
            "{{ note * (ids | length) }}",
            "{{ ids | join(d=note) }}",
            "{{ ([note] * (ids | length)) | join }}",
            "{% set all %}{% for i in ids %}{{ note }}{% endfor %}{% endset %}{{ all | length }} of what is long enough",
            "{% set ns = namespace(t='') %}{% for i in ids %}{% set ns.t = ns.t ~ note %}{% endfor %}{{ ns.t }}",
        ] {
            let template = template(text);
            assert!(template.render(&values(3, 10)).is_ok_and(|text| text.len() > 20), "{text}");
            let failed = template.render(&values(20_000, 100_000)).unwrap_err();
            let known = ["more than 4194304 bytes", "too large", "fuel"];
            assert!(known.iter().any(|known| failed.contains(known)), "{text}: {failed}");
        }
    }

    #[test]
    fn filters_do_what_they_did() {
        for (text, expected) in [
            ("{{ ids | join }}", "111"),
            ("{{ ids | join(', ') }}", "1, 1, 1"),
            ("{{ [{'a': 1}, {'a': 2}] | join('-', attribute='a') }}", "1-2"),
            ("{{ note | replace('xx', 'y') }}", "yx"),
            ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
            ("{{ 'a\nb' | indent(2, true) }}", "  a\n  b"),
        ] {
            assert_eq!(template(text).render(&values(3, 3)).as_deref(), Ok(expected), "{text}");
        }
    }

    #[tokio::test]
    async fn what_takes_long_keeps_nobody_waiting_and_ends_for_its_caller_in_time() {
        let slow = template("{% for i in ids %}{% if (i + 1) * 0 - 1 in ids %}x{% endif %}{% endfor %}done");
        let deadline = Instant::now() + Duration::from_millis(20);
        let filling = filled(values(3000, 0), deadline, move |values| slow.render(values));
        let mut ticks = 0;
        let ticking = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
        };
        let result = tokio::select! { result = filling => result, () = ticking => unreachable!() };
        assert!(matches!(result, Err(Unfilled::Late)), "{result:?}");
        assert!(ticks > 2, "{ticks}");
        let quick = template("{{ ids | length }} {{ note | length }}");
        for (ids, note) in [(1, 1), (3000, 1), (1, 3000)] {
            let (quick, deadline) = (quick.clone(), Instant::now() + Duration::from_secs(60));
            let text = filled(values(ids, note), deadline, move |values| quick.render(values)).await.unwrap();
            assert_eq!(text, format!("{ids} {note}"));
        }
    }
}
