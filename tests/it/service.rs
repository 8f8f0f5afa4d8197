//! As a service of systemd: the manager hears when it is ready, reloads and stops; and what `deploy/` has for systemd, compose and
//! Kubernetes holds configurations that are right.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixDatagram;

use crate::support::process::Process;

async fn heard(socket: &UnixDatagram) -> String {
    let mut message = [0; 1024];
    let length = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut message)).await;
    let length = length.expect("nothing was said").unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn systemd_hears_when_it_is_ready_reloads_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let file = folder.path().join("gateway.yaml");
    let text = |word: &str| format!("tools: {{ hello: {{ description: H., static: {{ text: {word} }} }} }}");
    std::fs::write(&file, text("hello")).unwrap();
    let environment: [(&str, &OsStr); 1] = [("NOTIFY_SOCKET", path.as_os_str())];
    let mut process = Process::start_with(folder.path(), &["serve", "--listen", "127.0.0.1:0"], &environment);
    let line = process.line().await.unwrap_or_else(|| panic!("{}", process.log()));
    assert_eq!(heard(&socket).await, format!("READY=1\nSTATUS={line}"));
    let place = line.split(" (").next().unwrap();
    assert!(place.contains("http://127.0.0.1:"), "{line}");
    // Each look begins with the time and ends with being ready, also one that changes nothing and one that is refused.
    for (what, said) in [
        (None, "generation 1"),
        (Some(text("bye")), "generation 2"),
        (Some("tools: 5".to_owned()), "refused"),
    ] {
        match what {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => process.signal("HUP"),
        }
        let begins = heard(&socket).await;
        let time = begins.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{begins}"));
        assert!(time.parse::<u64>().unwrap() > 0);
        let ready = heard(&socket).await;
        let state = ready.strip_prefix(&format!("READY=1\nSTATUS={place}, generation "));
        assert!(state.is_some() && ready.contains(said), "{ready}");
    }
    process.signal("TERM");
    assert!(heard(&socket).await.starts_with("STOPPING=1\n"));
    assert_eq!(process.end(crate::support::LATE).await.code(), Some(0));
}

fn deploy() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// What stands under `gateway.yaml: |` in a manifest, without its indentation.
fn embedded(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = manifest.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(at) = line.find("gateway.yaml: |") else { continue };
        let mut text = String::new();
        while let Some(line) = lines.next_if(|l| l.trim().is_empty() || l.len() - l.trim_start().len() > at) {
            text += line.get(at + 2..).unwrap_or_default();
            text.push('\n');
        }
        found.push(text);
    }
    found
}

#[test]
fn the_configurations_that_are_deployed_are_right() {
    let mut checked = 0;
    for file in ["kubernetes/standalone.yaml", "kubernetes/sidecar.yaml"] {
        let manifest = std::fs::read_to_string(deploy().join(file)).unwrap();
        let texts = embedded(&manifest);
        assert_eq!(texts.len(), 1, "{file}");
        for text in texts {
            check(file, &text);
            checked += 1;
        }
    }
    check("compose", &std::fs::read_to_string(deploy().join("compose/gateway/gateway.yaml")).unwrap());
    assert_eq!(checked, 2);
}

/// Secrets of containers are files; here they are made of nothing.
fn check(what: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = text.to_owned();
    while let Some(at) = text.find("${file:/") {
        let end = at + text[at..].find('}').unwrap();
        let name = text[at..end].rsplit('/').next().unwrap().to_owned();
        // As long as an HS256 or an API key has to be.
        std::fs::write(folder.path().join(&name), "0123456789abcdef0123456789abcdef").unwrap();
        text.replace_range(at..end, &format!("${{file:{name}"));
    }
    let problems = crate::support::gateway::problems(folder.path(), &text);
    assert_eq!(problems, "", "{what}");
}
