//! `check --online`: connects to every source, has every statement described, and says what does not fit, with carets.

use std::ops::Range;

use futures_util::{StreamExt as _, stream};

use super::{AT_ONCE, PATIENCE};
use crate::config::{CompleteConfig, Config};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::live::{Completion, Live, Route};
use crate::params::ParamConfig;
use crate::source::sql::{PageConfig, SqlOp, SqlOpConfig};
use crate::source::{Backend, Described, Fit, Source, SourceError, Undescribed, Wrong};
use crate::yaml::Entries;

/// A statement as it was written, beside the route that runs it.
struct Site<'a> {
    owner: String,
    query: &'a Spanned<String>,
    page: Option<&'a Spanned<PageConfig>>,
    declared: Option<&'a Entries<ParamConfig>>,
    route: &'a Route,
}

/// Asks every source and has every statement described. `progress` is told how many of how many are done.
pub async fn check(config: &Config, live: &Live, progress: impl Fn(usize, usize)) -> Diagnostics {
    let sites = sites(config, live);
    let total = live.sources.len() + sites.len();
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress(done, total);
    };
    let mut diagnostics = Diagnostics::default();
    let mut down = Vec::new();
    let names: Vec<_> = config.sources.iter().map(|(name, _)| name).collect();
    let probes = names.iter().filter_map(|name| {
        let source = &live.sources.get(&name.value)?.source;
        Some(async move { (*name, reach(source).await) })
    });
    let mut probes = stream::iter(probes.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some((name, reached)) = probes.next().await {
        step();
        match reached {
            Ok(advice) => {
                if let Some(advice) = advice {
                    diagnostics.push(advice.at(name.span, ""));
                }
            }
            Err(error) => {
                let message = format!("the source `{}` cannot be reached: {error}", name.value);
                diagnostics.push(Diagnostic::error("unreachable", message).at(name.span, ""));
                down.push(name.value.as_str());
            }
        }
    }
    drop(probes);
    let up = sites.iter().filter(|s| s.route.plan.op.source().is_none_or(|name| !down.contains(&name)));
    let asked = up.filter_map(|site| {
        let Backend::Sql(sql, op) = &site.route.backend else { return None };
        Some(async move { (site, op, sql.describe(op, PATIENCE).await) })
    });
    let mut asked = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some((site, op, described)) = asked.next().await {
        step();
        match described {
            Ok(described) => compare(site, op, &described, &mut diagnostics),
            Err(Undescribed::Wrong(wrong)) => diagnostics.push(refused(site, op, &wrong)),
            Err(Undescribed::Source(error)) => {
                let message = format!("the statement of {} could not be described: {error}", site.owner);
                diagnostics.push(Diagnostic::error("undescribed", message).at(site.query.span, ""));
            }
        }
    }
    progress(total, total);
    diagnostics
}

/// Whether a source answers, and what is to be said of how it is used.
async fn reach(source: &Source) -> Result<Option<Diagnostic>, SourceError> {
    let asked = async {
        source.probe().await?;
        Ok(match source {
            Source::Sql(sql) => sql.advice().await?.map(|text| {
                let problem = Diagnostic::warning("role-can-write", text);
                problem.help("a role that can only read is the better lock")
            }),
            Source::Vector(vector) => vector.inspect(PATIENCE).await?.map(|text| {
                let problem = Diagnostic::warning("no-vector-index", text);
                problem.help("make one with the operator class of `distance`, as in `USING hnsw (embedding vector_cosine_ops)`")
            }),
            Source::Rest(_) => None,
        })
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(SourceError::Timeout(PATIENCE)))
}

fn sites<'a>(config: &'a Config, live: &'a Live) -> Vec<Site<'a>> {
    let mut sites = Vec::new();
    let mut add = |owner: String, op: Option<&'a SqlOpConfig>, declared, route: Option<&'a Route>| {
        if let (Some(op), Some(route)) = (op, route) {
            sites.push(Site { owner, query: &op.query, page: op.page.as_ref(), declared, route });
        }
    };
    for (name, tool) in config.tools.iter() {
        let live = live.tool(name).map(|t| &t.route);
        add(format!("tool `{}`", name.value), tool.sql.as_ref(), Some(&tool.params), live);
    }
    for (uri, resource) in config.resources.iter() {
        let Some(live) = live.exactly(uri) else { continue };
        let owner = format!("resource `{}`", uri.value);
        add(owner, resource.sql.as_ref(), Some(&resource.params), Some(&live.route));
        for (name, complete) in resource.complete.iter() {
            suggestions(name, complete, &live.completions, &mut add);
        }
    }
    for (name, prompt) in config.prompts.iter() {
        let Some(live) = live.prompt(name) else { continue };
        for (value, data) in prompt.data.iter() {
            let route = live.data.iter().find(|(n, _)| *n == value.value).map(|(_, route)| route);
            let owner = format!("value `{}` of prompt `{}`", value.value, name.value);
            add(owner, data.sql.as_ref(), None, route);
        }
        for (name, complete) in prompt.complete.iter() {
            suggestions(name, complete, &live.completions, &mut add);
        }
    }
    sites
}

fn suggestions<'a>(
    name: &Spanned<String>,
    complete: &'a CompleteConfig,
    live: &'a [(String, Completion)],
    add: &mut impl FnMut(String, Option<&'a SqlOpConfig>, Option<&'a Entries<ParamConfig>>, Option<&'a Route>),
) {
    let route = live.iter().find_map(|(n, completion)| match completion {
        Completion::Route(route) if *n == name.value => Some(&**route),
        _ => None,
    });
    add(format!("the suggestions for `{}`", name.value), complete.sql.as_ref(), None, route);
}

/// What the engine said against a statement, at the place it means.
fn refused(site: &Site<'_>, op: &SqlOp, wrong: &Wrong) -> Diagnostic {
    let text = site.query.value.as_str();
    let params = &site.route.plan.params.params;
    let names: Vec<&str> =
        op.binds().iter().map(|index| params.get(*index).map_or("", |p| p.name.as_str())).collect();
    let place = match (&wrong.at, &wrong.word) {
        (Some(at), _) => Some(op.written(at, &names)),
        (None, Some(word)) => whole_word(text, word),
        (None, None) => None,
    };
    let message = format!("the database does not take this statement: {}", wrong.message);
    let problem = Diagnostic::error("statement", message).maybe_help(wrong.help.clone());
    match place.filter(|place| text.get(place.clone()).is_some_and(|t| !t.is_empty())) {
        Some(place) => problem.part(site.query.span, text, place, ""),
        None => problem.at(site.query.span, ""),
    }
}

/// The place of a name that is not a part of a longer one, where there is just one.
fn whole_word(text: &str, word: &str) -> Option<Range<usize>> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut places = text.match_indices(word).filter(|(at, _)| {
        let before = text.get(..*at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    });
    let (at, word) = places.next()?;
    places.next().is_none().then(|| at..at + word.len())
}

/// What the description says against the route.
fn compare(site: &Site<'_>, op: &SqlOp, described: &Described, diagnostics: &mut Diagnostics) {
    if described.writes && !op.writes() {
        let message = format!(
            "the statement of {} does more than read, and every call of it will be refused",
            site.owner
        );
        let help = "say `write: true` beside the query, and `read_only: false` on the source";
        diagnostics.push(Diagnostic::error("write-not-declared", message).at(site.query.span, "").help(help));
    }
    let columns = || described.columns.iter().map(|c| c.name.as_str());
    for by in op.paged_by().iter().filter(|by| !described.columns.is_empty() && !columns().any(|c| c == *by))
    {
        let message = format!("`page.by` names `{by}`, which the statement of {} does not give", site.owner);
        let help = crate::name::did_you_mean(by, columns(), "columns");
        let at = site.page.map_or(site.query.span, |page| page.value.by.span);
        diagnostics.push(Diagnostic::error("page-column", message).within(at, by.as_str(), "").help(help));
    }
    for column in described.columns.iter().filter(|c| !c.ordered && op.paged_by().contains(&c.name)) {
        let message = format!(
            "rows cannot be paged by `{}`: what is shown of it stands in another order than the column",
            column.name
        );
        let at = site.page.map_or(site.query.span, |page| page.value.by.span);
        let help = "cast it in the statement, such as `encode(id, 'hex') AS id`, `HEX(id) AS id` or `CAST(state AS CHAR) AS state`";
        let problem = Diagnostic::error("page-column", message).within(at, column.name.as_str(), "");
        diagnostics.push(problem.help(help));
    }
    for (number, wanted) in described.params.iter().enumerate() {
        let param = op.binds().get(number).and_then(|index| site.route.plan.params.params.get(*index));
        let Some(param) = param else { continue };
        // A list of its own values is known to fit or not; the database says it at the first call.
        let Some(fit) = param.types.iter().map(|kind| wanted.class.fit(kind)).min() else { continue };
        let (name, kinds) = (&param.name, param.types.join(" or "));
        let problem = match fit {
            Fit::Well => continue,
            Fit::Sometimes => {
                let message =
                    format!("`{name}` is declared as {kinds}, and the database wants `{}`", wanted.name);
                Diagnostic::warning("param-type", message)
            }
            Fit::Never => {
                let message = format!(
                    "`{name}` is declared as {kinds}, which can never be the `{}` that the database wants",
                    wanted.name
                );
                Diagnostic::error("param-type", message)
            }
        };
        let declared = site.declared.and_then(|d| d.iter().find(|(n, _)| n.value == *name));
        let declared = declared.map(|(n, param)| param.keyword("type").map_or(n.span, |kind| kind.span));
        let text = site.query.value.as_str();
        let bind = format!(":{name}");
        let used = text.find(&bind).map(|at| at..at + bind.len());
        let problem = match declared {
            Some(span) => problem.at(span, "declared here"),
            None => problem,
        };
        diagnostics.push(match used {
            Some(used) => problem.part(site.query.span, text, used, "used here"),
            None => problem.at(site.query.span, "used here"),
        });
    }
}
