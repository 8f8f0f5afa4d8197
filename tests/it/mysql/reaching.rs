//! How MySQL and MariaDB are reached: through a socket, by an account that may only read, again after they were away; and what is
//! said where they are not.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Own, one};
use crate::support::client::Connection;
use crate::support::message::{modern, modern_headers};
use crate::support::process::Process;
use crate::support::{Gateway, failure};

#[tokio::test]
async fn a_server_that_was_away_is_used_again_and_each_lack_has_its_message() {
    let Some(own) = Own::open("heals", &[]).await else { return };
    let mut through = url::Url::parse(&own.url).unwrap();
    let target = format!("127.0.0.1:{}", through.port().unwrap_or(3306));
    let (port, open) = crate::postgres::gate(target).await;
    through.set_port(Some(port)).unwrap();
    let mut config =
        own.config(1, &[("quick", "SELECT 1 AS one", json!({})), ("slow", "SELECT SLEEP(5)", json!({}))]);
    config["sources"]["db"]["sql"]["url"] = json!(through.as_str());
    let gateway = Gateway::start(&config.to_string()).await;
    crate::postgres::each_lack_has_its_message(&gateway, &open).await;
    own.gone().await;
}

#[tokio::test]
async fn an_account_that_may_only_read_is_enough() {
    let Some(mut own) =
        Own::open("accounts", &["CREATE TABLE t (doc JSON)", "INSERT INTO t VALUES ('[1]')"]).await
    else {
        return;
    };
    let user = format!("reader_{}", std::process::id());
    let base = own.database.clone();
    own.run(&format!(
        "CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY 'p@ss:w/rd'; GRANT SELECT ON {base}.* TO {user}@'%'"
    ))
    .await;
    let mut url = url::Url::parse(&own.url).unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("p@ss:w/rd")).unwrap();
    let mut config = own.config(
        1,
        &[
            ("all", "SELECT doc, CONNECTION_ID() AS id FROM t", json!({ "row": "one" })),
            ("other", "SELECT * FROM mysql.user", json!({})),
        ],
    );
    config["sources"]["db"]["sql"]["url"] = json!(url.as_str());
    let gateway = Gateway::start(&config.to_string()).await;
    let first = one(&gateway, "all").await;
    assert_eq!(first["doc"], json!([1]));
    assert_eq!(one(&gateway, "all").await, first, "the connection is kept");
    assert!(failure(&gateway.call("other", json!({})).await).contains("refused"));
    own.run(&format!("DROP USER {user}@'%'")).await;
    own.gone().await;
}

#[tokio::test]
async fn a_socket_is_a_file_and_a_server_without_tls_is_not_taken_where_tls_is_required() {
    let Some(own) = Own::open("sockets", &[]).await else { return };
    let mut config = own.config(1, &[("port", "SELECT USER() AS user", json!({ "row": "one" }))]);
    config["sources"]["db"]["sql"]["url"] = json!(format!("{}?sslmode=require", own.url));
    let gateway = Gateway::start(&config.to_string()).await;
    assert!(failure(&gateway.call("port", json!({})).await).contains("cannot be reached"));
    // Where the engines are those of `run.sh`, and their folder may be entered.
    if let Ok(folder) = std::env::var("TEST_ENGINES_DIR")
        && std::os::unix::net::UnixStream::connect(format!("{folder}/mariadb/data/socket")).is_ok()
    {
        let (address, rest) = own.url.split_once('@').unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        let url = format!("{address}@/{database}?socket={folder}/mariadb/data/socket&sslmode=disable");
        config["sources"]["db"]["sql"]["url"] = json!(url.replace("@/", "@localhost/"));
        let gateway = Gateway::start(&config.to_string()).await;
        assert_eq!(one(&gateway, "port").await, json!({ "user": "sidegate@localhost" }));
    }
    own.gone().await;
}

/// A server that wants the password encrypted with its RSA key, as MySQL does without TLS.
async fn wants_rsa() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            // Protocol 10; a nonce of 20 bytes in two parts; capabilities 4.1, secure connection and plugins; no TLS.
            let mut hello = b"\x0a8.4.0\0\x01\0\0\x0012345678\0\x00\x82\x2d\x02\0\x08\0\x15".to_vec();
            hello.extend_from_slice(&[0; 10]);
            hello.extend_from_slice(b"123456789012\0caching_sha2_password\0");
            let replies: [(u8, &[u8]); 3] =
                [(0, &hello), (2, b"\x01\x04"), (4, b"\x01-----BEGIN PUBLIC KEY-----")];
            for (number, reply) in replies {
                let mut packet = vec![u8::try_from(reply.len()).unwrap(), 0, 0, number];
                packet.extend_from_slice(reply);
                peer.write_all(&packet).await.unwrap();
                let mut asked = [0; 1024];
                if peer.read(&mut asked).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        }
    });
    port
}

#[tokio::test]
async fn a_password_that_has_to_be_encrypted_with_rsa_is_said_to_need_tls() {
    let url = format!("mysql://someone:secret-of-rsa@127.0.0.1:{}/shop", wants_rsa().await);
    let config: Value = json!({
        "sources": { "db": { "sql": { "url": url } } },
        "tools": { "t": { "description": "D.", "sql": { "source": "db", "query": "SELECT 1" } } }
    });
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &config.to_string()).await;
    let mut connection = Connection::open(address).await.unwrap();
    let body = modern("tools/call", json!({ "name": "t" })).to_string();
    let list = modern_headers("tools/call", Some("t"));
    let reply = connection.send("POST", "/mcp", &list, body.as_bytes()).await.unwrap();
    assert!(failure(&reply.json()["result"]).contains("cannot be reached"));
    // It is read from the other process.
    for _ in 0..1000 {
        if process.log().contains("sslmode") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = process.log();
    assert!(log.contains("sslmode=require") && !log.contains("secret-of-rsa"), "{log}");
}
