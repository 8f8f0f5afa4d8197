//! The files of a git revision, read by `git` itself: nothing is checked out, no hook or filter runs, nothing is fetched.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::config::{Disk, Files, MAX_FILE, beneath};
use crate::telemetry::one_line;

/// How long `git` may take for everything that is asked of one revision.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is read of its complaints.
const MAX_COMPLAINT: u64 = 4096;
/// What is read of a folder's list.
const MAX_LIST: u64 = 4 << 20;
/// Room for the line before a file's content.
const MAX_HEADER: u64 = 8192;

/// A revision, read as if it were checked out in the place of what is used now.
#[derive(Debug)]
pub(super) struct Revision {
    /// As it was written.
    name: String,
    commit: String,
    /// A folder of the repository's working tree, or the repository.
    repository: PathBuf,
    /// The folder of paths, and the one of the repository that it stands for.
    here: PathBuf,
    there: PathBuf,
    /// The folder that the repository is checked out in, behind all links.
    root: Option<PathBuf>,
    until: Instant,
}

/// What git has of a path.
enum Object {
    File(Vec<u8>),
    Folder,
    Missing,
    Other,
    Large,
}

/// What stands at a path.
enum Kind {
    File,
    Folder,
}

/// The mode of a link in a folder's list.
const LINK: &str = "120000 ";

impl Revision {
    /// Finds a revision in the repository that `here` is in.
    ///
    /// # Errors
    /// A sentence: git is not there, there is no repository, or no such revision.
    pub(super) fn find(name: &str, here: &Path) -> Result<Self, String> {
        let mut revision = Self {
            name: name.to_owned(),
            commit: String::new(),
            repository: here.to_owned(),
            here: here.to_owned(),
            there: PathBuf::new(),
            root: None,
            until: Instant::now() + PATIENCE,
        };
        revision.git(&["rev-parse".as_ref(), "--git-dir".as_ref()], b"", MAX_HEADER)?;
        let wanted = format!("{name}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted];
        let found = revision.git(&arguments.map(OsStr::new), b"", MAX_HEADER).map_err(|_| {
            format!(
                "there is no revision `{}` in the repository of `{}`; a pipeline often has only a part of the history, so that it has \
                 to be fetched first",
                one_line(name),
                here.display()
            )
        })?;
        let commit = String::from_utf8_lossy(&found).trim().to_owned();
        if commit.is_empty() || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("git does not say which commit `{}` is", one_line(name)));
        }
        revision.commit = commit;
        // A bare one has none.
        let root = revision.git(&["rev-parse", "--show-toplevel"].map(OsStr::new), b"", MAX_HEADER);
        let root = root.ok().and_then(|root| String::from_utf8(root).ok());
        revision.root = root.map(|root| PathBuf::from(root.trim_end_matches('\n')));
        Ok(revision)
    }

    /// From now on `here` stands for the folder `there` of the repository.
    pub(super) fn stands_at(mut self, there: &Path) -> Self {
        there.clone_into(&mut self.there);
        self
    }

    /// Whether the repository has a folder of this path in the revision.
    pub(super) fn has_folder(&self, path: &Path) -> bool {
        inside(path).is_some_and(|path| matches!(self.object(&path), Ok(Object::Folder)))
    }

    /// The path in the repository; nothing if it is not of it.
    fn path(&self, path: &Path) -> Option<PathBuf> {
        let own = beneath(path, &self.here).map(|rest| self.there.join(rest));
        // Beside the configuration's folder a path is what it is in the repository.
        own.or_else(|| self.beside(path))
    }

    /// The path in the repository of one that is not of the configuration's folder, however the way to the repository is written.
    fn beside(&self, path: &Path) -> Option<PathBuf> {
        let (root, path) = (self.root.as_deref()?, std::path::absolute(path).ok()?);
        let mut folders = path.ancestors();
        let written = folders.find(|folder| folder.canonicalize().is_ok_and(|real| real == root))?;
        path.strip_prefix(written).ok().map(Path::to_owned)
    }

    fn object(&self, path: &str) -> Result<Object, String> {
        if path.contains(['\n', '\0']) {
            return Ok(Object::Missing);
        }
        let asked = format!("{}:{path}\n", self.commit);
        let arguments = ["cat-file", "--batch", "--follow-symlinks"].map(OsStr::new);
        let answer = self.git(&arguments, asked.as_bytes(), MAX_FILE + MAX_HEADER)?;
        let end = answer.iter().position(|b| *b == b'\n').unwrap_or(answer.len());
        let (header, rest) = answer.split_at(end);
        let header = String::from_utf8_lossy(header);
        let mut words = header.rsplit(' ');
        let (size, kind) = (words.next().and_then(|size| size.parse::<u64>().ok()), words.next());
        Ok(match (kind, size) {
            (Some("blob"), Some(size)) if size > MAX_FILE => Object::Large,
            (Some("blob"), Some(size)) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let content = rest.get(1..).and_then(|content| content.get(..size));
                Object::File(content.ok_or("git broke off")?.to_vec())
            }
            (Some("tree"), Some(_)) => Object::Folder,
            (Some("symlink"), Some(_)) => Object::Other,
            _ => Object::Missing,
        })
    }

    /// What stands at each of these paths behind all links, and its id; nothing where nothing does that is of the repository.
    fn kinds(&self, paths: &[&str]) -> Result<Vec<Option<(Kind, String)>>, String> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = String::new();
        for path in paths {
            // No path of the repository has a line break that could be asked for.
            let path = if path.contains(['\n', '\0']) { "\u{1}" } else { path };
            asked.push_str(&format!("{}:{path}\n", self.commit));
        }
        let arguments = ["cat-file", "--batch-check", "--follow-symlinks"].map(OsStr::new);
        let answer = self.git(&arguments, asked.as_bytes(), MAX_LIST)?;
        let (mut rest, mut found) = (answer.as_slice(), Vec::new());
        for _ in paths {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or("git broke off")?;
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            found.push(match line.split(' ').collect::<Vec<_>>().as_slice() {
                [id, "tree", _] if !id.contains(':') => Some((Kind::Folder, (*id).to_owned())),
                [id, "blob", _] if !id.contains(':') => Some((Kind::File, (*id).to_owned())),
                ["symlink" | "dangling" | "loop" | "notdir", size] => {
                    // What it leads to follows on lines of its own.
                    let size = size.parse::<usize>().map_err(|_| "git broke off")?;
                    rest = rest.get(size.saturating_add(1)..).unwrap_or_default();
                    None
                }
                _ => None,
            });
        }
        Ok(found)
    }

    /// Runs git with these arguments, never through a shell.
    fn git(&self, arguments: &[&OsStr], input: &[u8], limit: u64) -> Result<Vec<u8>, String> {
        let mut child = Command::new("git")
            .arg("--no-pager")
            .arg("-C")
            .arg(&self.repository)
            .args(arguments)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "`git` is not installed here, or not on the PATH".to_owned(),
                _ => format!("`git` cannot be started: {error}"),
            })?;
        let ended = self.talk(&mut child, input, limit);
        if ended.is_err() {
            let _ = child.kill();
        }
        let status = child.wait();
        let (answer, complaint) = ended?;
        if status.is_ok_and(|status| status.success()) || answer.len() as u64 > limit {
            return Ok(answer);
        }
        let complaint = String::from_utf8_lossy(&complaint);
        let first = complaint.lines().next().unwrap_or("it failed");
        Err(format!("git: {}", one_line(first.trim_start_matches("fatal: "))))
    }

    /// What it answers and what it complains of.
    fn talk(&self, child: &mut Child, input: &[u8], limit: u64) -> Result<(Vec<u8>, Vec<u8>), String> {
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            // One that does not read fails below.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        let (sender, answers) = mpsc::channel();
        let out = child.stdout.take().map(|out| Box::new(out.take(limit + 1)) as Box<dyn Read + Send>);
        let err = child.stderr.take().map(|err| Box::new(err.take(MAX_COMPLAINT)) as Box<dyn Read + Send>);
        for (from, pipe) in [out, err].into_iter().enumerate() {
            let (Some(mut pipe), sender) = (pipe, sender.clone()) else { continue };
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let read = pipe.read_to_end(&mut bytes);
                let _ = sender.send((from, read.map(|_| bytes)));
            });
        }
        drop(sender);
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let left = self.until.saturating_duration_since(Instant::now());
            match answers.recv_timeout(left) {
                Ok((0, Ok(bytes))) => answer = bytes,
                Ok((_, Ok(bytes))) => complaint = bytes,
                Ok((_, Err(error))) => return Err(format!("git cannot be read: {error}")),
                Err(_) => return Err(format!("git took longer than {} seconds", PATIENCE.as_secs())),
            }
        }
        Ok((answer, complaint))
    }
}

impl Files for Revision {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        // What is not of the repository, as a certificate in `/etc`, is in no revision.
        let Some(wanted) = self.path(path) else { return Disk.read(path) };
        let wanted = inside(&wanted).ok_or("it is outside of the repository")?;
        match self.object(&wanted)? {
            Object::File(content) => Ok(content),
            Object::Folder => Err("it is not a file".to_owned()),
            Object::Missing => Err("there is no such file in this revision".to_owned()),
            Object::Other => Err("it is a link out of the repository".to_owned()),
            Object::Large => Err("it is larger than 16 MiB".to_owned()),
        }
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.path(path).is_some_and(|path| self.has_folder(&path))
    }

    fn list(&self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(String, bool)>, String> {
        let Some(path) = self.path(folder) else { return Disk.list(folder, wanted) };
        let path = inside(&path).ok_or("it is outside of the repository")?;
        let tree = match self.kinds(&[&path])?.pop().flatten() {
            Some((Kind::Folder, tree)) => tree,
            Some((Kind::File, _)) => return Err("it is not a folder".to_owned()),
            None => return Err("there is no such folder in this revision".to_owned()),
        };
        let listed = self.git(&["ls-tree", "-z", "--full-tree", &tree].map(OsStr::new), b"", MAX_LIST)?;
        if listed.len() as u64 > MAX_LIST {
            return Err("it has too many entries".to_owned());
        }
        let mut links = Vec::new();
        let mut entries = Vec::new();
        for entry in listed.split(|byte| *byte == 0) {
            let told = std::str::from_utf8(entry).ok().and_then(|entry| entry.split_once('\t'));
            let Some((about, name)) = told.filter(|(_, name)| wanted(name)) else { continue };
            if about.starts_with(LINK) {
                links.push((name.to_owned(), format!("{path}/{name}")));
            } else {
                entries.push((name.to_owned(), about.split(' ').nth(1) == Some("tree")));
            }
        }
        let paths: Vec<&str> = links.iter().map(|(_, path)| path.trim_start_matches('/')).collect();
        for (kind, (name, _)) in self.kinds(&paths)?.into_iter().zip(&links) {
            entries.push((name.clone(), matches!(kind, Some((Kind::Folder, _)))));
        }
        Ok(entries)
    }

    fn name(&self, path: &Path) -> String {
        match self.path(path).and_then(|path| inside(&path)) {
            Some(path) => format!("git:{}:{path}", self.name),
            None => path.display().to_string(),
        }
    }
}

/// The path without `.` and `..`, as git writes it; nothing if it leads out.
pub(super) fn inside(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_the_repository() {
        for (path, wanted) in [
            ("a/b.yaml", Some("a/b.yaml")),
            ("./a/./b", Some("a/b")),
            ("a/../b", Some("b")),
            ("a/../../b", None),
            ("/etc/passwd", None),
            ("", Some("")),
        ] {
            assert_eq!(inside(Path::new(path)).as_deref(), wanted, "{path}");
        }
    }
}
