//! Where a change of a file can show: in its folder, and in the folder of every link on the way to it. Files themselves are not
//! watched: an editor's rename, or the swap of Kubernetes' `..data`, puts another one in their place.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::config::is_like;

/// Links that are followed on the way to one file.
const MAX_LINKS: usize = 40;

/// What to watch for some files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    /// Folders, without links in their paths.
    pub folders: BTreeSet<PathBuf>,
    /// Entries of these folders that matter: files, links, and what is missing on the way.
    pub names: HashSet<PathBuf>,
    /// Folders, without links in their paths, in which every name that is like the pattern matters.
    pub patterns: Vec<(PathBuf, String)>,
}

impl Trace {
    /// Follows absolute paths to their files. Looks at the file system.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let mut trace = Self::default();
        paths.for_each(|path| trace.follow(path));
        trace
    }

    /// Watches a folder for names that are like a pattern. Looks at the file system.
    pub(super) fn watch_in(&mut self, folder: &Path, pattern: String) {
        self.follow(folder);
        // One that is not there yet is waited for where it would come.
        if let Ok(folder) = folder.canonicalize() {
            self.folders.insert(folder.clone());
            self.patterns.push((folder, pattern));
        }
    }

    /// Whether what happens to this path may change something.
    pub(super) fn matters(&self, path: &Path) -> bool {
        let like = |(folder, pattern): &(PathBuf, String)| {
            path.parent() == Some(folder)
                && path.file_name().and_then(|name| name.to_str()).is_some_and(|name| is_like(name, pattern))
        };
        self.names.contains(path) || self.patterns.iter().any(like)
    }

    fn follow(&mut self, path: &Path) {
        let mut here = PathBuf::new();
        let mut ahead = VecDeque::new();
        push_front(&mut ahead, path, &mut here);
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let entry = here.join(&name);
            if let Ok(target) = std::fs::read_link(&entry) {
                self.note(&here, entry);
                links += 1;
                if links > MAX_LINKS {
                    return;
                }
                push_front(&mut ahead, &target, &mut here);
                continue;
            }
            if ahead.is_empty() || !entry.exists() {
                // The file, or the first folder that is missing on the way to it.
                self.note(&here, entry);
                return;
            }
            here = entry;
        }
    }

    fn note(&mut self, folder: &Path, entry: PathBuf) {
        self.folders.insert(folder.to_owned());
        self.names.insert(entry);
    }
}

/// Puts the parts of a path before what is ahead; an absolute one begins at its root.
fn push_front(ahead: &mut VecDeque<OsString>, path: &Path, here: &mut PathBuf) {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Prefix(prefix) => *here = PathBuf::from(prefix.as_os_str()),
            Component::RootDir if here.has_root() => *here = PathBuf::from("/"),
            Component::RootDir => here.push("/"),
            Component::CurDir => {}
            Component::ParentDir => parts.push(OsString::from("..")),
            Component::Normal(name) => parts.push(name.to_owned()),
        }
    }
    for part in parts.into_iter().rev() {
        ahead.push_front(part);
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn trace(root: &Path, path: &Path) -> (Vec<String>, Vec<String>) {
        let trace = Trace::of([path].into_iter());
        let short = |p: &PathBuf| p.strip_prefix(root).unwrap().display().to_string();
        let mut names: Vec<String> = trace.names.iter().map(short).collect();
        names.sort();
        (trace.folders.iter().map(short).collect(), names)
    }

    #[test]
    fn the_folder_of_every_link_on_the_way_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("etc/..2026_1")).unwrap();
        std::fs::write(root.join("etc/..2026_1/gateway.yaml"), "").unwrap();
        symlink("..2026_1", root.join("etc/..data")).unwrap();
        symlink("..data/gateway.yaml", root.join("etc/gateway.yaml")).unwrap();
        let wanted = (
            vec!["etc".to_owned(), "etc/..2026_1".to_owned()],
            vec![
                "etc/..2026_1/gateway.yaml".to_owned(),
                "etc/..data".to_owned(),
                "etc/gateway.yaml".to_owned(),
            ],
        );
        assert_eq!(trace(&root, &root.join("etc/gateway.yaml")), wanted);
        symlink(root.join("etc"), root.join("link")).unwrap();
        let (folders, names) = trace(&root, &root.join("link/../etc/./gateway.yaml"));
        assert_eq!(folders, ["", "etc", "etc/..2026_1"]);
        assert_eq!(names.len(), 4);
    }

    #[test]
    fn what_is_missing_is_waited_for_where_it_would_come() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        assert_eq!(trace(&root, &root.join("a/b/c")), (vec![String::new()], vec!["a".to_owned()]));
        symlink("round", root.join("round")).unwrap();
        assert_eq!(trace(&root, &root.join("round")).1, ["round"], "a ring ends");
    }
}
