//! Content blocks of tool results and prompt messages (MCP 2026-07-28, server/tools).

use super::method::push_string;
use crate::call::Content;

/// Appends one content block. `name` is the tool's or prompt's, for the URI of bytes that are neither image nor sound.
pub(super) fn push(out: &mut Vec<u8>, content: &Content, name: &str) {
    match content {
        Content::Text(text) => {
            out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
            push_string(out, text);
            out.push(b'}');
        }
        Content::Blob { data, mime } => {
            let kind = mime.split('/').next().unwrap_or_default();
            if matches!(kind, "image" | "audio") {
                out.extend_from_slice(
                    format!("{{\"type\":\"{kind}\",\"data\":\"{data}\",\"mimeType\":").as_bytes(),
                );
                push_string(out, mime);
                out.push(b'}');
            } else {
                let uri = format!("sidegate://{name}/result");
                push_resource(out, &uri, Some(mime), None, Some(data));
            }
        }
        Content::Resource { uri, mime, text, blob } => {
            push_resource(out, uri, mime.as_deref(), text.as_deref(), blob.as_deref());
        }
        Content::Link(link) => out.extend_from_slice(link.to_string().as_bytes()),
    }
}

fn push_resource(out: &mut Vec<u8>, uri: &str, mime: Option<&str>, text: Option<&str>, blob: Option<&str>) {
    out.extend_from_slice(b"{\"type\":\"resource\",\"resource\":{\"uri\":");
    push_string(out, uri);
    for (member, value) in [("mimeType", mime), ("text", text), ("blob", blob)] {
        if let Some(value) = value {
            out.extend_from_slice(format!(",\"{member}\":").as_bytes());
            push_string(out, value);
        }
    }
    out.extend_from_slice(b"}}");
}
