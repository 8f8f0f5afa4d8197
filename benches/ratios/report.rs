//! Figures of rounds, their medians, the ratios between the two sides, and how they are shown: a
//! table, and a JSON file beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::bare::Looped;
use crate::contest::{CONNECTIONS, ROUNDS};
use crate::load::Round;

/// One round at full load.
#[derive(Serialize)]
pub struct Figures {
    requests_per_s: f64,
    server_cpu_us: f64,
    /// Share of the round the server's processor time fills; far below 1 means that the load, not
    /// the server, set the rate.
    server_busy: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Figures {
    pub fn of(round: &Round, cpu: Duration) -> Self {
        let count = f64::from(u32::try_from(round.count()).unwrap_or(u32::MAX));
        Self {
            requests_per_s: tidy(count / round.elapsed.as_secs_f64()),
            server_cpu_us: tidy(micros(cpu) / count),
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
        "{:<14}{:>9.0}{:>9.1}{:>7.0}{:>8.0}{:>8.0}{:>8.0}{:>9}{:>8}",
        side.name,
        side.median(|round| round.requests_per_s),
        side.median(|round| round.server_cpu_us),
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
}

impl Report {
    pub fn new(machine: Machine, pinned: bool, seconds: f64) -> Self {
        Self { machine, pinned, seconds, comparisons: Vec::new() }
    }

    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    pub fn add(&mut self, comparison: Comparison) {
        self.comparisons.push(comparison);
    }

    pub fn heading(&self) -> String {
        let Machine { cpu, cores, kernel, rustc } = &self.machine;
        let place = if self.pinned { "pinned: servers to core 1, load to core 0" } else { "not pinned" };
        let mut text = format!("{cpu}, {cores} cores, kernel {kernel}, {rustc}; {place}\n");
        let _ = writeln!(
            text,
            "medians of {ROUNDS} rounds of {} s in turn, {CONNECTIONS} connections; \
             \"alone\" is p50 at one connection\n",
            self.seconds
        );
        let _ = write!(
            text,
            "{:<16} {:<14}{:>9}{:>9}{:>7}{:>8}{:>8}{:>8}{:>9}{:>8}",
            "work", "server", "req/s", "CPU µs", "busy %", "p50 µs", "p99 µs", "alone", "RSS KiB", "bytes"
        );
        text
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let report = json!({
            "machine": self.machine,
            "pinned": self.pinned,
            "rounds": ROUNDS,
            "seconds": self.seconds,
            "connections": CONNECTIONS,
            "works": self.comparisons.iter().map(Comparison::json).collect::<Vec<_>>(),
        });
        fs::write(file, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(())
    }
}

#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    rustc: String,
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
        Self {
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
fn tidy(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
