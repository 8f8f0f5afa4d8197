//! Who may use a route: scopes, and a condition in CEL. The same rule decides a call and whether lists show the route. Conditions
//! are compiled when the configuration is loaded; one that fails, or asks for what is not there, is a no.

mod condition;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::caller::Caller;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::yaml::TextOr;

pub use condition::{Condition, Viewer};

/// Who may use the route: all scopes, and the condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RouteAuth")]
pub struct RouteAuthConfig {
    /// Scopes that a caller needs, all of them. Over stdio the caller is the person who started the program and has them.
    pub scopes: Vec<Spanned<String>>,
    /// A condition in CEL over `caller` (`sub`, `name`, `scopes`, `claims`), `route` (its name) and `args` (the arguments), such as
    /// `caller.claims.dept == 'support'`. What fails, as a claim that is not there, is a no.
    pub when: Option<Spanned<String>>,
}

/// `policy.auth` after compile.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RouteAuthPlan {
    /// Callers without any credentials may use it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// Callers have to prove who they are, as the server's `auth` wants it.
    #[serde(skip)]
    pub known: bool,
    /// Scopes that a caller needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// What else has to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
}

/// Why a caller may not use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody knows who it is.
    Unknown,
    /// Not all scopes; these are needed, all at once.
    Scopes(Vec<String>),
    /// The condition does not hold.
    Condition,
}

/// Compiles what a route or the defaults say.
pub(super) fn compile(
    written: Option<&Spanned<TextOr<RouteAuthConfig>>>,
    diagnostics: &mut Diagnostics,
) -> RouteAuthPlan {
    let Some(written) = written else { return RouteAuthPlan::default() };
    let auth = match &written.value {
        TextOr::Text(text) if text.value == "none" => {
            return RouteAuthPlan { public: true, ..RouteAuthPlan::default() };
        }
        TextOr::Text(text) => {
            let message = format!("`{}` does not say who may use a route", text.value);
            let help = "`auth: none` for everybody, or a block with `scopes`, `when` or both";
            diagnostics.push(Diagnostic::error("bad-route-auth", message).at(text.span, "").help(help));
            return RouteAuthPlan::default();
        }
        TextOr::Block(auth) => auth,
    };
    RouteAuthPlan {
        scopes: scopes(&auth.scopes, diagnostics),
        when: auth.when.as_ref().and_then(|when| Condition::compile(when, diagnostics)),
        ..RouteAuthPlan::default()
    }
}

/// Checks scopes that a caller needs.
pub fn scopes(written: &[Spanned<String>], diagnostics: &mut Diagnostics) -> Vec<String> {
    for scope in written {
        // RFC 6749, section 3.3.
        let sound = |b: u8| b == 0x21 || (0x23..=0x5b).contains(&b) || (0x5d..=0x7e).contains(&b);
        if scope.is_empty() || !scope.bytes().all(sound) {
            let message = "a scope is a word without spaces, quotes and backslashes";
            diagnostics.push(Diagnostic::error("bad-scope", message).at(scope.span, ""));
        }
    }
    written.iter().map(|scope| scope.value.clone()).collect()
}

/// Says which arguments a condition names that the route does not have.
pub fn check_args(
    written: Option<&Spanned<TextOr<RouteAuthConfig>>>,
    plan: &RouteAuthPlan,
    names: &[&str],
    owner: &str,
    diagnostics: &mut Diagnostics,
) {
    let (Some(condition), Some(Spanned { value: TextOr::Block(auth), .. })) = (&plan.when, written) else {
        return;
    };
    let Some(when) = &auth.when else { return };
    for wrong in condition.args().iter().filter(|arg| !names.contains(&arg.as_str())) {
        let message = format!("`{wrong}` is not a parameter of {owner}");
        let help = crate::name::did_you_mean(wrong, names.iter().copied(), "parameters");
        let problem = Diagnostic::error("unknown-param", message).absence().help(help);
        diagnostics.push(problem.within(when.span, format!("args.{wrong}"), ""));
    }
}

impl RouteAuthPlan {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.public && self.scopes.is_empty() && self.when.is_none()
    }

    /// Whether lists that show it to one caller may not show it to another.
    #[must_use]
    pub fn hides(&self) -> bool {
        !self.scopes.is_empty() || self.when.as_ref().is_some_and(|when| !when.needs_args())
    }

    /// Who the caller is, and which scopes they have.
    ///
    /// # Errors
    /// [`Denied::Unknown`] or [`Denied::Scopes`].
    pub fn admit(&self, caller: &Caller) -> Result<(), Denied> {
        if self.public {
            return Ok(());
        }
        if self.known && *caller == Caller::Anonymous {
            return Err(Denied::Unknown);
        }
        let has = |scope: &String| match caller {
            // Whoever started the program could change the file as well.
            Caller::Local => true,
            Caller::Anonymous => false,
            Caller::Known(identity) => identity.scopes.contains(scope),
        };
        if !self.scopes.iter().all(has) {
            return Err(Denied::Scopes(self.scopes.clone()));
        }
        Ok(())
    }

    /// What can be said without arguments: first of a call, and for lists.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn before(&self, caller: &Caller, route: &str) -> Result<(), Denied> {
        self.before_viewer(&Viewer::new(caller), route)
    }

    /// The same for one of many routes.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn before_viewer(&self, viewer: &Viewer<'_>, route: &str) -> Result<(), Denied> {
        self.admit(viewer.caller)?;
        match self.when.as_ref().filter(|when| !when.needs_args()) {
            Some(when) if !viewer.passes(when, route) => Err(Denied::Condition),
            _ => Ok(()),
        }
    }

    /// What the arguments decide, once they are bound.
    ///
    /// # Errors
    /// [`Denied::Condition`].
    pub fn after(
        &self,
        caller: &Caller,
        route: &str,
        args: impl FnOnce() -> Map<String, Value>,
    ) -> Result<(), Denied> {
        match self.when.as_ref().filter(|when| when.needs_args()) {
            Some(when) if !when.holds(&Viewer::new(caller), route, Some(args())) => Err(Denied::Condition),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {

    use serde_json::json;

    use super::*;
    use crate::diag::Span;

    fn condition(text: &str) -> Result<Condition, String> {
        let mut diagnostics = Diagnostics::default();
        let condition = Condition::compile(&Spanned::new(text.to_owned(), Span::default()), &mut diagnostics);
        condition.ok_or_else(|| diagnostics.sorted().iter().map(|d| d.message.clone()).collect())
    }

    fn ada() -> Caller {
        let claims =
            json!({ "dept": "support", "level": 3, "none": null, "org": { "id": 7 }, "groups": ["a", "b"] });
        Caller::with_key("ada", &["read"], &claims)
    }

    fn holds(text: &str, args: Value) -> bool {
        let Value::Object(args) = args else { unreachable!() };
        condition(text).unwrap().holds(&Viewer::new(&ada()), "get_order", Some(args))
    }

    #[test]
    fn what_is_asked_of_many_routes_is_what_each_of_them_says() {
        let conditions = [
            "'read' in caller.scopes",
            "caller.claims.level > 3",
            "route == 'a'",
            "caller.claims.route == 'a'",
        ];
        let rules =
            conditions.map(|text| RouteAuthPlan { when: condition(text).ok(), ..RouteAuthPlan::default() });
        assert!(rules.iter().all(|rule| rule.when.is_some()));
        let ada = ada();
        let many = Viewer::of_many(&ada);
        for round in 0..2 {
            for route in ["a", "b"] {
                let said = rules.each_ref().map(|rule| rule.before_viewer(&many, route).is_ok());
                assert_eq!(said, [true, false, route == "a", false], "{route}, round {round}");
                assert_eq!(said, rules.each_ref().map(|rule| rule.before(&ada, route).is_ok()));
            }
        }
    }

    #[test]
    fn a_condition_sees_caller_route_and_arguments_and_what_fails_is_a_no() {
        for (text, wanted) in [
            ("caller.sub == 'ada'", true),
            ("caller.claims.dept == 'support'", true),
            ("caller.claims.level >= 3", true),
            ("caller.claims.org.id == 7", true),
            ("caller.claims['dept'] == 'support'", true),
            ("'read' in caller.scopes", true),
            ("'write' in caller.scopes", false),
            ("caller.claims.groups.exists(g, g == 'b')", true),
            ("caller.claims.groups.all(g, g == 'b')", false),
            ("route == 'get_order'", true),
            ("args.region == 'eu'", true),
            ("args.count < 10", true),
            ("has(args.other)", false),
            ("has(caller.name)", false),
            ("!has(caller.claims.admin)", true),
            ("size(caller.scopes) == 1", true),
            ("caller.sub.startsWith('a')", true),
            ("true", true),
            // Faults.
            ("caller.name == 'Ada'", false),
            ("!(caller.name == 'Ada')", false),
            ("caller.claims.admin", false),
            ("caller.claims.dept", false),
            ("caller.claims.dept > 3", false),
            ("caller.claims.level / 0 == 1", false),
            ("args.other == null", false),
            ("caller.claims.none == null", true),
        ] {
            assert_eq!(holds(text, json!({ "region": "eu", "count": 3 })), wanted, "{text}");
        }
    }

    #[test]
    fn a_condition_that_could_not_work_is_refused_at_load() {
        for (text, why) in [
            ("caller.subject == 'ada'", "subject"),
            ("user.sub == 'ada'", "user"),
            ("args.a.filter(x, y == 1) == []", "y"),
            ("caller.sub.beginsWith('a')", "beginsWith"),
            ("matches(caller.sub, 'a')", "matches"),
            ("caller.sub ==", "CEL"),
            ("caller.sub + 'a'", "yes or no"),
            ("'yes'", "yes or no"),
            ("1", "yes or no"),
            ("size(caller.scopes)", "yes or no"),
            ("caller", "yes or no"),
            ("caller.sub", "yes or no"),
            ("caller.scopes.map(s, s)", "yes or no"),
            ("true ? 'a' : 'b'", "yes or no"),
            ("caller.scopes.exists(a, caller.scopes.exists(b, a == b))", "inside"),
            ("", "CEL"),
        ] {
            let problem = condition(text).map(|_| ()).expect_err(text);
            assert!(problem.contains(why), "{text}: {problem}");
        }
        assert!(condition(&"(".repeat(5000)).is_err());
        assert!(condition(&"!".repeat(100_000)).is_err());
    }

    #[test]
    fn large_arguments_are_a_no() {
        let list: Vec<u32> = (0..100_000).collect();
        assert!(!holds("args.list.all(n, n >= 0)", json!({ "list": list })));
        assert!(holds("args.list.all(n, n >= 0)", json!({ "list": [1, 2, 3] })));
    }

    #[test]
    fn conditions_know_whether_they_need_arguments() {
        assert!(!condition("caller.sub == 'args'").unwrap().needs_args());
        assert!(condition("args['a'] == caller.sub").unwrap().needs_args());
        assert_eq!(condition("args.a == args.b || has(args.c)").unwrap().args(), ["a", "b", "c"]);
    }

    #[test]
    fn scopes_are_needed_all_and_local_has_them() {
        let plan = |scopes: &[&str]| RouteAuthPlan {
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            ..RouteAuthPlan::default()
        };
        assert_eq!(plan(&["read"]).before(&ada(), "t"), Ok(()));
        let both = plan(&["read", "write"]);
        assert_eq!(both.before(&ada(), "t"), Err(Denied::Scopes(both.scopes.clone())));
        assert_eq!(both.before(&Caller::Local, "t"), Ok(()));
        assert!(both.before(&Caller::Anonymous, "t").is_err());
        assert_eq!(RouteAuthPlan::default().before(&Caller::Anonymous, "t"), Ok(()));
        let known = RouteAuthPlan { known: true, ..RouteAuthPlan::default() };
        assert_eq!(known.before(&Caller::Anonymous, "t"), Err(Denied::Unknown));
        let public = RouteAuthPlan { public: true, known: true, ..RouteAuthPlan::default() };
        assert_eq!(public.before(&Caller::Anonymous, "t"), Ok(()));
    }
}
