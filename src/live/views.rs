//! What callers see of the lists, as numbers that can be compared with those of another generation: so only those are told of a change
//! for whom there is one. Callers who see the same for the same reasons are looked at once.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::caller::Caller;
use crate::plan::{Catalog, Member};
use crate::policy::Viewer;
use crate::talk::Change;

/// Kinds of callers that are remembered; as many as may listen.
const MAX_KINDS: usize = 1024;

/// What one caller sees of each list: numbers that differ where lists do, nothing where there is no such list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    tools: Option<u64>,
    prompts: Option<u64>,
    resources: (Option<u64>, Option<u64>),
}

impl View {
    fn new(catalog: &Catalog, caller: &Caller, operates: bool) -> Self {
        let viewer = Viewer::of_many(caller);
        let sum = |member| catalog.sum(member, &viewer, operates);
        Self {
            tools: sum(Member::Tools),
            prompts: sum(Member::Prompts),
            resources: (sum(Member::Resources), sum(Member::Templates)),
        }
    }

    /// Whether a list is another one.
    #[must_use]
    pub fn differs(&self, other: &Self, list: &Change) -> bool {
        match list {
            Change::Tools => self.tools != other.tools,
            Change::Prompts => self.prompts != other.prompts,
            Change::Resources => self.resources != other.resources,
            Change::Resource(_) => false,
        }
    }
}

/// Callers of whom the rules of the lists say the same.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Anonymous,
    /// Where scopes decide: those that rules ask for, by their numbers.
    Scoped(Vec<usize>),
    /// Where conditions look at more than that.
    Own(Caller),
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Local => 0_u8.hash(state),
            Self::Anonymous => 1_u8.hash(state),
            Self::Scoped(scopes) => scopes.hash(state),
            Self::Own(caller) => caller.key().hash(state),
        }
    }
}

impl Kind {
    fn of(caller: &Caller, catalog: &Catalog) -> Self {
        match caller {
            Caller::Local => Self::Local,
            Caller::Anonymous => Self::Anonymous,
            Caller::Known(_) if catalog.looks_closely() => Self::Own(caller.bare()),
            Caller::Known(identity) => {
                let asked = catalog.scopes.iter().enumerate();
                let held = asked.filter(|(_, scope)| identity.scopes.contains(scope));
                Self::Scoped(held.map(|(number, _)| number).collect())
            }
        }
    }
}

/// What was found out, of one generation.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<HashMap<(Kind, bool), View>>);

impl Views {
    /// What this caller sees. The lock is held for a look and an insertion, not while anything is found out.
    pub(super) fn of(&self, catalog: &Catalog, caller: &Caller, operates: bool) -> View {
        let kind = (Kind::of(caller, catalog), operates);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = known().get(&kind) {
            return *view;
        }
        let view = View::new(catalog, caller, operates);
        let mut known = known();
        if known.len() < MAX_KINDS {
            known.insert(kind, view);
        }
        view
    }

    /// How many kinds of callers were looked at.
    #[cfg(test)]
    fn kinds(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::{Environment, load_text};
    use crate::diag::Diagnostics;
    use crate::plan::compile;

    fn catalog(text: &str) -> Catalog {
        let loaded = load_text("gateway.yaml", text, Path::new("."), &Environment::default());
        let mut plan = compile(&loaded.config.unwrap(), &mut Diagnostics::default()).unwrap();
        plan.may_change();
        plan.list();
        plan.catalog
    }

    fn scoped(more: &str) -> String {
        format!(
            "auth: {{ api_keys: [{{ name: a, key: key-of-somebody }}] }}
tools:
  a: {{ description: A., static: {{ text: a }} }}
  b: {{ description: B., static: {{ text: b }}, policy: {{ auth: {{ scopes: [orders] }} }} }}
  c: {{ description: C., static: {{ text: c }}, policy: {{ auth: {{ scopes: [stock] }} }} }}
{more}"
        )
    }

    fn caller(name: &str, scopes: &[&str]) -> Caller {
        Caller::with_key(name, scopes, &json!({ "dept": name }))
    }

    #[test]
    fn a_list_differs_for_those_who_see_the_difference_and_for_nobody_else() {
        let before = catalog(&scoped(""));
        let all = [caller("ada", &["orders"]), caller("bob", &["stock"]), caller("eve", &[]), Caller::Local];
        for (what, text, differs) in [
            ("nothing", scoped(""), [false; 4]),
            (
                "one that has one more reader",
                scoped("").replace("[stock]", "[orders]"),
                [true, true, false, false],
            ),
            ("what ada sees", scoped("").replace("B.", "Bee."), [true, false, false, true]),
            ("what all see", scoped("").replace("A.", "Aye."), [true; 4]),
            (
                "a hidden one more",
                scoped(
                    "  d: { description: D., static: { text: d }, policy: { auth: { scopes: [stock] } } }",
                ),
                [false, true, false, true],
            ),
            (
                "cuts that all fit in",
                format!("server: {{ lists: {{ page: 3 }} }}\n{}", scoped("")),
                [false; 4],
            ),
            (
                "cuts between two",
                format!("server: {{ lists: {{ page: 1 }} }}\n{}", scoped("")),
                [true, true, false, true],
            ),
        ] {
            let after = catalog(&text);
            let told = all.each_ref().map(|caller| {
                let [was, is] = [&before, &after].map(|catalog| View::new(catalog, caller, false));
                assert!(!is.differs(&was, &Change::Prompts) && !is.differs(&was, &Change::Resources));
                is.differs(&was, &Change::Tools)
            });
            assert_eq!(told, differs, "{what}");
        }
        // With rules and without, those who see all see the same.
        let open = catalog(&scoped("").replace("orders", "stock"));
        let bob = View::new(&open, &all[1], false);
        let bare = catalog(
            &scoped("")
                .replace(", policy: { auth: { scopes: [orders] } }", "")
                .replace(", policy: { auth: { scopes: [stock] } }", ""),
        );
        assert!(!bob.differs(&View::new(&bare, &all[1], false), &Change::Tools));
    }

    #[test]
    fn callers_are_looked_at_once_where_they_see_the_same_for_the_same_reasons() {
        let plain = catalog(&scoped(""));
        let views = Views::default();
        for number in 0..100 {
            let scopes: &[&str] = if number % 2 == 0 { &["orders", "more"] } else { &["other"] };
            let one = caller(&number.to_string(), scopes);
            assert_eq!(views.of(&plain, &one, false), View::new(&plain, &one, false));
        }
        assert_eq!(views.kinds(), 2);
        let close =
            catalog(&scoped("").replace("{ scopes: [stock] }", "{ when: \"caller.claims.dept == '7'\" }"));
        let views = Views::default();
        for number in [7, 8, 7, 8] {
            let one = caller(&number.to_string(), &[]);
            assert_eq!(views.of(&close, &one, false), View::new(&close, &one, false));
        }
        let [seven, eight] = ["7", "8"].map(|name| views.of(&close, &caller(name, &[]), false));
        assert!(views.kinds() == 2 && seven.differs(&eight, &Change::Tools));
        // More than are kept are looked at each time, and right.
        for number in 0..MAX_KINDS + 9 {
            let one = caller(&number.to_string(), &[]);
            assert_eq!(views.of(&close, &one, false), View::new(&close, &one, false));
        }
        assert_eq!(views.kinds(), MAX_KINDS);
    }
}
