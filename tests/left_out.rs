//! Not a test: says at the end of a plain `cargo test` what that leaves out, so that nobody takes it for the whole suite.

fn main() {
    let engines = [
        ("TEST_POSTGRES_URL", "what needs PostgreSQL with pgvector, "),
        // Which comes with `TEST_MYSQL_URL`.
        ("TEST_MYSQL_ROOT_URL", "what needs MySQL or MariaDB, "),
        ("TEST_EMBEDDER_URL", "the real embedding model, "),
        ("TEST_POWERDNS_SERVER", "PowerDNS behind examples/powerdns.yaml, "),
    ];
    // A test that restarts an engine starts its own, with the scripts that have started the one beside it.
    let own = |name: &str| {
        let folder = std::env::var_os("TEST_ENGINES_DIR").map(std::path::PathBuf::from);
        folder.is_some_and(|folder| folder.join(name).exists())
    };
    let restarts = match (own("postgres.env"), own("mariadb.env")) {
        (true, true) => "",
        (true, false) => "the restarts of MariaDB, ",
        (false, true) => "the restarts of PostgreSQL, ",
        (false, false) => "the restarts of engines, ",
    };
    let missing = engines.iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let engines: String = missing.map(|(_, what)| *what).collect();
    let qdrant = if std::env::var_os("TEST_QDRANT_URL").is_some() {
        "Qdrant was the real one of TEST_QDRANT_URL"
    } else {
        "Qdrant was the contract server of tests/it/support, no real one (TEST_QDRANT_URL)"
    };
    let line = format!(
        "left out by cargo test: {engines}{restarts}the official MCP clients (tests/clients) and the conformance suite \
         (tests/conformance); ./tests/run.sh runs everything\n{qdrant}"
    );
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("\n{line}\n\n").as_bytes());
}
