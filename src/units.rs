//! Durations, sizes, rates and bytes as people write them: `250ms`, `30s`, `64KiB`, `120/m`, `ff00`.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Splits `30s` into 30 and `s`; digits only, no sign, no fraction.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text.get(..digits)?.parse().ok()?;
    Some((number, text.get(digits..)?))
}

/// Bytes in hexadecimal, in lower case.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    push_hex(bytes, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends bytes in hexadecimal, in lower case.
pub fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend_from_slice(&hex_digits(*byte));
    }
}

/// One byte as two small hexadecimal digits.
#[must_use]
pub const fn hex_digits(byte: u8) -> [u8; 2] {
    const fn digit(half: u8) -> u8 {
        if half < 10 { b'0' + half } else { b'a' + half - 10 }
    }
    [digit(byte >> 4), digit(byte & 15)]
}

/// A length of time in whole milliseconds.
#[must_use]
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A moment as `2026-11-21T13:40:01Z`, in whole seconds of UTC (RFC 3339); what was before 1970 is the beginning of that.
#[must_use]
pub fn utc(moment: SystemTime) -> String {
    let mut out = Vec::with_capacity(20);
    push_seconds(moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(), &mut out);
    out.push(b'Z');
    String::from_utf8(out).unwrap_or_default()
}

/// Appends a moment as `2026-11-21T13:40:01.482093Z`.
pub fn push_utc_micros(moment: SystemTime, out: &mut Vec<u8>) {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    push_seconds(since.as_secs(), out);
    out.push(b'.');
    push_digits::<6>(u64::from(since.subsec_micros()), out);
    out.push(b'Z');
}

/// Appends seconds of Unix time, without a zone.
fn push_seconds(seconds: u64, out: &mut Vec<u8>) {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // The civil date, in years that begin on the first of March (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    push_digits::<4>(year, out);
    for (mark, number) in
        [(b'-', month), (b'-', day), (b'T', of_day / 3600), (b':', of_day / 60 % 60), (b':', of_day % 60)]
    {
        out.push(mark);
        push_digits::<2>(number, out);
    }
}

/// Appends the last `N` digits of a number.
fn push_digits<const N: usize>(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Reads bytes in hexadecimal.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// A length of time: a whole number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// From whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads `250ms`, `30s`, `5m`, `1h`, `2d`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let seconds = |per: u64| number.checked_mul(per).map(Duration::from_secs);
        let duration = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(3600),
            "d" => seconds(86400),
            _ => None,
        }?;
        // A year is longer than any of our periods; timers stay far from overflow.
        (duration <= Duration::from_secs(366 * 86400)).then_some(Self(duration))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(86_400_000) => write!(f, "{}d", ms / 86_400_000),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1000) => write!(f, "{}s", ms / 1000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

/// A number of bytes: a whole number with `B`, `KiB`, `MiB` or `GiB` (powers of 1024).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

impl Size {
    /// From kibibytes.
    #[must_use]
    pub const fn kib(n: usize) -> Self {
        Self(n * 1024)
    }

    /// From mebibytes.
    #[must_use]
    pub const fn mib(n: usize) -> Self {
        Self(n * 1024 * 1024)
    }

    /// Reads `512B`, `64KiB`, `4MiB`, `1GiB`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let factor: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        let bytes = number.checked_mul(factor)?;
        usize::try_from(bytes).ok().map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0B"),
            n if n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

/// How often: a whole number of times in a second, minute, hour or day.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many times.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl Rate {
    /// Reads `10/s`, `120/m`, `1000/h`, `5000/d`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let per = match unit {
            "/s" => 1,
            "/m" => 60,
            "/h" => 3600,
            "/d" => 86400,
            _ => return None,
        };
        Some(Self { count: u32::try_from(number).ok()?, per: Duration::from_secs(per) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            3600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

macro_rules! unit {
    ($type:ty, $name:literal, $about:literal, $expected:literal, $pattern:literal, $example:literal) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom($expected))
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $about, "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

unit!(
    Period,
    "Duration",
    "A whole number with `ms`, `s`, `m`, `h` or `d`, such as `250ms`, `30s` or `5m`.",
    "expected a duration such as `250ms`, `30s`, `5m` or `1h`",
    r"^([0-9]+(ms|s|m|h|d)|.*\$\{.*)$",
    "30s"
);
unit!(
    Size,
    "Size",
    "A whole number with `B`, `KiB`, `MiB` or `GiB`, such as `64KiB` or `4MiB`.",
    "expected a size such as `512B`, `64KiB`, `4MiB` or `1GiB`",
    r"^([0-9]+(B|KiB|MiB|GiB)|.*\$\{.*)$",
    "64KiB"
);
unit!(
    Rate,
    "Rate",
    "A whole number of times in a second, minute, hour or day: `10/s`, `120/m`, `1000/h`, `5000/d`.",
    "expected a rate such as `10/s`, `120/m` or `1000/h`",
    r"^([0-9]+/(s|m|h|d)|.*\$\{.*)$",
    "120/m"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc_over_leap_days_and_centuries() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), wanted);
        }
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn durations_read_and_print_the_same() {
        for text in ["250ms", "30s", "5m", "1h", "2d", "0s"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 s", "5S", "99999999999999999999s", "400d"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    #[test]
    fn rates_read_and_print_the_same() {
        for text in ["10/s", "120/m", "1000/h", "5000/d"] {
            assert_eq!(Rate::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "120", "/m", "120m", "120/min", "1.5/s", "-1/s", "5000000000/s", "10 / s"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_read_and_print_the_same() {
        for text in ["512B", "64KiB", "4MiB", "1GiB"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "64", "64KB", "64kib", "99999999999999999GiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
