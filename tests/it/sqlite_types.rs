//! SQLite's dynamic types as JSON: what is stored decides, not what was declared, and nothing is lost.

use serde_json::{Value, json};

use crate::sqlite::{config, start, tool};
use crate::support::{Gateway, structured};

/// A column of every declared type, with every kind of value where it does not belong.
const TYPES: &str = "
CREATE TABLE kinds (
  i INTEGER, small SMALLINT, r REAL, f FLOAT, s TEXT, c VARCHAR(3), x BLOB, b BOOLEAN, short BOOL, d DATE, dt DATETIME, ts TIMESTAMP,
  n NUMERIC, dec DECIMAL(10, 2), j JSON, odd UUID, more GEOMETRY, bare
);
INSERT INTO kinds VALUES
  (9223372036854775807, 1, 1e308, 0.1, 'é', 'longer', X'00FF', TRUE, FALSE, '2026-01-02', '2026-01-02 03:04:05', 1767322800,
   12.50, '12.50', '{\"a\": [1, 2.50]}', 'c0ffee', X'01', 7),
  (-9223372036854775808, 0, 9e999, -9e999, '', NULL, X'', 1, 0, 2460000.5, 0, 1,
   '9007199254740993', '123456789012345678901.5', 'not json', 1, 0, '7'),
  ('text', 'x', 2, -0.0, 12345678901234567890, 5, 'text', 2, 'yes', NULL, NULL, NULL,
   'abc', 1e3, NULL, 0.5, 'p', NULL),
  (9223372036854775808, 1.5, 4.9e-324, 1.7976931348623157e308, CAST(X'61FF62' AS TEXT), char(0) || 'a', 1.5, 0.5, NULL, 1, 1.5, X'00',
   NULL, NULL, '7', NULL, NULL, X'FF');
";

async fn open(url: &str, tools: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("init.sql"), TYPES).unwrap();
    Gateway::start_in(folder, &config(url, "", tools)).await
}

async fn rows(gateway: &Gateway, name: &str, arguments: Value) -> Value {
    structured(&gateway.call(name, arguments).await)["rows"].clone()
}

#[tokio::test]
async fn what_is_stored_is_shown_whatever_was_declared() {
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let gateway = open(url, &tool("kinds", "", "SELECT * FROM kinds ORDER BY rowid", "")).await;
        let rows = rows(&gateway, "kinds", json!({})).await;
        assert_eq!(
            rows[0],
            json!({
                "i": i64::MAX, "small": 1, "r": 1e308, "f": 0.1, "s": "é", "c": "longer", "x": "AP8=", "b": true, "short": false,
                "d": "2026-01-02", "dt": "2026-01-02 03:04:05", "ts": 1_767_322_800, "n": 12.5, "dec": 12.5,
                "j": "{\"a\": [1, 2.50]}", "odd": "c0ffee", "more": "AQ==", "bare": 7
            })
        );
        // SQLite makes the text of a number, in a column that is to hold numbers, a number, if as that it is the same to 15 digits.
        assert_eq!(
            rows[1],
            json!({
                "i": i64::MIN, "small": 0, "r": "Infinity", "f": "-Infinity", "s": "", "c": null, "x": "", "b": true, "short": false,
                "d": 2_460_000.5, "dt": 0, "ts": 1, "n": 9_007_199_254_740_993_i64, "dec": 123_456_789_012_345_678_901.5,
                "j": "not json", "odd": 1, "more": 0, "bare": "7"
            })
        );
        assert_eq!(
            rows[2],
            json!({
                "i": "text", "small": "x", "r": 2.0, "f": 0.0, "s": "1.23456789012346e+19", "c": "5", "x": "text", "b": 2,
                "short": "yes", "d": null, "dt": null, "ts": null, "n": "abc", "dec": 1000, "j": null, "odd": 0.5, "more": "p",
                "bare": null
            })
        );
        assert_eq!(
            rows[3],
            json!({
                "i": 9_223_372_036_854_775_808.0, "small": 1.5, "r": 5e-324, "f": f64::MAX, "s": "a\u{fffd}b", "c": "\u{0}a", "x": 1.5,
                "b": 0.5, "short": null, "d": 1, "dt": 1.5, "ts": "AA==", "n": null, "dec": null, "j": 7, "odd": null,
                "more": null, "bare": "/w=="
            })
        );
    }
}

#[tokio::test]
async fn names_and_types_of_expressions_are_those_of_their_values() {
    let sql = "SELECT b, b AS b, b AS B, (SELECT b FROM kinds LIMIT 1) AS inner, NOT b, b = 1 AS computed, 1 AS b_2, count(*) OVER () AS n, \
               typeof(j) AS t, j -> '$.a' AS part, j ->> '$.a[0]' AS member, json(j) AS whole, jsonb('[]') AS binary, \
               CAST(i AS TEXT) AS digits, -0.0 AS zero, 0x7FFFFFFFFFFFFFFF AS hex, 1 / 2 AS whole_division, NULL AS empty, \
               9e999 - 9e999 AS nan, '' AS \"\" FROM kinds WHERE rowid = 1";
    let view = "WITH v AS (SELECT b AS renamed FROM kinds) SELECT renamed FROM v LIMIT 1";
    let gateway = open("sqlite:a.db", &(tool("names", "", sql, "") + &tool("view", "", view, ""))).await;
    assert_eq!(
        rows(&gateway, "names", json!({})).await,
        json!([{
            "b": true, "b_2": true, "B": true, "inner": true, "NOT b": 0, "computed": 1, "b_2_2": 1, "n": 1, "t": "text", "part": "[1,2.50]",
            "member": 1, "whole": "{\"a\":[1,2.50]}", "binary": "Cw==", "digits": "9223372036854775807", "zero": 0.0,
            "hex": i64::MAX, "whole_division": 0, "empty": null, "nan": null, "": ""
        }])
    );
    assert_eq!(rows(&gateway, "view", json!({})).await, json!([{ "renamed": true }]));
}

#[tokio::test]
async fn lists_and_objects_are_parameters_through_json_each() {
    let tools = [
        tool(
            "among",
            "ids: { type: array, items: { type: integer } }",
            "SELECT id, name FROM t WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id",
            "",
        ),
        tool("members", "o: { type: object }", "SELECT key, value, type FROM json_each(:o) ORDER BY key", ""),
        tool("deep", "o: { type: object }", "SELECT :o ->> '$.a.b[1]' AS v", ""),
    ];
    let gateway = start("sqlite:a.db", "", &tools).await;
    assert_eq!(
        rows(&gateway, "among", json!({ "ids": [3, 1, 99] })).await,
        json!([{ "id": 1, "name": "one" }, { "id": 3, "name": "three" }])
    );
    assert_eq!(rows(&gateway, "among", json!({ "ids": [] })).await, json!([]));
    let object =
        json!({ "a": "x'); DROP TABLE t; --", "b": i64::MAX, "c": null, "d": [1], "e": true, "f": 1.5 });
    assert_eq!(
        rows(&gateway, "members", json!({ "o": object })).await,
        json!([
            { "key": "a", "value": "x'); DROP TABLE t; --", "type": "text" },
            { "key": "b", "value": i64::MAX, "type": "integer" },
            { "key": "c", "value": null, "type": "null" },
            { "key": "d", "value": "[1]", "type": "array" },
            { "key": "e", "value": 1, "type": "true" },
            { "key": "f", "value": 1.5, "type": "real" },
        ])
    );
    assert_eq!(
        rows(&gateway, "deep", json!({ "o": { "a": { "b": [0, "two"] } } })).await,
        json!([{ "v": "two" }])
    );
}
