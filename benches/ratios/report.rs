//! Figures of rounds, their medians, the ratios between the two sides, and how they are shown: a
//! table, and a JSON file beside it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::alone::Figure;
use crate::bare::Looped;
use crate::contest::{CONNECTIONS, ROUNDS};
use crate::goals::{self, Standing};
use crate::load::Round;

/// One round at full load.
#[derive(Serialize)]
pub struct Figures {
    requests_per_s: f64,
    server_cpu_us: f64,
    /// Share of the round the server's processor time fills; far below 1 means that the load, not
    /// the server, set the rate.
    server_busy: f64,
    /// Processor time of the load for a call: where it is more than the server's, the load has set the rate.
    load_cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Figures {
    pub fn of(round: &Round, cpu: Duration, load: Duration) -> Self {
        let count = f64::from(u32::try_from(round.count()).unwrap_or(u32::MAX));
        Self {
            requests_per_s: tidy(count / round.elapsed.as_secs_f64()),
            server_cpu_us: tidy(micros(cpu) / count),
            load_cpu_us: tidy(micros(load) / count),
            server_busy: tidy(cpu.div_duration_f64(round.elapsed)),
            p50_us: micros(round.percentile(50)),
            p99_us: micros(round.percentile(99)),
        }
    }
}

#[derive(Serialize)]
pub struct Side {
    name: &'static str,
    reply_bytes: usize,
    pub resident_kib: u64,
    pub rounds: Vec<Figures>,
    /// Medians of the rounds at one connection.
    pub alone_p50_us: Vec<f64>,
}

impl Side {
    pub fn new(name: &'static str, reply_bytes: usize) -> Self {
        Self { name, reply_bytes, resident_kib: 0, rounds: Vec::new(), alone_p50_us: Vec::new() }
    }

    fn median(&self, figure: fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }
}

pub struct Comparison {
    pub work: &'static str,
    pub floor: Side,
    pub gateway: Side,
    /// The floor's statement without HTTP, where it has one.
    pub looped: Vec<Looped>,
}

/// Gateway over floor, taken from neighbouring rounds: the median, and the span as a measure of
/// the noise.
#[derive(Serialize)]
struct Ratio {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Ratio {
    fn of(ratios: impl Iterator<Item = f64>) -> Self {
        let ratios: Vec<f64> = ratios.map(tidy).collect();
        Self {
            lowest: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            highest: ratios.iter().copied().fold(0.0, f64::max),
            median: median(ratios),
        }
    }
}

impl Comparison {
    fn ratio(&self, figure: fn(&Figures) -> f64) -> Ratio {
        let pairs = self.gateway.rounds.iter().zip(&self.floor.rounds);
        Ratio::of(pairs.map(|(gateway, floor)| figure(gateway) / figure(floor)))
    }

    /// Processor time of a call, in microseconds: the floor's, and the gateway's.
    pub fn cpu_us(&self) -> (f64, f64) {
        let of = |side: &Side| side.median(|round| round.server_cpu_us);
        (of(&self.floor), of(&self.gateway))
    }

    /// Gateway over floor, of processor time.
    pub fn cpu_ratio(&self) -> f64 {
        self.ratio(|round| round.server_cpu_us).median
    }

    /// Gateway over floor, of throughput.
    pub fn throughput_ratio(&self) -> f64 {
        self.ratio(|round| round.requests_per_s).median
    }

    /// What the gateway adds to p50 at one connection, in microseconds.
    pub fn added_us(&self) -> f64 {
        let pairs = self.gateway.alone_p50_us.iter().zip(&self.floor.alone_p50_us);
        median(pairs.map(|(gateway, floor)| tidy(gateway - floor)).collect())
    }

    /// The figures of both sides behind the throughput.
    pub fn words(&self) -> String {
        let of = |side: &Side| side.median(|round| round.requests_per_s);
        format!("{:.0}/s beside {:.0}/s", of(&self.gateway), of(&self.floor))
    }

    pub fn cpu_words(&self) -> String {
        let (floor, gateway) = self.cpu_us();
        format!("{gateway:.1} µs beside {floor:.1} µs")
    }

    pub fn alone_words(&self) -> String {
        let of = |side: &Side| median(side.alone_p50_us.clone());
        format!("{:.0} µs beside {:.0} µs", of(&self.gateway), of(&self.floor))
    }

    /// Of p50 at one connection.
    fn alone(&self) -> Ratio {
        let pairs = self.gateway.alone_p50_us.iter().zip(&self.floor.alone_p50_us);
        Ratio::of(pairs.map(|(gateway, floor)| gateway / floor))
    }

    pub fn rows(&self) -> String {
        let throughput = self.ratio(|round| round.requests_per_s);
        let cpu = self.ratio(|round| round.server_cpu_us);
        let ratio =
            |ratio: &Ratio| format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.lowest, ratio.highest);
        format!(
            "{:<16} {}\n{:16} {}\n{:16} gateway / floor: throughput {}, CPU {}, alone {}\n{}",
            self.work,
            row(&self.floor),
            "",
            row(&self.gateway),
            "",
            ratio(&throughput),
            ratio(&cpu),
            ratio(&self.alone()),
            self.loop_row(),
        )
    }

    fn loop_row(&self) -> String {
        if self.looped.is_empty() {
            return String::new();
        }
        let Looped { wall_us, cpu_us } = self.loop_median();
        format!(
            "{:16} a call of the bare loop: {wall_us:.1} µs, CPU {cpu_us:.1} µs; gateway / loop: alone {:.2}, CPU {:.2}\n",
            "",
            median(self.gateway.alone_p50_us.clone()) / wall_us,
            self.gateway.median(|round| round.server_cpu_us) / cpu_us,
        )
    }

    fn loop_median(&self) -> Looped {
        let of = |figure: fn(&Looped) -> f64| median(self.looped.iter().map(figure).collect());
        Looped { wall_us: of(|l| l.wall_us), cpu_us: of(|l| l.cpu_us) }
    }

    fn json(&self) -> Value {
        let medians = |side: &Side| {
            json!({
                "requests_per_s": side.median(|round| round.requests_per_s),
                "server_cpu_us": side.median(|round| round.server_cpu_us),
                "server_busy": side.median(|round| round.server_busy),
                "load_cpu_us": side.median(|round| round.load_cpu_us),
                "p50_us": side.median(|round| round.p50_us),
                "p99_us": side.median(|round| round.p99_us),
                "alone_p50_us": median(side.alone_p50_us.clone()),
            })
        };
        json!({
            "work": self.work,
            "throughput_ratio": self.ratio(|round| round.requests_per_s),
            "cpu_ratio": self.ratio(|round| round.server_cpu_us),
            "alone_ratio": self.alone(),
            "bare_loop": self.looped,
            "medians": { "floor": medians(&self.floor), "gateway": medians(&self.gateway) },
            "floor": self.floor,
            "gateway": self.gateway,
        })
    }
}

fn row(side: &Side) -> String {
    format!(
        "{:<14}{:>9.0}{:>9.1}{:>9.1}{:>7.0}{:>8.0}{:>8.0}{:>8.0}{:>9}{:>8}",
        side.name,
        side.median(|round| round.requests_per_s),
        side.median(|round| round.server_cpu_us),
        side.median(|round| round.load_cpu_us),
        side.median(|round| round.server_busy) * 100.0,
        side.median(|round| round.p50_us),
        side.median(|round| round.p99_us),
        median(side.alone_p50_us.clone()),
        side.resident_kib,
        side.reply_bytes,
    )
}

pub struct Report {
    machine: Machine,
    pub pinned: bool,
    pub seconds: f64,
    comparisons: Vec<Comparison>,
    figures: Vec<Figure>,
}

impl Report {
    pub fn new(machine: Machine, pinned: bool, seconds: f64) -> Self {
        Self { machine, pinned, seconds, comparisons: Vec::new(), figures: Vec::new() }
    }

    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    pub fn add(&mut self, comparison: Comparison) {
        self.comparisons.push(comparison);
    }

    pub fn note(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Whether a figure came with another one.
    pub fn has(&self, row: &str) -> bool {
        self.figures.iter().any(|figure| figure.row == row)
    }

    /// How the goals stand that the rows have.
    pub fn standings(&self, rows: &[&str]) -> Vec<Standing> {
        goals::standings(rows, &self.comparisons, &self.figures)
    }

    fn conditions(&self) -> String {
        let Machine { cpu, cores, kernel, rustc, load } = &self.machine;
        let place = if self.pinned { "servers on core 1, load on core 0" } else { "not pinned" };
        format!(
            "{cpu}, {cores} cores, kernel {kernel}, {rustc}; {place}; load of the machine at the begin {load:.2}\n\
             Medians of {ROUNDS} rounds of {} s in turn, {CONNECTIONS} connections; \
             \"alone\" is p50 at one connection.\n",
            self.seconds
        )
    }

    pub fn heading(&self) -> String {
        format!(
            "{}\n{:<16} {:<14}{:>9}{:>9}{:>9}{:>7}{:>8}{:>8}{:>8}{:>9}{:>8}",
            self.conditions(),
            "work",
            "server",
            "req/s",
            "CPU µs",
            "load CPU",
            "busy %",
            "p50 µs",
            "p99 µs",
            "alone",
            "RSS KiB",
            "bytes"
        )
    }

    /// `ratios.json` with everything, and `ratios.md` to read.
    pub fn write(&self, folder: &Path, rows: &[&str]) -> Result<()> {
        let standings = self.standings(rows);
        let report = json!({
            "machine": self.machine,
            "conditions": self.conditions(),
            "pinned": self.pinned,
            "rounds": ROUNDS,
            "seconds": self.seconds,
            "connections": CONNECTIONS,
            "goals": standings,
            "works": self.comparisons.iter().map(Comparison::json).collect::<Vec<_>>(),
            "figures": self.figures,
        });
        let works: String = self.comparisons.iter().map(Comparison::rows).collect();
        let page = format!(
            "# How the goals stand\n\nWritten by `just bench`.\n\n{}\n{}\n```text\n{}\n{works}```\n",
            self.conditions(),
            goals::table(&standings),
            self.heading().lines().last().unwrap_or_default(),
        );
        fs::create_dir_all(folder)?;
        for (name, text) in [("ratios.json", format!("{report:#}\n")), ("ratios.md", page)] {
            let file = folder.join(name);
            fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    rustc: String,
    /// How many others wanted a core, over the last minute.
    load: f64,
}

impl Machine {
    pub fn describe() -> Self {
        let unknown = || "unknown".to_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split(": ").nth(1));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        let rustc = Command::new("rustc")
            .arg("-V")
            .output()
            .ok()
            .and_then(|output| String::from_utf8(output.stdout).ok());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
        Self {
            load,
            cpu: model.map_or_else(unknown, str::to_owned),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.map_or_else(|_| unknown(), |kernel| kernel.trim().to_owned()),
            rustc: rustc.map_or_else(unknown, |version| version.trim().to_owned()),
        }
    }
}

pub fn micros(time: Duration) -> f64 {
    tidy(time.as_secs_f64() * 1e6)
}

/// Three decimals: more would be noise.
pub fn tidy(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
