//! What all our HTTP clients have in common, whatever they ask: no redirects, no system proxy, how long they are asked to wait, and errors
//! in one line.

pub mod tls;

use std::error::Error;
use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;

/// Our name.
pub const USER_AGENT: &str = concat!("sidegate/", env!("CARGO_PKG_VERSION"));

/// A client that names us, goes where it is sent and nowhere else.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().user_agent(USER_AGENT).redirect(Policy::none()).no_proxy()
}

/// The error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// [`chain`] without the URL, which may hold a key in its query.
#[must_use]
pub fn reason(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date, which is read by the server's own clock if it tells it.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    /// Nobody waits for longer than that.
    const YEAR: Duration = Duration::from_secs(366 * 86400);
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let date = |text| httpdate::parse_http_date(text).ok();
    let written = text(RETRY_AFTER)?;
    let after = if !written.is_empty() && written.bytes().all(|b| b.is_ascii_digit()) {
        written.parse().map_or(YEAR, Duration::from_secs)
    } else {
        let from = text(DATE).and_then(date).unwrap_or(now);
        date(written)?.duration_since(from).unwrap_or_default()
    };
    Some(after.min(YEAR))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn read(after: &str, date: Option<&str>) -> Option<u64> {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(after.as_bytes()).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        retry_after(&headers, now).map(|d| d.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_clock_of_the_server() {
        assert_eq!(read("120", None), Some(120));
        assert_eq!(read(" 0 ", None), Some(0));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT", None), Some(30));
        assert_eq!(read("Sunday, 06-Nov-94 08:50:07 GMT", None), Some(30));
        assert_eq!(read("Sun Nov  6 08:50:07 1994", None), Some(30));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT", Some("Sun, 06 Nov 1994 08:50:00 GMT")), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT", Some("yesterday")), Some(30));
    }

    #[test]
    fn retry_after_of_the_past_is_now_and_one_beyond_all_time_is_a_year() {
        assert_eq!(read("Sat, 06 Nov 1993 08:50:07 GMT", None), Some(0));
        let year = Some(366 * 86400);
        assert_eq!(read("18446744073709551615", None), year);
        assert_eq!(read("99999999999999999999999999", None), year);
        assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT", None), year);
    }

    #[test]
    fn what_is_no_retry_after_says_nothing() {
        for text in ["", "soon", "-1", "1.5", "+5", "0x10", "12:00", "\u{e9}"] {
            assert_eq!(read(text, None), None, "{text}");
        }
    }
}
