//! How a line of text shows its values: what could be taken for another value, or for the end of the line, stands in quotes and escaped.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::{RecordFields, VisitOutput as _};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};

/// `name=value` for what is plain, `name="value"` for the rest.
#[derive(Debug)]
pub(super) struct Quoting;

impl<'w> FormatFields<'w> for Quoting {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor(DefaultVisitor::new(writer, true));
        fields.record(&mut visitor);
        visitor.0.finish()
    }
}

struct Visitor<'w>(DefaultVisitor<'w>);

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.record_str(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            return self.0.record_debug(field, value);
        }
        let text = format!("{value:?}");
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
        if !text.is_empty() && text.chars().all(plain) && text.escape_debug().eq(text.chars()) {
            self.0.record_debug(field, &format_args!("{text}"));
        } else {
            self.0.record_str(field, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::{info, info_span, subscriber};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_value_can_be_taken_for_another_one_or_for_a_line() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .compact()
            .fmt_fields(Quoting)
            .finish();
        let evil = "evil request=FORGED code=\"ok\"\r\n2026 INFO \u{1b}[31mred\u{2028}";
        subscriber::with_default(log, || {
            let _in = info_span!("call", request = %"8eke", from = %evil).entered();
            info!(detail = %evil, code = "upstream_status", ms = 8, at = %"127.0.0.1:1", none = %"", quoted = %"\"a", "call failed");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let shown = r#""evil request=FORGED code=\"ok\"\r\n2026 INFO \u{1b}[31mred\u{2028}""#;
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            &format!(
                "detail={shown} code=\"upstream_status\" ms=8 at=127.0.0.1:1 none=\"\" quoted=\"\\\"a\""
            ),
            &format!("from={shown}"),
            "request=8eke",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
