//! Reading files below one directory, and never anything else.
//!
//! A path is checked three times: its text (no `..`, no hidden parts, no NUL), by the kernel while it is
//! resolved (`openat2` with `RESOLVE_BENEATH`: neither links nor renames lead out), and the open file (only
//! a regular one is served; opening never waits for the other end of a FIFO). Where the kernel lacks
//! `openat2` the path is walked part by part and no symbolic link is followed at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat};
use rustix::io::Errno;

use crate::envelope::{Coding, Codings, PATH_MAX, Version};

/// What a directory's path stands for.
const INDEX: &str = "index.html";
/// Hidden by its first letter, and served nevertheless (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";
/// How often resolving is tried again when something was renamed meanwhile.
const RENAME_TRIES: u32 = 16;

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(File, Version),
    /// A directory, asked for without its final slash.
    Directory,
    /// The root itself, with nothing in it.
    EmptyRoot,
    /// A directory without an index, asked for with its final slash, where lists are allowed.
    Listing(OwnedFd, Version),
    /// Nothing that is served.
    NotFound,
    /// Something that may not be read.
    Forbidden,
    /// The system failed.
    Failed(io::Error),
}

/// Where symbolic links may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// None is followed.
    Off,
    /// To what is below the root.
    #[default]
    Inside,
    /// Anywhere. Whoever may make a link below the root can publish what the worker can read.
    All,
}

/// What of a directory is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where symbolic links may lead.
    pub links: Links,
    /// Also what begins with a dot.
    pub hidden: bool,
    /// A directory without an index is answered by a list of what is in it.
    pub listing: bool,
}

/// A directory whose regular files are served.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    rules: Rules,
    directory: OwnedFd,
    /// The kernel keeps resolution below the directory.
    kernel: bool,
}

impl Root {
    /// Opens the directory.
    ///
    /// # Errors
    /// When it does not exist, is not a directory or may not be read.
    pub fn open(path: &Path, rules: Rules) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let directory = rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let probe = openat2(&directory, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH);
        Ok(Self { path, rules, directory, kernel: probe.is_ok() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds what an absolute, percent-decoded path stands for.
    pub fn find(&self, path: &[u8]) -> Found {
        let Some(relative) = self.relative(path) else { return Found::NotFound };
        let found = if relative.is_empty() || relative.ends_with(b"/") {
            let index = [relative, INDEX.as_bytes()].concat();
            self.open_file(&index).map(|found| match found {
                Found::Directory => Found::NotFound, // no page, whatever its name
                found => found,
            })
        } else {
            self.open_file(relative)
        };
        match found {
            Ok(found) => found,
            Err(Errno::NOENT) if relative.is_empty() && self.is_empty() => Found::EmptyRoot,
            Err(Errno::NOENT) if self.rules.listing && (relative.is_empty() || relative.ends_with(b"/")) => {
                self.directory(relative).unwrap_or_else(explain)
            }
            Err(error) => explain(error),
        }
    }

    /// A file like the one at `path` in a coding that is accepted, unless it is older than the file.
    pub fn find_coded(&self, path: &[u8], plain: &Version, accepts: Codings) -> Option<(Coding, File, Version)> {
        let relative = self.relative(path)?;
        let index = if relative.is_empty() || relative.ends_with(b"/") { INDEX } else { "" };
        Coding::ALL.into_iter().filter(|&coding| accepts.has(coding)).find_map(|coding| {
            let name = [relative, index.as_bytes(), coding.suffix().as_bytes()].concat();
            match self.open_file(&name) {
                Ok(Found::File(file, version)) => {
                    let fresh = (version.mtime_s, version.mtime_ns) >= (plain.mtime_s, plain.mtime_ns);
                    fresh.then_some((coding, file, version))
                }
                _ => None,
            }
        })
    }

    fn directory(&self, relative: &[u8]) -> Result<Found, Errno> {
        let relative = if relative.is_empty() { b".".as_slice() } else { relative };
        let relative = relative.strip_suffix(b"/").unwrap_or(relative);
        let directory = if self.kernel { self.resolve(relative) } else { self.walk(relative) }?;
        let facts = fstat(&directory)?;
        let is_directory = FileType::from_raw_mode(facts.st_mode) == FileType::Directory;
        Ok(if is_directory { Found::Listing(directory, version(&facts)) } else { Found::NotFound })
    }

    /// The names to list of an open directory, those of directories with a slash, sorted; so many at most.
    pub(crate) fn names(&self, directory: &OwnedFd, most: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let mut name = entry.file_name().to_bytes().to_vec();
            if !self.may_show(&name) {
                continue;
            }
            match entry.file_type() {
                FileType::Directory => name.push(b'/'),
                FileType::RegularFile => {}
                FileType::Symlink if self.rules.links != Links::Off => {}
                _ => continue,
            }
            names.push(name);
            if names.len() >= most {
                break;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A part of a path that is not hidden. `.` and `..` always are.
    fn may_show(&self, part: &[u8]) -> bool {
        let dots = part == b"." || part == b"..";
        !part.is_empty() && !dots && (part[0] != b'.' || self.rules.hidden || part == WELL_KNOWN)
    }

    /// The path without its first slash, if it is one that may be served.
    fn relative<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let relative = path.strip_prefix(b"/")?;
        if path.len() > PATH_MAX || path.contains(&0) {
            return None;
        }
        let parts = relative.strip_suffix(b"/").unwrap_or(relative);
        let fine = |part: &[u8]| self.may_show(part);
        (relative.is_empty() || parts.split(|&octet| octet == b'/').all(fine)).then_some(relative)
    }

    fn open_file(&self, relative: &[u8]) -> Result<Found, Errno> {
        let file = if self.kernel { self.resolve(relative) } else { self.walk(relative) }?;
        let facts = fstat(&file)?;
        Ok(match FileType::from_raw_mode(facts.st_mode) {
            FileType::RegularFile => Found::File(file.into(), version(&facts)),
            FileType::Directory => Found::Directory,
            _ => Found::NotFound,
        })
    }

    fn resolve(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        let rules = match self.rules.links {
            Links::Off => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Links::Inside => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            Links::All => ResolveFlags::NO_MAGICLINKS,
        };
        for _ in 0..RENAME_TRIES {
            match openat2(&self.directory, OsStr::from_bytes(relative), file_flags(), Mode::empty(), rules) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The way without `openat2`.
    fn walk(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        let mut parts: Vec<&[u8]> = relative.split(|&octet| octet == b'/').collect();
        let Some(name) = parts.pop() else { return Err(Errno::NOENT) };
        let mut directory: Option<OwnedFd> = None;
        for part in parts {
            let parent = directory.as_ref().unwrap_or(&self.directory).as_fd();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directory = Some(openat(parent, OsStr::from_bytes(part), flags, Mode::empty())?);
        }
        let parent = directory.as_ref().unwrap_or(&self.directory);
        openat(parent, OsStr::from_bytes(name), file_flags() | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Nothing in it, or hidden things alone.
    fn is_empty(&self) -> bool {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return false };
        entries.filter_map(Result::ok).all(|entry| entry.file_name().as_bytes().starts_with(b"."))
    }

    /// The version that stands for the root itself.
    pub(crate) fn modified(&self) -> Option<Stat> {
        statat(&self.directory, ".", AtFlags::empty()).ok()
    }
}

/// Never wait for the other end of a FIFO, never become a terminal's session.
fn file_flags() -> OFlags {
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

/// What identifies the content: size and time of modification, never the inode, which differs between
/// machines that hold the same file.
#[allow(clippy::useless_conversion, reason = "the fields' types differ between platforms")]
pub(crate) fn version(facts: &Stat) -> Version {
    Version {
        size: u64::try_from(facts.st_size).unwrap_or(0),
        mtime_s: i64::from(facts.st_mtime),
        mtime_ns: u32::try_from(facts.st_mtime_nsec).unwrap_or(0).min(999_999_999),
    }
}

fn explain(error: Errno) -> Found {
    match error {
        // EXDEV is the kernel's word for a path that leads out, ENXIO for a socket or a dead device.
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG | Errno::NXIO | Errno::INVAL => {
            Found::NotFound
        }
        Errno::NODEV => Found::NotFound,
        Errno::ACCESS | Errno::PERM => Found::Forbidden,
        other => Found::Failed(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory of its own, removed afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn root(&self, rules: Rules) -> Root {
            Root::open(&self.0.join("root"), rules).unwrap()
        }

        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("oxzmq-files-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("root/sub")).unwrap();
            fs::create_dir_all(path.join("root-secret")).unwrap();
            fs::write(path.join("root-secret/x"), "secret").unwrap();
            fs::write(path.join("root/file.txt"), "hello").unwrap();
            fs::write(path.join("root/.hidden"), "hidden").unwrap();
            fs::write(path.join("root/sub/index.html"), "index").unwrap();
            Self(path)
        }

        /// As the kernel does it, and as it is done without the kernel's help.
        fn roots(&self) -> [Root; 2] {
            let root = self.root(Rules::default());
            assert!(root.kernel, "this kernel has openat2");
            let mut other = self.root(Rules::default());
            other.kernel = false;
            [root, other]
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn content(found: Found) -> String {
        match found {
            Found::File(file, _) => io::read_to_string(file).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_and_indexes_are_found() {
        let scratch = Scratch::new("found");
        for root in scratch.roots() {
            assert_eq!(content(root.find(b"/file.txt")), "hello");
            assert_eq!(content(root.find(b"/sub/")), "index");
            assert_eq!(content(root.find(b"/sub/index.html")), "index");
            assert!(matches!(root.find(b"/sub"), Found::Directory));
            assert!(matches!(root.find(b"/"), Found::NotFound), "there is a file, so the root is not empty");
        }
    }

    #[test]
    fn nothing_outside_is_found() {
        let scratch = Scratch::new("outside");
        let root = scratch.0.join("root");
        symlink("../root-secret/x", root.join("relative")).unwrap();
        symlink(scratch.0.join("root-secret/x"), root.join("absolute")).unwrap();
        symlink("../root-secret", root.join("dir")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for root in scratch.roots() {
            for path in [
                "/../root-secret/x",
                "/sub/../../root-secret/x",
                "/..",
                "/.",
                "/./file.txt",
                "//file.txt",
                "/sub//index.html",
                "/relative",
                "/absolute",
                "/dir/x",
                "/magic",
                "/loop",
                "/.hidden",
                "/file.txt/",
                "/file.txt/x",
                "file.txt",
                "",
                "/file.txt\0",
                "/none",
            ] {
                assert!(matches!(root.find(path.as_bytes()), Found::NotFound), "{path:?}");
            }
            let long = [b"/".as_slice(), &[b'a'; 5000]].concat();
            assert!(matches!(root.find(&long), Found::NotFound));
            assert!(matches!(root.find(&long[..4000]), Found::NotFound));
        }
    }

    #[test]
    fn links_inside_are_followed_by_the_kernel() {
        let scratch = Scratch::new("links");
        symlink("file.txt", scratch.0.join("root/link")).unwrap();
        let [root, without] = scratch.roots();
        assert_eq!(content(root.find(b"/link")), "hello");
        assert!(matches!(without.find(b"/link"), Found::NotFound));
    }

    #[test]
    fn links_are_followed_as_far_as_is_allowed() {
        let scratch = Scratch::new("policy");
        symlink("file.txt", scratch.0.join("root/inside")).unwrap();
        symlink("../root-secret/x", scratch.0.join("root/outside")).unwrap();
        let found = |links, path: &[u8]| match scratch.root(Rules { links, ..Rules::default() }).find(path) {
            Found::File(..) => true,
            Found::NotFound => false,
            other => panic!("{other:?}"),
        };
        for (links, inside, outside) in
            [(Links::Off, false, false), (Links::Inside, true, false), (Links::All, true, true)]
        {
            assert_eq!((found(links, b"/inside"), found(links, b"/outside")), (inside, outside), "{links:?}");
            assert!(!found(links, b"/../root-secret/x"));
        }
    }

    #[test]
    fn hidden_files_and_lists_are_had_when_allowed() {
        let scratch = Scratch::new("allowed");
        let root = scratch.root(Rules { hidden: true, listing: true, ..Rules::default() });
        assert_eq!(content(root.find(b"/.hidden")), "hidden");
        assert!(matches!(root.find(b"/.."), Found::NotFound));
        assert_eq!(content(root.find(b"/sub/")), "index");
        fs::remove_file(scratch.0.join("root/sub/index.html")).unwrap();
        assert!(matches!(root.find(b"/sub/"), Found::Listing(..)));
        let Found::Listing(directory, _) = root.find(b"/") else { panic!("no list") };
        let names = root.names(&directory, 10).unwrap();
        assert_eq!(names, [b".hidden".to_vec(), b"file.txt".to_vec(), b"sub/".to_vec()]);
    }

    #[test]
    fn a_coded_file_is_taken_unless_it_is_stale() {
        let scratch = Scratch::new("coded");
        let root = scratch.root(Rules::default());
        let Found::File(_, plain) = root.find(b"/file.txt") else { panic!() };
        let accepts = Codings::NONE.with(Coding::Gzip);
        assert!(root.find_coded(b"/file.txt", &plain, accepts).is_none());
        fs::write(scratch.0.join("root/file.txt.gz"), "packed").unwrap();
        assert!(matches!(root.find_coded(b"/file.txt", &plain, accepts), Some((Coding::Gzip, ..))));
        assert!(root.find_coded(b"/file.txt", &plain, Codings::NONE.with(Coding::Zstd)).is_none());
        let later = Version { mtime_s: plain.mtime_s + 1000, ..plain };
        assert!(root.find_coded(b"/file.txt", &later, accepts).is_none());
        fs::write(scratch.0.join("root/sub/index.html.gz"), "packed").unwrap();
        assert!(root.find_coded(b"/sub/", &plain, accepts).is_some());
    }

    #[test]
    fn what_is_no_regular_file_is_not_served_nor_waited_for() {
        let scratch = Scratch::new("special");
        let fifo = scratch.0.join("root/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(scratch.0.join("root/socket")).unwrap();
        for root in scratch.roots() {
            assert!(matches!(root.find(b"/fifo"), Found::NotFound));
            assert!(matches!(root.find(b"/socket"), Found::NotFound));
        }
    }

    #[test]
    fn an_empty_root_is_recognised() {
        let scratch = Scratch::new("empty");
        fs::remove_file(scratch.0.join("root/file.txt")).unwrap();
        fs::remove_dir_all(scratch.0.join("root/sub")).unwrap();
        for root in scratch.roots() {
            assert!(matches!(root.find(b"/"), Found::EmptyRoot));
        }
    }
}
