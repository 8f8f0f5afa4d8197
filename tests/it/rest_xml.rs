//! XML bodies and media types of texts, byte for byte as the API sees them.

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use serde_json::json;

use crate::support::{Gateway, Upstream, failure};

async fn gateway(api: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
sources:
  api: {{ rest: {{ base_url: "{}" }} }}
tools:
  book:
    description: B.
    params: {{ who: {{ type: string }}, n: {{ type: integer, default: 1 }} }}
    rest:
      source: api
      post: /book
      xml: |
        <?xml version="1.0" encoding="UTF-8"?>
        <b:order xmlns:b="urn:b" who="{{who}}" n='{{n}}'><!-- fixed --><name>{{who}}</name>&amp;<x/></b:order>
  soap:
    description: S.
    params: {{ who: {{ type: string }} }}
    rest: {{ source: api, post: /soap, headers: {{ Content-Type: "application/soap+xml; charset=utf-8" }}, xml: "<a>{{who}}</a>" }}
  plain: {{ description: P., params: {{ who: {{ type: string }} }}, rest: {{ source: api, post: /a, text: "x{{who}}" }} }}
  yaml: {{ description: Y., params: {{ who: {{ type: string }} }}, rest: {{ source: api, post: /a, headers: {{ Content-Type: application/yaml }}, text: "x{{who}}" }} }}
"#,
        api.url()
    ))
    .await
}

/// The attribute and the text of what arrived, by a parser.
fn read(body: &[u8]) -> (String, String, usize) {
    let body = std::str::from_utf8(body).unwrap();
    let mut reader = quick_xml::Reader::from_str(body);
    let (mut attribute, mut text, mut elements, mut inside) = (String::new(), String::new(), 0, false);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                elements += 1;
                inside = start.name().as_ref() == "name";
                for a in start.attributes().map(|a| a.unwrap()).filter(|a| a.key.as_ref() == "who") {
                    attribute = a.normalized_value(XmlVersion::Implicit1_0).unwrap().into_owned();
                }
            }
            Event::Empty(_) => elements += 1,
            Event::Text(t) if inside => text.push_str(&t.xml10_content()),
            Event::GeneralRef(r) if inside => match r.resolve_char_ref().unwrap() {
                Some(c) => text.push(c),
                None => {
                    text.push_str(quick_xml::escape::resolve_predefined_entity(&r.xml10_content()).unwrap());
                }
            },
            Event::End(_) => inside = false,
            Event::Eof => return (attribute, text, elements),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_argument_stays_the_text_that_it_is() {
    let api = Upstream::recorder().await;
    let gateway = gateway(&api).await;
    for who in [
        "Ada",
        "</name><admin/>",
        "\" admin=\"1",
        "' admin='1",
        "]]>",
        "<!-- ",
        "-->",
        "&lt;&#60;&x;",
        "<![CDATA[x]]>",
        "<?php ?>",
        "a\nb\r\nc\td",
        "  spaces  ",
        "{who}",
        "é漢🙂\u{7f}\u{85}\u{2028}",
        "",
    ] {
        gateway.call("book", json!({ "who": who })).await;
        let seen = api.take().pop().unwrap_or_else(|| panic!("{who:?} was not sent"));
        assert_eq!(seen.header("content-type").as_deref(), Some("application/xml"));
        let (attribute, text, elements) = read(&seen.body);
        assert_eq!(
            (attribute.as_str(), text.as_str(), elements),
            (who, who, 3),
            "{:?}",
            String::from_utf8_lossy(&seen.body)
        );
    }
}

#[tokio::test]
async fn what_xml_cannot_hold_is_refused_before_anything_is_sent() {
    let api = Upstream::recorder().await;
    let gateway = gateway(&api).await;
    for who in ["\u{0}", "a\u{1}b", "\u{1b}[31m", "\u{fffe}", "\u{ffff}"] {
        let result = gateway.call("book", json!({ "who": who })).await;
        assert!(failure(&result).contains("control character"), "{who:?}: {result}");
    }
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn a_header_says_another_media_type() {
    let api = Upstream::recorder().await;
    let gateway = gateway(&api).await;
    for (tool, kind, body) in [
        ("soap", "application/soap+xml; charset=utf-8", "<a>&lt;</a>"),
        ("plain", "text/plain; charset=utf-8", "x<"),
        ("yaml", "application/yaml", "x<"),
    ] {
        gateway.call(tool, json!({ "who": "<" })).await;
        let seen = api.take().pop().unwrap();
        assert_eq!(seen.all("content-type"), vec![kind.as_bytes()], "{tool}");
        assert_eq!(String::from_utf8_lossy(&seen.body), body, "{tool}");
    }
}
