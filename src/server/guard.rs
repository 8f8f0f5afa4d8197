//! Who may knock: `Host` and `Origin` are each checked on their own, before a body is read, so that a web page cannot reach a
//! server on its visitor's machine through a rebound name.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::{HeaderMap, StatusCode, Uri, header};

use crate::plan::ServerPlan;

/// The host part of `host[:port]`, in lower case.
fn host_name(authority: &str) -> Option<Cow<'_, str>> {
    let name = if authority.starts_with('[') {
        let end = authority.find(']')?;
        let rest = authority.get(end + 1..)?;
        (rest.is_empty() || port(rest)).then(|| authority.get(..=end))??
    } else {
        match authority.split_once(':') {
            None => authority,
            Some((name, rest)) => {
                (rest.is_empty() || rest.bytes().all(|b| b.is_ascii_digit())).then_some(name)?
            }
        }
    };
    // RFC 3986, section 3.2.2, without percent-encoding.
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=[]:".contains(&b);
    let lower = |name: &str| !name.bytes().any(|b| b.is_ascii_uppercase());
    (!name.is_empty() && name.bytes().all(sound)).then(|| match name {
        name if lower(name) => Cow::Borrowed(name),
        name => Cow::Owned(name.to_ascii_lowercase()),
    })
}

fn port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a name stands for this machine for everybody: `localhost`, and the addresses that no name server can give to another.
fn is_loopback(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        || name.starts_with("127.") && name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']')?.parse::<Ipv6Addr>().ok())
            .is_some_and(|ip| ip.is_loopback())
}

/// At most one `Host`, and the authority that the target may name (HTTP/2, absolute form): at least one of the two, and
/// all of them ours.
///
/// # Errors
/// A status and a sentence that says what is wrong: 400 for no host or a malformed one (RFC 9112, section 3.2), 403 for one that is
/// not ours.
pub(super) fn host(
    uri: &Uri,
    headers: &HeaderMap,
    plan: &ServerPlan,
) -> Result<(), (StatusCode, &'static str)> {
    const MALFORMED: (StatusCode, &str) =
        (StatusCode::BAD_REQUEST, "the Host header is missing, malformed, or given twice");
    const FOREIGN: (StatusCode, &str) = (
        StatusCode::FORBIDDEN,
        "this Host is not allowed; the person who runs the server can add it to `server.http.allowed_hosts`",
    );
    let mut given = headers.get_all(header::HOST).iter();
    let own = given.next().map(|one| one.to_str().map_err(|_| MALFORMED)).transpose()?;
    let named = uri.authority().map(hyper::http::uri::Authority::as_str);
    if given.next().is_some() || own.or(named).is_none() {
        return Err(MALFORMED);
    }
    for host in own.into_iter().chain(named) {
        let name = host_name(host).ok_or(MALFORMED)?;
        if !is_loopback(&name) && !plan.allowed_hosts.iter().any(|allowed| *allowed == name) {
            return Err(FOREIGN);
        }
    }
    Ok(())
}

/// Whether a request comes from this machine itself: from loopback, to a loopback name, and not by way of a proxy, as far as one says so.
#[must_use]
pub(super) fn is_local(peer: IpAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    // What those that pass requests on add, each in its own way.
    const PROXIES: [&str; 8] = [
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-ray",
        "x-envoy-external-address",
    ];
    let given = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let named = uri.authority().map(hyper::http::uri::Authority::as_str);
    let mut hosts = given.chain(named).peekable();
    peer.to_canonical().is_loopback()
        && hosts.peek().is_some()
        && hosts.all(|host| host_name(host).is_some_and(|name| is_loopback(&name)))
        && !headers
            .keys()
            .map(header::HeaderName::as_str)
            .any(|name| name.starts_with("x-forwarded-") || PROXIES.contains(&name))
}

/// No `Origin`, or one of ours.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn origin(headers: &HeaderMap, plan: &ServerPlan) -> Result<(), String> {
    for value in headers.get_all(header::ORIGIN) {
        let origin = value.to_str().unwrap_or_default().to_ascii_lowercase();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let local = authority.and_then(host_name).is_some_and(|name| is_loopback(&name));
        if !local && !plan.allowed_origins.contains(&origin) {
            return Err("this Origin is not allowed; the person who runs the server can add it to `server.http.allowed_origins`".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_is_loopback_to_a_loopback_name_without_a_proxy() {
        let local = |peer: &str, target: &str, headers: &[(&'static str, &'static str)]| {
            let pairs = headers
                .iter()
                .map(|(n, v)| (header::HeaderName::from_static(n), header::HeaderValue::from_static(v)));
            is_local(peer.parse().unwrap(), &target.parse().unwrap(), &pairs.collect())
        };
        assert!(local("127.0.0.1", "/status", &[("host", "localhost:1")]));
        assert!(local("::ffff:127.0.0.1", "/status", &[("host", "[::1]:1")]));
        assert!(local("::1", "http://localhost/status", &[]), "HTTP/2");
        assert!(local("127.0.0.2", "/status", &[("host", "127.0.0.2:1")]));
        assert!(!local("10.0.0.1", "/status", &[("host", "localhost")]));
        assert!(!local("127.0.0.1", "/status", &[]));
        assert!(!local("127.0.0.1", "/status", &[("host", "shop.example")]));
        assert!(!local("127.0.0.1", "http://shop.example/status", &[("host", "localhost")]));
        for proxy in
            ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "via", "cf-connecting-ip"]
        {
            assert!(!local("127.0.0.1", "/status", &[("host", "localhost"), (proxy, "x")]), "{proxy}");
        }
    }

    #[test]
    fn host_names_lose_their_port_and_case_and_nothing_else() {
        for (given, wanted) in [
            ("localhost:8080", Some("localhost")),
            ("LOCALHOST", Some("localhost")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("127.0.0.1.evil.example", Some("127.0.0.1.evil.example")),
            ("localhost:80@evil.example", None),
            ("localhost:80:90", None),
            ("[::1", None),
            ("", None),
            (":80", None),
        ] {
            assert_eq!(host_name(given).as_deref(), wanted, "{given}");
        }
    }
}
