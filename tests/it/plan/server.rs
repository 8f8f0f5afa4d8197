//! Changes of a server's own settings: where it is reached, by whom, and what it says of itself.

use rcgen::{CertificateParams, KeyPair};
use sidegate::review::Effect;

use super::{compared, compared_with, says_only};
use Effect::{Breaking, Compatible, Invisible, Loosening};

const TOOL: &str = "tools: { a: { description: A., static: { text: a } } }\n";

fn with_auth(auth: &str) -> String {
    format!("auth: {{ {auth} }}\n{TOOL}")
}

#[test]
fn another_key_under_the_same_name_turns_one_holder_away_and_lets_another_in() {
    let of = |key: &str, more: &str| with_auth(&format!("api_keys: [{{ name: ci, key: {key}, {more} }}]"));
    let (one, two) = ("aaaaaaaaaaaaaaaa-1", "aaaaaaaaaaaaaaaa-2");
    let another = [
        (Breaking, "the key `ci` is another one: the one before no longer counts"),
        (Loosening, "the key `ci` is another one: who holds it may call now"),
    ];
    says_only(&compared(&of(one, "scopes: [r]"), &of(two, "scopes: [r]")), &another);
    let scope = (Loosening, "the key `ci` has the scopes `w` now");
    let both = compared(&of(one, "scopes: [r]"), &of(two, "scopes: [r, w]"));
    says_only(&both, &[another[0], another[1], scope]);
    says_only(&compared(&of(one, "scopes: [r]"), &of(one, "scopes: [r, w]")), &[scope]);
    says_only(
        &compared(&of(one, "claims: { tenant: a }"), &of(one, "claims: { tenant: b }")),
        &[
            (Breaking, "what the key `ci` says of its holder changed"),
            (Loosening, "what the key `ci` says of its holder changed"),
        ],
    );
    let keys = |names: [&str; 2]| {
        let keys = names.map(|name| format!("{{ name: {name}, key: {name}-0123456789012345 }}"));
        with_auth(&format!("api_keys: [{}]", keys.join(", ")))
    };
    says_only(
        &compared(&keys(["x", "y"]), &keys(["y", "x"])),
        &[(Invisible, "keys or issuers come in another order")],
    );
}

/// A certificate and its key.
fn pair(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[test]
fn a_certificate_known_by_something_else_is_another_one() {
    let ca = pair("ca.example").0;
    let (cert, key) = pair("localhost");
    let files = [("s.crt", cert.as_str()), ("s.key", &key), ("ca.pem", &ca)];
    let of = |by: &str| {
        format!(
            "server: {{ http: {{ tls: {{ cert: s.crt, key: s.key, client_ca: ca.pem }} }} }}\n\
             auth: {{ client_certificates: [{{ name: billing, {by} }}] }}\n{TOOL}"
        )
    };
    let digest = |digit: &str| format!("sha256: '{}'", digit.repeat(64));
    for (old, new) in [
        ("san: billing.example".to_owned(), "san: other.example".to_owned()),
        ("san: billing.example".to_owned(), "subject: billing.example".to_owned()),
        (digest("a"), digest("b")),
    ] {
        says_only(
            &compared_with(&of(&old), &files, &of(&new), &files),
            &[
                (Breaking, "the certificate `billing` is another one"),
                (Loosening, "the certificate `billing` is another one"),
            ],
        );
    }
}

#[test]
fn other_keys_of_an_issuer_are_told_also_under_their_old_names() {
    let keys = std::fs::read_to_string("tests/config/keys.json").unwrap();
    let other = keys.replace("\"v50Sn1", "\"w50Sn1");
    assert_ne!(keys, other);
    let of =
        |more: &str| with_auth(&format!("jwt: [{{ issuer: 'https://id.example', audience: a, {more} }}]"));
    let file = of("jwks_file: keys.json");
    says_only(
        &compared_with(&file, &[("keys.json", &keys)], &file, &[("keys.json", &other)]),
        &[
            (Breaking, "the keys of the issuer `https://id.example` changed"),
            (Loosening, "the keys of the issuer `https://id.example` changed"),
        ],
    );
    let (one, two) = (pair("one.example").0, pair("two.example").0);
    let trusting = of("tls: { ca: ca.pem }");
    says_only(
        &compared_with(&trusting, &[("ca.pem", &one)], &trusting, &[("ca.pem", &two)]),
        &[
            (Breaking, "whom it trusts where it fetches the keys of the issuer"),
            (Loosening, "whom it trusts where it fetches the keys of the issuer"),
        ],
    );
    says_only(
        &compared(&of("name_claim: name"), &of("name_claim: email")),
        &[(Breaking, "`name_claim` of the issuer `https://id.example` changed")],
    );
}

#[test]
fn what_changes_in_tls_is_told_as_what_it_does_to_clients() {
    let ((cert, key), (cert_2, key_2)) = (pair("localhost"), pair("localhost"));
    let (ca, ca_2) = (pair("ca.example").0, pair("ca2.example").0);
    let again = format!("{key}\n");
    let both = format!("{ca}{ca_2}");
    let files = |cert, key, ca| [("s.crt", cert), ("s.key", key), ("ca.pem", ca)];
    let first: [(&str, &str); 3] = files(cert.as_str(), key.as_str(), ca.as_str());
    let plain = format!("auth: none\n{TOOL}");
    let of = |more: &str| {
        format!("server: {{ http: {{ tls: {{ cert: s.crt, key: s.key{more} }} }} }}\nauth: none\n{TOOL}")
    };
    let (tls, asked, required) =
        (of(""), of(", client_ca: ca.pem"), of(", client_ca: ca.pem, clients: required"));
    for (old, old_files, new, files, wanted) in [
        (&plain, first, &tls, first, &[(Breaking, "it speaks `https` now")][..]),
        (
            &tls,
            first,
            &plain,
            first,
            &[(Breaking, "it no longer speaks `https`"), (Loosening, "open to read on its way")],
        ),
        (&asked, first, &required, first, &[(Breaking, "clients have to show a certificate now")]),
        (&required, first, &asked, first, &[(Loosening, "clients no longer have to show a certificate")]),
        (
            &required,
            first,
            &required,
            files(&cert, &key, &ca_2),
            &[(Breaking, "no longer are believed"), (Loosening, "are believed now")],
        ),
        (&required, first, &required, files(&cert, &key, &both), &[(Loosening, "are believed now")]),
        (&required, files(&cert, &key, &both), &required, first, &[(Breaking, "no longer are believed")]),
        (&tls, first, &tls, files(&cert_2, &key_2, &ca), &[(Compatible, "it shows another certificate")]),
        // What stands beside the key in its file says nothing.
        (&tls, first, &tls, files(&cert, &again, &ca), &[]),
    ] {
        says_only(&compared_with(old, &old_files, new, &files), wanted);
    }
}

#[test]
fn every_setting_has_an_effect_of_its_own() {
    let keys = "auth: { api_keys: [{ name: ci, key: aaaaaaaaaaaaaaaa-1, scopes: [s] }] }\n";
    let of = |server: &str| format!("server: {{ {server} }}\n{keys}{TOOL}");
    for (old, new, there, back) in [
        (
            "admin: { scopes: [s] }",
            "admin: {}",
            &[(Loosening, "who reads its status no longer needs the scopes `s`")][..],
            &[(Breaking, "who reads its status needs the scopes `s` now")][..],
        ),
        (
            "admin: { resource: true }",
            "admin: {}",
            &[(Breaking, "its status is no longer a resource")],
            &[(Compatible, "its status is a resource, too")],
        ),
        (
            "admin: { listen: '127.0.0.1:9' }",
            "admin: { listen: '0.0.0.0:9' }",
            &[
                (Breaking, "those who run it ask at `0.0.0.0:9` instead of `127.0.0.1:9`"),
                (Loosening, "other machines can ask"),
            ],
            &[(Breaking, "those who run it ask at `127.0.0.1:9` instead of")],
        ),
        (
            "telemetry: { metrics: /m }",
            "",
            &[(Breaking, "its metrics can no longer be read at `/m`")],
            &[(Loosening, "its metrics can be read at `/m`")],
        ),
        (
            "telemetry: { metrics: /m }",
            "telemetry: { metrics: /n }",
            &[(Breaking, "its metrics are at `/n` instead of `/m`")],
            &[(Breaking, "its metrics are at `/m` instead of `/n`")],
        ),
        (
            "lists: { frozen: true }",
            "",
            &[(Breaking, "its list of tools names all of them")],
            &[(Compatible, "its list of tools holds two that reach the others")],
        ),
        (
            "http: { max_body: 2MiB }",
            "http: { max_body: 1MiB }",
            &[(Breaking, "`max_body`")],
            &[(Compatible, "`max_body`")],
        ),
        (
            "lists: { ttl: 1s }",
            "lists: { ttl: 2s }",
            &[(Compatible, "`list_ttl`")],
            &[(Compatible, "`list_ttl`")],
        ),
        (
            "lists: { page: 1 }",
            "lists: { page: 2 }",
            &[(Compatible, "`list_page`")],
            &[(Compatible, "`list_page`")],
        ),
        ("name: a", "name: b", &[(Compatible, "`name` from `a` to `b`")], &[(Compatible, "`name`")]),
        ("http: { drain: 1s }", "http: { drain: 2s }", &[(Invisible, "`drain`")], &[(Invisible, "`drain`")]),
        (
            "log: { level: info }",
            "log: { level: debug }",
            &[(Invisible, "`log.level`")],
            &[(Invisible, "`log.level`")],
        ),
    ] {
        says_only(&compared(&of(old), &of(new)), there);
        says_only(&compared(&of(new), &of(old)), back);
    }
}
