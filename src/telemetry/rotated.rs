//! A file of lines that moves aside when it is full. Others may move it, empty it or remove it, another process may write to it too, and
//! no line of it or of the files that moved aside is lost by that.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// How long lines may go to a file that is not at its place any more, and how soon one that could not move aside is tried again.
const LOOK: Duration = Duration::from_secs(1);

/// A file that moves aside when it is full.
#[derive(Clone, Debug)]
pub(super) struct RotatedFile(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    size: u64,
    /// Whether it ends in the middle of a line, which could not be written whole.
    torn: bool,
    max_size: u64,
    keep: usize,
    /// When its place was last looked at.
    looked: Instant,
    /// When it could not move aside.
    stuck: Option<Instant>,
}

impl RotatedFile {
    pub(super) fn open(path: &Path, max_size: u64, keep: usize) -> io::Result<Self> {
        let file = at_its_end(path)?;
        let size = file.metadata()?.len();
        let (path, looked) = (path.to_owned(), Instant::now());
        let open = Open { path, file, size, torn: false, max_size, keep, looked, stuck: None };
        Ok(Self(Arc::new(Mutex::new(open))))
    }

    /// Writes whole lines in as few pieces as rotation allows, which falls between two of them; gives how many bytes were written, all
    /// if there was no error.
    pub(super) fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.look();
        if open.torn
            && let Err(error) = open.file.write_all(b"\n")
        {
            return (0, Err(error));
        }
        open.torn = false;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = lines.get(done..) {
            let piece = open.fitting(rest);
            let (written, result) = write_as_far(&mut open.file, piece);
            done += written;
            open.size += written as u64;
            if let Err(error) = result {
                open.torn =
                    piece.get(..written).is_some_and(|begun| !begun.is_empty() && !begun.ends_with(b"\n"));
                return (done, Err(error));
            }
        }
        (done, Ok(()))
    }
}

/// The file at a place, made with its folder if it is not there.
fn at_its_end(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes until all is written or something is wrong; gives how many bytes were written.
pub(super) fn write_as_far(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = bytes.get(done..) {
        match out.write(rest) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

impl Open {
    /// As many of these lines as fit the file, at least one; where the first of them does not, the file moves aside.
    fn fitting<'a>(&mut self, lines: &'a [u8]) -> &'a [u8] {
        let end =
            |lines: &[u8]| lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
        let first = end(lines);
        let full = |open: &Self| open.size > 0 && open.size + first as u64 > open.max_size;
        if full(self) && self.stuck.is_none_or(|since| since.elapsed() >= LOOK) {
            // Another process may have moved it or emptied it just now.
            self.look_now();
            // One that cannot move aside goes on rather than losing lines.
            let stuck = full(self) && self.rotate().is_err();
            self.stuck = stuck.then(Instant::now);
        }
        let room = usize::try_from(self.max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        let whole = lines
            .get(..room)
            .map_or(lines.len(), |fits| fits.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        lines.get(..whole.max(first)).unwrap_or(lines)
    }

    /// Looks, now and then, whether the file is still at its place.
    fn look(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.look_now();
        }
    }

    /// Goes on in the file that is at its place, a new one where none is, and sees how large it is.
    fn look_now(&mut self) {
        self.looked = Instant::now();
        let Ok(own) = self.file.metadata() else { return };
        self.size = own.len();
        let moved = match std::fs::metadata(&self.path) {
            Ok(there) => !same(&own, &there),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        // What cannot be opened is tried again; until then no line is lost.
        if moved && self.reopen().is_ok() {
            self.torn = false;
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = at_its_end(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = file;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// A fresh file is begun, and the one before it is `name.1`. Those up to the first number that is free move up by one; where none is,
    /// the last one goes.
    fn rotate(&mut self) -> io::Result<()> {
        if self.keep == 0 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        let free = (1..self.keep).find(|number| !self.numbered(*number).exists()).unwrap_or(self.keep);
        for number in (1..free).rev() {
            std::fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        self.reopen()
    }
}

/// Whether two are the same file.
#[cfg(unix)]
fn same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether two are the same file, as far as can be told.
#[cfg(not(unix))]
fn same(one: &Metadata, other: &Metadata) -> bool {
    one.created().ok() == other.created().ok()
}

impl Write for RotatedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (written, result) = self.write_lines(line);
        result.map(|()| written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

impl<'a> MakeWriter<'a> for RotatedFile {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl RotatedFile {
        /// One that writes to a file that is open.
        pub(in crate::telemetry) fn of(file: File, max_size: u64) -> Self {
            let (path, looked) = (PathBuf::new(), Instant::now());
            let open = Open { path, file, size: 0, torn: false, max_size, keep: 0, looked, stuck: None };
            Self(Arc::new(Mutex::new(open)))
        }
    }

    #[test]
    fn many_lines_at_once_lie_in_the_files_as_each_by_itself_would() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<String> = (0..50).map(|n| format!("{}\n", "x".repeat(n % 13))).collect();
        for at_once in [1, 2, 7, 50] {
            let path = folder.path().join(at_once.to_string());
            let mut log = RotatedFile::open(&path, 20, 100).unwrap();
            for lines in all.chunks(at_once) {
                let lines = lines.concat();
                let (written, result) = log.write_lines(lines.as_bytes());
                assert!(result.is_ok() && written == lines.len());
            }
            let files = |name: &str| {
                let mut texts = vec![std::fs::read_to_string(folder.path().join(name)).unwrap()];
                let older = (1..).map(|n| std::fs::read_to_string(folder.path().join(format!("{name}.{n}"))));
                texts.extend(older.map_while(Result::ok));
                texts
            };
            let mut texts = files(&at_once.to_string());
            assert_eq!(texts, files("1"));
            texts.reverse();
            assert_eq!(texts.concat(), all.concat());
        }
    }

    #[test]
    fn a_full_file_moves_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/gate.log");
        let mut log = RotatedFile::open(&path, 10, 2).unwrap();
        for line in ["one 45678\n", "two 45678\n", "three 678\n", "four\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join("logs").join(name)).unwrap();
        assert_eq!(read("gate.log"), "four\n");
        assert_eq!(read("gate.log.1"), "three 678\n");
        assert_eq!(read("gate.log.2"), "two 45678\n");
        assert!(!folder.path().join("logs/gate.log.3").exists());
    }

    fn read(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        files.sort();
        files
    }

    fn files(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    /// As if it had last looked long ago.
    fn later(log: &RotatedFile) {
        let mut open = log.0.lock().unwrap();
        open.looked = open.looked.checked_sub(LOOK).unwrap();
        open.stuck = open.stuck.map(|since| since.checked_sub(LOOK).unwrap());
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_begun_anew_and_takes_none_of_the_others_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = RotatedFile::open(&path, 4, 3).unwrap();
        for line in ["a1\n", "a2\n", "a3\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read(folder.path()), files(&[("log", "a3\n"), ("log.1", "a2\n"), ("log.2", "a1\n")]));
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        log.write_all(b"b1\n").unwrap();
        log.write_all(b"b2\n").unwrap();
        let kept = [("log.1", "a2\n"), ("log.2", "a1\n"), ("moved", "a3\n")];
        let after = |begun: &[(&'static str, &'static str)]| files(&[begun, &kept].concat());
        // Full: it is looked for at once.
        assert_eq!(
            read(folder.path()),
            files(&[
                ("log", "b2\n"),
                ("log.1", "b1\n"),
                ("log.2", "a2\n"),
                ("log.3", "a1\n"),
                ("moved", "a3\n")
            ])
        );
        std::fs::remove_file(&path).unwrap();
        for name in ["log.1", "log.2", "log.3"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("log.1"), "a2\n").unwrap();
        std::fs::write(folder.path().join("log.2"), "a1\n").unwrap();
        log.write_all(b"c\n").unwrap();
        assert_eq!(read(folder.path()), after(&[("log", "c\n")]));
        // With its folder.
        let elsewhere = folder.path().join("gone/log");
        let mut other = RotatedFile::open(&elsewhere, 100, 3).unwrap();
        std::fs::remove_dir_all(folder.path().join("gone")).unwrap();
        later(&other);
        other.write_all(b"x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "x\n");
        std::fs::remove_dir_all(folder.path().join("gone")).unwrap();
        // With room in it, within the time.
        std::fs::remove_file(&path).unwrap();
        log.write_all(b"d\n").unwrap();
        later(&log);
        log.write_all(b"e\n").unwrap();
        assert_eq!(read(folder.path()), after(&[("log", "e\n")]));
    }

    #[test]
    fn a_file_that_was_emptied_is_written_from_its_begin_before_and_after_it_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = RotatedFile::open(&path, 10, 1).unwrap();
        for (line, expected) in [("one\n", "one\n"), ("two 5678\n", "two 5678\n")] {
            log.write_all(line.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
            File::create(&path).unwrap();
            later(&log);
            log.write_all(b"new\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        }
    }

    #[test]
    fn two_writers_of_one_file_lose_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut logs = [(); 2].map(|()| RotatedFile::open(&path, 40, 1000).unwrap());
        let mut lines: Vec<String> = (0..400).map(|n| format!("line {n}\n")).collect();
        for (n, line) in lines.iter().enumerate() {
            logs[n / 3 % 2].write_all(line.as_bytes()).unwrap();
        }
        let all: String = read(folder.path()).into_iter().map(|(_, text)| text).collect();
        let mut found: Vec<String> = all.lines().map(|line| format!("{line}\n")).collect();
        found.sort();
        lines.sort();
        assert_eq!(found, lines);
    }

    #[test]
    fn one_that_cannot_move_aside_goes_on_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = RotatedFile::open(&path, 4, 3).unwrap();
        for line in ["a1\n", "a2\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        // Nothing can take its place.
        std::fs::create_dir_all(folder.path().join("log.2/x")).unwrap();
        std::fs::create_dir_all(folder.path().join("log.3/x")).unwrap();
        for line in ["a3\n", "a4\n", "a5\n"] {
            log.write_all(line.as_bytes()).unwrap();
            later(&log);
        }
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((text("log"), text("log.1")), ("a2\na3\na4\na5\n".to_owned(), "a1\n".to_owned()));
        std::fs::remove_dir_all(folder.path().join("log.2")).unwrap();
        log.write_all(b"a6\n").unwrap();
        assert_eq!((text("log"), text("log.2")), ("a6\n".to_owned(), "a1\n".to_owned()));
    }
}
