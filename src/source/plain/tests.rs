//! The connections to an API, with real ones that keep, close and blurt.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;
use crate::source::http::{IDLE_TIMEOUT, NOT_PUBLIC};

/// What an API does after each answer.
#[derive(Clone, Copy)]
enum Then {
    Goes,
    Closes,
    /// It sends another answer, which nobody asked for.
    Blurts,
}

/// An API that answers with the number of the connection; gives how many there were.
async fn api(then: Then) -> (Plain, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = Plain::to(&format!("http://{}", listener.local_addr().unwrap()), false).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    head.clear();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{number:02}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    match then {
                        Then::Goes => {}
                        Then::Closes => return,
                        Then::Blurts => {
                            let other = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";
                            stream.write_all(other).await.unwrap();
                        }
                    }
                }
            });
        }
    });
    (plain, connections)
}

fn request(plain: &Plain, method: Method) -> Outgoing {
    let mut headers = HeaderMap::new();
    plain.equip(&mut headers);
    Outgoing { method, url: format!("{}/a?b=c", plain.origin), headers, body: None }
}

async fn fetched(plain: &Plain) -> String {
    let request = request(plain, Method::GET);
    let answer = plain.fetch(request, 100, Duration::from_secs(20), |_| true).await;
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((answer.status, answer.url), (200, format!("{}/a?b=c", plain.origin)));
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn resting(plain: &Plain) -> usize {
    plain.idle.count()
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection_and_calls_at_the_same_time_have_one_each() {
    let (plain, connections) = api(Then::Goes).await;
    for _ in 0..5 {
        assert_eq!(fetched(&plain).await, "01");
    }
    assert_eq!((connections.load(Ordering::SeqCst), resting(&plain)), (1, 1));
    let together = futures_util::future::join_all((0..8).map(|_| fetched(&plain))).await;
    let mut numbers: Vec<_> = together.into_iter().collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 8, "{numbers:?}");
    assert_eq!((connections.load(Ordering::SeqCst), resting(&plain)), (8, 8));
    fetched(&plain).await;
    assert_eq!((connections.load(Ordering::SeqCst), resting(&plain)), (8, 8));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_nobody_used_it_is_replaced_whatever_is_asked() {
    let (plain, connections) = api(Then::Closes).await;
    for number in 1..=4 {
        let request = request(&plain, if number % 2 == 0 { Method::POST } else { Method::GET });
        let answer = plain.fetch(request, 100, Duration::from_secs(20), |_| true).await;
        let answer = answer.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(answer.body, format!("{number:02}"));
        // Until it is known here that it is closed.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_nobodys() {
    let (plain, _) = api(Then::Blurts).await;
    for number in 1..=4 {
        assert_eq!(fetched(&plain).await, format!("{number:02}"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_connection_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = Plain::to(&format!("http://{}/v1", listener.local_addr().unwrap()), false).unwrap();
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        // Ends when the other side closes.
        stream.read_to_end(&mut all).await.unwrap();
        all
    });
    let limit = Duration::from_millis(100);
    let late = plain.fetch(request(&plain, Method::GET), 100, limit, |_| true).await;
    assert!(matches!(late, Err(SourceError::Timeout(l)) if l == limit));
    assert_eq!(resting(&plain), 0);
    let sent = String::from_utf8(silent.await.unwrap()).unwrap();
    assert!(sent.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{sent}");
    for header in [format!("host: {}", plain.host.to_str().unwrap()), format!("user-agent: {OURS}")] {
        assert!(sent.contains(&header), "{sent}");
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_for_ever() {
    let (plain, _) = api(Then::Goes).await;
    fetched(&plain).await;
    plain.idle.age(IDLE_TIMEOUT.checked_sub(Duration::from_secs(30)).unwrap());
    let (gone, next) = plain.idle.lapsed();
    assert!(gone == 0 && next.is_some_and(|at| at > Instant::now()));
    plain.idle.age(Duration::from_secs(30));
    assert_eq!((plain.idle.lapsed(), resting(&plain)), ((1, None), 0));
    fetched(&plain).await;
    plain.idle.age(IDLE_TIMEOUT);
    assert!(plain.idle.take().is_none());
}

/// One connection that is answered with `answer`, and then kept open; gives the API's end of it and what the call got.
async fn answered(answer: &'static [u8], max: usize) -> (Plain, TcpStream, Result<Answer, SourceError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = Plain::to(&format!("http://{}", listener.local_addr().unwrap()), false).unwrap();
    let api = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer).await.unwrap();
        stream
    };
    let fetch = plain.fetch(request(&plain, Method::GET), max, Duration::from_secs(20), |_| true);
    let (got, stream) = tokio::join!(fetch, api);
    (plain, stream, got)
}

/// Whether our end of a connection is closed; ends when it is.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    read.is_ok() && rest.is_empty()
}

#[tokio::test]
async fn a_connection_that_the_api_closes_while_nobody_uses_it_is_closed_here_too() {
    let (plain, mut stream, got) = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 100).await;
    assert_eq!((got.unwrap_or_else(|error| panic!("{error}")).body, resting(&plain)), ("hi".into(), 1));
    stream.shutdown().await.unwrap();
    assert!(is_closed(stream).await);
    assert_eq!(resting(&plain), 0);
}

#[tokio::test]
async fn a_source_that_is_gone_closes_its_connections() {
    let (plain, stream, _) = answered(b"HTTP/1.1 204 No Content\r\n\r\n", 100).await;
    assert_eq!(resting(&plain), 1);
    drop(plain);
    assert!(is_closed(stream).await);
}

#[tokio::test]
async fn what_does_not_say_that_it_goes_on_is_not_kept() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi".as_slice(),
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        let (plain, stream, got) = answered(answer, 100).await;
        assert_eq!((got.unwrap_or_else(|error| panic!("{error}")).body, resting(&plain)), ("hi".into(), 0));
        assert!(is_closed(stream).await);
    }
    let kept = b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi";
    let (plain, _stream, got) = answered(kept, 100).await;
    assert_eq!((got.unwrap_or_else(|error| panic!("{error}")).body, resting(&plain)), ("hi".into(), 1));
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_closes_its_connection() {
    let known = b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\nhi".as_slice();
    let unknown = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhigh\r\n";
    for (answer, max) in [(known, 100), (unknown, 3)] {
        let (plain, stream, got) = answered(answer, max).await;
        assert!(matches!(got, Err(SourceError::TooLarge(most)) if most == max));
        assert_eq!(resting(&plain), 0);
        assert!(is_closed(stream).await);
    }
}

#[tokio::test]
async fn an_api_that_sends_without_end_holds_no_call_beyond_its_limit_and_no_other_task() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = Plain::to(&format!("http://{}", listener.local_addr().unwrap()), false).unwrap();
    // On a thread of its own, so that there is always something to read.
    std::thread::spawn(move || {
        let stream = listener.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let mut stream = stream.accept().unwrap().0;
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".repeat(10_000);
        while std::io::Write::write_all(&mut stream, &hints).is_ok() {}
    });
    let turns = AtomicUsize::new(0);
    let others = async {
        loop {
            tokio::task::yield_now().await;
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    let limit = Duration::from_millis(500);
    tokio::select! {
        late = plain.fetch(request(&plain, Method::GET), 100, limit, |_| true) => {
            assert!(matches!(late, Err(SourceError::Timeout(l)) if l == limit));
        }
        () = others => {}
    }
    assert!(turns.load(Ordering::Relaxed) > 1, "nobody else had a turn");
}

#[tokio::test]
async fn nothing_is_sent_to_another_place() {
    let (plain, connections) = api(Then::Goes).await;
    let here = plain.origin.clone();
    for url in ["http://example.org/", &format!("{here}0/"), &format!("{here}@example.org/"), &here] {
        let request = Outgoing { url: url.to_owned(), ..request(&plain, Method::GET) };
        let refused = plain.fetch(request, 100, Duration::from_secs(20), |_| true).await;
        assert!(matches!(refused, Err(SourceError::Internal(_))), "{url}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    assert!(Plain::to("https://example.org", false).is_none());
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_gone_to_where_that_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = Plain::to(&format!("http://localhost:{port}"), true).unwrap();
    let refused = plain.fetch(request(&plain, Method::GET), 100, Duration::from_secs(20), |_| true).await;
    assert!(matches!(refused, Err(SourceError::Unfit { reason: NOT_PUBLIC, .. })));
}
