//! `server.telemetry.otlp` after compile: the whole address that takes traces, headers that can be sent, a ratio.

use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use serde::Serialize;
use url::Url;

use crate::config::OtlpConfig;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::secret::Secret;
use crate::yaml::{Entries, TextOr};

/// The path under a collector's address that takes traces (OTLP 1.9, section "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// Where traces go, and which.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtlpPlan {
    /// The URL that takes them.
    pub endpoint: String,
    /// Headers of every request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, Secret)>,
    /// The part of the traces that begin here which is recorded.
    pub sample: f64,
}

pub(super) fn compile(written: &TextOr<OtlpConfig>, diagnostics: &mut Diagnostics) -> Option<OtlpPlan> {
    let block = match written {
        TextOr::Text(endpoint) => {
            return Some(OtlpPlan {
                endpoint: address(endpoint, diagnostics)?,
                headers: Vec::new(),
                sample: 1.0,
            });
        }
        TextOr::Block(block) => block,
    };
    let endpoint = address(&block.endpoint, diagnostics);
    let headers = headers(&block.headers, diagnostics);
    let sample = block.sample.map_or(1.0, |s| s.value);
    if let Some(bad) = block.sample.filter(|s| !(0.0..=1.0).contains(&s.value)) {
        let message = "`sample` is a part of all traces: from 0 to 1";
        let help = "`0.1` records one in ten";
        diagnostics.push(Diagnostic::error("bad-otlp", message).at(bad.span, "").help(help));
    }
    Some(OtlpPlan { endpoint: endpoint?, headers: headers?, sample })
}

/// The collector's address with the path of traces.
fn address(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let mut refuse = |message: &str, help: &str| {
        diagnostics.push(Diagnostic::error("bad-otlp", message).at(written.span, "").help(help));
        None
    };
    let such = "such as `http://127.0.0.1:4318`";
    let Ok(url) = Url::parse(&written.value) else { return refuse("this is not a URL", such) };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return refuse("the address of a collector starts with `http://` or `https://`", such);
    }
    if !url.username().is_empty() || url.password().is_some() {
        let help = "write what it asks for under `headers`";
        return refuse("the address of a collector holds no user or password", help);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("the address of a collector has no query and no fragment", such);
    }
    let base = url.as_str().trim_end_matches('/');
    if base.ends_with(PATH) {
        let message = "the path of traces is added by itself";
        return refuse(message, "leave `/v1/traces` out");
    }
    if url.port() == Some(4317) {
        let message = "port 4317 is that of OTLP over gRPC, which is not spoken here";
        return refuse(message, "collectors take OTLP over HTTP on port 4318");
    }
    Some(format!("{base}{PATH}"))
}

fn headers(
    written: &Entries<Spanned<Secret>>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(String, Secret)>> {
    let before = diagnostics.errors();
    for (name, value) in written.iter() {
        let ours = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];
        if HeaderName::from_bytes(name.value.as_bytes()).ok().is_none_or(|name| ours.contains(&name)) {
            let message = format!("`{}` cannot be set as a header", name.value);
            diagnostics.push(Diagnostic::error("bad-header", message).at(name.span, ""));
        }
        if HeaderValue::from_str(value.expose()).is_err() {
            let message = "a header value has no line breaks or other control characters";
            diagnostics.push(Diagnostic::error("bad-header", message).at(value.span, ""));
        }
    }
    let pairs = written.iter().map(|(name, value)| (name.value.clone(), value.value.clone()));
    (diagnostics.errors() == before).then(|| pairs.collect())
}
