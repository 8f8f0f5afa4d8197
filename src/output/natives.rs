//! The native functions over bounded values: those of jaq that know its own values only, and what rewritten programs call.

use bytes::Bytes;
use jaq_core::data::JustLut;
use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_core::{ValR, ValT as _};
use jaq_json::{Num, Val};

use super::fuel::{self, MAX_LENGTH, Stop, spent};
use super::held::{Bounded, Error, Held, MAX_DEPTH, place, same};
use super::levels::openings;

/// The most bytes of a text times the groups of a pattern that is looked for in it.
const MAX_SEARCHED: usize = 4 << 20;
/// The most digits of a number.
const MAX_DIGITS: usize = 20_000;

/// The functions that rewritten programs call.
pub(super) const TICK: &str = "_tick";
pub(super) const SEARCHED: &str = "_searched";

/// All of them.
pub(super) fn functions() -> Vec<Fun<JustLut<Held>>> {
    vec![
        run((TICK, v(0), |_| bome(if fuel::step(1) { Ok(Held::from(true)) } else { Err(spent()) }))),
        run((SEARCHED, v(1), |cv| unary(cv, |text, pattern| searched(text, &pattern)))),
        run(("fromjson", v(0), |cv| {
            let (first, rest) = match from_json(&cv.1) {
                Ok(values) => (None, Some(values)),
                Err(error) => (Some(Err(error)), None),
            };
            Box::new(first.into_iter().chain(rest.into_iter().flatten()).map(|r| r.map_err(Into::into)))
        })),
        run(("tojson", v(0), |cv| bome(Ok(json(&cv.1))))),
        run(("tobytes", v(0), |cv| {
            let mut out = Vec::new();
            let all = to_bytes(&cv.1.val, &mut out);
            let bytes = || Held::checked(Val::byte_str(out));
            bome(match all {
                Some(()) => bytes(),
                None => Err(Error::str(format_args!("cannot convert {} to bytes", cv.1))),
            })
        })),
        run(("length", v(0), |cv| bome(length(&cv.1)))),
        run(("contains", v(1), |cv| unary(cv, |a, b| Ok(Held::from(contains(&a.val, &b.val)))))),
        run(("has", v(1), |cv| unary(cv, has))),
        run(("indices", v(1), |cv| unary(cv, |a, b| indices(&a, &b)))),
        run(("bsearch", v(1), |cv| {
            unary(cv, |list, what| {
                let Val::Arr(items) = &list.val else { return Err(Error::typ(list, "array")) };
                let found = items.binary_search_by(|v| Held::new(v.clone(), 0).cmp(&what));
                let place = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
                Ok(Held::from(found.map_or_else(|n| -1 - place(n), place)))
            })
        })),
    ]
}

/// Ends the program if a search in this text could take too much.
fn searched(text: Held, pattern: &Held) -> ValR<Held> {
    if let (Val::TStr(text), Val::TStr(pattern)) = (&text.val, &pattern.val) {
        let groups = pattern.split(|b| *b == b'(').count();
        if text.len().saturating_mul(groups) > MAX_SEARCHED {
            fuel::stop(Stop::Spent);
        }
    }
    if fuel::step(1) { Ok(text) } else { Err(spent()) }
}

/// Whether a JSON text may be read: how deep it is, and how long its numbers are.
pub(super) fn readable(json: &[u8]) -> bool {
    if json.len() <= MAX_DIGITS && openings(json) <= usize::from(MAX_DEPTH) {
        return true;
    }
    let (mut now, mut digits, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json {
        digits = if byte.is_ascii_digit() && !in_text { digits + 1 } else { 0 };
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => now += 1,
            b']' | b'}' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
        if now > usize::from(MAX_DEPTH) || digits > MAX_DIGITS {
            return false;
        }
    }
    true
}

/// The values of a JSON text, one after the other.
fn from_json(text: &Held) -> ValR<impl Iterator<Item = ValR<Held>> + use<>, Held> {
    let Val::TStr(bytes) = &text.val else { return Err(Error::typ(text.clone(), "string")) };
    if !readable(bytes) {
        fuel::stop(Stop::Deep);
        return Err(spent());
    }
    // A value takes many times its text: `0,` makes 16 bytes of two, `[],` about 60 of three.
    let parts = bytes.iter().filter(|b| matches!(b, b',' | b'[' | b'{' | b':' | b' ' | b'\n' | b'"')).count();
    if !fuel::made(bytes.len() + parts * 48) {
        return Err(spent());
    }
    let shown = text.clone();
    // Nothing comes after an error but that error, again and again.
    let mut failed = false;
    let values: Vec<_> = jaq_json::read::parse_many(bytes)
        .take_while(|found| {
            let over = failed;
            failed = found.is_err();
            !over && fuel::made(64)
        })
        .map(|found| match found {
            Ok(value) => Ok(Held::new(value, MAX_DEPTH)),
            Err(error) => Err(Error::str(format_args!("cannot parse {shown} as JSON: {error}"))),
        })
        .collect();
    Ok(values.into_iter().map(|v| if fuel::step(1) { v } else { Err(spent()) }))
}

/// A value as JSON.
pub(super) fn json(value: &Held) -> Held {
    let mut text = Bounded { bytes: Vec::new(), most: MAX_LENGTH };
    if jaq_json::write::write(&mut text, &jaq_json::write::Pp::default(), 0, &value.val).is_err() {
        fuel::stop(Stop::Spent);
    }
    Held::text(text.bytes)
}

fn to_bytes(value: &Val, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Val::Num(n) => out.push(n.as_isize().and_then(|n| u8::try_from(n).ok())?),
        Val::BStr(text) | Val::TStr(text) => {
            if !fuel::made(text.len()) {
                return None;
            }
            out.extend_from_slice(text);
        }
        Val::Arr(items) => {
            for item in items.iter() {
                if !fuel::made(1) {
                    return None;
                }
                to_bytes(item, out)?;
            }
        }
        _ => return None,
    }
    Some(())
}

fn length(value: &Held) -> ValR<Held> {
    let count = match &value.val {
        Val::Null => 0,
        Val::Num(_) => {
            let negative = value.val < Val::from(0_usize);
            return if negative { -value.clone() } else { Ok(value.clone()) };
        }
        Val::TStr(text) => String::from_utf8_lossy(text).chars().count(),
        Val::BStr(bytes) => bytes.len(),
        Val::Arr(items) => items.len(),
        Val::Obj(map) => map.len(),
        Val::Bool(_) => return Err(Error::str(format_args!("{value} has no length"))),
    };
    Ok(Held::from(count))
}

fn contains(a: &Val, b: &Val) -> bool {
    if !fuel::step(1) {
        return false;
    }
    match (a, b) {
        (Val::BStr(a), Val::BStr(b)) | (Val::TStr(a), Val::TStr(b)) => {
            let whole = (str::from_utf8(a), str::from_utf8(b));
            match whole {
                (Ok(a), Ok(b)) => a.contains(b),
                _ => b.is_empty() || a.windows(b.len()).any(|w| fuel::step(1) && w == &***b),
            }
        }
        (Val::Arr(a), Val::Arr(b)) => b.iter().all(|b| a.iter().any(|a| contains(a, b))),
        (Val::Obj(a), Val::Obj(b)) => b.iter().all(|(k, b)| a.get(k).is_some_and(|a| contains(a, b))),
        _ => same(a, b),
    }
}

fn has(value: Held, key: Held) -> ValR<Held> {
    if !Held::weigh(&key.val) {
        return Err(spent());
    }
    let length = match (&value.val, &key.val) {
        (Val::Obj(map), key) => return Ok(Held::from(map.contains_key(key))),
        (Val::Null, _) => return Ok(Held::from(false)),
        (Val::Arr(items), Val::Num(_)) => items.len(),
        (Val::BStr(bytes), Val::Num(_)) => bytes.len(),
        // A part of it, by where it begins and ends or by what it is, is always there.
        _ => return value.index(&key).map(|_| Held::from(true)),
    };
    match &key.val {
        Val::Num(Num::Int(_) | Num::BigInt(_)) => Ok(Held::from(place(&key.val, length).is_some())),
        _ => Err(Error::index(value, key)),
    }
}

/// Where a part begins, each place a step and so is each 64 bytes compared there.
pub(super) fn indices(whole: &Held, part: &Held) -> ValR<Held> {
    fn texts<'t>(whole: &'t Bytes, part: &'t Bytes) -> impl Iterator<Item = usize> + 't {
        let cost = 1 + part.len() as u64 / 64;
        (0..(whole.len() + 1).saturating_sub(part.len()))
            .take_while(move |_| fuel::step(cost))
            .filter(|at| !part.is_empty() && whole.get(*at..at + part.len()) == Some(&part[..]))
    }
    let all = match (&whole.val, &part.val) {
        (Val::BStr(whole), Val::BStr(part)) => texts(whole, part).map(Held::from).collect(),
        (Val::TStr(whole), Val::TStr(part)) => {
            // By characters, not bytes.
            let (mut chars, mut from) = (0, 0);
            let begins = |b: &u8| b & 0xC0 != 0x80;
            texts(whole, part)
                .map(|at| {
                    chars += whole.get(from..at).unwrap_or_default().iter().filter(|b| begins(b)).count();
                    from = at;
                    Held::from(chars)
                })
                .collect()
        }
        (Val::Arr(_), Val::Arr(part)) if part.is_empty() => Held::from_iter([]),
        (Val::Arr(whole), Val::Arr(part)) => {
            let equal = |w: &[Val]| w.iter().zip(part.iter()).all(|(a, b)| fuel::step(1) && same(a, b));
            whole
                .windows(part.len())
                .enumerate()
                .filter(|(_, w)| equal(w))
                .map(|(n, _)| Held::from(n))
                .collect()
        }
        (Val::Arr(whole), part) => {
            let found = whole.iter().enumerate().filter(|(_, v)| fuel::step(1) && same(v, part));
            found.map(|(n, _)| Held::from(n)).collect()
        }
        _ => return Err(Error::index(whole.clone(), part.clone())),
    };
    if fuel::step(0) { Ok(all) } else { Err(spent()) }
}
