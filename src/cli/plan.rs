//! `sidegate plan`

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{ConfigArg, complain, say};
use crate::app::{AppError, Checked};
use crate::config::Environment;
use crate::plan::Plan;
use crate::review::{self, Comparison, Effect};

/// The version of the JSON form. It changes when something in it goes or means something else.
const VERSION: u32 = 1;

/// Show what a configuration exposes, or what a change of it adds, removes and breaks.
///
/// Opens no connection and shows no secret. Something stands in for variables and `${file:…}`, so that it runs in a pipeline without its
/// secrets and shows none that are there; which ones are not there is told on stderr. Each difference is one of: `breaking` (what worked before may fail),
/// `loosening` (more is allowed, or to more callers), `compatible` (clients may notice it), `invisible` (they do not).
#[derive(Debug, Args)]
#[command(
    name = "plan",
    after_help = "Exit codes: 0 no breaking change (without --against always), 1 a breaking change, 2 wrong configuration or command line.\n\nExamples: sidegate plan -c gateway.yaml\n          sidegate plan --against git:main:gateway.yaml --format markdown"
)]
pub(super) struct PlanCommand {
    #[command(flatten)]
    config: ConfigArg,
    /// Compare with this one: a file, a folder, or `git:REV:PATH` with a path from the root of the repository.
    #[arg(long, value_name = "OLD", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    against: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    format: FormatArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// Tables for a review comment.
    Markdown,
}

impl PlanCommand {
    pub(super) fn run(self) -> Result<u8, AppError> {
        let environment = Environment::process();
        let path = self.config.path();
        let (new, mut unset) = sound(review::look(path, &environment))?;
        let Some(against) = &self.against else {
            stood_in(&unset);
            let exposed = review::exposed(&new);
            match self.format {
                FormatArg::Text => say(exposed.to_string().trim_end()),
                FormatArg::Markdown => say(exposed.markdown().trim_end()),
                FormatArg::Json => json_document(crate::plan::value(&exposed), &unset),
            }
            return Ok(0);
        };
        let old = review::look_at_old(against, path, &environment)
            .map_err(|why| AppError::Usage(format!("cannot compare with `{against}`: {why}")))?;
        let (old, more) = sound(old)?;
        unset.extend(more.into_iter().filter(|name| !unset.contains(name)).collect::<Vec<_>>());
        stood_in(&unset);
        let comparison = review::compare(against, &old, &new);
        match self.format {
            FormatArg::Text => say(comparison.to_string().trim_end()),
            FormatArg::Markdown => say(comparison.markdown().trim_end()),
            FormatArg::Json => json_document(differences(&comparison), &unset),
        }
        Ok(u8::from(comparison.count(Effect::Breaking) > 0))
    }
}

fn sound(mut checked: Checked) -> Result<(Plan, Vec<String>), AppError> {
    match checked.plan.take() {
        Some(plan) => Ok((plan, checked.unset)),
        None => {
            stood_in(&checked.unset);
            Err(AppError::Config(Box::new(checked)))
        }
    }
}

/// Says what was not there.
fn stood_in(unset: &[String]) {
    if !unset.is_empty() {
        complain(&format!("not there, so something stands in for it: {}", unset.join(", ")));
    }
}

fn differences(comparison: &Comparison) -> Value {
    let counts = Effect::ALL.map(|effect| (effect.as_str().to_owned(), json!(comparison.count(effect))));
    json!({
        "against": comparison.against,
        "counts": Value::Object(counts.into_iter().collect()),
        "restart": comparison.restart,
        "changes": comparison.items,
    })
}

fn json_document(value: Value, unset: &[String]) {
    let mut document = serde_json::Map::new();
    document.insert("version".to_owned(), json!(VERSION));
    if let Value::Object(members) = value {
        document.extend(members);
    }
    document.insert("unset".to_owned(), json!(unset));
    say(&format!("{:#}", Value::Object(document)));
}
