//! The gateway as a child process, ended by its id when the test is over.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::{Connection, message};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sidegate");
const PATIENCE: Duration = Duration::from_secs(60);

/// What is started: the program that was built with the tests, or that of `SIDEGATE_PROGRAM`, such as a release build for long runs.
fn program() -> OsString {
    std::env::var_os("SIDEGATE_PROGRAM").unwrap_or_else(|| PROGRAM.into())
}

/// A running child.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
    log: Arc<Mutex<Vec<u8>>>,
    /// Reads the log to its end.
    reading: JoinHandle<()>,
}

impl Process {
    /// Starts the program; nothing of the environment reaches it.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    /// The same, with these variables.
    pub fn start_with(folder: &Path, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Self {
        Self::begin(Command::new(program()).args(arguments), folder, environment)
    }

    /// Starts the program where it may use one core.
    #[cfg(target_os = "linux")]
    pub fn start_on_one_core(folder: &Path, arguments: &[&str]) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let first = cores.split(['-', ',']).next().unwrap();
        // It becomes the program, under the same id.
        let mut command = Command::new("taskset");
        Self::begin(command.args(["-c", first]).arg(program()).args(arguments), folder, &[])
    }

    fn begin(command: &mut Command, folder: &Path, environment: &[(&str, &OsStr)]) -> Self {
        let mut child = command
            .current_dir(folder)
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = Some(BufReader::new(child.stdout.take().unwrap()).lines());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (mut stderr, sink) = (child.stderr.take().unwrap(), log.clone());
        let reading = tokio::spawn(async move {
            let mut chunk = vec![0; 16 << 10];
            while let Ok(n @ 1..) = stderr.read(&mut chunk).await {
                sink.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        Self { input: child.stdin.take(), child, output, log, reading }
    }

    /// `sidegate serve` of a text; gives the address it says.
    pub async fn serve(folder: &Path, yaml: &str) -> (Self, SocketAddr) {
        std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
        let mut process = Self::start(folder, &["serve", "--listen", "127.0.0.1:0"]);
        let address = process.address().await;
        (process, address)
    }

    /// The address that it says when it is ready.
    pub async fn address(&mut self) -> SocketAddr {
        let line = self.line().await.unwrap_or_else(|| panic!("it did not start: {}", self.log()));
        let (_, rest) = line.split_once("://").unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// `sidegate stdio` of a text.
    pub fn stdio(folder: &Path, yaml: &str) -> Self {
        std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
        Self::start(folder, &["stdio"])
    }

    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Everything it wrote to stderr so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).await.unwrap();
        input.flush().await.unwrap();
    }

    pub async fn say(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes()).await;
    }

    /// The next line of the output; `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        let next = self.output.as_mut().unwrap().next_line();
        tokio::time::timeout(PATIENCE, next).await.expect("no line came").unwrap()
    }

    /// The next line as JSON; every line of the output has to be a JSON-RPC message.
    pub async fn message(&mut self) -> Value {
        let line = self.line().await.expect("the output ended");
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        message
    }

    /// Whether no line comes for a while.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.output.as_mut().unwrap().next_line()).await.is_err()
    }

    pub fn close_output(&mut self) {
        self.output = None;
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Sends a signal, by name, to this child only.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.id());
        let status = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end, and until all that it wrote to stderr is in the log.
    pub async fn end(&mut self, within: Duration) -> ExitStatus {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => {
                if !self.reading.is_finished() {
                    tokio::time::timeout(PATIENCE, &mut self.reading)
                        .await
                        .expect("the log has no end")
                        .unwrap();
                }
                status.unwrap()
            }
            Err(_) => panic!("it still runs after {within:?}; its log: {}", self.log()),
        }
    }

    /// Its resident memory in bytes.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
    }

    /// CPU time used so far, in seconds.
    #[cfg(target_os = "linux")]
    pub fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

/// The result of calling a tool of a child without arguments.
pub async fn call(address: SocketAddr, name: &str) -> Value {
    let mut connection = Connection::open(address).await.unwrap();
    let list = message::modern_headers("tools/call", Some(name));
    let body = message::modern("tools/call", json!({ "name": name })).to_string();
    let reply = connection.send("POST", "/mcp", &list, body.as_bytes()).await.unwrap();
    reply.json()["result"].take()
}
