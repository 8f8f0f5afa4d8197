//! One work measured: floor and gateway take turns, so that a slow moment of the machine meets
//! both. Each work has fresh processes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::Result;
use crate::bare::{Asked, Looped};
use crate::load::{self, Message};
use crate::process::{self, Place, Server};
use crate::report::{Comparison, Figures, Side, micros};
use crate::works::{self, Floor, Work};

pub const ROUNDS: usize = 5;
pub const CONNECTIONS: usize = 16;
pub const SIDEGATE: &str = env!("CARGO_BIN_EXE_sidegate");
const WARM_UP: Duration = Duration::from_millis(300);

/// What all works share: the length of a round, the programs, the upstream.
pub struct Stand {
    length: Duration,
    /// Where servers run.
    pub place: Place,
    pub own: PathBuf,
    upstream: Server,
}

impl Stand {
    pub fn open(seconds: f64, pinned: bool) -> Result<Self> {
        let place = if pinned { Place::Core } else { Place::Any };
        let own = std::env::current_exe()?;
        let upstream = Server::start(&own, &["--role", "upstream"], place)?;
        Ok(Self { length: Duration::from_secs_f64(seconds), place, own, upstream })
    }

    pub fn upstream(&self) -> SocketAddr {
        self.upstream.address
    }

    /// A bare server that sends as many bytes.
    pub fn fixed(&self, bytes: usize, place: Place) -> Result<Server> {
        let bytes = bytes.to_string();
        Server::start(&self.own, &["--role", Floor::Fixed.role(), "--bytes", &bytes], place)
    }

    pub async fn compare(&self, work: &Work) -> Result<Comparison> {
        let folder = tempfile::tempdir()?;
        let gateway = self.gateway(work, folder.path())?;
        let reply = load::ask(gateway.address, &work.message).await?;
        if !String::from_utf8_lossy(&reply).contains(work.proof) {
            let reply = String::from_utf8_lossy(&reply);
            return Err(format!("the gateway's answer does not hold {:?}:\n{reply:.4000}", work.proof).into());
        }
        let file = folder.path().join("bench.db");
        let file = file.to_str().ok_or("the temporary folder's name is not UTF-8")?;
        let floor = self.floor(work, reply.len(), file)?;
        let least = load::ask(floor.address, &work.message).await?;
        if matches!(work.floor, Floor::Bare(_)) {
            same_answer(&least, &reply)?;
        }

        let mut contenders = [
            Contender { server: floor, side: Side::new(work.floor.role(), least.len()) },
            Contender { server: gateway, side: Side::new("gateway", reply.len()) },
        ];
        self.take_turns(&mut contenders, &work.message).await?;
        let mut looped = Vec::new();
        if let Floor::Bare(asked) = work.floor {
            for _ in 0..ROUNDS {
                looped.push(self.looped(asked, file, &work.message).await?);
            }
        }
        let [floor, gateway] = contenders;
        Ok(Comparison { work: work.name, floor: floor.finish()?, gateway: gateway.finish()?, looped })
    }

    async fn looped(&self, asked: Asked, file: &str, message: &Message) -> Result<Looped> {
        let seconds = (self.length.as_secs_f64() / 3.0).max(0.1).to_string();
        let arguments = message.arguments()?;
        let args = ["--role", "loop", "--asked", asked.name(), "--file", file, "--seconds", &seconds];
        let args = [&args[..], &["--arguments", &arguments]].concat();
        Ok(serde_json::from_str(&process::output(&self.own, &args, self.place).await?)?)
    }

    async fn take_turns(&self, contenders: &mut [Contender; 2], message: &Message) -> Result<()> {
        for Contender { server, .. } in contenders.iter() {
            load::run(server.address, message, CONNECTIONS, WARM_UP).await?;
        }
        for _ in 0..ROUNDS {
            for Contender { server, side } in contenders.iter_mut() {
                let (before, own) = (server.cpu()?, process::own_cpu()?);
                let round = load::run(server.address, message, CONNECTIONS, self.length).await?;
                side.rounds.push(Figures::of(
                    &round,
                    server.cpu()?.saturating_sub(before),
                    process::own_cpu()?.saturating_sub(own),
                ));
            }
        }
        for _ in 0..ROUNDS {
            for Contender { server, side } in contenders.iter_mut() {
                let round = load::run(server.address, message, 1, self.length / 3).await?;
                side.alone_p50_us.push(micros(round.percentile(50)));
            }
        }
        Ok(())
    }

    fn placed(&self, work: &Work) -> Place {
        if work.cores && self.place == Place::Core { Place::Both } else { self.place }
    }

    fn gateway(&self, work: &Work, folder: &Path) -> Result<Server> {
        let file = folder.join(works::write(folder, work, self.upstream.address)?);
        serve(&file, self.placed(work))
    }

    /// The fixed floor sends as many bytes as the gateway does.
    fn floor(&self, work: &Work, bytes: usize, file: &str) -> Result<Server> {
        let (floor, place) = (work.floor, self.placed(work));
        let (key, value) = match floor {
            Floor::Fixed => return self.fixed(bytes, place),
            Floor::Forward => ("--upstream", self.upstream.address.to_string()),
            Floor::Bare(asked) => ("--asked", asked.name().to_owned()),
            Floor::Itself => {
                let few = Path::new(file).with_file_name("few.yaml");
                fs::write(&few, works::many(works::FEW, works::TEXT, self.upstream.address))?;
                return serve(&few, place);
            }
        };
        Server::start(&self.own, &["--role", floor.role(), key, &value, "--file", file], place)
    }
}

/// The gateway with a configuration.
pub fn serve(file: &Path, place: Place) -> Result<Server> {
    let file = file.to_str().ok_or("the temporary folder's name is not UTF-8")?;
    Server::start(Path::new(SIDEGATE), &["serve", "-c", file, "--listen", "127.0.0.1:0"], place)
}

/// Both sides have to give the same rows, or there is nothing to compare.
fn same_answer(floor: &[u8], gateway: &[u8]) -> Result<()> {
    let structured = |reply: &[u8]| -> Result<Value> {
        let reply: Value = serde_json::from_slice(reply)?;
        Ok(reply.pointer("/result/structuredContent").cloned().unwrap_or_default())
    };
    let (floor, gateway) = (structured(floor)?, structured(gateway)?);
    if floor == gateway && !floor.is_null() {
        return Ok(());
    }
    Err(format!("the floor answers {floor:.2000}\nand the gateway {gateway:.2000}").into())
}

struct Contender {
    server: Server,
    side: Side,
}

impl Contender {
    fn finish(mut self) -> Result<Side> {
        self.side.resident_kib = self.server.resident_kib()?;
        Ok(self.side)
    }
}
