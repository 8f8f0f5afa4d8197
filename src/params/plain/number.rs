//! Values compared as JSON Schema does: by what numbers are, not by how they are written, and without losing a digit.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Beyond it no integer of a document lies.
const FAR: f64 = 1e30;

/// An integer or a number with a fraction, as it was read.
#[derive(Clone, Copy)]
enum Form {
    Whole(i128),
    Float(f64),
}

fn form(number: &Number) -> Option<Form> {
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    whole.map(Form::Whole).or_else(|| number.as_f64().map(Form::Float))
}

/// Whether it is an integer, however it is written: 1.0 is.
pub(super) fn is_whole(number: &Number) -> bool {
    match form(number) {
        Some(Form::Whole(_)) => true,
        Some(Form::Float(float)) => float.fract() == 0.0,
        None => false,
    }
}

/// The exact order of two numbers.
pub(super) fn order(one: &Number, other: &Number) -> Option<Ordering> {
    match (form(one)?, form(other)?) {
        (Form::Whole(one), Form::Whole(other)) => Some(one.cmp(&other)),
        (Form::Float(one), Form::Float(other)) => one.partial_cmp(&other),
        (Form::Whole(one), Form::Float(other)) => beside(one, other),
        (Form::Float(one), Form::Whole(other)) => beside(other, one).map(Ordering::reverse),
    }
}

/// The order of an integer and a float.
fn beside(whole: i128, float: f64) -> Option<Ordering> {
    if float.abs() >= FAR {
        return 0.0.partial_cmp(&float);
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "it is in the range, and what is cut off is compared after it"
    )]
    let cut = float.trunc() as i128;
    Some(whole.cmp(&cut).then(0.0.partial_cmp(&float.fract())?))
}

/// Whether two values are the same to `enum` and `const`: 1 is 1.0, and members have no order.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => order(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| equal(value, other)))
        }
        (Value::String(one), Value::String(other)) => one == other,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Null, Value::Null) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_what_they_are_to_the_last_digit() {
        let two_53 = 9_007_199_254_740_992_i64;
        for (one, other, wanted) in [
            (json!(1), json!(1.0), Ordering::Equal),
            (json!(-0.0), json!(0), Ordering::Equal),
            (json!(1), json!(1.5), Ordering::Less),
            (json!(-1), json!(-1.5), Ordering::Greater),
            (json!(0), json!(-0.5), Ordering::Greater),
            (json!(two_53 + 1), json!(9_007_199_254_740_992.0), Ordering::Greater),
            (json!(u64::MAX), json!(18_446_744_073_709_551_616.0), Ordering::Less),
            (json!(i64::MIN), json!(-9_223_372_036_854_775_808.0), Ordering::Equal),
            (json!(i64::MIN), json!(u64::MAX), Ordering::Less),
            (json!(u64::MAX), json!(1e300), Ordering::Less),
            (json!(i64::MIN), json!(-1e300), Ordering::Greater),
        ] {
            let (Value::Number(one), Value::Number(other)) = (one, other) else { panic!("numbers") };
            assert_eq!(order(&one, &other), Some(wanted), "{one} {other}");
            assert_eq!(order(&other, &one), Some(wanted.reverse()), "{other} {one}");
        }
    }
}
