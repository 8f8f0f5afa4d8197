//! A plan as people and pipelines look at it: what it exposes, and what differs from another one, with what each difference means for
//! those who use the server. Opens no connection; secrets are masked.

mod access;
mod callers;
mod compare;
mod exposed;
mod markdown;
mod notes;
mod operations;
mod revision;
mod routes;
mod schema;
mod server;
mod sources;
mod text;
mod tree;
mod words;

pub use compare::{Change, Comparison, Item};
pub use exposed::{Exposed, exposed};
pub use notes::{Difference, Effect};
pub use words::Sentence;

use std::path::{Path, PathBuf};

use crate::config::{Disk, Elsewhere, Environment, Files, Origin, place};
use crate::plan::{Checked, Plan, check_from};
use revision::Revision;

/// What `git:` stands before.
const GIT: &str = "git:";

/// Loads and compiles what is looked at; something stands in for variables, whether they are set here or not.
#[must_use]
pub fn look(path: &Path, environment: &Environment) -> Checked {
    check_from(path, Origin { environment, files: &Disk, stand_ins: true })
}

/// Loads and compiles what `path` is compared with, as if it stood in its place: a file, a folder, or `git:REV:PATH`.
///
/// # Errors
/// A sentence, if there is no such file or revision.
pub fn look_at_old(against: &str, path: &Path, environment: &Environment) -> Result<Checked, String> {
    let (_, here) = place(path, &Disk);
    let (files, file): (Box<dyn Files>, PathBuf) = match against.strip_prefix(GIT) {
        Some(named) => {
            let (revision, old) = named
                .split_once(':')
                .filter(|(revision, old)| !revision.is_empty() && !old.is_empty())
                .ok_or("a revision is written as `git:REV:PATH`, such as `git:main:gateway.yaml`")?;
            if revision.starts_with('-') || old.starts_with('-') {
                return Err("neither the revision nor the path begins with `-`".to_owned());
            }
            let old =
                revision::inside(Path::new(old)).ok_or("the path starts from the root of the repository")?;
            let revision = Revision::find(revision, &here)?;
            let mut old = PathBuf::from(old);
            if revision.has_folder(&old) {
                old.push("gateway.yaml");
            }
            let folder = old.parent().unwrap_or(Path::new("")).to_owned();
            let name = old.file_name().map(PathBuf::from).unwrap_or_default();
            (Box::new(revision.stands_at(&folder)), name)
        }
        None => {
            let (old, there) = place(Path::new(against), &Disk);
            let name = old.file_name().map(PathBuf::from).unwrap_or_default();
            (Box::new(Elsewhere { here: here.clone(), there }), name)
        }
    };
    Ok(check_from(&here.join(file), Origin { environment, files: &*files, stand_ins: true }))
}

/// What differs.
#[must_use]
pub fn compare(against: &str, old: &Plan, new: &Plan) -> Comparison {
    compare::compare(against, old, new)
}
