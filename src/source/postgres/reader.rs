//! The rows of one statement, taken one by one up to its caps.

use super::json;
use super::known::Known;
use crate::source::SourceError;
use crate::source::database::{Access, Answer, Statement};

/// What is being read.
pub(super) struct Reader<'a> {
    statement: &'a Statement,
    known: &'a Known,
    answer: Answer,
    bytes: usize,
}

/// What comes after a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    More,
    /// Nothing that would be kept, though the server may have a row or two to send.
    Enough,
    /// Nothing that would be kept, and nobody knows how much the server has to send.
    TooMuch,
}

impl<'a> Reader<'a> {
    pub(super) fn of(statement: &'a Statement, known: &'a Known) -> Self {
        let by = statement.order.iter().filter(|by| known.unordered.contains(by)).cloned();
        let answer = Answer { unordered: by.collect(), ..Answer::default() };
        Self { statement, known, answer, bytes: 0 }
    }

    /// Whether any row has come.
    pub(super) fn began(&self) -> bool {
        self.answer.seen > 0
    }

    /// Takes how many rows a write has changed.
    pub(super) fn changed(&mut self, rows: u64) {
        if self.statement.access == Access::Write {
            self.answer.changed = Some(rows);
        }
    }

    /// Takes a row as the server wrote it. Without a text: left out by the server, as it is too long.
    pub(super) fn row(&mut self, text: Option<&str>) -> Result<Next, SourceError> {
        let Self { statement, known, answer, bytes } = self;
        let reads = statement.access == Access::Read;
        if statement.count && reads {
            answer.seen = text.and_then(|t| t.parse().ok()).unwrap_or(0);
            return Ok(Next::More);
        }
        answer.seen += 1;
        if statement.count {
            return Ok(Next::More);
        }
        let full = answer.rows.len() >= statement.max_rows;
        if full || *bytes > statement.max_bytes {
            answer.more = true;
            return Ok(match (reads, full) {
                (false, _) => Next::More,
                (true, true) => Next::Enough,
                (true, false) => Next::TooMuch,
            });
        }
        let Some(text) = text else {
            // And all after it, as with the caps.
            answer.more = true;
            return match statement.access {
                Access::Write => Ok(Next::More),
                Access::Read if answer.rows.is_empty() => Err(SourceError::TooLarge(statement.longest())),
                Access::Read => Ok(Next::TooMuch),
            };
        };
        *bytes += text.len();
        let value = json::row(text, &known.bytes).map_err(|e| SourceError::Internal(e.to_string()))?;
        answer.rows.push(value);
        Ok(Next::More)
    }

    /// What was read.
    pub(super) fn answer(self) -> Answer {
        let mut answer = self.answer;
        if !self.known.rows {
            answer.seen = answer.changed.unwrap_or(0);
        }
        answer
    }
}
