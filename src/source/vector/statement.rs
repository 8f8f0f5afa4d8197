//! A statement put together with its binds, in the placeholders of SQLite or PostgreSQL.

use serde_json::Value;

use super::filter::{Check, Checked};
use crate::source::database::{Bind, Engine, SqlText};

/// A text that grows; every value in it is bound.
pub(super) struct Builder {
    engine: Engine,
    /// Since the last bind.
    piece: String,
    parts: Vec<(String, usize)>,
    binds: Vec<Bind>,
}

/// A name of any letters, for PostgreSQL and SQLite.
pub(super) fn quoted(name: &str) -> String {
    Engine::Postgres.quote(name)
}

impl Builder {
    pub(super) const fn new(engine: Engine) -> Self {
        Self { engine, piece: String::new(), parts: Vec::new(), binds: Vec::new() }
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.piece.push_str(text);
        self
    }

    /// A new value; gives its number.
    pub(super) fn bind(&mut self, bind: Bind) -> usize {
        self.binds.push(bind);
        let number = self.binds.len() - 1;
        self.again(number);
        number
    }

    /// A value that stands somewhere else already.
    pub(super) fn again(&mut self, number: usize) -> &mut Self {
        self.parts.push((std::mem::take(&mut self.piece), number));
        self
    }

    /// ` AND …` for every condition.
    pub(super) fn conditions(&mut self, checks: &[Check]) {
        for Check { column, test } in checks {
            let column = format!("t.{}", quoted(column));
            self.push(" AND ").push(&column);
            match test {
                Checked::Equals(value) => {
                    self.push(" = ").bind(Bind::Value(value.clone()));
                }
                Checked::In(values) => {
                    let list = Bind::Value(Value::Array(values.clone()));
                    if self.engine == Engine::Sqlite {
                        self.push(" IN (SELECT value FROM json_each(").bind(list);
                        self.push("))");
                    } else {
                        self.push(" = ANY(").bind(list);
                        self.push(")");
                    }
                }
                Checked::Bound(bound, value) => {
                    self.push(&format!(" {} ", bound.sql()));
                    let number = self.bind(Bind::Value(value.clone()));
                    if self.engine == Engine::Sqlite {
                        // To SQLite every text is larger than every number, so a bound of the other kind would hold for all rows.
                        let guard = format!(" AND (typeof({column}) = 'text') = (typeof(");
                        self.push(&guard).again(number).push(") = 'text')");
                    }
                }
            }
        }
    }

    pub(super) fn build(self) -> (SqlText, Vec<Bind>) {
        let vectors = self.binds.iter().enumerate().filter(|(_, bind)| matches!(bind, Bind::Vector(_)));
        let binary = vectors.map(|(number, _)| number).collect();
        let mut text = SqlText::new(self.engine, self.parts, self.piece);
        text.binary = binary;
        (text, self.binds)
    }
}
