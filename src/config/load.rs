//! Text to [`Config`]. All file and environment reads of the whole program's configuration happen here; later phases are pure.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::files::{Disk, Files};
use super::stand_in::{is_shown, stand_in};
use super::{Config, Watched, hide, include};
use crate::diag::{Diagnostic, Diagnostics, SourceMap};
use crate::yaml;

/// What loading gave. `config` is there only if the text could be read; there may be errors all the same.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The configuration.
    pub config: Option<Config>,
    /// Everything found on the way.
    pub diagnostics: Diagnostics,
    /// The texts that the diagnostics point into.
    pub sources: SourceMap,
    /// Every file that was read or looked for, also where there are errors.
    pub watched: Watched,
    /// Variables and files of `${…}` that are not there and were stood in for, as they are written.
    pub unset: Vec<String>,
    /// What of the values `${…}` gave; of the configuration once there is one.
    pub(super) outside: yaml::Outside,
}

/// What a configuration is made from beside its text.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// Where `${NAME}` gets its values from.
    pub environment: &'a Environment,
    /// Where files stand.
    pub files: &'a dyn Files,
    /// Whether something stands in for variables and for files of `${file:…}`, there or not: to look at a configuration away from
    /// where it runs, and to show it without anything of where one looks.
    pub stand_ins: bool,
}

impl<'a> Origin<'a> {
    /// The disk, and everything has to be there.
    #[must_use]
    pub const fn disk(environment: &'a Environment) -> Self {
        Self { environment, files: &Disk, stand_ins: false }
    }
}

/// Environment variables for `${NAME}`: those of the process, and some that are given on top.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Look at the process's own variables.
    pub process: bool,
    /// Given ones; they win.
    pub given: HashMap<String, String>,
}

impl Environment {
    /// The process's own variables.
    #[must_use]
    pub fn process() -> Self {
        Self { process: true, given: HashMap::new() }
    }
}

struct Reader<'a> {
    origin: Origin<'a>,
    base: &'a Path,
    watched: &'a mut Watched,
    unset: &'a mut Vec<String>,
}

impl yaml::Environment for Reader<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let own = || std::env::var(name).ok().filter(|_| self.origin.environment.process);
        self.origin.environment.given.get(name).cloned().or_else(own)
    }

    fn file(&mut self, path: &str) -> Result<String, String> {
        let bytes = self.watched.read(&self.base.join(path), self.origin.files)?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    fn takes(&self, value: &str, place: yaml::Slot<'_>) -> bool {
        !self.origin.stand_ins || is_shown(value, place)
    }

    fn stand_in(&mut self, whole: &str, place: yaml::Slot<'_>, value: Option<&str>) -> Option<String> {
        if !self.origin.stand_ins {
            return None;
        }
        if value.is_none() && !self.unset.iter().any(|known| known == whole) {
            self.unset.push(whole.to_owned());
        }
        Some(stand_in(whole, place, value))
    }

    fn names(&self) -> Vec<String> {
        let process = std::env::vars_os().filter_map(|(k, _)| k.into_string().ok());
        self.origin
            .environment
            .given
            .keys()
            .cloned()
            .chain(process.filter(|_| self.origin.environment.process))
            .collect()
    }
}

/// The file of a path, which is that file or the folder that holds its `gateway.yaml`, and the folder that relative paths start from.
#[must_use]
pub fn place(path: &Path, files: &dyn Files) -> (PathBuf, PathBuf) {
    let path = if files.is_folder(path) { path.join("gateway.yaml") } else { path.to_owned() };
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    (path, base)
}

/// Loads a file, or the `gateway.yaml` of a folder.
#[must_use]
pub fn load(path: &Path, environment: &Environment) -> Loaded {
    load_from(path, Origin::disk(environment))
}

/// Loads a file, or the `gateway.yaml` of a folder, from wherever it is.
#[must_use]
pub fn load_from(path: &Path, origin: Origin<'_>) -> Loaded {
    let mut loaded = Loaded::default();
    let (path, base) = place(path, origin.files);
    let name = origin.files.name(&path);
    match loaded.watched.read(&path, origin.files) {
        Err(why) => {
            let help = "name a file with `-c`, or set SIDEGATE_CONFIG";
            // To who has named none; one that was named is named wrong, or in a place that `-c` has no part in.
            let help = (name == "gateway.yaml" && !path.is_file()).then(|| help.to_owned());
            let message = format!("cannot read `{name}`: {why}");
            loaded.diagnostics.push(Diagnostic::error("file-unreadable", message).maybe_help(help));
            loaded
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => into(loaded, &name, &text, &base, origin),
            Err(error) => {
                let sound = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
                let line = sound.filter(|b| **b == b'\n').count() + 1;
                let message = format!("`{name}` is not UTF-8 text (line {line})");
                loaded.diagnostics.push(Diagnostic::error("not-utf8", message));
                loaded
            }
        },
    }
}

/// Loads a text as if it were the file `name` in the folder `base`.
#[must_use]
pub fn load_text(name: &str, text: &str, base: &Path, environment: &Environment) -> Loaded {
    into(Loaded::default(), name, text, base, Origin::disk(environment))
}

fn into(mut loaded: Loaded, name: &str, text: &str, base: &Path, origin: Origin<'_>) -> Loaded {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some((tree, failed)) = tree_of(&mut loaded, name, text, base, origin) else { return loaded };
    let reading = yaml::from_tree::<Config>(&tree, failed, &mut loaded.diagnostics);
    for span in reading.secrets {
        hide::secret(span, text, &mut loaded.sources);
    }
    if let Some(mut config) = reading.value {
        base.clone_into(&mut config.base);
        config.losses = reading.losses;
        read_files(&mut config, base, origin.files, &mut loaded);
        let own = base.join(Path::new(name).file_name().unwrap_or_default());
        include::join(&mut config, &own, base, origin, &mut loaded);
        config.outside = std::mem::take(&mut loaded.outside);
        loaded.config = Some(config);
    }
    loaded
}

/// The tree of a text with its variables resolved, and what of it is wrong already; nothing if it is not YAML.
pub(super) fn tree_of(
    loaded: &mut Loaded,
    name: &str,
    text: &str,
    base: &Path,
    origin: Origin<'_>,
) -> Option<(yaml::Node, Vec<u32>)> {
    let file = loaded.sources.add(name, text);
    let before = loaded.diagnostics.errors();
    let mut tree = match yaml::parse(text, file, &mut loaded.diagnostics) {
        Ok(tree) => tree,
        Err(problem) => {
            hide::in_broken(text, file, &mut loaded.sources);
            loaded.diagnostics.push(*problem);
            return None;
        }
    };
    if loaded.diagnostics.errors() > before {
        // The value of a second key is not in the tree.
        hide::in_broken(text, file, &mut loaded.sources);
    }
    for span in hide::in_tree(&tree, text, &mut loaded.sources) {
        let message = "a secret stands in the file itself";
        let help = "write `${NAME}` or `${file:/run/secrets/name}` and keep the value out of the file";
        loaded.diagnostics.push(Diagnostic::warning("literal-secret", message).at(span, "").help(help));
    }
    let mut reader = Reader { origin, base, watched: &mut loaded.watched, unset: &mut loaded.unset };
    let failed = yaml::interpolate(&mut tree, &mut reader, &mut loaded.diagnostics, &mut loaded.outside);
    Some((tree, failed))
}

pub(super) fn read_files(config: &mut Config, base: &Path, files: &dyn Files, loaded: &mut Loaded) {
    let tls = config.server.http.tls.as_ref();
    let pairs: Vec<_> =
        tls.map(|tls| [tls.cert.path.span, tls.key.path.span]).into_iter().flatten().collect();
    for file in config.files() {
        match loaded.watched.read(&base.join(&file.path.value), files) {
            Ok(bytes) => file.content = Arc::from(bytes),
            Err(why) => {
                let message = format!("cannot read `{}`: {why}", file.path.value);
                let help = format!("paths start from the folder of this file: `{}`", base.display());
                let help = if pairs.contains(&file.path.span) {
                    format!(
                        "{help}; where the real one is not, any certificate with its key does to check or to look"
                    )
                } else {
                    help
                };
                let problem = Diagnostic::error("file-unreadable", message).at(file.path.span, "");
                loaded.diagnostics.push(problem.help(help));
            }
        }
    }
    if let Some(tls) = &config.server.http.tls {
        tls.check_times(SystemTime::now(), &mut loaded.diagnostics);
    }
}
