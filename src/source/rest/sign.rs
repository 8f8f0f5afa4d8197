//! Signatures of AWS (Signature Version 4): over exactly what is sent, made anew for every request.

use std::borrow::Cow;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::utf8_percent_encode;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::dispatcher::{self, Dispatch};
use url::{Position, Url};

use super::url::ARGUMENT;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::secret::Secret;
use crate::source::SourceError;

/// Services whose paths are signed as they are sent: neither normalised nor encoded a second time.
const AS_SENT: [&str; 3] = ["s3", "s3-object-lambda", "s3-outposts"];
/// Headers that the signature brings itself.
const OURS: [&str; 3] = ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// A signature of AWS (Signature Version 4) over each request: its method, path, query, host, body, `Content-Type` and all `X-Amz-…`
/// headers. Requests carry `X-Amz-Date` and `X-Amz-Content-Sha256` beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AwsSigv4")]
pub struct AwsSigv4Config {
    /// The region: `eu-central-1`.
    pub region: Spanned<String>,
    /// The service as signatures name it: `execute-api`, `s3`, `es`, `dynamodb`.
    pub service: Spanned<String>,
    /// The id of the access key. It is no secret: every request shows it.
    pub access_key_id: Spanned<String>,
    /// The secret of the access key.
    pub secret_access_key: Spanned<Secret>,
    /// The token of temporary credentials, sent as `X-Amz-Security-Token`.
    pub session_token: Option<Spanned<Secret>>,
}

/// The same, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SigningPlan {
    pub region: String,
    pub service: String,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
}

impl SigningPlan {
    pub(super) fn compile(written: &AwsSigv4Config, diagnostics: &mut Diagnostics) -> Option<Self> {
        let before = diagnostics.errors();
        let mut refuse = |what: &str, at| {
            diagnostics.push(Diagnostic::error("bad-signing", what.to_owned()).at(at, ""));
        };
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        for (what, name) in [("region", &written.region), ("service", &written.service)] {
            if !word(name) {
                refuse(&format!("a {what} has small letters, digits and `-`"), name.span);
            }
        }
        let id = &written.access_key_id;
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            refuse("the id of an access key has letters and digits", id.span);
        }
        let secrets = [Some(&written.secret_access_key), written.session_token.as_ref()];
        for secret in secrets.into_iter().flatten() {
            if secret.expose().is_empty() || !secret.expose().bytes().all(|b| b.is_ascii_graphic()) {
                refuse("this is empty, or holds spaces or characters that it never has", secret.span);
            }
        }
        (diagnostics.errors() == before).then(|| Self {
            region: written.region.value.clone(),
            service: written.service.value.clone(),
            access_key_id: id.value.clone(),
            secret_access_key: written.secret_access_key.value.clone(),
            session_token: written.session_token.as_ref().map(|t| t.value.clone()),
        })
    }

    /// What no text may show.
    pub(super) fn secrets(&self) -> impl Iterator<Item = String> {
        let all = [Some(&self.secret_access_key), self.session_token.as_ref()];
        all.into_iter().flatten().map(|secret| secret.expose().to_owned())
    }
}

/// Signs the requests of a source.
#[derive(Debug)]
pub(super) struct Signer {
    region: String,
    service: String,
    /// They print themselves masked, and are wiped when they are dropped.
    credentials: Credentials,
}

impl Signer {
    pub(super) fn new(plan: &SigningPlan) -> Self {
        let token = plan.session_token.as_ref().map(|t| t.expose().to_owned());
        let secret = plan.secret_access_key.expose();
        let credentials = Credentials::new(&plan.access_key_id, secret, token, None, "sidegate");
        Self { region: plan.region.clone(), service: plan.service.clone(), credentials }
    }

    /// Adds the signature in place of an older one; gives its hexadecimal digits.
    pub(super) fn sign(&self, request: &mut Request, now: SystemTime) -> Result<Secret, SourceError> {
        for name in OURS {
            request.headers_mut().remove(name);
        }
        // The signing crate tells the log of every request and its signature; nobody may read them there.
        let signed = dispatcher::with_default(&Dispatch::none(), || self.signature(request, now));
        let (added, signature) = signed.map_err(SourceError::Internal)?;
        for (name, value) in added {
            request.headers_mut().insert(name, value);
        }
        Ok(Secret::new(signature))
    }

    fn signature(
        &self,
        request: &Request,
        now: SystemTime,
    ) -> Result<(Vec<(HeaderName, HeaderValue)>, String), String> {
        let as_sent = AS_SENT.contains(&self.service.as_str());
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        if as_sent {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|e| e.to_string())?
            .into();
        let url = request.url();
        let mut headers = vec![("host", host(url))];
        for (name, value) in request.headers() {
            if *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
                let text = std::str::from_utf8(value.as_bytes()).map_err(|e| e.to_string())?;
                headers.push((name.as_str(), text));
            }
        }
        let body = match request.body() {
            Some(body) => body.as_bytes().ok_or("a body that is not there as a whole")?,
            None => &[],
        };
        let address = if as_sent { plain(url) } else { Cow::Borrowed(url.as_str()) };
        let method = request.method().as_str();
        let signable = SignableRequest::new(method, address, headers.into_iter(), SignableBody::Bytes(body));
        let output = sign(signable.map_err(|e| e.to_string())?, &params).map_err(|e| e.to_string())?;
        let (instructions, signature) = output.into_parts();
        let mut added = Vec::new();
        for header in instructions.into_parts().0 {
            let mut value = HeaderValue::from_str(header.value()).map_err(|e| e.to_string())?;
            let name = HeaderName::from_static(header.name());
            value.set_sensitive(name == AUTHORIZATION || header.sensitive());
            added.push((name, value));
        }
        Ok((added, signature))
    }
}

/// The header `Host` as the HTTP layer writes it: without the port that the scheme says anyway.
fn host(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// The address with its path as S3 reads it: every byte but the unreserved ones and `/` encoded, whether it is sent so or not.
fn plain(url: &Url) -> Cow<'_, str> {
    let sent = url.path();
    let mut path = String::with_capacity(sent.len());
    let mut rest = sent;
    while let Some(at) = rest.find(['%', '/']) {
        let (before, from) = rest.split_at(at);
        path.extend(utf8_percent_encode(before, ARGUMENT));
        // A triplet of what is encoded already, or the slash.
        let len = if from.starts_with('%') { 3 } else { 1 };
        let (kept, after) = from.split_at_checked(len).unwrap_or((from, ""));
        path.push_str(&kept.to_ascii_uppercase());
        rest = after;
    }
    path.extend(utf8_percent_encode(rest, ARGUMENT));
    if path == sent {
        return Cow::Borrowed(url.as_str());
    }
    let (before, after) = (&url[..Position::BeforePath], &url[Position::AfterPath..]);
    Cow::Owned(format!("{before}{path}{after}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The documented examples of S3 that carry no other headers: what is signed, and the signature.
    #[test]
    fn the_documented_examples_of_s3_come_out_as_documented() {
        let plan = SigningPlan {
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
        };
        // 2013-05-24T00:00:00Z
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        for (query, signature) in [
            ("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let url = Url::parse(&format!("https://examplebucket.s3.amazonaws.com/?{query}")).unwrap();
            let mut request = Request::new(reqwest::Method::GET, url);
            let signer = Signer::new(&plan);
            // Signed twice, the second replaces the first.
            signer.sign(&mut request, then + Duration::from_secs(1)).unwrap();
            assert_eq!(signer.sign(&mut request, then).unwrap().expose(), signature);
            let header = request.headers().get(AUTHORIZATION).unwrap();
            assert!(header.is_sensitive());
            assert_eq!(
                header.to_str().unwrap(),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                     SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
                )
            );
            assert!(!format!("{signer:?}").contains("wJalr"), "{signer:?}");
        }
    }

    #[test]
    fn s3_reads_a_path_with_everything_encoded_once() {
        for (sent, read) in [
            ("/a/b", "/a/b"),
            ("/a+b/c=d", "/a%2Bb/c%3Dd"),
            ("/%41%2f%e2/~", "/%41%2F%E2/~"),
            ("//a//", "//a//"),
            ("/50%25", "/50%25"),
            ("/50%", "/50%"),
        ] {
            let url = Url::parse(&format!("https://s3.example{sent}?q=+%2f")).unwrap();
            assert_eq!(plain(&url), format!("https://s3.example{read}?q=+%2f"), "{sent}");
        }
    }
}
