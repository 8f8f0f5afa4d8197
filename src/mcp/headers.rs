//! The headers that a modern HTTP request repeats from its body (MCP 2026-07-28, transports/streamable-http): they must be there,
//! once, and equal.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::{MODERN, RpcError};
use crate::plan::HeaderParam;

/// A header is given more than once, or is not visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Header look-up, so that this room knows no HTTP library.
pub trait Headers: Sync {
    /// The value of a header (its name in lower case), without surrounding blanks.
    ///
    /// # Errors
    /// [`Malformed`].
    fn one(&self, name: &str) -> Result<Option<&str>, Malformed>;

    /// All values of a header that is a list, joined by commas; `None` if there is none, or one is not visible ASCII.
    fn list(&self, name: &str) -> Option<String>;
}

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const OTHER_VERSION: &str = "`MCP-Protocol-Version` differs from the body's protocol version";
const OTHER_METHOD: &str = "`Mcp-Method` differs from the body's method";

/// A header that may be absent.
fn given<'a>(headers: &'a dyn Headers, name: &str) -> Result<Option<&'a str>, RpcError> {
    headers.one(name).map_err(|Malformed| {
        RpcError::header_mismatch(format!("the header `{name}` is given twice or is malformed"))
    })
}

fn required<'a>(headers: &'a dyn Headers, name: &str) -> Result<&'a str, RpcError> {
    let missing = || RpcError::header_mismatch(format!("the header `{name}` is missing"));
    given(headers, name)?.ok_or_else(missing)
}

/// Checks the headers of a notification, as far as there are any: which ones it needs is not defined (2026-07-28,
/// transports/streamable-http), and clients in use send it without `Mcp-Method`. Gives the version that they say.
///
/// # Errors
/// -32020 on the first that is malformed or different.
pub(super) fn check_notification<'a>(
    headers: &'a dyn Headers,
    version: Option<&str>,
    method: &str,
) -> Result<Option<&'a str>, RpcError> {
    let said = given(headers, VERSION)?;
    if said.is_some_and(|said| version.is_some_and(|version| said != version)) {
        return Err(RpcError::header_mismatch(OTHER_VERSION));
    }
    // Of a version that is not spoken nothing else is known.
    if said.is_none_or(|said| said == MODERN) && given(headers, METHOD)?.is_some_and(|said| said != method) {
        return Err(RpcError::header_mismatch(OTHER_METHOD));
    }
    Ok(said)
}

/// `=?base64?…?=` decoded; anything without both marks is itself. `None` if the marked part is not strict base64.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix("=?base64?").and_then(|v| v.strip_suffix("?=")) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Checks version, method and name headers against the body.
///
/// # Errors
/// -32020 on the first that is absent, malformed or different.
pub(super) fn check(
    headers: &dyn Headers,
    version: &str,
    method: &str,
    name: Option<&str>,
) -> Result<(), RpcError> {
    if required(headers, VERSION)? != version {
        return Err(RpcError::header_mismatch(OTHER_VERSION));
    }
    if required(headers, METHOD)? != method {
        return Err(RpcError::header_mismatch(OTHER_METHOD));
    }
    if let Some(name) = name {
        let value = required(headers, "mcp-name")?;
        match decoded(value) {
            Some(value) if value == name => {}
            Some(_) => return Err(RpcError::header_mismatch("`Mcp-Name` differs from the body")),
            None => return Err(RpcError::header_mismatch("`Mcp-Name` is not valid base64")),
        }
    }
    Ok(())
}

/// Checks the `Mcp-Param-…` headers of a tool against the arguments.
///
/// # Errors
/// -32020 on the first that is absent while its argument is given, given while that is absent or null, malformed or
/// different; and if the arguments cannot be read, as nothing can be compared with them then.
pub(super) fn check_params(
    headers: &dyn Headers,
    params: &[HeaderParam],
    arguments: Option<&RawValue>,
) -> Result<(), RpcError> {
    if params.is_empty() {
        return Ok(());
    }
    let arguments: Value = match arguments.map(|a| serde_json::from_str(a.get())) {
        None => Value::Null,
        Some(Ok(arguments)) => arguments,
        Some(Err(_)) => return Err(RpcError::header_mismatch("the arguments cannot be read to be compared")),
    };
    for param in params {
        let value = param.path.iter().try_fold(&arguments, |v, key| v.get(key)).filter(|v| !v.is_null());
        let Some(value) = value else {
            // Whoever routes by the header would go by a value that the call does not have.
            if headers.one(&param.header) == Ok(None) {
                continue;
            }
            let message = format!("`{}` is given without its argument", param.header);
            return Err(RpcError::header_mismatch(message));
        };
        let header = required(headers, &param.header)?;
        let header = decoded(header)
            .ok_or_else(|| RpcError::header_mismatch(format!("`{}` is not valid base64", param.header)))?;
        let equal = match value {
            Value::String(text) => *text == header,
            Value::Bool(b) => header == b.to_string(),
            Value::Number(n) => same_number(&header, n),
            _ => false,
        };
        if !equal {
            return Err(RpcError::header_mismatch(format!("`{}` differs from the argument", param.header)));
        }
    }
    Ok(())
}

/// Equal as numbers: `42.0` is 42. Whole ones are compared to the last digit, however they are written, since a float has
/// not all of them; others as the floats that a tool is given.
fn same_number(text: &str, number: &Number) -> bool {
    let Ok(sent) = text.parse::<Number>() else { return false };
    match number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)) {
        Some(whole) => self::whole(text) == Some(whole),
        None => sent.as_f64() == number.as_f64(),
    }
}

/// The whole number that a JSON number is, if it is one: `42`, `42.0`, `4.2e1`.
fn whole(text: &str) -> Option<i128> {
    let (digits, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let after = after.trim_end_matches('0');
    let mantissa: i128 = format!("{before}{after}").parse().ok()?;
    let power = power.parse::<i32>().ok()?.checked_sub(i32::try_from(after.len()).ok()?)?;
    let scale = 10_i128.checked_pow(power.unsigned_abs());
    match scale {
        _ if mantissa == 0 => Some(0),
        Some(scale) if power >= 0 => mantissa.checked_mul(scale),
        Some(scale) if mantissa % scale == 0 => Some(mantissa / scale),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_names_are_strict_and_need_both_marks() {
        assert_eq!(decoded("=?base64?SGVsbG8=?=").as_deref(), Some("Hello"));
        assert_eq!(decoded("=?base64?SGVsbG8?="), None);
        assert_eq!(decoded("=?base64?SGVs!!!bG8=?="), None);
        assert_eq!(decoded("=?base64?SGVsbG8=").as_deref(), Some("=?base64?SGVsbG8="));
        assert_eq!(decoded("plain").as_deref(), Some("plain"));
    }

    impl Headers for Vec<(&str, &str)> {
        fn one(&self, name: &str) -> Result<Option<&str>, Malformed> {
            Ok(self.iter().find(|(n, _)| *n == name).map(|(_, value)| *value))
        }

        fn list(&self, name: &str) -> Option<String> {
            self.one(name).ok().flatten().map(str::to_owned)
        }
    }

    #[test]
    fn a_header_is_there_exactly_when_its_argument_is() {
        let param = HeaderParam { path: vec!["region".to_owned()], header: "mcp-param-region".to_owned() };
        let eu = vec![("mcp-param-region", "eu")];
        for (sent, arguments, passes) in [
            (&eu, Some(r#"{"region":"eu"}"#), true),
            (&Vec::new(), Some(r#"{"region":"eu"}"#), false),
            (&Vec::new(), Some(r#"{"region":null}"#), true),
            (&Vec::new(), Some("{}"), true),
            (&Vec::new(), None, true),
            (&eu, Some(r#"{"region":null}"#), false),
            (&eu, Some("{}"), false),
            (&eu, None, false),
        ] {
            let raw = arguments.map(|a| RawValue::from_string(a.to_owned()).unwrap());
            let checked = check_params(sent, std::slice::from_ref(&param), raw.as_deref());
            assert_eq!(checked.is_ok(), passes, "{sent:?} with {arguments:?}");
        }
    }

    #[test]
    fn whole_numbers_are_compared_to_the_last_digit_however_they_are_written() {
        let same = |text: &str, number: &str| same_number(text, &number.parse().unwrap());
        for (text, number) in [
            ("42", "42"),
            ("42.0", "42"),
            ("4.2e1", "42"),
            ("4200E-2", "42"),
            ("-0.0", "0"),
            ("42", "42.0"),
            ("9007199254740993.0", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("0.1", "0.1"),
        ] {
            assert!(same(text, number), "{text} is {number}");
        }
        for (text, number) in [
            ("9007199254740992.0", "9007199254740993"),
            ("9007199254740992", "9007199254740993"),
            ("9.007199254740992e15", "9007199254740993"),
            ("42.00000000000000000001", "42"),
            ("1e400", "1"),
            ("1e-2147483648", "1"),
            ("inf", "1"),
            ("+42", "42"),
            ("042", "42"),
            ("4 2", "42"),
            ("", "0"),
        ] {
            assert!(!same(text, number), "{text} is not {number}");
        }
    }
}
