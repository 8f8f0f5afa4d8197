//! Opening a plan: sources, limits and kept answers that are the same as before go on, everything else is new.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::views::Views;
use super::{Completion, Live, OpenSource, Prompt, Resource, Route, Tls, Tool};
use crate::auth::Authentication;
use crate::plan::{CompletionPlan, Noun, Plan, RoutePlan, STATUS_URI, same};
use crate::policy::Concurrency;
use crate::policy::cache::{Answer, Cache, Shelf};
use crate::policy::rate_limit::{Per, RateLimit, RateLimitPlan};
use crate::source::OpenError;
use crate::telemetry::audit::Slot;
use crate::telemetry::metrics::{Metrics, RouteMeter, SourceMeter};
use crate::telemetry::otlp::{self, Exporter, Exporters, OtlpOptions};

/// Where traces go: what runs already, if that is the same.
fn exporter(
    plan: &Plan,
    previous: Option<&Live>,
    metrics: &Metrics,
    exporters: &Exporters,
) -> Result<Option<Arc<Exporter>>, OpenError> {
    let Some(otlp) = &plan.server.otlp else { return Ok(None) };
    let options = OtlpOptions {
        endpoint: otlp.endpoint.clone(),
        headers: otlp.headers.clone(),
        sample: otlp.sample,
        service: plan.server.name.clone(),
        version: plan.server.version.clone(),
    };
    let running = previous.and_then(|p| p.exporter.as_ref());
    let exporter = otlp::reuse(options, running, (&metrics.spans_exported, &metrics.spans_lost), exporters);
    exporter.map(Some).map_err(|reason| OpenError { name: "server.telemetry.otlp".to_owned(), reason })
}

impl Live {
    /// Opens a plan. What is equal in `previous` goes on: sources with their pools and guards, places and limits with their counts, kept
    /// answers.
    ///
    /// # Errors
    /// If a source cannot be made at all; one that is merely down opens and heals.
    pub fn open(mut plan: Plan, previous: Option<&Self>) -> Result<Self, OpenError> {
        plan.sign();
        plan.list();
        let opening = Opening::new(&plan, previous)?;
        let auth = Authentication::open(&plan.server.auth, previous.map(|p| &p.auth))
            .map_err(|reason| OpenError { name: "auth".to_owned(), reason })?;
        let tls = plan.server.tls.as_ref().map(|tls| Tls::open(tls, previous.and_then(|p| p.tls.as_ref())));
        let tls =
            tls.transpose().map_err(|reason| OpenError { name: "server.http.tls".to_owned(), reason })?;
        let mut tools = HashMap::with_capacity(plan.tools.len());
        for tool in &plan.tools {
            let live = Tool { plan: tool.clone(), route: opening.route("", &tool.route)? };
            tools.insert(live.route.meter.route.clone(), Box::new(live));
        }
        let mut resources = HashMap::new();
        let mut templates = Vec::new();
        for resource in &plan.resources {
            let live = Resource {
                route: opening.route("", &resource.route)?,
                completions: opening.completions(&resource.uri, &resource.completions)?,
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
                prompt.data.iter().map(|(name, plan)| Ok((name.clone(), opening.route(&prompt.name, plan)?)));
            let live = Prompt {
                plan: prompt.clone(),
                limit: opening
                    .limit(prompt.policy.rate_limit, || previous?.prompts.get(&prompt.name)?.limit.clone()),
                meter: {
                    let before = previous.and_then(|p| p.prompts.get(&prompt.name));
                    let meter = opening.metrics.route("prompt", &prompt.name, false, None);
                    Arc::new(meter.after(before.map(|prompt| &*prompt.meter)))
                },
                data: data.collect::<Result<_, OpenError>>()?,
                completions: opening.completions(&prompt.name, &prompt.completions)?,
            };
            prompts.insert(prompt.name.clone(), live);
        }
        let (metrics, audit) = (opening.metrics.clone(), opening.audit.clone());
        let generation = previous.map_or(1, |p| p.generation + 1);
        let history = previous.map(|p| p.history.clone()).unwrap_or_default();
        let status_meter = plan.server.status.resource.then(|| {
            let before = previous.and_then(|p| p.status_meter.as_deref());
            Arc::new(metrics.route(Noun::Resource.as_str(), STATUS_URI, false, None).after(before))
        });
        let exporters = previous.map(|p| p.exporters.clone()).unwrap_or_default();
        let exporter = exporter(&plan, previous, &metrics, &exporters)?;
        let lists_limit = opening.limit(plan.server.lists_limit, || previous?.lists_limit.clone());
        let Opening { sources, cache, .. } = opening;
        let plan = Arc::new(plan);
        Ok(Self {
            generation,
            plan,
            sources,
            cache,
            audit,
            metrics,
            history,
            status_meter,
            exporter,
            exporters,
            lists_limit,
            auth,
            tls,
            views: Views::default(),
            tools,
            resources,
            templates,
            prompts,
        })
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        let resources = || self.resources.values().chain(&self.templates);
        let completions = resources().flat_map(|r| &r.completions);
        let completions = completions.chain(self.prompts.values().flat_map(|p| &p.completions));
        let suggesting = completions.filter_map(|(_, completion)| match completion {
            Completion::Route(route) => Some(&**route),
            Completion::Values(_) => None,
        });
        let data = self.prompts.values().flat_map(|p| &p.data).map(|(_, route)| route);
        let tools = self.tools.values().map(|t| &t.route);
        tools.chain(resources().map(|r| &r.route)).chain(data).chain(suggesting)
    }
}

struct Opening<'a> {
    sources: HashMap<String, OpenSource>,
    cache: Arc<Cache<Answer>>,
    metrics: Arc<Metrics>,
    audit: Arc<Slot>,
    /// The routes before, by what they are exposed as, whose they are, and their name.
    before: HashMap<(Noun, &'a str, &'a str), &'a Route>,
    /// The sources before, to see which go on.
    old_sources: Option<&'a HashMap<String, OpenSource>>,
    /// Where tools and resources keep their answers, by name.
    shelves: HashMap<&'a str, Arc<Shelf>>,
    /// What is counted of the sources that routes name.
    meters: RefCell<HashMap<String, Arc<SourceMeter>>>,
    /// Limits that several routes share.
    shared: RefCell<Vec<Arc<RateLimit>>>,
}

impl<'a> Opening<'a> {
    fn new(plan: &'a Plan, previous: Option<&'a Live>) -> Result<Self, OpenError> {
        let mut sources = HashMap::new();
        for (name, source) in &plan.sources {
            let kept = previous.and_then(|p| p.sources.get(name)).filter(|known| known.plan == *source);
            let live = kept.map_or_else(|| OpenSource::open(name, source), |kept| Ok(kept.clone()))?;
            sources.insert(name.clone(), live);
        }
        let key = |route: &'a Route| (route.plan.noun, route.of.as_str(), route.plan.name.as_str());
        let before = previous.into_iter().flat_map(Live::routes).map(|route| (key(route), route)).collect();
        let same_size = previous.filter(|p| p.plan.server.cache_max == plan.server.cache_max);
        let cache = same_size.map(|p| p.cache.clone());
        let prompts = previous.into_iter().flat_map(|p| p.prompts.values()).map(|p| &p.limit);
        let lists = previous.into_iter().map(|p| &p.lists_limit);
        let routes = previous.into_iter().flat_map(Live::routes).map(|r| &r.limit);
        let shared = routes.chain(prompts).chain(lists).flatten().cloned();
        let mut opening = Self {
            sources,
            cache: cache.unwrap_or_else(|| Arc::new(Cache::new(plan.server.cache_max.0))),
            metrics: previous.map(|p| p.metrics.clone()).unwrap_or_default(),
            audit: previous.map(|p| p.audit.clone()).unwrap_or_default(),
            before,
            old_sources: previous.map(|p| &p.sources),
            shelves: HashMap::new(),
            meters: RefCell::default(),
            shared: RefCell::new(shared.filter(|limit| limit.plan().per == Per::Global).collect()),
        };
        let routes = plan.tools.iter().map(|t| &t.route).chain(plan.resources.iter().map(|r| &r.route));
        for route in routes {
            let shelf = opening.shelf("", route);
            opening.shelves.insert(route.name.as_str(), shelf);
        }
        Ok(opening)
    }

    /// The same route on the same source as before.
    fn unchanged(&self, of: &str, plan: &Arc<RoutePlan>) -> Option<&'a Route> {
        let same = self.before(of, plan).filter(|route| same(&route.plan, plan))?;
        let source = match plan.op.source() {
            None => true,
            Some(name) => {
                let old = self.old_sources.and_then(|s| s.get(name));
                old.map(|old| &old.plan) == self.sources.get(name).map(|new| &new.plan)
            }
        };
        source.then_some(same)
    }

    fn before(&self, of: &str, plan: &RoutePlan) -> Option<&'a Route> {
        self.before.get(&(plan.noun, of, plan.name.as_str())).copied()
    }

    fn shelf(&self, of: &str, plan: &Arc<RoutePlan>) -> Arc<Shelf> {
        self.unchanged(of, plan).map(|route| route.shelf.clone()).unwrap_or_default()
    }

    /// A route; `of` names the prompt or resource it belongs to, if it does not stand for itself.
    fn route(&self, of: &str, plan: &Arc<RoutePlan>) -> Result<Route, OpenError> {
        let source = plan.op.source().and_then(|name| self.sources.get(name));
        let backend = plan.op.bind(source.map(|s| &s.source)).ok_or_else(|| OpenError {
            name: plan.op.source().unwrap_or_default().to_owned(),
            reason: format!("`{}` cannot be bound to it", plan.name),
        })?;
        let exposed = matches!(plan.noun, Noun::Tool | Noun::Resource);
        let shelf = self.shelves.get(plan.name.as_str()).filter(|_| exposed);
        let invalidates = plan.policy.invalidates.iter();
        Ok(Route {
            plan: plan.clone(),
            backend,
            of: of.to_owned(),
            guard: source.map(|s| s.guard.clone()),
            places: plan.policy.concurrency.map(|number| self.places(of, plan, number)),
            limit: self.limit(plan.policy.rate_limit, || self.before(of, plan)?.limit.clone()),
            shelf: shelf.cloned().unwrap_or_else(|| self.shelf(of, plan)),
            cache: self.cache.clone(),
            invalidates: invalidates.filter_map(|name| self.shelves.get(name.as_str()).cloned()).collect(),
            meter: Arc::new(self.meter(of, plan)),
            audit: self.audit.clone(),
        })
    }

    /// What counts a route: the same counters for the same name, whatever else has changed.
    fn meter(&self, of: &str, plan: &RoutePlan) -> RouteMeter {
        let owned = (!of.is_empty()).then(|| format!("{of}.{}", plan.name));
        let name = owned.as_deref().unwrap_or(&plan.name);
        let keeps = plan.policy.cache.is_some();
        let source = plan.op.source().map(|name| {
            let mut meters = self.meters.borrow_mut();
            let meter = meters.entry(name.to_owned());
            meter.or_insert_with(|| Arc::new(self.metrics.source(name))).clone()
        });
        let meter = self.metrics.route(plan.noun.as_str(), name, keeps, source);
        meter.after(self.before(of, plan).map(|route| &*route.meter))
    }

    /// Calls that began before a reload still hold theirs, so they stay the same.
    fn places(&self, of: &str, plan: &RoutePlan, number: u32) -> Arc<Concurrency> {
        let kept = self.before(of, plan).and_then(|route| route.places.clone());
        kept.filter(|kept| kept.number() == number).unwrap_or_else(|| Arc::new(Concurrency::new(number)))
    }

    fn completions(
        &self,
        of: &str,
        plans: &[(String, CompletionPlan)],
    ) -> Result<Vec<(String, Completion)>, OpenError> {
        let live = plans.iter().map(|(name, plan)| {
            let completion = match plan {
                CompletionPlan::Values(values) => Completion::Values(values.clone()),
                CompletionPlan::Route(plan) => Completion::Route(Box::new(self.route(of, plan)?)),
            };
            Ok((name.clone(), completion))
        });
        live.collect()
    }

    /// The limit of a plan: the one that counted before if it is the same, one that others have where it is shared.
    fn limit(
        &self,
        plan: Option<RateLimitPlan>,
        before: impl FnOnce() -> Option<Arc<RateLimit>>,
    ) -> Option<Arc<RateLimit>> {
        let plan = plan?;
        if plan.per == Per::Global {
            let mut shared = self.shared.borrow_mut();
            if let Some(limit) = shared.iter().find(|limit| *limit.plan() == plan) {
                return Some(limit.clone());
            }
            let limit = Arc::new(RateLimit::new(plan));
            shared.push(limit.clone());
            return Some(limit);
        }
        let kept = before().filter(|limit| *limit.plan() == plan);
        Some(kept.unwrap_or_else(|| Arc::new(RateLimit::new(plan))))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, load_text};
    use crate::diag::Diagnostics;
    use crate::plan::{Catalog, compile};
    use crate::source::{Backend, OpPlan};

    const TEXT: &str = r#"
sources:
  api: { rest: { base_url: "http://localhost:1" } }
tools:
  a: { description: A., rest: { source: api, get: /a } }
  b: { description: B., rest: { source: api, get: /b } }
  c: { description: C., rest: { source: api, get: /c }, policy: { timeout: 7s }, output: { max_rows: 7 } }
"#;

    fn live() -> Live {
        // Installed by another test is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let loaded = load_text("gateway.yaml", TEXT, Path::new("."), &Environment::default());
        let plan = compile(&loaded.config.unwrap(), &mut Diagnostics::default()).unwrap();
        assert_eq!(
            (&plan.catalog, plan.digest.as_str()),
            (&Catalog::default(), ""),
            "made before it is used"
        );
        Live::open(plan, None).unwrap()
    }

    #[test]
    fn the_lists_and_the_hash_of_a_plan_are_made_when_it_is_put_to_use() {
        let live = live();
        assert!(live.plan.catalog.modern.tools.is_some() && live.plan.catalog.legacy.tools.is_some());
        assert!(live.plan.digest.starts_with("sha256:"), "{}", live.plan.digest);
    }

    #[test]
    fn what_routes_have_in_common_is_there_once() {
        let live = live();
        let [a, b, c] = ["a", "b", "c"].map(|name| live.tool(name).unwrap());
        assert!(Arc::ptr_eq(&a.route.plan.policy, &b.route.plan.policy));
        assert!(Arc::ptr_eq(&a.route.plan.output, &b.route.plan.output));
        assert!(!Arc::ptr_eq(&a.route.plan.policy, &c.route.plan.policy));
        assert!(!Arc::ptr_eq(&a.route.plan.output, &c.route.plan.output));
        let [one, other] = [a, c].map(|tool| tool.route.meter.source.as_ref().unwrap());
        assert!(Arc::ptr_eq(one, other), "what is counted of a source is counted for all its routes");
        assert!(Arc::ptr_eq(&a.plan, &live.plan.tools[0]) && Arc::ptr_eq(&a.plan.route, &a.route.plan));
        let (Backend::Rest(_, bound), OpPlan::Rest(_, planned)) = (&a.route.backend, &a.route.plan.op) else {
            panic!("not a request");
        };
        assert!(Arc::ptr_eq(bound, planned));
    }
}
