//! Reload: one task that waits for a change of what the configuration was read from, reads and compiles it anew, and puts it to use in
//! one swap, or says why not and leaves everything as it is. New parts are built before anything in use is touched, so there is no way
//! back to go.

mod healed;
mod told;
mod trace;
mod watch;

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::config::{Environment, Watched};
use crate::diag::{self, Diagnostic, Format, Severity};
use crate::live::{Live, LiveHandle, Refused, Resource};
use crate::memory;
use crate::online;
use crate::plan::{Changes, Checked, Member, Plan, STATUS_URI, check, same};
use crate::source::OpenError;
use crate::talk::{Change, News};
use crate::telemetry;
use crate::telemetry::notify::Notify;
use crate::telemetry::unbroken::{Round, unbroken};
use healed::Undescribed;
use watch::Watch;

pub use told::Warned;

/// How long a reload waits for the databases to describe the statements that are new.
const DESCRIBE: Duration = Duration::from_millis(1500);

/// How a plan is served, which a reload does not change.
#[derive(Clone, Copy, Debug)]
pub enum Edge {
    /// Over HTTP.
    Http {
        /// The address of the command line, which stands above that of the file.
        listen: Option<SocketAddr>,
    },
    /// Over stdin and stdout.
    Stdio,
}

impl Edge {
    /// Makes a plan one that is served in this way, and may change.
    ///
    /// # Errors
    /// If the address of the command line may not be listened on with this plan.
    pub fn settle(self, plan: &mut Plan) -> Result<(), Box<Diagnostic>> {
        plan.sign();
        if let Self::Http { listen: Some(address) } = self {
            plan.server.listen_on(address)?;
        }
        plan.may_change();
        Ok(())
    }
}

/// What came of looking at the files again.
#[derive(Debug)]
pub enum Outcome {
    /// They hold what they held.
    Unchanged,
    /// They differ, and say the same.
    Same,
    /// What they say is in use now.
    Reloaded(Box<Changes>),
    /// What they say cannot be used, and why.
    Refused(Box<Refused>),
}

impl Outcome {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refused::plain(why)))
    }
}

/// What a reload needs to know of what runs.
pub struct Reload {
    path: PathBuf,
    environment: Environment,
    edge: Edge,
    live: LiveHandle,
    news: News,
    /// Hears of the begin and the end of each look.
    manager: Notify,
    /// What is served, and where, for the manager.
    place: String,
    /// The plan in use as it was compiled, before the databases described it and its lists were written.
    base: Plan,
    /// What the files held that are in use.
    used: Watched,
    /// What they held at the last look.
    seen: Watched,
    warned: Warned,
    /// What could not be described when its databases were asked.
    undescribed: Undescribed,
}

impl Reload {
    /// Follows what `live` was made of: `plan` and `watched` as they came from the file at `path`, settled by `edge`.
    #[must_use]
    pub fn new(
        (path, environment): (PathBuf, Environment),
        edge: Edge,
        (plan, watched): (Plan, Watched),
        live: LiveHandle,
        news: News,
    ) -> Self {
        let manager = Notify::default();
        Self {
            path,
            environment,
            edge,
            live,
            news,
            manager,
            place: String::new(),
            base: plan,
            used: watched.clone(),
            seen: watched,
            warned: Warned::default(),
            undescribed: Undescribed::default(),
        }
    }

    /// The same, where these warnings were told of it already.
    #[must_use]
    pub fn after(self, warned: Warned) -> Self {
        self.live.load().history.warned(warned.list());
        Self { warned, ..self }
    }

    /// The same, where the databases of these tools could not be asked what they give.
    #[must_use]
    pub fn describing(mut self, left: HashSet<String>) -> Self {
        self.undescribed = Undescribed::new(left);
        self
    }

    /// The same, telling the service manager what happens to what is served at this place.
    #[must_use]
    pub fn telling(self, manager: Notify, place: &str) -> Self {
        Self { manager, place: place.to_owned(), ..self }
    }

    /// Reloads at every change of a file, and when asked to, as long as it is polled.
    pub async fn run(self, asked: mpsc::Receiver<()>) {
        give_back().await;
        let mut state = (self, asked);
        let following = unbroken("following the files", &mut state, |(reload, asked)| {
            Box::pin(reload.follow(asked)) as Round<'_, Infallible>
        });
        match following.await {}
    }

    async fn follow(&mut self, asked: &mut mpsc::Receiver<()>) -> Infallible {
        let mut watch = Watch::new(true);
        let mut fresh = true;
        loop {
            let folders =
                self.seen.folders().map(|(folder, pattern)| (folder.to_owned(), pattern.to_owned()));
            watch.follow(self.seen.paths().map(PathBuf::from).collect(), folders.collect()).await;
            // What changed before it was watched made no event.
            let mut by_hand = false;
            if !fresh || self.is_current().await {
                by_hand = self.idle(&mut watch, asked).await;
                fresh = true;
            } else {
                fresh = false;
            }
            self.manager.reloading();
            watch.quiet().await;
            let outcome = Box::pin(self.once()).await;
            if !matches!(outcome, Outcome::Unchanged) {
                give_back().await;
            }
            self.log(&outcome, by_hand);
            self.manager.ready(&self.state());
        }
    }

    async fn is_current(&self) -> bool {
        let seen = self.seen.clone();
        tokio::task::spawn_blocking(move || seen.is_current()).await.unwrap_or(true)
    }

    /// In a few words.
    fn state(&self) -> String {
        let live = self.live.load();
        let state = format!("{}, generation {}", self.place, live.generation);
        // Of the files as they are now, whether or not this look was the first at them.
        match live.history.load().refused {
            Some(_) => format!("{state}; a change was refused, see the log"),
            None => state,
        }
    }

    fn log(&self, outcome: &Outcome, by_hand: bool) {
        let generation = self.live.load().generation;
        match outcome {
            Outcome::Unchanged if by_hand => match &self.live.load().history.load().refused {
                Some((_, why)) => error!(
                    "no file has changed since the last look: not reloaded, generation {generation} stays in use: {why}"
                ),
                None => info!("nothing to reload: no file has changed"),
            },
            Outcome::Unchanged => {}
            Outcome::Same => info!("files have changed, and say what is in use (generation {generation})"),
            Outcome::Reloaded(changes) => {
                info!("reloaded, generation {generation}: {}", told::changes(changes));
            }
            Outcome::Refused(why) => error!("not reloaded, generation {generation} stays in use: {why}"),
        }
    }

    /// Looks at the files once, and puts to use what they say. What came of it is remembered, counted and told.
    pub async fn once(&mut self) -> Outcome {
        let look = AssertUnwindSafe(Box::pin(self.look())).catch_unwind();
        let outcome = look.await.unwrap_or_else(|_| Outcome::refused("putting it to use ended in a panic"));
        let live = self.live.load();
        // Counted first: who sees what has come of it finds it counted.
        match &outcome {
            Outcome::Unchanged => return outcome,
            Outcome::Same => {
                live.metrics.reloaded("same");
                live.history.same();
            }
            // Counted when it was put to use.
            Outcome::Reloaded(_) => {}
            Outcome::Refused(why) => {
                live.metrics.reloaded("refused");
                live.history.refused(Refused::clone(why));
            }
        }
        if live.plan.server.status.resource {
            self.news.tell(Change::Resource(STATUS_URI.to_owned()));
        }
        outcome
    }

    async fn look(&mut self) -> Outcome {
        let (path, environment, seen) = (self.path.clone(), self.environment.clone(), self.seen.clone());
        let used = self.used.clone();
        let looked = tokio::task::spawn_blocking(move || {
            if seen.is_current() {
                return None;
            }
            let mut checked = check(&path, &environment);
            // As large as the plan itself, and nobody asks for it any more.
            checked.config = None;
            let read = checked.watched.clone();
            checked.watched.cover(&used);
            Some((checked, read))
        });
        let Ok(looked) = looked.await else {
            return Outcome::refused("reading it ended in a panic");
        };
        let Some((mut checked, read)) = looked else { return Outcome::Unchanged };
        self.seen = std::mem::take(&mut checked.watched);
        let warnings = told::warnings(&checked);
        let outcome = Box::pin(self.apply(checked)).await;
        if matches!(outcome, Outcome::Same | Outcome::Reloaded(_)) {
            (self.used, self.seen) = (read.clone(), read);
            self.warned.tell(warnings);
            self.live.load().history.warned(self.warned.list());
        }
        outcome
    }

    async fn apply(&mut self, mut checked: Checked) -> Outcome {
        let Some(mut plan) = checked.plan.take() else { return refused(&checked) };
        if let Err(problem) = self.edge.settle(&mut plan) {
            return Outcome::refused(&problem.message);
        }
        plan.share(&self.base);
        let changes = Changes::between(&self.base, &plan, matches!(self.edge, Edge::Http { .. }));
        if !changes.fixed.is_empty() {
            let keys: Vec<String> = changes.fixed.iter().map(|key| format!("`{key}`")).collect();
            return Outcome::refused(format!(
                "{} cannot change while this runs: restart it",
                keys.join(", ")
            ));
        }
        let base = plan.clone();
        if changes.is_empty() {
            self.base = base;
            return Outcome::Same;
        }
        let old = self.live.load();
        let described = self.carry(&old, &mut plan, &changes);
        let (live, left) = match open(plan, &old, &described).await {
            Ok(opened) => opened,
            Err(error) => return Outcome::refused(error.to_string()),
        };
        if !Arc::ptr_eq(&live.auth, &old.auth) {
            live.auth.warm();
        }
        // What is known of it is there before it is: who sees the new generation finds all of it.
        live.metrics.reloaded("applied");
        live.history.applied(changes.clone());
        telemetry::set_levels(&live.plan.server.log.levels());
        let opened = told::opened(&self.base, &base);
        self.swap(&old, live);
        if matches!(self.edge, Edge::Http { .. }) {
            for sentence in opened {
                warn!("{sentence}");
            }
        }
        self.base = base;
        self.undescribed = Undescribed::new(left);
        Outcome::Reloaded(Box::new(changes))
    }

    /// Puts another configuration in the place of the one in use, and tells those for whom that is news.
    fn swap(&self, old: &Live, live: Live) {
        // Lists first: who reads a content that has changed should know what there is.
        let mut news = lists(old, &live);
        news.extend(contents(old, &live));
        let generation = live.generation;
        self.live.store(live);
        self.news.reloaded(generation, news);
    }

    /// Takes over what the databases said of statements that are as they were; gives the names of their tools.
    fn carry(&self, old: &Live, plan: &mut Plan, changes: &Changes) -> HashSet<String> {
        let mut described = HashSet::new();
        let before = self.base.tools.iter().map(|tool| (tool.route.name.as_str(), tool));
        let before: std::collections::HashMap<_, _> = before.collect();
        for tool in &mut plan.tools {
            let name = tool.route.name.as_str();
            let (Some(base), Some(live)) = (before.get(name), old.tool(name)) else { continue };
            let source = tool.route.op.source().is_none_or(|source| {
                !changes.sources.changed.iter().chain(&changes.sources.added).any(|s| s == source)
            });
            let same = same(&base.route, &tool.route) && base.output_schema == tool.output_schema && source;
            if same && live.plan.output_schema != base.output_schema {
                described.insert(name.to_owned());
                if Arc::ptr_eq(base, tool) {
                    *tool = live.plan.clone();
                } else {
                    Arc::make_mut(tool).output_schema.clone_from(&live.plan.output_schema);
                }
            }
        }
        described
    }
}

/// What a start or a look at the files needed for a while goes back.
async fn give_back() {
    let _ = tokio::task::spawn_blocking(memory::give_back).await;
}

fn refused(checked: &Checked) -> Outcome {
    let rendered = diag::render(&checked.diagnostics, &checked.sources, Format::Text { colour: false });
    let errors = checked.diagnostics.errors();
    let sorted = checked.diagnostics.sorted();
    let first = sorted.iter().find(|problem| problem.severity == Severity::Error);
    Outcome::Refused(Box::new(Refused {
        code: first.map(|problem| problem.code),
        place: first.and_then(|problem| diag::place_of(problem, &checked.sources)),
        message: first.map_or_else(String::new, |problem| problem.message.clone()),
        text: format!("{errors} error{}\n{}", if errors == 1 { "" } else { "s" }, rendered.trim_end()),
    }))
}

/// Opens a plan beside the one in use, with what the databases say of the tools that are not `described`. Gives those that could not be
/// asked.
async fn open(
    plan: Plan,
    old: &Arc<Live>,
    described: &HashSet<String>,
) -> Result<(Live, HashSet<String>), OpenError> {
    let live = build(plan, old.clone()).await?;
    let told = online::describe(&live, DESCRIBE, |tool| !described.contains(tool)).await;
    let Some(plan) = told.plan else { return Ok((live, told.left)) };
    let generation = live.generation;
    let mut live = build(plan, Arc::new(live)).await?;
    // The same configuration, told in more detail.
    live.generation = generation;
    Ok((live, told.left))
}

/// A large plan takes a while to open, which must not hold up calls.
async fn build(plan: Plan, old: Arc<Live>) -> Result<Live, OpenError> {
    let built = tokio::task::spawn_blocking(move || Live::open(plan, Some(&old))).await;
    built.unwrap_or_else(|_| {
        Err(OpenError {
            name: "one of the sources".to_owned(),
            reason: "opening it ended in a panic".to_owned(),
        })
    })
}

/// The resources whose content stands in the configuration and is another one, or is there for the first time.
fn contents(old: &Live, new: &Live) -> Vec<Change> {
    let fixed = |resource: &Resource| resource.route.plan.op.source().is_none();
    let differs = |resource: &&Resource| match old.exactly(&resource.plan.uri) {
        None => fixed(resource),
        Some(before) => {
            let (was, is) = (&before.plan, &resource.plan);
            (fixed(before) || fixed(resource))
                && (was.route.op != is.route.op
                    || was.route.output != is.route.output
                    || was.mime_type != is.mime_type)
        }
    };
    let live = new.plan.resources.iter().filter_map(|resource| new.exactly(&resource.uri));
    live.filter(differs).map(|resource| Change::Resource(resource.plan.uri.clone())).collect()
}

/// The lists that may differ for somebody: because they do, or because who callers are may.
fn lists(old: &Live, new: &Live) -> Vec<Change> {
    let callers = old.plan.server.auth != new.plan.server.auth;
    let (old, new) = (&old.plan.catalog, &new.plan.catalog);
    let differs =
        |member| old.lists_differ(new, member) || callers && (old.hides(member) || new.hides(member));
    let differ = |members: &[Member]| members.iter().any(|member| differs(*member));
    let lists = [
        (Change::Tools, differ(&[Member::Tools])),
        (Change::Resources, differ(&[Member::Resources, Member::Templates])),
        (Change::Prompts, differ(&[Member::Prompts])),
    ];
    lists.into_iter().filter_map(|(list, differs)| differs.then_some(list)).collect()
}
