//! Nothing of the environment gets into what is shown, and whatever is missing there, one can look.

use super::{folder, run, sidegate};

const CONFIG: &str = r#"
auth: { api_keys: [{ name: ci, argon2: "${HASH}" }] }
server:
  name: "${NAME:-shop}"
  http: { listen: "${LISTEN}", max_body: "${MOST}", allowed_origins: ["${ORIGIN}"] }
  log: { level: "${LEVEL}" }
  trusted_proxies: ["${NETWORK}"]
sources:
  api: { rest: { base_url: "https://${HOST}/x" } }
  db: { sql: { url: "${DB}", session: { app_user: caller.sub } } }
tools:
  a: { description: A., rest: { source: api, get: "/hooks/${HOOK}/${file:secret.txt}" } }
  b: { description: B., static: { file: "${FILE}" } }
"#;

const VALUES: [(&str, &str); 11] = [
    ("HASH", "hunter2-hash"),
    ("NAME", "hunter2-name"),
    ("LISTEN", "127.0.0.1:4711"),
    ("MOST", "2MiB"),
    ("ORIGIN", "https://hunter2.example"),
    ("LEVEL", "debug"),
    ("NETWORK", "10.0.0.0/8"),
    ("HOST", "hunter2.example"),
    ("DB", "mysql://u:hunter2@hunter2.example/x"),
    ("HOOK", "hunter2"),
    ("FILE", "b.md"),
];

#[test]
fn a_variable_that_is_set_is_not_shown_either() {
    let folder = folder(&[
        ("new/gateway.yaml", CONFIG),
        ("new/secret.txt", "hunter2-file"),
        ("new/b.md", "Words."),
        (
            "old/gateway.yaml",
            &CONFIG.replace("/hooks/", "/other/").replace("base_url: \"https", "base_url: \"http"),
        ),
        ("old/secret.txt", "hunter2-old"),
        ("old/b.md", "Words."),
        ("same/gateway.yaml", CONFIG),
        ("same/secret.txt", "hunter2-same"),
        ("same/b.md", "Words."),
    ]);
    let look = |arguments: &[&str]| {
        let output = sidegate(folder.path(), arguments).envs(VALUES).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for format in ["text", "json", "markdown"] {
        let (code, out, err) = look(&["plan", "-c", "new", "--format", format]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(!out.contains("hunter2") && out.contains("4711"), "{out}");
        let (code, out, err) = look(&["plan", "-c", "new", "--against", "old", "--format", format]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(!out.contains("hunter2") && out.contains("unset"), "{out}");
    }
    // Another value of the same secret is no change.
    let same = look(&["plan", "-c", "new", "--against", "same"]);
    assert_eq!(same, (Some(0), "no change against same\n".to_owned(), String::new()));
    // Whoever serves it takes what is there.
    let checked = look(&["check", "-c", "new"]);
    assert!(checked.0 == Some(2) && checked.1.contains("Argon2id"), "{checked:?}");
}

#[test]
fn a_hash_that_is_not_there_has_one_stand_in_and_a_missing_pair_is_explained() {
    let text = |keys: &str| {
        format!(
            "auth: {{ api_keys: [{keys}] }}\ntools: {{ a: {{ description: A., static: {{ text: a }} }} }}\n"
        )
    };
    let folder = folder(&[
        ("new.yaml", &text("{ name: a, argon2: \"${A}\" }, { name: b, argon2: \"${B}\" }")),
        ("old.yaml", &text("{ name: a, argon2: \"${A}\" }, { name: b, argon2: \"${C}\" }")),
        (
            "tls.yaml",
            "server: { http: { tls: { cert: no.crt, key: no.key } } }\ntools: { a: { description: A., static: { text: a } } }\n",
        ),
    ]);
    let root = folder.path();
    let same = run(root, &["plan", "-c", "new.yaml", "--against", "new.yaml"]);
    assert_eq!((same.0, same.1.as_str()), (0, "no change against new.yaml\n"), "{same:?}");
    assert!(same.2.contains("${A}, ${B}"), "{same:?}");
    let (code, out, _) = run(root, &["plan", "-c", "new.yaml", "--against", "old.yaml"]);
    assert!(code == 1 && out.contains("the key `b` is another one") && !out.contains("`a`"), "{out}");
    let (code, _, err) = run(root, &["plan", "-c", "tls.yaml"]);
    assert_eq!(code, 2);
    assert_eq!(err.matches("any certificate with its key does").count(), 2, "{err}");
}
