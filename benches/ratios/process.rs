//! Child processes: started on their core, found by the address they print, read through `/proc`,
//! ended by id when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use crate::Result;

const LOAD_CORE: &str = "0";
const SERVER_CORE: &str = "1";
const START: Duration = Duration::from_secs(20);

/// Pins this process to the load's core; false when there is no second core or no `taskset`, and
/// then nothing is pinned.
pub fn pin() -> bool {
    let own = std::process::id().to_string();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores >= 2 && taskset(&["-c", SERVER_CORE, "true"]) && taskset(&["-cp", LOAD_CORE, &own])
}

fn taskset(args: &[&str]) -> bool {
    Command::new("taskset").args(args).output().is_ok_and(|output| output.status.success())
}

/// A server in a process of its own.
pub struct Server {
    guard: Guard,
    pub address: SocketAddr,
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Either fails only if the process has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    pub fn start(program: &Path, args: &[&str], pinned: bool) -> Result<Self> {
        let child =
            on_core(program, pinned).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut guard = Guard(child);
        let stdout = guard.0.stdout.take().ok_or("a child has no output")?;
        let (found, address) = mpsc::channel();
        std::thread::spawn(move || {
            // Goes on reading after the address, so that the child never waits for room in the
            // pipe.
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if let Some(address) = address_in(&line) {
                    let _ = found.send(address);
                }
            }
        });
        match address.recv_timeout(START) {
            Ok(address) => Ok(Self { guard, address }),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(format!("no address from `{}` in {START:?}", args.join(" ")).into())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(format!("`{}` ended before it listened: {}", args.join(" "), guard.0.wait()?).into())
            }
        }
    }

    /// Processor time since its start, of all threads.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_in(&self.proc("stat"))
    }

    pub fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib =
            line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS: has the process ended?")?;
        Ok(kib.parse()?)
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.guard.0.id())
    }
}

/// Processor time of this process.
pub fn own_cpu() -> Result<Duration> {
    cpu_in("/proc/self/stat")
}

fn cpu_in(stat: &str) -> Result<Duration> {
    let stat = fs::read_to_string(stat)?;
    // The second field is the name in parentheses and may hold spaces; after it, utime and stime
    // are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<u32> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_secs(1) * ticks.iter().sum() / ticks_per_second())
}

/// Runs a program to its end on the servers' core and answers what it printed.
pub async fn output(program: &Path, args: &[&str], pinned: bool) -> Result<String> {
    let mut command = on_core(program, pinned);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    if !output.status.success() {
        return Err(format!("`{}` ended: {}", args.join(" "), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn on_core(program: &Path, pinned: bool) -> Command {
    if !pinned {
        return Command::new(program);
    }
    let mut command = Command::new("taskset"); // becomes the program, under the same id
    command.args(["-c", SERVER_CORE]).arg(program);
    command
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let from = line.get(line.find("127.0.0.1:")?..)?;
    let end = from.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(from.len());
    let address: SocketAddr = from.get(..end)?.trim_end_matches(['.', ':']).parse().ok()?;
    (address.port() != 0).then_some(address)
}

fn ticks_per_second() -> u32 {
    static TICKS: OnceLock<u32> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let output = Command::new("getconf").arg("CLK_TCK").output().ok();
        output.and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok()).unwrap_or(100)
    })
}
