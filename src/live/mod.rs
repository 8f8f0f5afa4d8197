//! Live: a plan with its open sources, and the pointer through which everybody sees the current one.

mod bind;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use bind::{Binding, Places};

use crate::plan::{Plan, PromptPlan, ResourcePlan, RoutePlan, ToolPlan};
use crate::policy::{Concurrency, Guard};
use crate::source::{Backend, OpenError, Source, SourcePlan};

/// A compiled route bound to its live source.
#[derive(Clone, Debug)]
pub struct Route {
    /// The plan it was made from.
    pub plan: Arc<RoutePlan>,
    /// What an attempt executes.
    pub backend: Backend,
    /// What guards its source.
    pub guard: Option<Arc<Guard>>,
    /// The places of its own calls.
    pub places: Option<Arc<Concurrency>>,
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
    pub plan: ToolPlan,
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
    places: Places,
    tools: HashMap<String, Tool>,
    /// Resources by URI.
    resources: HashMap<String, Resource>,
    templates: Vec<Resource>,
    prompts: HashMap<String, Prompt>,
}

impl Live {
    /// Opens a plan. Sources that are equal to those of `previous` go on with their pools and guards, routes with their places.
    ///
    /// # Errors
    /// If a source cannot be made at all; one that is merely down opens and heals.
    pub fn open(plan: Plan, previous: Option<&Self>) -> Result<Self, OpenError> {
        let mut sources = HashMap::new();
        for (name, source) in &plan.sources {
            let kept = previous.and_then(|p| p.sources.get(name)).filter(|known| known.plan == *source);
            let live = kept.map_or_else(|| OpenSource::open(name, source), |kept| Ok(kept.clone()))?;
            sources.insert(name.clone(), live);
        }
        let mut binding = Binding::new(&sources, previous.map(|p| &p.places));
        let mut tools = HashMap::with_capacity(plan.tools.len());
        for tool in &plan.tools {
            let live = Tool { plan: tool.clone(), route: binding.route("", &tool.route)? };
            tools.insert(tool.route.name.clone(), live);
        }
        let mut resources = HashMap::new();
        let mut templates = Vec::new();
        for resource in &plan.resources {
            let live = Resource {
                route: binding.route("", &resource.route)?,
                completions: binding.completions(&resource.uri, &resource.completions)?,
                plan: resource.clone(),
            };
            if resource.is_template() {
                templates.push(live);
            } else {
                resources.insert(resource.uri.clone(), live);
            }
        }
        let mut prompts = HashMap::new();
        for prompt in &plan.prompts {
            let data =
                prompt.data.iter().map(|(name, plan)| Ok((name.clone(), binding.route(&prompt.name, plan)?)));
            let data = data.collect::<Result<_, OpenError>>()?;
            let completions = binding.completions(&prompt.name, &prompt.completions)?;
            prompts.insert(prompt.name.clone(), Prompt { plan: prompt.clone(), data, completions });
        }
        let places = binding.places();
        let generation = previous.map_or(1, |p| p.generation + 1);
        Ok(Self { generation, plan: Arc::new(plan), sources, places, tools, resources, templates, prompts })
    }

    /// A tool by name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.get(name)
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
