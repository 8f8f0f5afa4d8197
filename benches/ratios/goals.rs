//! The goals: what is measured beside what, how good it has to be, and how it stands after a run.

use serde::Serialize;

use crate::alone::Figure;
use crate::policies;
use crate::report::Comparison;

/// One goal.
pub struct Goal {
    /// The row by which it is asked for: a work, or a figure of one process.
    pub row: &'static str,
    what: &'static str,
    against: &'static str,
    measure: Measure,
    bound: Bound,
}

/// What of a row is held against the goal.
#[derive(Clone, Copy)]
enum Measure {
    Throughput,
    Cpu,
    /// What the gateway adds to p50 at one connection.
    Added,
    /// How many times as long.
    Times,
    Mib,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

use Bound::{AtLeast, AtMost, Below};
use Measure::{Added, Cpu, Mib, Throughput, Times};

const fn goal(
    row: &'static str,
    what: &'static str,
    against: &'static str,
    measure: Measure,
    bound: Bound,
) -> Goal {
    Goal { row, what, against, measure, bound }
}

const FIXED: &str = "bare hyper, fixed reply";
const FORWARD: &str = "bare hyper that parses, forwards by a pooled client, wraps";
const SAME: &str = "bare hyper sending as many bytes";

pub const GOALS: [Goal; 24] = [
    goal("static", "call of a `static` text", FIXED, Throughput, AtLeast(0.60)),
    goal("static", "call of a `static` text", FIXED, Cpu, AtMost(2.0)),
    goal("static+hit", "the same, kept by `cache`", FIXED, Throughput, AtLeast(0.55)),
    goal(policies::KEPT, "call of a REST route, kept by `cache`", FIXED, Throughput, AtLeast(0.55)),
    goal("rest", "call of a REST route, 1 KB, no policies", FORWARD, Throughput, AtLeast(0.90)),
    goal("rest", "call of a REST route, 1 KB, no policies", FORWARD, Added, AtMost(30.0)),
    goal(
        policies::ALL,
        "the same with a token, a rate limit, metrics and audit",
        FORWARD,
        Throughput,
        AtLeast(0.75),
    ),
    goal(
        "postgres",
        "call of an SQL route, PostgreSQL, one row by key",
        "bare sqlx behind bare hyper",
        Throughput,
        AtLeast(0.85),
    ),
    goal("sqlite", "the same, SQLite", "bare sqlx behind bare hyper", Throughput, AtLeast(0.80)),
    goal(
        "sqlite-direct",
        "the same, SQLite",
        "rusqlite on blocking threads behind bare hyper",
        Throughput,
        AtLeast(0.80),
    ),
    goal(
        "pgvector",
        "vector search, pgvector, 20,000 x 384, HNSW",
        "the same SQL by bare sqlx",
        Throughput,
        AtLeast(0.90),
    ),
    goal("list-10", "`tools/list` of 10 routes", SAME, Throughput, AtLeast(0.85)),
    goal("list-1000", "`tools/list` of 1,000 routes", SAME, Throughput, AtLeast(0.85)),
    goal("list-10000", "`tools/list` of 10,000 routes", SAME, Throughput, AtLeast(0.85)),
    goal("call-10000", "one call among 10,000 routes", "itself among 10", Cpu, AtMost(1.05)),
    goal(
        "load",
        "load and compile of 10,000 routes",
        "serde parse of the same text into a value",
        Times,
        AtMost(5.0),
    ),
    goal("reload", "reload of them after one changed line", "load until ready, CPU", Times, AtMost(1.2)),
    goal("memory", "memory, idle, 10 routes", "-", Mib, Below(15.0)),
    goal("memory-connections", "memory for 1,000 idle connections", "-", Mib, Below(12.0)),
    goal("memory-10000", "memory, 10,000 routes", "-", Mib, Below(60.0)),
    goal("memory-reloaded", "the same after 3 reloads", "-", Mib, Below(60.0)),
    goal(
        "start-http",
        "cold start to the first `tools/list` answer, HTTP",
        "bare hyper's to its first answer",
        Times,
        AtMost(3.0),
    ),
    goal("start-stdio", "the same, stdio", "bare hyper's to its first answer", Times, AtMost(3.0)),
    goal("binary", "release binary, stripped", "-", Mib, Below(25.0)),
];

/// A goal after a run.
#[derive(Serialize)]
pub struct Standing {
    row: &'static str,
    what: &'static str,
    against: &'static str,
    measure: &'static str,
    goal: String,
    measured: Option<f64>,
    shown: String,
    outcome: &'static str,
    /// What was measured on both sides.
    beside: String,
}

impl Goal {
    /// How it stands; a row that was not measured is left out.
    fn stand(&self, comparisons: &[Comparison], figures: &[Figure]) -> Standing {
        let comparison = comparisons.iter().find(|comparison| comparison.work == self.row);
        let figure = figures.iter().find(|figure| figure.row == self.row);
        let measured = match (self.measure, comparison, figure) {
            (Throughput, Some(work), _) => Some(work.throughput_ratio()),
            (Cpu, Some(work), _) => Some(work.cpu_ratio()),
            (Added, Some(work), _) => Some(work.added_us()),
            (_, _, figure) => figure.map(|figure| figure.measured),
        };
        let beside = comparison.map(|work| match self.measure {
            Added => work.alone_words(),
            Cpu => work.cpu_words(),
            _ => work.words(),
        });
        let beside = beside.or_else(|| figure.map(|figure| figure.beside.clone())).unwrap_or_default();
        Standing {
            row: self.row,
            what: self.what,
            against: self.against,
            measure: self.measure.name(),
            goal: self.bound.shown(self.measure),
            measured,
            shown: measured.map_or_else(|| "-".to_owned(), |figure| self.measure.shown(figure)),
            outcome: match measured {
                None => "left out",
                Some(figure) if self.bound.met(figure) => "met",
                Some(_) => "not met",
            },
            beside,
        }
    }
}

impl Measure {
    const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Cpu => "CPU per call",
            Self::Added => "added p50, one connection",
            Self::Times => "time",
            Self::Mib => "size",
        }
    }

    fn shown(self, figure: f64) -> String {
        match self {
            Self::Throughput | Self::Cpu | Self::Times => format!("{figure:.2}"),
            Self::Added => format!("{figure:.0} \u{b5}s"),
            Self::Mib => format!("{figure:.1} MiB"),
        }
    }
}

impl Bound {
    fn met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::Below(most) => figure < most,
        }
    }

    fn shown(self, measure: Measure) -> String {
        match self {
            Self::AtLeast(figure) => format!("\u{2265} {}", measure.shown(figure)),
            Self::AtMost(figure) => format!("\u{2264} {}", measure.shown(figure)),
            Self::Below(figure) => format!("< {}", measure.shown(figure)),
        }
    }
}

/// How the goals of the `rows` stand.
pub fn standings(rows: &[&str], comparisons: &[Comparison], figures: &[Figure]) -> Vec<Standing> {
    let asked = GOALS.iter().filter(|goal| rows.contains(&goal.row));
    asked.map(|goal| goal.stand(comparisons, figures)).collect()
}

/// The table as Markdown.
pub fn table(standings: &[Standing]) -> String {
    let mut text =
        "| what | measured against | figure | goal | measured | |\n|---|---|---|---|---|---|\n".to_owned();
    for Standing { what, against, measure, goal, shown, outcome, beside, .. } in standings {
        let beside = if beside.is_empty() { String::new() } else { format!(" ({beside})") };
        text.push_str(&format!(
            "| {what} | {against} | {measure} | {goal} | {shown}{beside} | {outcome} |\n"
        ));
    }
    text
}
