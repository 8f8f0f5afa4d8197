//! `include`: files whose sources, tools, resources and prompts count as if they stood in the file that names them.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use super::load::{Loaded, Origin, read_files, tree_of};
use super::{Config, Watched, hide};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::yaml::{self, Entries, Node, NodeKind};

/// How many files one configuration may have besides its own, and how many bytes they have together.
const MAX_FILES: usize = 1_000;
const MAX_TOTAL: usize = 32 << 20;
/// How many entries of folders are looked at.
const MAX_LOOKED_AT: usize = 100_000;

/// What an included file has, and what is said once, in the file that includes it.
const PARTS: [&str; 4] = ["sources", "tools", "resources", "prompts"];
const ONCE: [&str; 4] = ["server", "auth", "defaults", "include"];

/// Reads what `config` includes, and puts it in.
pub(super) fn join(config: &mut Config, own: &Path, base: &Path, origin: Origin<'_>, loaded: &mut Loaded) {
    let mut lost = config.losses.touch(&["include"], &[]);
    let own = resolved(own);
    let (mut seen, mut total, mut looked) = (HashSet::from([own.clone()]), 0, 0);
    let mut parts = Vec::new();
    for pattern in config.include.clone() {
        let wild = is_wild(&pattern);
        let paths = match expand(&pattern, base, origin, &mut loaded.watched, &mut looked) {
            Ok(paths) => paths,
            Err(problem) => {
                lost = true;
                loaded.diagnostics.push(*problem);
                continue;
            }
        };
        if paths.is_empty() {
            let message = format!("no file is named like `{}`", pattern.value);
            loaded.diagnostics.push(Diagnostic::warning("empty-include", message).at(pattern.span, ""));
        }
        for path in paths {
            let resolved = resolved(&path);
            if !wild && resolved == own {
                let message = "the file includes itself";
                loaded.diagnostics.push(Diagnostic::error("bad-include", message).at(pattern.span, ""));
            }
            if !seen.insert(resolved) {
                continue;
            }
            if seen.len() > MAX_FILES + 1 || total > MAX_TOTAL {
                let message = format!("more than {MAX_FILES} files, or 32 MiB of them, are included");
                loaded.diagnostics.push(Diagnostic::error("bad-include", message).at(pattern.span, ""));
                lost = true;
                break;
            }
            match part(&path, &pattern, origin, loaded, &mut total) {
                Some(part) => parts.push(part),
                None => lost = true,
            }
        }
    }
    if lost {
        for key in PARTS {
            config.losses.lose(&[key]);
        }
    }
    put_in(config, parts, &mut loaded.diagnostics);
}

/// The path by which one knows the same file again, however it was named. One that is not on this disk has its `..` taken out as they stand.
fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| {
        let mut out = PathBuf::new();
        for component in Watched::absolute(path).components() {
            match component {
                Component::ParentDir => _ = out.pop(),
                other => out.push(other),
            }
        }
        out
    })
}

/// One included file; nothing if it cannot be read as a whole.
fn part(
    path: &Path,
    pattern: &Spanned<String>,
    origin: Origin<'_>,
    loaded: &mut Loaded,
    total: &mut usize,
) -> Option<Config> {
    let name = origin.files.name(path);
    let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
    let problem = |code, message: String| Diagnostic::error(code, message).at(pattern.span, "");
    let bytes = match loaded.watched.read(path, origin.files) {
        Ok(bytes) => bytes,
        Err(why) => {
            let files = || format!("name its files: `{}/*.yaml`", pattern.trim_end_matches('/'));
            let help = origin.files.is_folder(path).then(files);
            let message = format!("cannot read `{name}`: {why}");
            loaded.diagnostics.push(problem("file-unreadable", message).maybe_help(help));
            return None;
        }
    };
    *total += bytes.len();
    let Ok(text) = String::from_utf8(bytes) else {
        loaded.diagnostics.push(problem("not-utf8", format!("`{name}` is not UTF-8 text")));
        return None;
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mut tree, failed) = tree_of(loaded, &name, text, base, origin)?;
    refuse(&mut tree, &mut loaded.diagnostics);
    let reading = yaml::from_tree::<Config>(&tree, failed, &mut loaded.diagnostics);
    for span in reading.secrets {
        hide::secret(span, text, &mut loaded.sources);
    }
    let mut part = reading.value?;
    part.losses = reading.losses;
    part.bases = vec![(tree.span.file, base.to_owned())];
    read_files(&mut part, base, origin.files, loaded);
    Some(part)
}

/// Takes out what is said once, and says so.
fn refuse(tree: &mut Node, diagnostics: &mut Diagnostics) {
    let NodeKind::Map(entries) = &mut tree.kind else { return };
    entries.retain(|(key, _)| {
        let NodeKind::Scalar(scalar) = &key.kind else { return true };
        let once = ONCE.contains(&scalar.text.as_str());
        if once {
            let message = format!("`{}` cannot stand in a file that is included", scalar.text);
            let help = "it is said once, in the file with `include`; here are `sources`, `tools`, `resources` and `prompts`";
            diagnostics.push(Diagnostic::error("not-in-include", message).at(key.span, "").help(help));
        }
        !once
    });
}

fn put_in(config: &mut Config, parts: Vec<Config>, diagnostics: &mut Diagnostics) {
    let mut known: [HashMap<String, Span>; 4] =
        [names(&config.sources), names(&config.tools), names(&config.resources), names(&config.prompts)];
    for part in parts {
        let [sources, tools, resources, prompts] = &mut known;
        add(&mut config.sources, part.sources, "source", sources, diagnostics);
        add(&mut config.tools, part.tools, "tool", tools, diagnostics);
        add(&mut config.resources, part.resources, "resource", resources, diagnostics);
        add(&mut config.prompts, part.prompts, "prompt", prompts, diagnostics);
        config.losses.join(part.losses);
        config.bases.extend(part.bases);
    }
}

fn names<T>(entries: &Entries<T>) -> HashMap<String, Span> {
    entries.iter().map(|(name, _)| (name.value.clone(), name.span)).collect()
}

fn add<T>(
    all: &mut Entries<T>,
    more: Entries<T>,
    what: &str,
    known: &mut HashMap<String, Span>,
    diagnostics: &mut Diagnostics,
) {
    for (name, value) in more.0 {
        if let Some(first) = known.get(&name.value) {
            let message = format!("the {what} `{}` is defined twice", name.value);
            let problem = Diagnostic::error("defined-twice", message);
            diagnostics.push(problem.at(name.span, "the second one").at(*first, "the first one"));
            continue;
        }
        known.insert(name.value.clone(), name.span);
        all.0.push((name, value));
    }
}

fn is_wild(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// The files of a pattern in the order of their names; one that has no wildcard is its file, whether it is there or not.
fn expand(
    pattern: &Spanned<String>,
    base: &Path,
    origin: Origin<'_>,
    watched: &mut Watched,
    looked: &mut usize,
) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    let bad = |message: &str| Diagnostic::error("bad-include", message.to_owned()).at(pattern.span, "");
    if pattern.trim().is_empty() {
        return Err(Box::new(bad("this names no file")));
    }
    if pattern.contains("**") {
        let help = "`*` stands for a part of one name: write a pattern for each folder, or `*/*.yaml`";
        return Err(Box::new(bad("`**` has no meaning here").help(help)));
    }
    let path = Path::new(&pattern.value);
    let mut at = vec![if path.is_absolute() { PathBuf::new() } else { base.to_owned() }];
    let mut wild = false;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let name = match component {
            Component::Normal(name) => name.to_str().unwrap_or_default(),
            other => {
                for path in &mut at {
                    path.push(other);
                }
                continue;
            }
        };
        wild |= is_wild(name);
        if !wild {
            for path in &mut at {
                path.push(name);
            }
            continue;
        }
        let folders = components.peek().is_some();
        let mut next = Vec::new();
        for folder in at {
            let found = match watched.list(&folder, name, origin.files) {
                Ok(found) => found,
                Err(why) if origin.files.is_folder(&folder) => {
                    return Err(Box::new(bad(&format!("cannot list `{}`: {why}", folder.display()))));
                }
                // There is no such folder, so nothing is named like this yet.
                Err(_) => continue,
            };
            *looked += found.len();
            if *looked > MAX_LOOKED_AT {
                return Err(Box::new(bad("this matches too many files and folders")));
            }
            let fit = found.into_iter().filter(|(_, is_folder)| *is_folder == folders);
            next.extend(fit.map(|(name, _)| folder.join(name)));
        }
        at = next;
    }
    if wild {
        at.sort();
    }
    Ok(at)
}

/// Whether a name is like a pattern: `*` stands for any characters, `?` for one; neither for a dot at the beginning.
pub(crate) fn is_like(name: &str, pattern: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
    let (mut n, mut p) = (0, 0);
    // Where the last `*` stands, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => (n, p) = (n + 1, p + 1),
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (n, p) = (*taken, *at + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_like_patterns() {
        for (name, pattern, wanted) in [
            ("a.yaml", "*.yaml", true),
            ("a.yaml~", "*.yaml", false),
            (".a.yaml", "*.yaml", false),
            (".a.yaml", ".*.yaml", true),
            ("a.b.yaml", "*.yaml", true),
            ("ab", "?b", true),
            ("b", "?b", false),
            ("aXbXc", "a*b*c", true),
            ("aXbXd", "a*b*c", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*a*a*a*c", false),
            ("", "*", true),
            ("x", "x", true),
        ] {
            assert_eq!(is_like(name, pattern), wanted, "{name} {pattern}");
        }
    }
}
