//! Child processes: started on their core, found by the address they print, read through `/proc`,
//! ended by id when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use crate::Result;

const LOAD_CORE: &str = "0";
const SERVER_CORE: &str = "1";
const START: Duration = Duration::from_secs(20);

/// Where a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever the system puts it.
    Any,
    /// On the servers' core.
    Core,
    /// On that and the load's.
    Both,
}

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

/// What a child says on stderr: kept until it has started, as its configuration may have warnings, and shown from then on.
#[derive(Default)]
struct Said {
    kept: Mutex<String>,
    started: AtomicBool,
}

impl Said {
    fn text(&self) -> String {
        self.kept.lock().map(|kept| kept.clone()).unwrap_or_default()
    }
}

fn listen(stderr: ChildStderr) -> Arc<Said> {
    let said = Arc::new(Said::default());
    let keep = said.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
            if keep.started.load(Ordering::Relaxed) {
                eprintln!("{line}");
            } else if let Ok(mut kept) = keep.kept.lock() {
                kept.push_str(&line);
                kept.push('\n');
            }
        }
    });
    said
}

impl Server {
    pub fn start(program: &Path, args: &[&str], place: Place) -> Result<Self> {
        let mut command = placed(program, place);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut guard = Guard(command.spawn()?);
        let (stdout, stderr) = (guard.0.stdout.take(), guard.0.stderr.take());
        let (stdout, stderr) = stdout.zip(stderr).ok_or("a child has no output")?;
        let said = listen(stderr);
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
            Ok(address) => {
                said.started.store(true, Ordering::Relaxed);
                Ok(Self { guard, address })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(format!("no address from `{}` in {START:?}\n{}", args.join(" "), said.text()).into())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = guard.0.wait()?;
                let args = args.join(" ");
                Err(format!("`{args}` ended before it listened: {status}\n{}", said.text()).into())
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

/// Runs a program to its end and answers what it printed.
pub async fn output(program: &Path, args: &[&str], place: Place) -> Result<String> {
    let mut command = placed(program, place);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    if !output.status.success() {
        return Err(format!("`{}` ended: {}", args.join(" "), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Starts a program, gives it a line and answers the first line that it prints.
pub async fn first_line(program: &Path, args: &[&str], line: &str) -> Result<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (mut input, output) = input.zip(output).ok_or("a child has no input or no output")?;
    let talk = async {
        input.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        tokio::io::BufReader::new(output).read_line(&mut answer).await?;
        Ok(answer)
    };
    let answer = tokio::time::timeout(START, talk).await?;
    child.kill().await?;
    answer
}

fn placed(program: &Path, place: Place) -> Command {
    let both = format!("{LOAD_CORE},{SERVER_CORE}");
    let cores = match place {
        Place::Any => return Command::new(program),
        Place::Core => SERVER_CORE,
        Place::Both => &both,
    };
    let mut command = Command::new("taskset"); // becomes the program, under the same id
    command.args(["-c", cores]).arg(program);
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
