//! Where the files of a configuration stand: on the disk, or elsewhere, such as in a revision of a repository. Paths are those of
//! the configuration in use, so that two places hold the same plan if they hold the same files.

use std::path::{Path, PathBuf};

/// The largest file that a configuration may name.
pub const MAX_FILE: u64 = 16 << 20;
/// How many entries of one folder are looked at.
pub const MAX_ENTRIES: usize = 20_000;

/// A place with files.
pub trait Files {
    /// The content of a file of 16 MiB at the most.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;

    /// Whether there is a folder of this path.
    fn is_folder(&self, path: &Path) -> bool;

    /// The names in a folder that are wanted, and whether each is a folder itself; in any order.
    ///
    /// # Errors
    /// A sentence that says why it cannot be listed.
    fn list(&self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(String, bool)>, String>;

    /// The path as people know it.
    fn name(&self, path: &Path) -> String {
        path.display().to_string()
    }
}

/// The disk.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let meta = std::fs::metadata(path).map_err(|e| plain(&e))?;
        if !meta.is_file() {
            return Err("it is not a file".to_owned());
        }
        if meta.len() > MAX_FILE {
            return Err("it is larger than 16 MiB".to_owned());
        }
        std::fs::read(path).map_err(|e| plain(&e))
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn list(&self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(String, bool)>, String> {
        let mut found = Vec::new();
        for (index, entry) in std::fs::read_dir(folder).map_err(|e| plain(&e))?.enumerate() {
            if index >= MAX_ENTRIES {
                return Err(format!("it has more than {MAX_ENTRIES} entries"));
            }
            let entry = entry.map_err(|e| plain(&e))?;
            if let Some(name) = entry.file_name().to_str().filter(|name| wanted(name)) {
                found.push((name.to_owned(), entry.path().is_dir()));
            }
        }
        Ok(found)
    }
}

/// Another folder of the disk, read as if it stood in the place of `here`.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The folder that paths begin with.
    pub here: PathBuf,
    /// The one that is read.
    pub there: PathBuf,
}

/// What is left of a path after a folder that it begins with, however the two are written.
pub(crate) fn beneath(path: &Path, folder: &Path) -> Option<PathBuf> {
    if let Ok(rest) = path.strip_prefix(folder)
        && rest.is_relative()
    {
        return Some(rest.to_owned());
    }
    let (path, folder) = (std::path::absolute(path).ok()?, std::path::absolute(folder).ok()?);
    path.strip_prefix(folder).ok().map(Path::to_owned)
}

impl Elsewhere {
    fn path(&self, path: &Path) -> PathBuf {
        beneath(path, &self.here).map_or_else(|| path.to_owned(), |rest| self.there.join(rest))
    }
}

impl Files for Elsewhere {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        Disk.read(&self.path(path))
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.path(path).is_dir()
    }

    fn list(&self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(String, bool)>, String> {
        Disk.list(&self.path(folder), wanted)
    }

    fn name(&self, path: &Path) -> String {
        self.path(path).display().to_string()
    }
}

/// The reason without the operating system's number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
