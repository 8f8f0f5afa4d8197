//! Routes bound to live sources, with the places they keep over a reload.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Completion, OpenSource, Route};
use crate::plan::{CompletionPlan, Noun, RoutePlan};
use crate::policy::Concurrency;
use crate::source::OpenError;

/// Places by what a route is exposed as, whose it is, and its name.
pub(super) type Places = HashMap<(Noun, String, String), Arc<Concurrency>>;

/// Makes routes, one generation's.
pub(super) struct Binding<'a> {
    sources: &'a HashMap<String, OpenSource>,
    previous: Option<&'a Places>,
    places: Places,
}

impl<'a> Binding<'a> {
    pub fn new(sources: &'a HashMap<String, OpenSource>, previous: Option<&'a Places>) -> Self {
        Self { sources, previous, places: Places::new() }
    }

    /// The places of all routes that were made.
    pub fn places(self) -> Places {
        self.places
    }

    /// A route; `of` names the prompt or resource it belongs to, if it does not stand for itself.
    pub fn route(&mut self, of: &str, plan: &Arc<RoutePlan>) -> Result<Route, OpenError> {
        let source = plan.op.source().and_then(|name| self.sources.get(name));
        let backend = plan.op.bind(source.map(|s| &s.source)).ok_or_else(|| OpenError {
            name: plan.op.source().unwrap_or_default().to_owned(),
            reason: format!("`{}` cannot be bound to it", plan.name),
        })?;
        let guard = source.map(|s| s.guard.clone());
        let places = plan.policy.concurrency.map(|number| self.own_places(of, plan, number));
        Ok(Route { plan: plan.clone(), backend, guard, places })
    }

    /// Calls that began before a reload still hold theirs, so they stay the same.
    fn own_places(&mut self, of: &str, plan: &RoutePlan, number: u32) -> Arc<Concurrency> {
        let key = (plan.noun, of.to_owned(), plan.name.clone());
        let kept = self.previous.and_then(|p| p.get(&key)).filter(|kept| kept.number() == number);
        let places = kept.cloned().unwrap_or_else(|| Arc::new(Concurrency::new(number)));
        self.places.insert(key, places.clone());
        places
    }

    pub fn completions(
        &mut self,
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
}
