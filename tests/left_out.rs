//! Not a test: says at the end of a plain `cargo test` what that leaves out, so that nobody takes it for the whole suite.

fn main() {
    let engine = if std::env::var_os("TEST_POSTGRES_URL").is_some() { "" } else { "what needs PostgreSQL, " };
    let line = format!(
        "left out by cargo test: {engine}the official MCP clients (tests/clients) and the conformance suite \
         (tests/conformance); ./tests/run.sh runs everything"
    );
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("\n{line}\n\n").as_bytes());
}
