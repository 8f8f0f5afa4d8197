//! The values jq programs work on: jaq's, with a bound on how deep they nest and an account of what is made. A value beyond the
//! bounds is never built, so neither printing nor dropping one can exhaust the stack.

mod operators;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Exn, ValR, ValT as _, ValX};
use jaq_json::{Map, Num, Val};

use super::fuel::{self, MAX_LENGTH, Stop, spent};

/// The most levels of a value.
pub(super) const MAX_DEPTH: u16 = 120;
/// The most steps into one value: what a path may have.
const MAX_TRAIL: u16 = 4096;
/// The most bits of a number.
const MAX_BITS: u64 = 1 << 16;
/// The most bytes of a value in a message.
const MAX_SHOWN: usize = 16 << 10;

/// A value and no more levels than `deep`.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub val: Val,
    deep: u16,
    /// How many steps it was reached by.
    trail: u16,
}

pub(super) type Error = jaq_core::Error<Held>;

impl Held {
    /// A value that may have so many levels.
    pub fn new(val: Val, deep: u16) -> Self {
        let deep = if matches!(val, Val::Arr(_) | Val::Obj(_)) { deep } else { 0 };
        Self { val, deep, trail: 0 }
    }

    fn step(&self, val: Val, deep: u16) -> Self {
        let trail = self.trail.saturating_add(1);
        if trail > MAX_TRAIL {
            fuel::stop(Stop::Spent);
        }
        Self { trail, ..Self::new(val, deep) }
    }

    fn inner(&self, val: Val) -> Self {
        self.step(val, self.deep.saturating_sub(1))
    }

    /// A list or an object around what has so many levels; null once that is too deep.
    fn around(val: Val, within: u16) -> Self {
        let mut deep = within + 1;
        if deep > MAX_DEPTH {
            // The bound may be higher than the truth.
            deep = depth(&val);
        }
        if deep <= MAX_DEPTH {
            return Self { val, deep, trail: 0 };
        }
        fuel::stop(Stop::Deep);
        Self::new(Val::Null, 0)
    }

    /// A text, if it is of a bearable length.
    pub fn text(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.len() > MAX_LENGTH {
            fuel::stop(Stop::Spent);
        }
        fuel::made(bytes.len() + 64);
        Self::new(Val::utf8_str(bytes), 0)
    }

    pub fn checked(val: Val) -> ValR<Self> {
        match &val {
            Val::Num(Num::BigInt(number)) if number.bits() > MAX_BITS => fuel::stop(Stop::Spent),
            Val::TStr(text) | Val::BStr(text) if text.len() > MAX_LENGTH => fuel::stop(Stop::Spent),
            _ => {}
        }
        if fuel::step(1) { Ok(Self::new(val, 0)) } else { Err(spent()) }
    }

    /// Counts every part of it as a step: what lists share counts as often as it stands there.
    pub fn weigh(val: &Val) -> bool {
        match val {
            Val::Arr(items) => fuel::step(1 + items.len() as u64) && items.iter().all(Self::weigh),
            Val::Obj(map) => {
                fuel::step(1 + map.len() as u64) && map.iter().all(|(k, v)| Self::weigh(k) && Self::weigh(v))
            }
            _ => true,
        }
    }
}

/// The levels of a value, up to one more than it may have.
fn depth(val: &Val) -> u16 {
    fn walk(val: &Val, seen: &mut std::collections::HashMap<usize, u16>) -> u16 {
        let place = match val {
            Val::Arr(items) => Arc::as_ptr(items).addr(),
            Val::Obj(map) => Arc::as_ptr(map).addr(),
            _ => return 0,
        };
        if let Some(known) = seen.get(&place) {
            return *known;
        }
        let within = match val {
            Val::Arr(items) => items.iter().map(|v| walk(v, seen)).max(),
            Val::Obj(map) => map.iter().map(|(k, v)| walk(k, seen).max(walk(v, seen))).max(),
            _ => None,
        };
        fuel::step(1);
        let deep = within.unwrap_or_default() + 1;
        seen.insert(place, deep);
        deep
    }
    walk(val, &mut std::collections::HashMap::new())
}

/// A list of its own to change; what is copied for that counts.
fn own_list(items: &mut Arc<Vec<Val>>) -> &mut Vec<Val> {
    if Arc::strong_count(items) > 1 && !fuel::made(items.len() * size_of::<Val>()) {
        *items = Arc::default();
    }
    Arc::make_mut(items)
}

/// The same for an object.
fn own_map(map: &mut Arc<Map>) -> &mut Map {
    if Arc::strong_count(map) > 1 && !fuel::made(map.len() * MEMBER) {
        *map = Arc::default();
    }
    Arc::make_mut(map)
}

/// About what a member of an object takes.
const MEMBER: usize = 64;

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Bounded { bytes: Vec::new(), most: MAX_SHOWN };
        let whole = jaq_json::write::write(&mut text, &jaq_json::write::Pp::default(), 0, &self.val).is_ok();
        f.write_str(&String::from_utf8_lossy(&text.bytes))?;
        if whole { Ok(()) } else { f.write_str("…") }
    }
}

/// Bytes that grow so far and no further.
pub(super) struct Bounded {
    pub bytes: Vec<u8>,
    pub most: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + part.len() > self.most || !fuel::step(0) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl From<bool> for Held {
    fn from(value: bool) -> Self {
        Self::new(value.into(), 0)
    }
}
impl From<isize> for Held {
    fn from(value: isize) -> Self {
        Self::new(value.into(), 0)
    }
}
impl From<usize> for Held {
    fn from(value: usize) -> Self {
        Self::new(value.into(), 0)
    }
}
impl From<f64> for Held {
    fn from(value: f64) -> Self {
        Self::new(value.into(), 0)
    }
}
impl From<String> for Held {
    fn from(value: String) -> Self {
        Self::text(value)
    }
}
impl From<Range<Held>> for Held {
    fn from(range: Range<Self>) -> Self {
        let members = [("start", range.start), ("end", range.end)];
        let members = members.into_iter().filter_map(|(k, v)| Some((Self::from(k.to_owned()), v?)));
        Self::from_map(members).unwrap_or_else(|_| Self::new(Val::Null, 0))
    }
}
impl FromIterator<Held> for Held {
    fn from_iter<T: IntoIterator<Item = Self>>(iter: T) -> Self {
        let mut within = 0;
        let mut items = Vec::new();
        for item in iter {
            within = within.max(item.deep);
            items.push(item.val);
            if items.len() > MAX_LENGTH {
                fuel::stop(Stop::Spent);
            }
            if !fuel::made(size_of::<Val>()) {
                break;
            }
        }
        fuel::made(48);
        Self::around(Val::Arr(Arc::new(items)), within)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        same(&self.val, &other.val)
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.val, &other.val)
    }
}

/// Equality, part by part as long as the program may go on.
pub(super) fn same(a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::Arr(a), Val::Arr(b)) => {
            Arc::ptr_eq(a, b)
                || a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| fuel::step(1) && same(a, b))
        }
        (Val::Obj(a), Val::Obj(b)) => {
            Arc::ptr_eq(a, b)
                || a.len() == b.len()
                    && a.iter().all(|(k, v)| fuel::step(1) && b.get(k).is_some_and(|other| same(v, other)))
        }
        _ => a == b,
    }
}

/// jaq's order, part by part as long as the program may go on.
fn order(a: &Val, b: &Val) -> Ordering {
    fn lists<'v>(a: impl Iterator<Item = &'v Val>, mut b: impl Iterator<Item = &'v Val>) -> Ordering {
        for a in a {
            let found = match b.next() {
                Some(b) if fuel::step(1) => order(a, b),
                Some(_) => return Ordering::Equal,
                None => return Ordering::Greater,
            };
            if found.is_ne() {
                return found;
            }
        }
        if b.next().is_some() { Ordering::Less } else { Ordering::Equal }
    }
    match (a, b) {
        (Val::Arr(a), Val::Arr(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
        (Val::Arr(a), Val::Arr(b)) => lists(a.iter(), b.iter()),
        (Val::Obj(a), Val::Obj(b)) if !a.is_empty() && !b.is_empty() => {
            let sorted = |map: &Map| {
                let mut all: Vec<(Val, Val)> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                all.sort_by(|(a, _), (b, _)| order(a, b));
                all
            };
            let (a, b) = (sorted(a), sorted(b));
            let names = lists(a.iter().map(|m| &m.0), b.iter().map(|m| &m.0));
            names.then_with(|| lists(a.iter().map(|m| &m.1), b.iter().map(|m| &m.1)))
        }
        _ => a.cmp(b),
    }
}

impl jaq_core::ValT for Held {
    fn from_num(text: &str) -> ValR<Self> {
        let value = Val::from_num(text).map_err(|_| Error::str("this is no number"))?;
        Self::checked(value)
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(iter: I) -> ValR<Self> {
        let mut within = 0;
        let mut map = Map::default();
        for (name, value) in iter {
            within = within.max(name.deep).max(value.deep);
            if !Self::weigh(&name.val) || !fuel::made(MEMBER) {
                return Err(spent());
            }
            map.insert(name.val, value.val);
        }
        fuel::made(MEMBER * 2);
        Ok(Self::around(Val::obj(map), within))
    }

    fn key_values(self) -> Box<dyn Iterator<Item = Result<(Self, Self), Error>>> {
        match self.val.clone() {
            Val::Arr(items) => Box::new((0..items.len()).map(move |n| {
                let item = items.get(n).cloned().unwrap_or_default();
                if fuel::step(1) { Ok((Self::from(n), self.inner(item))) } else { Err(spent()) }
            })),
            Val::Obj(map) => Box::new((0..map.len()).map(move |n| match map.get_index(n) {
                Some((k, v)) if fuel::step(1) => Ok((self.inner(k.clone()), self.inner(v.clone()))),
                _ => Err(spent()),
            })),
            _ => Box::new(std::iter::once(Err(Error::typ(self, ITERABLE)))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        Box::new(self.key_values().map(|pair| pair.map(|(_, value)| value)))
    }

    fn index(self, index: &Self) -> ValR<Self> {
        if !fuel::step(1) || !Self::weigh(&index.val) {
            return Err(spent());
        }
        if let (Val::Arr(_), Val::Arr(part)) = (&self.val, &index.val) {
            if part.is_empty() {
                return Ok(self.step(Val::Arr(Arc::default()), 1));
            }
            let found = super::natives::indices(&self, index)?;
            return Ok(self.step(found.val, 1));
        }
        if let (Val::Arr(_) | Val::TStr(_) | Val::BStr(_), Val::Obj(map)) = (&self.val, &index.val) {
            let bound =
                |name: &str| map.get(&Val::utf8_str(name.to_owned())).map(|v| Self::new(v.clone(), 1));
            let (start, end) = (bound("start"), bound("end"));
            return self.range(start.as_ref()..end.as_ref());
        }
        match self.val.clone().index(&index.val) {
            Ok(found) => Ok(self.inner(found)),
            Err(_) => Err(Error::index(self, index.clone())),
        }
    }

    fn range(self, range: Range<&Self>) -> ValR<Self> {
        if !matches!(self.val, Val::Arr(_) | Val::TStr(_) | Val::BStr(_)) {
            return Err(Error::typ(self, "rangeable (array or string)"));
        }
        let bounds = range.start.map(|v| &v.val)..range.end.map(|v| &v.val);
        match self.val.clone().range(bounds) {
            Ok(found) => {
                let size = match &found {
                    Val::Arr(items) => items.len() * size_of::<Val>(),
                    _ => 0,
                };
                if fuel::made(size + 64) { Ok(self.step(found, self.deep)) } else { Err(spent()) }
            }
            Err(_) => {
                let whole = |v: &Val| matches!(v, Val::Null | Val::Num(Num::Int(_) | Num::BigInt(_)));
                let wrong = [range.start, range.end].into_iter().flatten().find(|v| !whole(&v.val));
                Err(Error::typ(wrong.unwrap_or(&self).clone(), "integer"))
            }
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        mut self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        let inner = self.deep.saturating_sub(1);
        match std::mem::take(&mut self.val) {
            Val::Arr(mut items) => {
                let items = std::mem::take(own_list(&mut items));
                items.into_iter().flat_map(|item| f(Self::new(item, inner))).collect()
            }
            Val::Obj(mut map) => {
                let map = std::mem::take(own_map(&mut map));
                let members = map.into_iter().filter_map(|(name, value)| {
                    let changed = f(Self::new(value, inner)).next()?;
                    Some(changed.map(|value| (Self::new(name, inner), value)))
                });
                Ok(Self::from_map(members.collect::<Result<Vec<_>, _>>()?)?)
            }
            val => opt.fail(Self { val, ..self }, |v| Exn::from(Error::typ(v, ITERABLE))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        mut self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        if !fuel::step(1) || !Self::weigh(&index.val) {
            return Err(spent().into());
        }
        if let (Val::BStr(_) | Val::TStr(_) | Val::Arr(_), Val::Obj(map)) = (&self.val, &index.val) {
            let bound =
                |name: &str| map.get(&Val::utf8_str(name.to_owned())).map(|v| Self::new(v.clone(), 1));
            let (start, end) = (bound("start"), bound("end"));
            return self.map_range(start.as_ref()..end.as_ref(), opt, f);
        }
        let inner = self.deep.saturating_sub(1);
        match std::mem::take(&mut self.val) {
            Val::Obj(mut map) => {
                let own = own_map(&mut map);
                let old = own.get_mut(&index.val).map(std::mem::take);
                let (known, old) = (old.is_some(), Self::new(old.unwrap_or_default(), inner));
                let mut within = inner.max(index.deep);
                match f(old).next().transpose()? {
                    Some(new) => {
                        within = within.max(new.deep);
                        if !known {
                            fuel::made(MEMBER);
                        }
                        own.insert(index.val.clone(), new.val);
                    }
                    None => {
                        own.swap_remove(&index.val);
                    }
                }
                Ok(Self::around(Val::Obj(map), within))
            }
            Val::Arr(mut items) => {
                let at = place(&index.val, items.len());
                let Some(at) = at else {
                    self.val = Val::Arr(items);
                    return opt.fail(self, |v| match index.val {
                        Val::Num(Num::Int(_) | Num::BigInt(_)) => {
                            Exn::from(Error::str(format_args!("index {index} out of bounds")))
                        }
                        _ => {
                            drop(v);
                            Exn::from(Error::typ(index.clone(), "integer"))
                        }
                    });
                };
                let own = own_list(&mut items);
                let old = own.get_mut(at).map(std::mem::take).unwrap_or_default();
                let mut within = inner;
                match f(Self::new(old, inner)).next().transpose()? {
                    Some(new) => {
                        within = within.max(new.deep);
                        if let Some(item) = own.get_mut(at) {
                            *item = new.val;
                        }
                    }
                    None if at < own.len() => {
                        own.remove(at);
                    }
                    None => {}
                }
                Ok(Self::around(Val::Arr(items), within))
            }
            val => opt.fail(Self { val, ..self }, |v| Exn::from(Error::typ(v, ITERABLE))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        if !matches!(self.val, Val::Arr(_) | Val::BStr(_) | Val::TStr(_)) {
            return opt.fail(self, |v| Exn::from(Error::typ(v, "array")));
        }
        let part = match self.clone().range(range.clone()) {
            Ok(part) => part,
            Err(error) => return opt.fail(self, |_| Exn::from(error)),
        };
        // jaq finds the place again; only what goes into it comes from here.
        let new = f(part).next().transpose()?;
        let kind = if matches!(self.val, Val::Arr(_)) { "array" } else { "string" };
        let fits = |v: &Val| {
            matches!(
                (&self.val, v),
                (Val::Arr(_), Val::Arr(_)) | (Val::TStr(_), Val::TStr(_)) | (Val::BStr(_), Val::BStr(_))
            )
        };
        if let Some(wrong) = new.as_ref().filter(|v| !fits(&v.val)) {
            return Err(Error::typ(wrong.clone(), kind).into());
        }
        let (deep, size) = new.as_ref().map_or((0, 0), |v| (v.deep, size(&v.val)));
        if !fuel::made(size + self::size(&self.val)) {
            return Err(spent().into());
        }
        let bounds = range.start.map(|v| &v.val)..range.end.map(|v| &v.val);
        let new = new.map(|v| v.val);
        let within = self.deep.max(deep);
        let whole = self.val.map_range(bounds, Opt::Essential, |_| new.clone().map(Ok).into_iter());
        match whole {
            Ok(val @ Val::Arr(_)) => Ok(Self::around(val, within.saturating_sub(1))),
            Ok(val) => Ok(Self::checked(val)?),
            Err(_) => Err(spent().into()),
        }
    }

    fn as_bool(&self) -> bool {
        self.val.as_bool()
    }

    fn into_string(self) -> Self {
        match self.val {
            Val::TStr(text) | Val::BStr(text) => Self::new(Val::TStr(text), 0),
            _ => super::natives::json(&self),
        }
    }
}

const ITERABLE: &str = "iterable (array or object)";

fn size(val: &Val) -> usize {
    match val {
        Val::Arr(items) => items.len() * size_of::<Val>(),
        Val::TStr(text) | Val::BStr(text) => text.len(),
        _ => 0,
    }
}

/// Where an index leads in a list of this length.
pub(super) fn place(index: &Val, length: usize) -> Option<usize> {
    let Val::Num(Num::Int(at)) = index else { return None };
    let at = if *at < 0 { length.checked_sub(at.unsigned_abs())? } else { at.unsigned_abs() };
    (at < length).then_some(at)
}

impl jaq_std::ValT for Held {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match &self.val {
            Val::Arr(items) => {
                let inner = self.deep.saturating_sub(1);
                let go = fuel::step(items.len() as u64);
                Ok(items.iter().take_while(|_| go).map(|v| Self::new(v.clone(), inner)).collect())
            }
            _ => Err(self),
        }
    }

    fn is_int(&self) -> bool {
        jaq_std::ValT::is_int(&self.val)
    }

    fn as_isize(&self) -> Option<isize> {
        jaq_std::ValT::as_isize(&self.val)
    }

    fn as_f64(&self) -> Option<f64> {
        jaq_std::ValT::as_f64(&self.val)
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self.val, Val::TStr(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        jaq_std::ValT::as_bytes(&self.val)
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        fuel::made(64);
        Self::new(jaq_std::ValT::as_sub_str(&self.val, part), 0)
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::text(Bytes::from_owner(bytes))
    }
}
