//! Live: a plan with its open sources, and the pointer through which everybody sees the current one.

mod figures;
mod history;
mod open;
mod status;
mod tls;
mod views;

pub use history::{History, Known, Refused, Warning};
pub use status::{Sight, Status};
pub use tls::Tls;
pub use views::View;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth::Authentication;
use crate::caller::Caller;
use crate::plan::{Plan, PromptPlan, ResourcePlan, RoutePlan, ToolPlan};
use crate::policy::cache::{Answer, Cache, Shelf};
use crate::policy::rate_limit::RateLimit;
use crate::policy::{Concurrency, Guard};
use crate::source::{Backend, OpenError, Source, SourcePlan};
use crate::telemetry::audit::Slot;
use crate::telemetry::metrics::{Metrics, RouteMeter};
use crate::telemetry::otlp::{Exporter, Exporters};

/// A compiled route bound to its live source.
#[derive(Clone, Debug)]
pub struct Route {
    /// The plan it was made from.
    pub plan: Arc<RoutePlan>,
    /// What an attempt executes.
    pub backend: Backend,
    /// The prompt or resource it belongs to, if it does not stand for itself.
    of: String,
    /// What guards its source.
    pub guard: Option<Arc<Guard>>,
    /// The places of its own calls.
    pub places: Option<Arc<Concurrency>>,
    /// How often it may be called.
    pub limit: Option<Arc<RateLimit>>,
    /// Its part of the cache, whether it keeps answers or not.
    pub shelf: Arc<Shelf>,
    /// The cache of the process.
    pub cache: Arc<Cache<Answer>>,
    /// What a success makes wrong.
    pub invalidates: Vec<Arc<Shelf>>,
    /// What is counted of it.
    pub meter: Arc<RouteMeter>,
    /// Where its calls are recorded.
    pub audit: Arc<Slot>,
}

/// A source in use.
#[derive(Clone, Debug)]
pub struct OpenSource {
    /// Its plan.
    pub plan: SourcePlan,
    /// The source.
    pub source: Source,
    /// What guards it.
    pub guard: Arc<Guard>,
}

impl OpenSource {
    fn open(name: &str, plan: &SourcePlan) -> Result<Self, OpenError> {
        Ok(Self { plan: plan.clone(), source: plan.open(name)?, guard: Arc::new(plan.guard(name)) })
    }
}

/// A tool in use.
#[derive(Debug)]
pub struct Tool {
    /// Its plan.
    pub plan: Arc<ToolPlan>,
    /// Its route.
    pub route: Route,
}

/// A resource or template in use.
#[derive(Debug)]
pub struct Resource {
    /// Its plan.
    pub plan: ResourcePlan,
    /// Its route.
    pub route: Route,
    /// Suggestions for its variables.
    pub completions: Vec<(String, Completion)>,
}

/// Where suggestions for an argument come from.
#[derive(Debug)]
pub enum Completion {
    /// Fixed values.
    Values(Vec<String>),
    /// An operation.
    Route(Box<Route>),
}

/// A prompt in use.
#[derive(Debug)]
pub struct Prompt {
    /// Its plan.
    pub plan: PromptPlan,
    /// How often it may be asked for.
    pub limit: Option<Arc<RateLimit>>,
    /// What is counted of it.
    pub meter: Arc<RouteMeter>,
    /// Its data routes by name.
    pub data: Vec<(String, Route)>,
    /// Suggestions for its arguments.
    pub completions: Vec<(String, Completion)>,
}

/// Everything that is in use now. A call holds it to its end, so that one call sees one generation.
#[derive(Debug)]
pub struct Live {
    /// Counts up with every plan that was put to use.
    pub generation: u64,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Open sources by name.
    pub sources: HashMap<String, OpenSource>,
    /// Kept answers, of all generations.
    pub cache: Arc<Cache<Answer>>,
    /// Where calls are recorded, in all generations; filled when the process begins.
    pub audit: Arc<Slot>,
    /// What is counted, in all generations.
    pub metrics: Arc<Metrics>,
    /// Since when it is in use, and what came of the last look at the files; in all generations.
    pub history: Arc<History>,
    /// What is counted of `sidegate://status`, where it is served.
    pub status_meter: Option<Arc<RouteMeter>>,
    /// Where traces go.
    pub exporter: Option<Arc<Exporter>>,
    /// All that still send, in all generations.
    pub exporters: Exporters,
    /// How often lists and fixed suggestions may be asked for.
    pub lists_limit: Option<Arc<RateLimit>>,
    /// Says who calls over HTTP.
    pub auth: Arc<Authentication>,
    /// TLS of the listener.
    pub tls: Option<Arc<Tls>>,
    /// What callers see of the lists.
    views: views::Views,
    tools: HashMap<Arc<str>, Box<Tool>>,
    /// Resources by URI.
    resources: HashMap<String, Resource>,
    templates: Vec<Resource>,
    prompts: HashMap<String, Prompt>,
}

impl Live {
    /// What clients are told of how long they may keep what modern results say: for a second at the most, as long after a reload as they
    /// could have kept it before. Edits come in bursts, and replicas reload one after the other.
    #[must_use]
    pub fn keeping(&self) -> &str {
        if self.has_just_changed() { &self.plan.catalog.brief } else { &self.plan.catalog.cache }
    }

    /// Whether the last reload is not longer ago than `server.lists.ttl`.
    #[must_use]
    pub fn has_just_changed(&self) -> bool {
        let known = self.history.load();
        // A clock that was set back says nothing.
        known.changes.is_some() && known.since.elapsed().unwrap_or_default() < self.plan.server.list_ttl.0
    }

    /// What this caller sees of the lists; `operates` says whether they may read the status.
    #[must_use]
    pub fn view(&self, caller: &Caller, operates: bool) -> View {
        self.views.of(&self.plan.catalog, caller, operates && self.plan.server.status.resource)
    }

    /// A tool by name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.get(name).map(|tool| &**tool)
    }

    /// A prompt by name.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<&Prompt> {
        self.prompts.get(name)
    }

    /// The resource of a URI and the values of its variables. A plain URI comes before any template, and templates are
    /// tried in written order.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<(&Resource, Vec<(&str, String)>)> {
        if let Some(resource) = self.resources.get(uri) {
            return Some((resource, Vec::new()));
        }
        self.templates.iter().find_map(|r| r.plan.template.matches(uri).map(|values| (r, values)))
    }

    /// The resource or template that is written with exactly this URI.
    #[must_use]
    pub fn exactly(&self, uri: &str) -> Option<&Resource> {
        self.resources.get(uri).or_else(|| self.template(uri))
    }

    /// The template with exactly this URI template, as completion requests name it.
    #[must_use]
    pub fn template(&self, uri_template: &str) -> Option<&Resource> {
        self.templates.iter().find(|r| r.plan.uri == uri_template)
    }
}

/// The pointer to the current [`Live`], swapped whole.
#[derive(Clone, Debug)]
pub struct LiveHandle(Arc<ArcSwap<Live>>);

impl LiveHandle {
    /// Starts with one.
    #[must_use]
    pub fn new(live: Live) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(live)))
    }

    /// Puts another one in its place, for everybody who looks from now on.
    pub fn store(&self, live: Live) {
        self.0.store(Arc::new(live));
    }

    /// The current one.
    #[must_use]
    pub fn load(&self) -> Arc<Live> {
        self.0.load_full()
    }
}
