//! Where a request stands in a trace, in the words of the W3C's Trace Context (level 2): read strictly from what a client sends, written
//! for what is asked behind us. What is not of its form is ignored, and another trace begins.

use std::fmt;

/// Requests of a trace whose spans are recorded (section 3.2.2.5.1).
const SAMPLED: u8 = 1;
/// The flags that mean something today: sampled, and that the id is random.
const KNOWN: u8 = 3;
/// Members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// Bytes of one that are passed on; the specification asks for 512.
const MAX_STATE: usize = 2048;

/// The id of a trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub(super) u128);

/// The id of a span; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub(super) u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A span of a trace, as others name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    pub(super) flags: u8,
}

impl Point {
    /// Reads a `traceparent`. Of a version to come what this one has is read (section 3.2.4).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace, span, flags) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        if version == 0xff || version == 0 && parts.next().is_some() || trace == 0 || span == 0 {
            return None;
        }
        let flags = u8::try_from(flags).ok()? & KNOWN;
        Some(Self { trace: TraceId(trace), span: SpanId(u64::try_from(span).ok()?), flags })
    }

    /// The first span of a trace of its own.
    pub(super) fn root(sampled: impl FnOnce(TraceId) -> bool) -> Self {
        let trace = TraceId(fastrand::u128(1..));
        let flags = if sampled(trace) { SAMPLED } else { 0 };
        Self { trace, span: SpanId(fastrand::u64(1..)), flags }
    }

    /// Another span of the same trace.
    pub(super) fn next(self) -> Self {
        Self { span: SpanId(fastrand::u64(1..)), ..self }
    }

    /// Whether its spans are recorded.
    #[must_use]
    pub const fn sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// As a `traceparent` of version 00.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// Digits in lower case, and as many as wanted.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let sound = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(text, 16).ok().filter(|_| sound)
}

/// What a client says of the span that its request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The span.
    pub at: Point,
    /// What others on the way want to hear again: a `tracestate`.
    pub state: Option<String>,
}

impl Remote {
    /// Reads both headers, or what stands for them. A bad `tracestate` leaves the other as it is (section 3.3.1).
    #[must_use]
    pub fn read(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let at = Point::parse(traceparent)?;
        Some(Self { at, state: tracestate.and_then(state) })
    }
}

/// A `tracestate`, checked, without blanks and empty members.
fn state(text: &str) -> Option<String> {
    if text.len() > MAX_STATE {
        return None;
    }
    let members: Vec<&str> =
        text.split(',').map(|m| m.trim_matches([' ', '\t'])).filter(|m| !m.is_empty()).collect();
    let mut keys = Vec::with_capacity(members.len());
    for member in &members {
        let (key, value) = member.split_once('=')?;
        if !is_key(key) || !is_value(value) || keys.contains(&key) {
            return None;
        }
        keys.push(key);
    }
    (1..=MAX_MEMBERS).contains(&members.len()).then(|| members.join(","))
}

/// Section 3.3.1.3.1.
fn is_key(key: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    key.len() <= 256
        && key.bytes().next().is_some_and(first)
        && key.bytes().all(|b| first(b) || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@'))
}

/// Section 3.3.1.3.2.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b',' && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_it_was() {
        let point = Point::parse(GOOD).unwrap();
        assert_eq!((point.to_string().as_str(), point.sampled()), (GOOD, true));
        assert_eq!(point.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!Point::parse(&GOOD.replace("-01", "-00")).unwrap().sampled());
        // Flags that nobody knows yet are not passed on; the random one is.
        assert_eq!(
            Point::parse(&GOOD.replace("-01", "-ff")).unwrap().to_string(),
            GOOD.replace("-01", "-03")
        );
        // A later version is read as far as it is known, and written as this one.
        for later in [GOOD.replacen("00", "01", 1), format!("{}-what-comes", GOOD.replacen("00", "cc", 1))] {
            assert_eq!(Point::parse(&later).unwrap().to_string(), GOOD, "{later}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for bad in [
            "",
            "00",
            "-",
            "garbage",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "000-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        ] {
            assert_eq!(Point::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tracestate_is_passed_on_whole_or_not_at_all() {
        let read = |text: &str| Remote::read(GOOD, Some(text)).unwrap().state;
        for (text, wanted) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")),
            (" a=1 ,\tb@c=2,,", Some("a=1,b@c=2")),
            ("", None),
            (",", None),
            ("a", None),
            ("A=1", None),
            ("a=1,a=2", None),
            ("a=1=2", None),
            ("a=", None),
            ("a=\u{e9}", None),
            ("a=b\u{1b}", None),
            ("_a=1", None),
        ] {
            assert_eq!(read(text).as_deref(), wanted, "{text:?}");
        }
        let many = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        assert_eq!((read(&many(32)), read(&many(33))), (Some(many(32)), None));
        assert_eq!(read(&format!("a={}", "x".repeat(257))), None);
        assert_eq!(read(&format!("{},", "a=1,".repeat(1000))), None);
    }

    #[test]
    fn a_trace_of_our_own_has_ids_of_its_own() {
        let (one, other) = (Point::root(|_| true), Point::root(|_| false));
        assert!(one.sampled() && !other.sampled() && one.trace != other.trace);
        let next = one.next();
        assert!(next.trace == one.trace && next.span != one.span && next.sampled());
        assert_eq!(Point::parse(&next.to_string()), Some(next));
    }
}
