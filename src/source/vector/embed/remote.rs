//! The client of an embeddings service (`POST /embeddings` as OpenAI defines it): batches, retries within the deadline, and vectors
//! that are checked before anybody compares with them.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::EmbedderPlan;
use crate::source::SourceError;
use crate::source::http::{self, Answer};
use crate::source::mask::Mask;

/// The largest answer that is read for one text.
const MAX_ANSWER: usize = 4 << 20;
/// How many texts one request carries.
const BATCH: usize = 64;
/// How often a request is made again.
const RETRIES: u32 = 2;
/// The wait before the first retry; it doubles.
const WAIT: Duration = Duration::from_millis(200);

/// A live client.
#[derive(Debug)]
pub(in crate::source::vector) struct Remote {
    client: reqwest::Client,
    plan: EmbedderPlan,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// A failed try, and whether another may do better: now, or after a time that the service says.
struct Failure {
    error: SourceError,
    again: bool,
    after: Option<Duration>,
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let again = matches!(
            error,
            SourceError::Unavailable(_)
                | SourceError::Lost(_)
                | SourceError::BadReply { reason: http::BROKE_OFF, .. }
        );
        Self { error, again, after: None }
    }
}

impl Remote {
    pub(super) fn open(plan: &EmbedderPlan) -> Result<Self, String> {
        let EmbedderPlan::OpenAi { url, timeout, .. } = plan else {
            return Err("not a service".to_owned());
        };
        let client = http::client(url.starts_with("https:"))?;
        Ok(Self { client, plan: plan.clone(), timeout: timeout.0 })
    }

    /// The most time one embedding may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The vectors of texts, in their order, in batches of 64.
    pub(super) async fn embed(&self, texts: &[&str], until: Instant) -> Result<Vec<Vec<f32>>, SourceError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            vectors.extend(self.batch(batch, until).await?);
        }
        Ok(vectors)
    }

    /// One batch, with retries as long as there is time for them.
    async fn batch(&self, texts: &[&str], until: Instant) -> Result<Vec<Vec<f32>>, SourceError> {
        let mut retries = 0;
        loop {
            let failure = match self.request(texts, until).await {
                Ok(vectors) => return Ok(vectors),
                Err(failure) => failure,
            };
            let wait = failure.after.unwrap_or_else(|| {
                // Between half and all of it, so that those who failed together do not come back together.
                WAIT.mul_f64(f64::from(1_u32 << retries) * (0.5 + fastrand::f64() / 2.0))
            });
            let left = until.saturating_duration_since(Instant::now());
            if !failure.again || retries == RETRIES || wait >= left {
                return Err(failure.error);
            }
            retries += 1;
            tracing::debug!(error = %failure.error, retries, "the embedder is asked again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn request(&self, texts: &[&str], until: Instant) -> Result<Vec<Vec<f32>>, Failure> {
        let EmbedderPlan::OpenAi { url, model, api_key, dimensions, .. } = &self.plan else {
            return Err(SourceError::Internal("not a service".to_owned()).into());
        };
        // A text alone goes as itself, which every service takes.
        let body = match texts {
            [text] => json!({ "model": model, "input": text }),
            texts => json!({ "model": model, "input": texts }),
        };
        let mut request =
            self.client.post(url).header("content-type", "application/json").body(body.to_string());
        if let Some(key) = api_key {
            request = request.bearer_auth(key.expose());
        }
        let left = until.saturating_duration_since(Instant::now());
        let Answer { status, body, retry_after, .. } =
            http::fetch(request, MAX_ANSWER.saturating_mul(texts.len()), left).await?;
        if status != 200 {
            let again = status == 429 || status >= 500;
            let error = SourceError::Status { status, body: Mask::new(api_key.clone()).excerpt(&body) };
            return Err(Failure { error, again, after: retry_after });
        }
        let answer: Embeddings = serde_json::from_slice(&body)
            .map_err(|e| SourceError::BadReply { reason: "no embeddings", detail: e.to_string() })?;
        Ok(checked(answer, texts.len(), dimensions.map(|d| d as usize))?)
    }
}

/// The vectors in the order of their texts: as many, of one length, all numbers finite.
fn checked(
    answer: Embeddings,
    texts: usize,
    dimensions: Option<usize>,
) -> Result<Vec<Vec<f32>>, SourceError> {
    let bad = |reason, detail| Err(SourceError::BadReply { reason, detail });
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; texts];
    let found = answer.data.len();
    for (place, Embedding { index, embedding }) in answer.data.into_iter().enumerate() {
        match vectors.get_mut(index.unwrap_or(place)) {
            Some(free @ None) => *free = Some(embedding),
            _ => return bad("vectors that belong to no text", format!("{found} for {texts} texts")),
        }
    }
    let Some(vectors) = vectors.into_iter().collect::<Option<Vec<_>>>() else {
        return bad("too few vectors", format!("{found} for {texts} texts"));
    };
    let expected = dimensions.or_else(|| vectors.first().map(Vec::len)).unwrap_or(0);
    for vector in &vectors {
        if vector.is_empty() || vector.len() != expected {
            let detail = format!("{} numbers, {expected} are expected", vector.len());
            return bad("a vector of the wrong length", detail);
        }
        if vector.iter().any(|x| !x.is_finite()) {
            return bad("a vector with a number that is not finite", String::new());
        }
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, texts: usize, dimensions: Option<usize>) -> Result<Vec<Vec<f32>>, SourceError> {
        checked(serde_json::from_str(json).unwrap(), texts, dimensions)
    }

    #[test]
    fn vectors_come_in_the_order_of_their_texts() {
        let shuffled = r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2]}]}"#;
        assert_eq!(read(shuffled, 2, Some(2)).unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        let plain = r#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#;
        assert_eq!(read(plain, 2, None).unwrap(), [[1.0], [2.0]]);
    }

    #[test]
    fn vectors_that_cannot_be_told_apart_or_compared_are_refused() {
        for (json, texts, dimensions) in [
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}"#, 2, None),
            (r#"{"data":[{"index":2,"embedding":[1]},{"index":0,"embedding":[2]}]}"#, 2, None),
            (r#"{"data":[{"index":0,"embedding":[1]}]}"#, 2, None),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1]}]}"#, 1, None),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}"#, 2, None),
            (r#"{"data":[{"index":0,"embedding":[1,2]}]}"#, 1, Some(3)),
            (r#"{"data":[{"index":0,"embedding":[]}]}"#, 1, None),
        ] {
            assert!(matches!(read(json, texts, dimensions), Err(SourceError::BadReply { .. })), "{json}");
        }
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let data = vec![Embedding { index: Some(0), embedding: vec![1.0, number] }];
            assert!(matches!(checked(Embeddings { data }, 1, None), Err(SourceError::BadReply { .. })));
        }
    }

    /// Answers each request with its texts as numbers, the last first, and says how many there were.
    async fn serve(listener: tokio::net::TcpListener, asked: tokio::sync::mpsc::UnboundedSender<usize>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            let texts = loop {
                let mut chunk = vec![0; 64 << 10];
                let n = stream.read(&mut chunk).await.unwrap();
                seen.extend_from_slice(&chunk[..n]);
                let text = String::from_utf8_lossy(&seen);
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                if let Ok(body) = serde_json::from_str::<serde_json::Value>(body) {
                    break serde_json::from_value::<Vec<String>>(body["input"].clone()).unwrap();
                }
            };
            asked.send(texts.len()).unwrap();
            let each = texts.iter().enumerate().rev();
            let data: Vec<String> =
                each.map(|(n, text)| format!("{{\"index\":{n},\"embedding\":[{text}]}}")).collect();
            let body = format!("{{\"data\":[{}]}}", data.join(","));
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn many_texts_go_in_batches_and_come_back_in_their_order() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/embeddings", listener.local_addr().unwrap());
        let (asked, mut sizes) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(serve(listener, asked));
        let timeout = crate::units::Period::seconds(5);
        let plan =
            EmbedderPlan::OpenAi { url, model: "m".to_owned(), api_key: None, dimensions: Some(1), timeout };
        let remote = Remote::open(&plan).unwrap();
        let texts: Vec<String> = (0..130).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = remote.embed(&texts, Instant::now() + Duration::from_secs(5)).await.unwrap();
        assert_eq!(vectors, (0_u8..130).map(|n| vec![f32::from(n)]).collect::<Vec<_>>());
        let sizes: Vec<usize> = std::iter::from_fn(|| sizes.try_recv().ok()).collect();
        assert_eq!(sizes, [64, 64, 2]);
    }
}
