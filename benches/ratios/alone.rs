//! What is measured of one process at a time: how it starts, loads and reloads, what memory it takes, how large the program is.
//! A bare server, or a bare parse of the same text, takes turns with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;
use tempfile::TempDir;

use crate::contest::{SIDEGATE, Stand, serve};
use crate::load;
use crate::process::{self, Place, Server};
use crate::report::{median, tidy};
use crate::works::{self, FEW, MANY, TEXT};
use crate::{Result, floors};

/// The rows that are figures of one process.
pub const ROWS: [&str; 9] = [
    "load",
    "reload",
    "memory-reloaded",
    "memory",
    "memory-connections",
    "memory-10000",
    "start-http",
    "start-stdio",
    "binary",
];
/// How often a start is measured, a load, and a reload in each of so many processes.
const STARTS: usize = 15;
const LOADS: usize = 5;
const RELOADS: usize = 3;
const PROCESSES: usize = 2;
/// Connections that are held; fewer than a process usually may have files.
const HELD: u32 = 900;
/// What a process may still do after its answer.
const SETTLE: Duration = Duration::from_millis(500);
/// After which a connection counts as idle.
const IDLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// A figure, and what it was made of.
#[derive(Serialize)]
pub struct Figure {
    pub row: &'static str,
    pub measured: f64,
    pub beside: String,
}

impl Figure {
    fn new(row: &'static str, measured: f64, beside: String) -> Self {
        Self { row, measured: tidy(measured), beside }
    }
}

/// Measures a row; some come together.
pub async fn measure(row: &str, stand: &Stand) -> Result<Vec<Figure>> {
    let files = Files::write(stand)?;
    Ok(match row {
        "load" => vec![loaded(stand, &files).await?],
        "reload" | "memory-reloaded" => reloaded(stand, &files).await?,
        "memory" => vec![memory("memory", &files.few, stand).await?],
        "memory-10000" => vec![memory("memory-10000", &files.many, stand).await?],
        "memory-connections" => vec![connections(&files.few, stand).await?],
        "start-http" => vec![started(stand, &files.few, false).await?],
        "start-stdio" => vec![started(stand, &files.few, true).await?],
        "binary" => vec![binary()?],
        _ => Vec::new(),
    })
}

struct Files {
    folder: TempDir,
    few: PathBuf,
    many: PathBuf,
}

impl Files {
    fn write(stand: &Stand) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, routes| -> Result<PathBuf> {
            let file = folder.path().join(name);
            fs::write(&file, works::many(routes, TEXT, stand.upstream()))?;
            Ok(file)
        };
        let (few, many) = (write("few.yaml", FEW)?, write("many.yaml", MANY)?);
        Ok(Self { folder, few, many })
    }
}

fn name(file: &Path) -> Result<&str> {
    Ok(file.to_str().ok_or("the temporary folder's name is not UTF-8")?)
}

/// From the start of a process to its first answer, beside a bare server.
async fn started(stand: &Stand, few: &Path, stdio: bool) -> Result<Figure> {
    let message = works::list();
    let (mut bare, mut gateway) = (Vec::new(), Vec::new());
    // Both on the core of this process, which waits.
    for _ in 0..STARTS {
        let begun = Instant::now();
        let server = stand.fixed(floors::fixed_reply(0)?.len(), Place::Any)?;
        load::ask(server.address, &message).await?;
        bare.push(millis(begun.elapsed()));
        drop(server);

        let begun = Instant::now();
        if stdio {
            let args = ["stdio", "-c", name(few)?];
            let answer = process::first_line(Path::new(SIDEGATE), &args, &message.line()).await?;
            proved(answer.contains("get_order_9"), &answer)?;
        } else {
            let server = serve(few, Place::Any)?;
            load::ask(server.address, &message).await?;
        }
        gateway.push(millis(begun.elapsed()));
    }
    let (bare, gateway) = (median(bare), median(gateway));
    let row = if stdio { "start-stdio" } else { "start-http" };
    Ok(Figure::new(row, gateway / bare, format!("{gateway:.1} ms beside {bare:.1} ms")))
}

fn proved(fine: bool, answer: &str) -> Result<()> {
    if fine { Ok(()) } else { Err(format!("this is not the answer:\n{answer:.2000}").into()) }
}

/// `check` beside a parse of the same text. The least of some rounds: all that disturbs makes them longer.
async fn loaded(stand: &Stand, files: &Files) -> Result<Figure> {
    let file = name(&files.many)?;
    let (mut bare, mut gateway) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..LOADS {
        let begun = Instant::now();
        process::output(&stand.own, &["--role", "parse", "--file", file], Place::Any).await?;
        bare = bare.min(millis(begun.elapsed()));
        let begun = Instant::now();
        process::output(Path::new(SIDEGATE), &["check", "-c", file], Place::Any).await?;
        gateway = gateway.min(millis(begun.elapsed()));
    }
    Ok(Figure::new("load", gateway / bare, format!("{gateway:.0} ms beside {bare:.0} ms")))
}

/// The processor time of a reload beside that of the start, and what memory is taken after all of them.
async fn reloaded(stand: &Stand, files: &Files) -> Result<Vec<Figure>> {
    let (mut loads, mut reloads, mut resident) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..PROCESSES {
        fs::write(&files.many, works::many(MANY, TEXT, stand.upstream()))?;
        let server = serve(&files.many, stand.place)?;
        load::ask(server.address, &works::hello()).await?;
        tokio::time::sleep(SETTLE).await;
        loads.push(millis(server.cpu()?));
        for round in 1..=RELOADS {
            let before = server.cpu()?;
            let text = format!("Changed {round} times.");
            let next = files.folder.path().join("next.yaml");
            fs::write(&next, works::many(MANY, &text, stand.upstream()))?;
            fs::rename(&next, &files.many)?;
            until_it_says(&server, &text).await?;
            tokio::time::sleep(SETTLE).await;
            reloads.push(millis(server.cpu()?.saturating_sub(before)));
        }
        resident = resident.max(mib(server.resident_kib()?));
    }
    let (load, reload) = (median(loads), median(reloads));
    let beside = format!("{reload:.0} ms beside {load:.0} ms");
    Ok(vec![
        Figure::new("reload", reload / load, beside),
        Figure::new("memory-reloaded", resident, String::new()),
    ])
}

async fn until_it_says(server: &Server, text: &str) -> Result<()> {
    let waiting = async {
        loop {
            let answer = load::ask(server.address, &works::hello()).await?;
            if String::from_utf8_lossy(&answer).contains(text) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await?
}

/// What a process takes after its first answers.
async fn memory(row: &'static str, file: &Path, stand: &Stand) -> Result<Figure> {
    let server = serve(file, stand.place)?;
    load::ask(server.address, &works::list()).await?;
    load::ask(server.address, &works::hello()).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(Figure::new(row, mib(server.resident_kib()?), String::new()))
}

/// What connections add that have asked once and stay.
async fn connections(few: &Path, stand: &Stand) -> Result<Figure> {
    let server = serve(few, stand.place)?;
    load::ask(server.address, &works::list()).await?;
    tokio::time::sleep(SETTLE).await;
    let before = mib(server.resident_kib()?);
    let held = load::hold(server.address, &works::list(), HELD as usize).await?;
    tokio::time::sleep(IDLE).await;
    let more = mib(server.resident_kib()?) - before;
    drop(held);
    let measured = more * 1000.0 / f64::from(HELD);
    Ok(Figure::new("memory-connections", measured, format!("{more:.1} MiB for {HELD}")))
}

/// The size of the program as it is shipped: without symbols, also where this build kept them.
fn binary() -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("sidegate");
    fs::copy(SIDEGATE, &copy)?;
    let stripped = Command::new("strip").arg(&copy).status().is_ok_and(|status| status.success());
    let bytes = fs::metadata(&copy)?.len();
    let beside = if stripped { String::new() } else { "as it was built".to_owned() };
    Ok(Figure::new("binary", mib(bytes / 1024), beside))
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
