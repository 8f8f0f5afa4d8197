//! What the gateway costs over the least that could do the same work: bare hyper servers and the
//! real gateway take turns under one load, and the ratios are the result. Needs Linux's `/proc`.
//! `cargo bench --bench ratios [-- --seconds N --write FOLDER --only NAME --all yes]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program that prints its measurements"
)]

mod alone;
mod args;
mod bare;
mod contest;
mod floors;
mod goals;
#[path = "../../src/source/vector/hash.rs"]
#[allow(
    dead_code,
    clippy::trivially_copy_pass_by_ref,
    reason = "the gateway's own code, of which only the vectors are needed"
)]
mod hash;
mod load;
mod policies;
mod process;
mod report;
mod tables;
mod upstream;
mod works;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use args::{Command, Loop, Options, Role};
use bare::{Asked, Bare};
use contest::Stand;
use goals::GOALS;
use report::{Machine, Report};
use works::{Floor, Work};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let done = match args::parse(std::env::args().skip(1)) {
        Ok(Command::Skip) => {
            println!("ratios: skipped, it measures only under `cargo bench`");
            Ok(())
        }
        Ok(Command::Serve(role, listen)) => serve(role, &listen),
        Ok(Command::Repeat(repeated)) => repeat(&repeated),
        Ok(Command::Parse(file)) => parse(&file),
        Ok(Command::Measure(options)) => measure(&options),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratios: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The body of a child process. The runtime is the one that programs have by default: multi-threaded,
/// with as many workers as cores it may use. The gateway takes one thread where that is one.
fn serve(role: Role, listen: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        println!("listening {}", listener.local_addr()?);
        match role {
            Role::FloorFixed { bytes } => floors::fixed(listener, bytes).await,
            Role::FloorForward { upstream } => floors::forward(listener, &upstream).await,
            Role::FloorBare { asked, file } => Bare::open(asked, &file)?.serve(listener).await,
            Role::Upstream => upstream::run(listener).await,
        }
    })
}

/// The body of a child process that prints what a call of the bare loop costs.
fn repeat(repeated: &Loop) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let length = Duration::from_secs_f64(repeated.seconds);
    let looped = runtime.block_on(async {
        Bare::open(repeated.asked, &repeated.file)?.repeat(&repeated.arguments, length).await
    })?;
    println!("{}", serde_json::to_string(&looped)?);
    Ok(())
}

/// The body of a child process that reads a YAML file into a value.
fn parse(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let options = serde_saphyr::options! { budget: None };
    let value: serde_json::Value = serde_saphyr::from_str_with_options(&text, options)?;
    let tools = value.get("tools").and_then(serde_json::Value::as_object).map_or(0, serde_json::Map::len);
    println!("{tools} tools");
    Ok(())
}

fn measure(options: &Options) -> Result<()> {
    let rows = rows(options)?;
    let machine = Machine::describe(); // before pinning, which hides cores
    let pinned = process::pin();
    let mut report = Report::new(machine, pinned, options.seconds);
    println!("{}", report.heading());
    let works = works::all().into_iter().filter(|work| rows.contains(&work.name));
    let (works, left_out): (Vec<Work>, Vec<Work>) =
        works.partition(|work| !work.floor.postgres() || tables::url().is_some());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Leaving by an error, also on a signal, drops the guards that end the child processes.
        tokio::select! {
            done = compare(&works, &rows, &mut report) => done,
            () = interrupted() => Err(Error::from("interrupted")),
        }
    })?;
    print!("{}", policies::table(report.comparisons()));
    print!("\n{}", goals::table(&report.standings(&rows)));
    if !left_out.is_empty() {
        let names: Vec<&str> = left_out.iter().map(|work| work.name).collect();
        println!("left out, as there is no TEST_POSTGRES_URL: {}", names.join(", "));
    }
    if let Some(folder) = &options.write {
        report.write(folder, &rows)?;
    }
    Ok(())
}

/// The names of the rows that are asked for.
fn rows(options: &Options) -> Result<Vec<&'static str>> {
    let mut known: Vec<&str> = alone::ROWS.into_iter().chain(works::all().iter().map(|w| w.name)).collect();
    if let Some(unknown) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no row is called {unknown}; there are {}", known.join(", ")).into());
    }
    let wanted = |name: &str| match options.only.as_slice() {
        [] => options.all || GOALS.iter().any(|goal| goal.row == name),
        only => only.iter().any(|one| one == name),
    };
    known.retain(|name| wanted(name));
    Ok(known)
}

async fn compare(works: &[Work], rows: &[&str], report: &mut Report) -> Result<()> {
    let stand = Stand::open(report.seconds, report.pinned)?;
    for work in works.iter().filter(|work| !work.floor.postgres()) {
        compare_one(&stand, work, report).await?;
    }
    let mut postgres = works.iter().filter(|work| work.floor.postgres()).peekable();
    if postgres.peek().is_some() {
        tables::make(works.iter().any(|work| work.floor == Floor::Bare(Asked::Nearest))).await?;
        for work in postgres {
            compare_one(&stand, work, report).await?;
        }
        tables::clear().await?;
    }
    for row in rows.iter().filter(|row| alone::ROWS.contains(*row)) {
        if report.has(row) {
            continue;
        }
        let figures = alone::measure(row, &stand).await.map_err(|error| format!("{row}: {error}"))?;
        for figure in figures {
            println!("{:<16} {:.2} {}", figure.row, figure.measured, figure.beside);
            report.note(figure);
        }
    }
    Ok(())
}

async fn compare_one(stand: &Stand, work: &Work, report: &mut Report) -> Result<()> {
    let done = stand.compare(work).await;
    let comparison = done.map_err(|error| format!("{}: {error}", work.name))?;
    print!("{}", comparison.rows());
    report.add(comparison);
    Ok(())
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
