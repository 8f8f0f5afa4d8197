//! What a live configuration says of itself to those who run it: one JSON object of a fixed shape, described by
//! `schemas/status.schema.json`. Names, numbers and the problems of a refused reload; never a secret, an address or anything that a caller sent.

use std::time::SystemTime;

use serde::Serialize;

use super::{Live, OpenSource, Route, Warning};
use crate::caller::Caller;
use crate::plan::{Changes, Named};
use crate::policy::Viewer;
use crate::telemetry::metrics::{RELOADS, RouteMeter};
use crate::units::utc;

/// The shape; it counts up when a member goes or means something else, not when one comes.
const FORMAT: u32 = 1;
/// Names that one list of changes tells.
const MAX_NAMES: usize = 100;
/// Warnings that are told.
const MAX_WARNINGS: usize = 50;

/// Whose eyes it is for.
#[derive(Clone, Copy, Debug)]
pub enum Sight<'a> {
    /// Whoever runs the server.
    Whole,
    /// A caller without any say over it: sees the routes that they may use, and neither names of others nor the text of a configuration.
    Of(&'a Caller),
}

/// The object.
#[derive(Serialize)]
pub struct Status<'a> {
    format: u32,
    name: &'a str,
    version: &'static str,
    started: String,
    uptime_seconds: u64,
    config: Config<'a>,
    calls_running: i64,
    connections: i64,
    sessions: i64,
    listen_streams: usize,
    cache: Cache,
    sources: Vec<Source<'a>>,
    routes: Vec<Counted<'a>>,
}

#[derive(Serialize)]
struct Config<'a> {
    generation: u64,
    hash: &'a str,
    in_use_since: String,
    reloads: Reloads,
    changed: Option<Changed>,
    error: Option<Error>,
    warnings: Warnings,
}

#[derive(Serialize)]
struct Reloads {
    applied: u64,
    same: u64,
    refused: u64,
}

#[derive(Serialize)]
struct Changed {
    tools: Lists,
    resources: Lists,
    prompts: Lists,
    sources: Lists,
    server: bool,
    order: bool,
}

#[derive(Serialize)]
struct Lists {
    added: Names,
    removed: Names,
    changed: Names,
}

#[derive(Serialize)]
struct Names {
    count: usize,
    names: Vec<String>,
}

#[derive(Serialize)]
struct Error {
    at: String,
    code: Option<&'static str>,
    place: Option<String>,
    message: Option<String>,
    text: Option<String>,
}

#[derive(Serialize)]
struct Warnings {
    count: usize,
    list: Vec<Warning>,
}

#[derive(Serialize)]
struct Cache {
    entries: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Source<'a> {
    name: &'a str,
    kind: &'static str,
    state: &'static str,
    seen_seconds_ago: Option<u64>,
    breaker: Option<&'static str>,
    places: Option<Places>,
    pool: Option<Pool>,
}

#[derive(Serialize)]
struct Places {
    all: u32,
    in_use: u32,
    waiting: usize,
}

#[derive(Serialize)]
struct Pool {
    open: u32,
    in_use: u32,
    idle: u32,
}

#[derive(Serialize)]
struct Counted<'a> {
    noun: &'static str,
    name: &'a str,
    calls: u64,
    errors: u64,
    cancelled: u64,
    running: u64,
    cache: Option<Kept>,
}

#[derive(Serialize)]
struct Kept {
    hit: u64,
    stale: u64,
    miss: u64,
}

impl Live {
    /// What somebody sees who may read it: a caller who is known, where no scopes say who runs the server, what is theirs.
    #[must_use]
    pub fn sight<'a>(&self, caller: &'a Caller) -> Sight<'a> {
        match caller {
            Caller::Known(_) if self.plan.server.status.auth.scopes.is_empty() => Sight::Of(caller),
            _ => Sight::Whole,
        }
    }

    /// What there is to say now; `streams` is how many clients listen.
    #[must_use]
    pub fn status<'a>(&'a self, sight: Sight<'_>, streams: usize) -> Status<'a> {
        let (entries, bytes) = self.cache.size();
        let metrics = &self.metrics;
        let started = metrics.started();
        let uptime = SystemTime::now().duration_since(started).unwrap_or_default();
        Status {
            format: FORMAT,
            name: &self.plan.server.name,
            version: env!("CARGO_PKG_VERSION"),
            started: utc(started),
            uptime_seconds: uptime.as_secs(),
            config: self.config(sight),
            calls_running: metrics.running.get(),
            connections: metrics.connections.get(),
            sessions: metrics.sessions.get(),
            listen_streams: streams,
            cache: Cache { entries, bytes },
            sources: self.plan.sources.iter().filter_map(|(name, _)| self.source_status(name)).collect(),
            routes: self.counted(sight),
        }
    }

    fn config(&self, sight: Sight<'_>) -> Config<'_> {
        let known = self.history.load();
        let whole = matches!(sight, Sight::Whole);
        let error = known.refused.as_ref().map(|(at, why)| Error {
            at: utc(*at),
            code: why.code,
            place: why.place.clone().filter(|_| whole),
            message: whole.then(|| why.message.clone()),
            text: whole.then(|| why.text.clone()),
        });
        let [applied, same, refused] = RELOADS.map(|result| self.metrics.reloads(result));
        Config {
            generation: self.generation,
            hash: &self.plan.digest,
            in_use_since: utc(known.since),
            reloads: Reloads { applied, same, refused },
            changed: known.changes.as_ref().map(|changes| changed(changes, whole)),
            error,
            warnings: Warnings {
                count: known.warnings.len(),
                list: known.warnings.iter().filter(|_| whole).take(MAX_WARNINGS).cloned().collect(),
            },
        }
    }

    fn source_status<'a>(&'a self, name: &'a str) -> Option<Source<'a>> {
        let OpenSource { plan, source, guard } = self.sources.get(name)?;
        let seen = guard.seen();
        Some(Source {
            name,
            kind: plan.kind(),
            state: seen.map_or("unknown", |(well, _)| if well { "up" } else { "down" }),
            seen_seconds_ago: seen.map(|(_, ago)| ago),
            breaker: guard.breaker(),
            places: guard.places().map(|(all, in_use)| Places {
                all,
                in_use,
                waiting: guard.waiting().unwrap_or(0),
            }),
            pool: source.connections().map(|(open, idle)| Pool {
                open,
                in_use: open.saturating_sub(idle),
                idle,
            }),
        })
    }

    /// Tools, resources and prompts in written order, as far as they are for these eyes.
    fn counted(&self, sight: Sight<'_>) -> Vec<Counted<'_>> {
        let viewer = match &sight {
            Sight::Whole => None,
            Sight::Of(caller) => Some(Viewer::of_many(caller)),
        };
        let seen = |route: &Route| {
            let rule = &route.plan.policy.auth;
            viewer.as_ref().is_none_or(|viewer| rule.before_viewer(viewer, &route.plan.name).is_ok())
        };
        let tools = self.plan.tools.iter().filter_map(|plan| self.tool(&plan.route.name));
        let tools = tools.map(|tool| &tool.route);
        let resources = self.plan.resources.iter().filter_map(|plan| self.exactly(&plan.uri));
        let routes = tools.chain(resources.map(|resource| &resource.route));
        let routes = routes.filter(|route| seen(route)).map(|route| counted(&route.meter));
        let prompts = self.plan.prompts.iter().filter_map(|plan| self.prompt(&plan.name));
        let prompts = prompts.filter(|prompt| {
            let rule = &prompt.plan.policy.auth;
            viewer.as_ref().is_none_or(|viewer| rule.before_viewer(viewer, &prompt.plan.name).is_ok())
        });
        routes.chain(prompts.map(|prompt| counted(&prompt.meter))).collect()
    }
}

fn counted(meter: &RouteMeter) -> Counted<'_> {
    let counts = meter.counts();
    Counted {
        noun: meter.noun,
        name: &meter.route,
        calls: counts.calls,
        errors: counts.errors,
        cancelled: counts.cancelled,
        running: counts.running,
        cache: meter.answers().map(|answers| Kept {
            hit: answers.hit.get(),
            stale: answers.stale.get(),
            miss: answers.miss.get(),
        }),
    }
}

fn changed(changes: &Changes, whole: bool) -> Changed {
    let names = |all: &[String]| Names {
        count: all.len(),
        names: all.iter().filter(|_| whole).take(MAX_NAMES).cloned().collect(),
    };
    let lists = |named: &Named| Lists {
        added: names(&named.added),
        removed: names(&named.removed),
        changed: names(&named.changed),
    };
    let Changes { sources, tools, resources, prompts, server, fixed: _, order } = changes;
    Changed {
        tools: lists(tools),
        resources: lists(resources),
        prompts: lists(prompts),
        sources: lists(sources),
        server: *server,
        order: *order,
    }
}
