//! What the gateway costs over the least that could do the same work: bare hyper servers and the
//! real gateway take turns under one load, and the ratios are the result. Needs Linux's `/proc`.
//! `cargo bench --bench ratios [-- --seconds N --json FILE --only NAME]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program that prints its measurements"
)]

mod args;
mod bare;
mod contest;
mod floors;
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

use std::process::ExitCode;
use std::time::Duration;

use args::{Command, Loop, Options, Role};
use bare::{Asked, Bare};
use contest::Stand;
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

/// The body of a child process. The runtime is the gateway's: multi-threaded, as many workers as
/// cores it may use.
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

fn measure(options: &Options) -> Result<()> {
    let works = works::chosen(&options.only)?;
    let machine = Machine::describe(); // before pinning, which hides cores
    let pinned = process::pin();
    let mut report = Report::new(machine, pinned, options.seconds);
    println!("{}", report.heading());
    let (works, left_out): (Vec<Work>, Vec<Work>) =
        works.into_iter().partition(|work| !work.floor.postgres() || tables::url().is_some());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Leaving by an error, also on a signal, drops the guards that end the child processes.
        tokio::select! {
            done = compare(&works, &mut report) => done,
            () = interrupted() => Err(Error::from("interrupted")),
        }
    })?;
    print!("{}", policies::table(report.comparisons()));
    if !left_out.is_empty() {
        let names: Vec<&str> = left_out.iter().map(|work| work.name).collect();
        println!("left out, as there is no TEST_POSTGRES_URL: {}", names.join(", "));
    }
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    Ok(())
}

async fn compare(works: &[Work], report: &mut Report) -> Result<()> {
    let stand = Stand::open(report.seconds, report.pinned)?;
    let tables = works.iter().any(|work| work.floor.postgres());
    if tables {
        tables::make(works.iter().any(|work| work.floor == Floor::Bare(Asked::Nearest))).await?;
    }
    for work in works {
        let done = stand.compare(work).await;
        let comparison = done.map_err(|error| format!("{}: {error}", work.name))?;
        print!("{}", comparison.rows());
        report.add(comparison);
    }
    if tables { tables::clear().await } else { Ok(()) }
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
