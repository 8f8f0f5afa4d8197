//! The operators of jq on bounded values: each says how deep and how large its result can be before it is made.

use std::sync::Arc;

use jaq_core::ValR;
use jaq_json::{Map, Num, Val};

use super::super::fuel::{self, MAX_LENGTH, Stop, spent};
use super::{Error, Held, MEMBER, own_list, own_map};

type Operation = fn(Val, Val) -> jaq_json::ValR;

/// Numbers by jaq; what else an operator takes is named beside it.
fn numbers(a: Held, b: Held, math: jaq_core::ops::Math, with: Operation) -> ValR<Held> {
    match with(a.val.clone(), b.val.clone()) {
        Ok(val) => Held::checked(val),
        Err(_) => Err(Error::math(a, math, b)),
    }
}

impl std::ops::Add for Held {
    type Output = ValR<Self>;
    fn add(mut self, mut other: Self) -> ValR<Self> {
        let math = jaq_core::ops::Math::Add;
        match (&mut self.val, &mut other.val) {
            (Val::Null, _) => Ok(other),
            (_, Val::Null) => Ok(self),
            (Val::TStr(a), Val::TStr(b)) | (Val::BStr(a), Val::BStr(b)) => {
                let copied = if a.is_unique() { 0 } else { a.len() };
                if a.len() + b.len() > MAX_LENGTH {
                    fuel::stop(Stop::Spent);
                }
                if !fuel::made(copied + b.len() + 64) {
                    return Err(spent());
                }
                Held::checked((self.val + other.val).unwrap_or_default())
            }
            (Val::Arr(a), Val::Arr(b)) => {
                if a.len() + b.len() > MAX_LENGTH {
                    fuel::stop(Stop::Spent);
                }
                if !fuel::made(b.len() * size_of::<Val>()) {
                    return Err(spent());
                }
                own_list(a).extend(b.iter().cloned());
                Ok(Self { deep: self.deep.max(other.deep), trail: 0, val: self.val })
            }
            (Val::Obj(a), Val::Obj(b)) => {
                if !fuel::made(b.len() * MEMBER) {
                    return Err(spent());
                }
                own_map(a).extend(b.iter().map(|(k, v)| (k.clone(), v.clone())));
                Ok(Self { deep: self.deep.max(other.deep), trail: 0, val: self.val })
            }
            (Val::Num(_), Val::Num(_)) => numbers(self, other, math, |a, b| a + b),
            _ => Err(Error::math(self, math, other)),
        }
    }
}

impl std::ops::Sub for Held {
    type Output = ValR<Self>;
    fn sub(mut self, other: Self) -> ValR<Self> {
        let math = jaq_core::ops::Math::Sub;
        if let (Val::Arr(a), Val::Arr(b)) = (&mut self.val, &other.val) {
            let gone: std::collections::BTreeSet<_> = b.iter().map(|v| Self::new(v.clone(), 0)).collect();
            own_list(a).retain(|v| fuel::step(1) && !gone.contains(&Self::new(v.clone(), 0)));
            return Ok(Self { trail: 0, ..self });
        }
        match (&self.val, &other.val) {
            (Val::Num(_), Val::Num(_)) => numbers(self, other, math, |a, b| a - b),
            _ => Err(Error::math(self, math, other)),
        }
    }
}

fn merge(left: &mut Arc<Map>, right: &Arc<Map>) {
    let left = own_map(left);
    for (name, value) in right.iter() {
        if !fuel::made(MEMBER) {
            return;
        }
        match (left.get_mut(name), value) {
            (Some(Val::Obj(left)), Val::Obj(right)) => merge(left, right),
            (Some(old), new) => *old = new.clone(),
            (None, new) => {
                left.insert(name.clone(), new.clone());
            }
        }
    }
}

impl std::ops::Mul for Held {
    type Output = ValR<Self>;
    fn mul(mut self, other: Self) -> ValR<Self> {
        let math = jaq_core::ops::Math::Mul;
        if let (Val::Obj(a), Val::Obj(b)) = (&mut self.val, &other.val) {
            merge(a, b);
            return Ok(Self { deep: self.deep.max(other.deep), trail: 0, val: self.val });
        }
        match (&self.val, &other.val) {
            (Val::TStr(text) | Val::BStr(text), Val::Num(n))
            | (Val::Num(n), Val::TStr(text) | Val::BStr(text)) => {
                let times = match n {
                    Num::Int(n) => usize::try_from(*n).unwrap_or_default(),
                    Num::BigInt(_) => usize::MAX,
                    Num::Float(_) | Num::Dec(_) => 0,
                };
                let length = text.len().saturating_mul(times);
                if length > MAX_LENGTH {
                    fuel::stop(Stop::Spent);
                }
                if !fuel::made(length) {
                    return Err(spent());
                }
            }
            (Val::Num(_), Val::Num(_)) => {}
            _ => return Err(Error::math(self, math, other)),
        }
        numbers(self, other, math, |a, b| a * b)
    }
}

impl std::ops::Div for Held {
    type Output = ValR<Self>;
    fn div(self, other: Self) -> ValR<Self> {
        let math = jaq_core::ops::Math::Div;
        match (&self.val, &other.val) {
            (Val::TStr(text), Val::TStr(by)) | (Val::BStr(text), Val::BStr(by)) => {
                let most = if by.is_empty() { text.len() } else { text.len() / by.len() + 1 };
                let parts = match (str::from_utf8(text), str::from_utf8(by)) {
                    (Ok(text), Ok(by)) if !by.is_empty() => text.matches(by).count() + 1,
                    _ => most,
                };
                if !fuel::made(parts * 64) {
                    return Err(spent());
                }
                (self.val / other.val).map(|val| Self::new(val, 1)).map_err(|_| spent())
            }
            (Val::Num(_), Val::Num(_)) => numbers(self, other, math, |a, b| a / b),
            _ => Err(Error::math(self, math, other)),
        }
    }
}

impl std::ops::Rem for Held {
    type Output = ValR<Self>;
    fn rem(self, other: Self) -> ValR<Self> {
        let math = jaq_core::ops::Math::Rem;
        match (&self.val, &other.val) {
            (Val::Num(_), Val::Num(_)) => numbers(self, other, math, |a, b| a % b),
            _ => Err(Error::math(self, math, other)),
        }
    }
}

impl std::ops::Neg for Held {
    type Output = ValR<Self>;
    fn neg(self) -> ValR<Self> {
        match self.val {
            Val::Num(number) => Self::checked(Val::Num(-number)),
            _ => Err(Error::typ(self, "number")),
        }
    }
}
