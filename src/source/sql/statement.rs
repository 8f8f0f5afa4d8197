//! A statement's text, read by a real SQL lexer at load: `:name` binds become numbered placeholders by splicing the
//! original text (its tokens are never printed back), and a second statement is refused.

use sqlparser::ast::{Query, SetExpr};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::Scope;
use crate::source::database::{Engine, SqlText};

/// A statement with its binds found.
pub(super) struct Prepared {
    /// With the engine's placeholders in the places of the names.
    pub text: SqlText,
    /// The parameter of each number, in order.
    pub binds: Vec<usize>,
    /// Whether it certainly reads, certainly writes, or cannot be told from the text.
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Reads,
    Writes,
    Unknown,
}

/// A token with its byte range.
struct Piece {
    token: Token,
    start: usize,
    end: usize,
}

pub(super) fn prepare(
    query: &Spanned<String>,
    engine: Engine,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<Prepared> {
    let text = query.value.as_str();
    let pieces = match tokens(text, engine) {
        Ok(pieces) => pieces,
        Err(why) => {
            let (why, at) = *why;
            let line = text.get(at..).and_then(|t| t.lines().next()).unwrap_or("").trim_end();
            let problem = Diagnostic::error("bad-sql", format!("this SQL cannot be read: {why}"));
            diagnostics.push(match line {
                "" => problem.at(query.span, ""),
                line => problem.part(query.span, text, at..at + line.len(), ""),
            });
            return None;
        }
    };
    one_statement(&pieces, text, query, diagnostics)?;
    let mut parts = Vec::new();
    // Inside `[ ]` of PostgreSQL a colon after something stands between the bounds of a slice.
    let mut brackets = 0_usize;
    let mut before = None;
    let mut binds: Vec<usize> = Vec::new();
    let mut copied = 0;
    let mut sound = true;
    for pair in pieces.windows(2) {
        let [first, second] = pair else { continue };
        match first.token {
            Token::LBracket => brackets += 1,
            Token::RBracket => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        let slice = engine == Engine::Postgres && brackets > 0 && before != Some(&Token::LBracket);
        before = Some(&first.token);
        let (Token::Colon, Token::Word(word)) = (&first.token, &second.token) else {
            continue;
        };
        if slice || word.quote_style.is_some() || first.end != second.start {
            continue;
        }
        let Some(index) = scope.resolve(&word.value) else {
            sound = false;
            let message = format!("`:{}` is not a parameter of {}", word.value, scope.owner);
            let help = crate::name::did_you_mean(&word.value, scope.names(), "parameters here");
            diagnostics.push(
                Diagnostic::error("unknown-param", message)
                    .absence()
                    .part(query.span, text, first.start..second.end, "")
                    .help(help),
            );
            continue;
        };
        // MySQL numbers nothing: each place has a bind of its own.
        let bound = binds.iter().position(|b| *b == index).filter(|_| engine != Engine::Mysql);
        let number = bound.unwrap_or_else(|| {
            binds.push(index);
            binds.len() - 1
        });
        parts.push((text.get(copied..first.start).unwrap_or("").to_owned(), number));
        copied = second.end;
    }
    // Without its semicolon and what may stand behind it, so that it can stand inside another statement.
    let end = pieces.last().filter(|p| p.token == Token::SemiColon).map_or(text.len(), |p| p.start);
    let prepared = SqlText::new(engine, parts, text.get(copied..end).unwrap_or("").to_owned());
    if let Some(piece) = pieces.iter().find(|p| matches!(&p.token, Token::Placeholder(_))) {
        sound = false;
        let shown = text.get(piece.start..piece.end).unwrap_or("?");
        let message = format!("`{shown}` is a placeholder without a name");
        diagnostics.push(
            Diagnostic::error("unnamed-bind", message)
                .part(query.span, text, piece.start..piece.end, "")
                .help("write `:name` with the name of a parameter"),
        );
    }
    let effect = effect(&prepared.whole, &pieces, engine);
    sound.then_some(Prepared { text: prepared, binds, effect })
}

/// Tokens with byte ranges; comments and spaces are left out. The error is a sentence and its offset.
fn tokens(text: &str, engine: Engine) -> Result<Vec<Piece>, Box<(String, usize)>> {
    let dialect = dialect(engine);
    let lines: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
    let offset = |line: u64, column: u64| {
        let start =
            usize::try_from(line).ok().and_then(|l| lines.get(l.wrapping_sub(1)).copied()).unwrap_or(0);
        let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
        let rest = text.get(start..).unwrap_or("");
        start + rest.char_indices().nth(column).map_or(rest.len(), |(i, _)| i)
    };
    let tokens = Tokenizer::new(dialect, text)
        .tokenize_with_location()
        .map_err(|e| Box::new((e.message, offset(e.location.line, e.location.column))))?;
    let run = tokens.iter().find(|t| {
        matches!(&t.token, Token::Whitespace(Whitespace::MultiLineComment(c))
        if engine == Engine::Mysql && (c.starts_with('!') || c.starts_with("M!")))
    });
    if let Some(TokenWithSpan { span, .. }) = run {
        let why =
            "what stands in a comment like `/*!` is run by some servers: write it without, or leave it out";
        return Err(Box::new((why.to_owned(), offset(span.start.line, span.start.column))));
    }
    let visible = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    Ok(visible
        .map(|TokenWithSpan { token, span }| Piece {
            token,
            start: offset(span.start.line, span.start.column),
            end: offset(span.end.line, span.end.column),
        })
        .collect())
}

fn dialect(engine: Engine) -> &'static dyn Dialect {
    match engine {
        Engine::Sqlite => &SQLiteDialect {},
        Engine::Postgres => &PostgreSqlDialect {},
        Engine::Mysql => &MySql(MySqlDialect {}),
    }
}

/// MySQL's dialect as far as tokens go, with comments that are run (`/*! … */`) left whole, so that they can be refused.
#[derive(Debug)]
struct MySql(MySqlDialect);

impl Dialect for MySql {
    fn dialect(&self) -> std::any::TypeId {
        self.0.dialect()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.0.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.0.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.0.is_delimited_identifier_start(ch)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        self.0.supports_string_literal_backslash_escape()
    }

    fn ignores_wildcard_escapes(&self) -> bool {
        self.0.ignores_wildcard_escapes()
    }

    fn supports_numeric_prefix(&self) -> bool {
        self.0.supports_numeric_prefix()
    }

    fn requires_single_line_comment_whitespace(&self) -> bool {
        self.0.requires_single_line_comment_whitespace()
    }
}

fn one_statement(
    pieces: &[Piece],
    text: &str,
    query: &Spanned<String>,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let message = match pieces.iter().position(|p| p.token == Token::SemiColon) {
        _ if pieces.is_empty() => "there is no statement here",
        Some(at) if at + 1 < pieces.len() => "a route runs one statement, this is more",
        _ => return Some(()),
    };
    let second = pieces.iter().skip_while(|p| p.token != Token::SemiColon).nth(1);
    let shown = second.map(|p| {
        let line = text.get(p.start..).and_then(|t| t.lines().next()).unwrap_or("");
        p.start..p.start + line.trim_end().len()
    });
    let problem = Diagnostic::error("one-statement", message);
    diagnostics.push(match shown {
        Some(shown) => problem.part(query.span, text, shown, "the second one starts here"),
        None => problem.at(query.span, ""),
    });
    None
}

/// What the statement does, by its parse. The engine's own read-only mode is the guard; this only makes the message come early.
fn effect(text: &str, pieces: &[Piece], engine: Engine) -> Effect {
    let word = |piece: &Piece, words: &[&str]| {
        matches!(&piece.token, Token::Word(w) if w.quote_style.is_none()
            && words.iter().any(|k| w.value.eq_ignore_ascii_case(k)))
    };
    let first = pieces.iter().find(|piece| piece.token != Token::LParen);
    let begins = |words: &[&str]| first.is_some_and(|first| word(first, words));
    // What reads begin with. Of the rest the engine's mode stops not all: `VACUUM INTO` and `INTO OUTFILE` write files of their own.
    let mysql = engine == Engine::Mysql;
    let shows = mysql && begins(&["SHOW", "DESCRIBE", "DESC", "EXPLAIN"]);
    if !shows && !begins(&["SELECT", "VALUES", "WITH", "EXPLAIN", "TABLE"]) {
        return Effect::Writes;
    }
    if mysql && pieces.iter().any(|piece| word(piece, &["INTO"])) {
        return Effect::Writes;
    }
    if shows {
        return Effect::Reads;
    }
    let explains = begins(&["EXPLAIN"]);
    if explains {
        let mut words = pieces.iter().skip_while(|piece| word(piece, &["EXPLAIN"]));
        if !words.next().is_some_and(|second| word(second, &["ANALYZE"])) {
            return Effect::Reads;
        }
        let mut words = words.skip_while(|piece| word(piece, &["VERBOSE"]) || piece.token == Token::LParen);
        if !words.next().is_some_and(|begin| word(begin, &["SELECT", "VALUES", "WITH", "TABLE"])) {
            return Effect::Writes;
        }
    }
    let dialect: &dyn Dialect = if mysql { &MySqlDialect {} } else { dialect(engine) };
    match query(dialect, text, &[Keyword::EXPLAIN, Keyword::ANALYZE, Keyword::VERBOSE]) {
        // It runs what it explains.
        Some(_) if explains => Effect::Writes,
        // SQLite has no such parts, and its own mode refuses the rest.
        Some(query) if engine != Engine::Sqlite && modifies(&query) => Effect::Writes,
        Some(_) => Effect::Reads,
        None => Effect::Unknown,
    }
}

/// A text that is one query, behind these words where they stand before it. Only queries are asked for, so that the program has not the
/// parser of all the rest of SQL.
pub(super) fn query(dialect: &dyn Dialect, text: &str, before: &[Keyword]) -> Option<Box<Query>> {
    let mut parser = Parser::new(dialect).with_recursion_limit(64).try_with_sql(text).ok()?;
    for word in before {
        let _ = parser.parse_keyword(*word);
    }
    let query = parser.parse_query().ok()?;
    while parser.consume_token(&Token::SemiColon) {}
    (parser.peek_token().token == Token::EOF).then_some(query)
}

/// Whether a part of it changes rows: `WITH gone AS (DELETE …)`.
fn modifies(query: &Query) -> bool {
    let changes = |body: &SetExpr| {
        matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
    };
    let tables = query.with.iter().flat_map(|with| &with.cte_tables);
    changes(&query.body) || tables.into_iter().any(|table| modifies(&table.query))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;
    use crate::params::{ParamConfig, compile};
    use crate::yaml::Entries;

    fn run(sql: &str) -> Result<(String, Vec<usize>, Effect), String> {
        run_on(Engine::Sqlite, sql)
    }

    fn run_on(engine: Engine, sql: &str) -> Result<(String, Vec<usize>, Effect), String> {
        let mut diagnostics = Diagnostics::default();
        let names = ["a", "b"].map(|n| (Spanned::new(n.to_owned(), Span::default()), ParamConfig::default()));
        let params = compile(&Entries(names.to_vec()), "a test", &mut diagnostics).unwrap();
        let mut scope = Scope::new("a test".to_owned(), &params);
        let query = Spanned::new(sql.to_owned(), Span::default());
        prepare(&query, engine, &mut scope, &mut diagnostics)
            .map(|p| (p.text.whole.to_string(), p.binds, p.effect))
            .ok_or_else(|| diagnostics.sorted().iter().map(|d| d.message.clone()).collect())
    }

    #[test]
    fn names_become_numbers_and_nothing_else_changes() {
        let sql = "SELECT ':a', \":b\", x -- :a\n/* :b */ FROM t WHERE é = :b AND y = :a OR z = :b; -- end";
        let (text, binds, effect) = run(sql).unwrap();
        assert_eq!(text, "SELECT ':a', \":b\", x -- :a\n/* :b */ FROM t WHERE é = ?1 AND y = ?2 OR z = ?1");
        assert_eq!(binds, [1, 0]);
        assert_eq!(effect, Effect::Reads);
    }

    #[test]
    fn what_postgres_writes_with_a_colon_is_left_alone() {
        let sql = "SELECT :a::int, x::text[], y[1:b], y[:a], $$ :a $$, $q$:b$q$, E'\\':b', '{}'::jsonb @> :b, j ? 'k' FROM t";
        let (text, binds, effect) = run_on(Engine::Postgres, sql).unwrap();
        let wanted = "SELECT $1::int, x::text[], y[1:b], y[$1], $$ :a $$, $q$:b$q$, E'\\':b', '{}'::jsonb @> $2, j ? 'k' FROM t";
        assert_eq!(text, wanted);
        assert_eq!((binds, effect), (vec![0, 1], Effect::Reads));
        assert_ne!(
            run_on(Engine::Postgres, "WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x").unwrap().2,
            Effect::Unknown
        );
    }

    #[test]
    fn what_mysql_writes_otherwise_is_left_alone_and_each_place_has_its_bind() {
        let sql = "SELECT `:a`, \"\\\":a\", '\\':a', 5--:a, @x := :b, @@sql_mode, a->>'$.b' # :a\nFROM t -- :a\nWHERE é = :b AND y=:a /* :a */";
        let (text, binds, effect) = run_on(Engine::Mysql, sql).unwrap();
        let wanted = "SELECT `:a`, \"\\\":a\", '\\':a', 5--?, @x := ?, @@sql_mode, a->>'$.b' # :a\nFROM t -- :a\nWHERE é = ? AND y=? /* :a */";
        assert_eq!((text.as_str(), binds), (wanted, vec![0, 1, 1, 0]));
        assert_ne!(effect, Effect::Writes);
        for run in ["SELECT 1 /*!50000 INTO OUTFILE 'x' */", "SELECT 1 /*M!100100 , 2 */"] {
            assert!(run_on(Engine::Mysql, run).unwrap_err().contains("is run by some servers"), "{run}");
        }
        for reads in [
            "(SELECT 1) UNION (SELECT 2)",
            "SHOW TABLES",
            "describe t",
            "EXPLAIN SELECT 1",
            "SELECT '/*! INTO */', `into`",
        ] {
            assert_eq!(run_on(Engine::Mysql, reads).unwrap().2, Effect::Reads, "{reads}");
        }
        for writes in [
            "SELECT 1 INTO OUTFILE 'x'",
            "TABLE t INTO DUMPFILE 'x'",
            "SET @x = 1",
            "CALL p()",
            "LOAD DATA INFILE 'x'",
        ] {
            assert_eq!(run_on(Engine::Mysql, writes).unwrap().2, Effect::Writes, "{writes}");
        }
    }

    #[test]
    fn stacked_unknown_and_unnamed_are_refused() {
        assert!(run("SELECT 1; DELETE FROM t").unwrap_err().contains("one statement"));
        assert!(run("  -- nothing\n").unwrap_err().contains("no statement"));
        assert!(run("SELECT :c").unwrap_err().contains("`:c` is not a parameter"));
        assert!(run("SELECT ?").unwrap_err().contains("without a name"));
        assert!(run("SELECT 'open").unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn what_writes_is_seen_where_the_text_can_tell() {
        assert_eq!(run("WITH x AS (SELECT 1) SELECT * FROM x").unwrap().2, Effect::Reads);
        for (sql, effect) in [
            ("EXPLAIN SELECT 1", Effect::Reads),
            ("EXPLAIN (FORMAT JSON) SELECT 1;", Effect::Reads),
            ("EXPLAIN DELETE FROM t", Effect::Reads),
            ("EXPLAIN ANALYZE SELECT 1", Effect::Writes),
            ("EXPLAIN ANALYZE VERBOSE WITH x AS (DELETE FROM t RETURNING 1) SELECT 1 FROM x", Effect::Writes),
            ("EXPLAIN ANALYZE DELETE FROM t", Effect::Writes),
            ("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", Effect::Writes),
            ("EXPLAIN ANALYZE SELECT 1 FROM", Effect::Unknown),
            ("TABLE t", Effect::Reads),
            ("VALUES (1), (2)", Effect::Reads),
            ("((SELECT 1) UNION (SELECT 2)) LIMIT 1", Effect::Reads),
            ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", Effect::Writes),
            ("WITH x AS (SELECT 1) UPDATE t SET a = 1", Effect::Writes),
            ("WITH x AS (SELECT 1) DELETE FROM t", Effect::Writes),
            ("SELECT 1 and more of it", Effect::Unknown),
        ] {
            assert_eq!(run_on(Engine::Postgres, sql).unwrap().2, effect, "{sql}");
        }
        for sql in [
            "DELETE FROM t",
            "INSERT INTO t VALUES (:a)",
            "ATTACH 'x' AS y",
            "PRAGMA query_only=0",
            "DROP TABLE t",
        ] {
            assert_ne!(run(sql).unwrap().2, Effect::Reads, "{sql}");
        }
    }
}
