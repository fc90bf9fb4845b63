//! Noticing that workers serve different files under the same path.
//!
//! A file that changes looks different to everyone from then on. Roots differ when one worker still shows a
//! version after another worker has shown a newer one and the first has shown it again: old, new, old. Nothing is
//! done about it but to say so; each answer is from one version.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::envelope::Version;

use super::directory::WorkerNo;

/// Most paths watched at a time.
const PATHS_MAX: usize = 1024;
/// Least time between two reports of one path.
const PAUSE: Duration = Duration::from_secs(600);

/// What a worker has at a path: a file in a version, or none.
type Content = Option<Version>;

struct Seen {
    last: (WorkerNo, Content),
    /// What another worker showed before that, differently.
    before: Option<(WorkerNo, Content)>,
    reported: Option<Instant>,
}

/// What was seen lately.
#[derive(Default)]
pub(super) struct Differences {
    paths: HashMap<Bytes, Seen>,
}

impl Differences {
    /// A worker showed this at the path. Gives the other worker if they are known to differ.
    pub(super) fn saw(&mut self, path: &Bytes, worker: WorkerNo, content: Content, now: Instant) -> Option<WorkerNo> {
        let Some(seen) = self.paths.get_mut(path) else {
            if self.paths.len() >= PATHS_MAX {
                self.paths.clear(); // what is asked for often is soon back
            }
            self.paths.insert(path.clone(), Seen { last: (worker, content), before: None, reported: None });
            return None;
        };
        if seen.last.1 == content {
            return None;
        }
        let other = std::mem::replace(&mut seen.last, (worker, content));
        let before = seen.before.replace(other);
        let again = before == Some((worker, content)) && other.0 != worker;
        if !again || seen.reported.is_some_and(|time| now < time + PAUSE) {
            return None;
        }
        seen.reported = Some(now);
        Some(other.0)
    }
}

/// Names for the report.
pub(super) fn pair(a: Arc<str>, b: Arc<str>) -> [Arc<str>; 2] {
    if a <= b { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(size: u64) -> Content {
        Some(Version { size, mtime_s: 0, mtime_ns: 0 })
    }

    #[test]
    fn a_file_that_changes_is_no_difference() {
        let (mut differences, now, path) = (Differences::default(), Instant::now(), Bytes::from_static(b"/"));
        for (worker, content) in
            [(1, version(1)), (2, version(1)), (1, version(2)), (2, version(2)), (2, None), (1, None)]
        {
            assert_eq!(differences.saw(&path, worker, content, now), None);
        }
        // Restored by hand: one worker alone cannot differ from itself.
        for content in [version(1), version(2), version(1)] {
            assert_eq!(differences.saw(&path, 1, content, now), None);
        }
    }

    #[test]
    fn old_new_old_is_one_and_is_reported_once() {
        let (mut differences, now, path) = (Differences::default(), Instant::now(), Bytes::from_static(b"/"));
        assert_eq!(differences.saw(&path, 1, version(1), now), None);
        assert_eq!(differences.saw(&path, 2, None, now), None);
        assert_eq!(differences.saw(&path, 1, version(1), now), Some(2));
        assert_eq!(differences.saw(&path, 2, None, now), None);
        assert_eq!(differences.saw(&path, 1, version(1), now + PAUSE), Some(2));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut differences, now) = (Differences::default(), Instant::now());
        for n in 0..10 * PATHS_MAX {
            differences.saw(&n.to_string().into(), 1, None, now);
        }
        assert!(differences.paths.len() <= PATHS_MAX);
    }
}
