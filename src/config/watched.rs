//! What a configuration was read from: every path with a digest of what stood there, or why it could not be read. So a change can be
//! told from a mere event, also of a file that a configuration with errors names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use super::files::{Disk, Files};

/// The files that were read, by their absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched(BTreeMap<PathBuf, Found>);

/// What stood there: its digest, or a sentence.
type Found = Result<Vec<u8>, String>;

impl Watched {
    /// Reads a file, and notes what it was.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read.
    pub(super) fn read(&mut self, path: &Path, files: &dyn Files) -> Result<Vec<u8>, String> {
        let read = files.read(path);
        let found = found(&read);
        // Where a file is read twice and changes in between, the first is what will not be found again.
        self.0.entry(absolute(path)).or_insert(found);
        read
    }

    /// The paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether everything is still as it was. Reads all files.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.0.iter().all(|(path, before)| found(&Disk.read(path)) == *before)
    }

    /// Takes in those of `others` that are missing here, as they are now.
    pub fn cover(&mut self, others: &Self) {
        for path in others.paths() {
            if !self.0.contains_key(path) {
                self.0.insert(path.to_owned(), found(&Disk.read(path)));
            }
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
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
