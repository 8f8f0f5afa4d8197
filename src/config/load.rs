//! Text to [`Config`]. All file and environment reads of the whole program's configuration happen here; later phases are pure.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Config;
use crate::diag::{Diagnostic, Diagnostics, FileId, SourceMap, Span};
use crate::yaml::{self, Node, NodeKind};

/// The largest file that a configuration may name.
const MAX_FILE: u64 = 16 << 20;

/// What loading gave. `config` is there only if the text could be read; there may be errors all the same.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The configuration.
    pub config: Option<Config>,
    /// Everything found on the way.
    pub diagnostics: Diagnostics,
    /// The texts that the diagnostics point into.
    pub sources: SourceMap,
    /// Every file that was read: what a watcher must watch.
    pub files: Vec<PathBuf>,
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
    environment: &'a Environment,
    base: &'a Path,
    files: &'a mut Vec<PathBuf>,
}

impl yaml::Environment for Reader<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let own = || std::env::var(name).ok().filter(|_| self.environment.process);
        self.environment.given.get(name).cloned().or_else(own)
    }

    fn file(&mut self, path: &str) -> Result<String, String> {
        let bytes = read(self.base, Path::new(path), self.files)?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    fn names(&self) -> Vec<String> {
        let process = std::env::vars_os().filter_map(|(k, _)| k.into_string().ok());
        self.environment.given.keys().cloned().chain(process.filter(|_| self.environment.process)).collect()
    }
}

fn read(base: &Path, path: &Path, files: &mut Vec<PathBuf>) -> Result<Vec<u8>, String> {
    let path = if path.is_absolute() { path.to_owned() } else { base.join(path) };
    files.push(path.clone());
    let meta = std::fs::metadata(&path).map_err(|e| plain(&e))?;
    if !meta.is_file() {
        return Err("it is not a file".to_owned());
    }
    if meta.len() > MAX_FILE {
        return Err("it is larger than 16 MiB".to_owned());
    }
    std::fs::read(&path).map_err(|e| plain(&e))
}

/// The reason without the operating system's number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Loads a file, or the `gateway.yaml` of a folder.
#[must_use]
pub fn load(path: &Path, environment: &Environment) -> Loaded {
    let path = if path.is_dir() { path.join("gateway.yaml") } else { path.to_owned() };
    let mut loaded = Loaded::default();
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let name = path.display().to_string();
    match read(Path::new(""), &path, &mut loaded.files) {
        Err(why) => {
            let help = "name a file with `-c`, or set SIDEGATE_CONFIG";
            let message = format!("cannot read `{name}`: {why}");
            loaded.diagnostics.push(Diagnostic::error("file-unreadable", message).help(help));
            loaded
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => into(loaded, &name, &text, &base, environment),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let message = format!("`{name}` is not UTF-8 text (byte {at})");
                loaded.diagnostics.push(Diagnostic::error("not-utf8", message));
                loaded
            }
        },
    }
}

/// Loads a text as if it were the file `name` in the folder `base`.
#[must_use]
pub fn load_text(name: &str, text: &str, base: &Path, environment: &Environment) -> Loaded {
    into(Loaded::default(), name, text, base, environment)
}

fn into(mut loaded: Loaded, name: &str, text: &str, base: &Path, environment: &Environment) -> Loaded {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = loaded.sources.add(name, text);
    let mut tree = match yaml::parse(text, file) {
        Ok(tree) => tree,
        Err(problem) => {
            hide_lines(text, file, &mut loaded.sources);
            loaded.diagnostics.push(*problem);
            return loaded;
        }
    };
    let mut literal = Vec::new();
    hide_secrets(&tree, false, text, &mut loaded.sources, &mut literal);
    for span in literal {
        let message = "a secret stands in the file itself";
        let help = "write `${NAME}` or `${file:/run/secrets/name}` and keep the value out of the file";
        loaded.diagnostics.push(Diagnostic::warning("literal-secret", message).at(span, "").help(help));
    }
    let mut reader = Reader { environment, base, files: &mut loaded.files };
    let failed = yaml::interpolate(&mut tree, &mut reader, &mut loaded.diagnostics);
    let mut secrets = Vec::new();
    let config = yaml::from_tree::<Config>(&tree, failed, &mut loaded.diagnostics, &mut secrets);
    for span in secrets {
        hide(span, text, &mut loaded.sources);
    }
    if let Some(mut config) = config {
        base.clone_into(&mut config.base);
        read_files(&mut config, base, &mut loaded);
        loaded.config = Some(config);
    }
    loaded
}

fn read_files(config: &mut Config, base: &Path, loaded: &mut Loaded) {
    for file in config.files() {
        match read(base, Path::new(&file.path.value), &mut loaded.files) {
            Ok(bytes) => file.content = Arc::from(bytes),
            Err(why) => {
                let message = format!("cannot read `{}`: {why}", file.path.value);
                let help = format!("paths start from the folder of this file: `{}`", base.display());
                let problem = Diagnostic::error("file-unreadable", message).at(file.path.span, "");
                loaded.diagnostics.push(problem.help(help));
            }
        }
    }
}

/// Keys whose scalar values are secrets, for texts that could not be read into types.
const SECRET_KEYS: [&str; 7] = ["bearer", "password", "client_secret", "api_key", "token", "secret", "key"];

/// Hides a secret scalar unless it only names a variable, or is a SQLite file.
fn hide(span: Span, text: &str, sources: &mut SourceMap) {
    let slice = text.get(span.start as usize..span.end as usize).unwrap_or("");
    let variable = slice.contains("${") && !slice.contains(":-");
    if !variable && !slice.contains("sqlite:") {
        sources.hide(span);
    }
}

/// Hides what stands under secret keys, read or not, and collects the ones written literally.
fn hide_secrets(node: &Node, inside: bool, text: &str, sources: &mut SourceMap, literal: &mut Vec<Span>) {
    match &node.kind {
        NodeKind::Scalar(scalar) => {
            if inside && !node.is_null() {
                hide(node.span, text, sources);
                if !scalar.text.contains("${") {
                    literal.push(node.span);
                }
            }
        }
        NodeKind::List(items) => {
            for item in items {
                hide_secrets(item, false, text, sources, literal);
            }
        }
        NodeKind::Map(entries) => {
            let in_api_key = entries.iter().any(|(k, _)| is(k, "value"))
                && entries.iter().any(|(k, _)| is(k, "header") || is(k, "query"));
            for (key, value) in entries {
                let scalar = matches!(value.kind, NodeKind::Scalar(_));
                let secret =
                    scalar && (SECRET_KEYS.iter().any(|s| is(key, s)) || (in_api_key && is(key, "value")));
                hide_secrets(value, secret, text, sources, literal);
            }
        }
    }
}

fn is(key: &Node, name: &str) -> bool {
    matches!(&key.kind, NodeKind::Scalar(s) if s.text == name)
}

/// A text that is not YAML has no tree: hide the rest of every line that begins like a secret.
fn hide_lines(text: &str, file: FileId, sources: &mut SourceMap) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let found = SECRET_KEYS.iter().filter_map(|key| {
            let at = line.find(&format!("{key}:"))?;
            Some(at + key.len() + 1)
        });
        if let Some(at) = found.min() {
            let from = u32::try_from(start + at).unwrap_or(u32::MAX);
            let to = u32::try_from(start + line.len()).unwrap_or(u32::MAX);
            sources.hide(Span { file, start: from, end: to });
        }
        start += line.len();
    }
}
