//! What a configuration was read from: every path with a digest of what stood there, or why it could not be read. So a change can be
//! told from a mere event, also of a file that a configuration with errors names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use super::files::{Disk, Files};
use super::include::is_like;

/// The files that were read, by their absolute paths, and the folders in which names were looked for, with their pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    files: BTreeMap<PathBuf, Found>,
    folders: BTreeMap<(PathBuf, String), Found>,
}

/// What stood there: its digest, or a sentence.
type Found = Result<Vec<u8>, String>;
/// Names in a folder, and whether each is a folder.
type Names = Result<Vec<(String, bool)>, String>;

impl Watched {
    /// Reads a file, and notes what it was.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read.
    pub(super) fn read(&mut self, path: &Path, files: &dyn Files) -> Result<Vec<u8>, String> {
        let read = files.read(path);
        let found = found(&read);
        // Where a file is read twice and changes in between, the first is what will not be found again.
        self.files.entry(Self::absolute(path)).or_insert(found);
        read
    }

    /// The names in a folder that are like a pattern, sorted; notes them.
    ///
    /// # Errors
    /// A sentence that says why it cannot be listed.
    pub(super) fn list(&mut self, folder: &Path, pattern: &str, files: &dyn Files) -> Names {
        let names = listed(folder, pattern, files);
        self.folders.entry((Self::absolute(folder), pattern.to_owned())).or_insert_with(|| told(&names));
        names
    }

    /// The path from the root.
    pub(super) fn absolute(path: &Path) -> PathBuf {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }

    /// The paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The folders in which names that are like a pattern matter, with it.
    pub fn folders(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.folders.keys().map(|(folder, pattern)| (folder.as_path(), pattern.as_str()))
    }

    /// Whether everything is still as it was. Reads all files.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.files.iter().all(|(path, before)| found(&Disk.read(path)) == *before)
            && self
                .folders
                .iter()
                .all(|((folder, pattern), before)| told(&listed(folder, pattern, &Disk)) == *before)
    }

    /// Takes in those of `others` that are missing here, as they are now.
    pub fn cover(&mut self, others: &Self) {
        for path in others.paths() {
            if !self.files.contains_key(path) {
                self.files.insert(path.to_owned(), found(&Disk.read(path)));
            }
        }
        for (folder, pattern) in others.folders.keys() {
            let key = (folder.clone(), pattern.clone());
            self.folders.entry(key).or_insert_with(|| told(&listed(folder, pattern, &Disk)));
        }
    }
}

fn listed(folder: &Path, pattern: &str, files: &dyn Files) -> Names {
    let mut names = files.list(folder, &|name| is_like(name, pattern))?;
    names.sort();
    Ok(names)
}

fn told(names: &Names) -> Found {
    let all = |names: &Vec<(String, bool)>| format!("{names:?}").into_bytes();
    found(&names.as_ref().map(all).map_err(Clone::clone))
}

fn found(read: &Result<Vec<u8>, String>) -> Found {
    let digest = |bytes: &Vec<u8>| digest::digest(&digest::SHA256, bytes).as_ref().to_vec();
    read.as_ref().map(digest).map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_whatever_its_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let mut missing = Watched::default();
        assert!(missing.read(&path, &Disk).is_err());
        assert!(missing.is_current(), "it is still not there");
        std::fs::write(&path, "one").unwrap();
        assert!(!missing.is_current(), "it came");
        let mut there = Watched::default();
        assert_eq!(there.read(&path, &Disk).unwrap(), b"one");
        std::fs::write(&path, "one").unwrap();
        assert!(there.is_current(), "written again, the same");
        std::fs::write(&path, "two").unwrap();
        assert!(!there.is_current());
        std::fs::remove_file(&path).unwrap();
        assert!(!there.is_current(), "it went");
    }

    #[test]
    fn what_a_broken_configuration_did_not_reach_is_covered_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let (mut good, mut broken) = (Watched::default(), Watched::default());
        for path in [&a, &b] {
            std::fs::write(path, "one").unwrap();
            good.read(path, &Disk).unwrap();
        }
        broken.read(&a, &Disk).unwrap();
        std::fs::write(&b, "two").unwrap();
        broken.cover(&good);
        assert_eq!(broken.paths().count(), 2);
        assert!(broken.is_current());
        std::fs::write(&b, "three").unwrap();
        assert!(!broken.is_current());
    }
}
