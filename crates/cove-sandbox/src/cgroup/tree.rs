//! Making and removing the directories of a cgroup in one hierarchy.

use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::GroupRecord;
use super::dir::{Dir, pause};
use super::error::{CgroupError, Result};
use super::mounted::Mounted;
use super::stats::keyed;

/// How often a parent may vanish beneath us before that is an error: other
/// containers of the same parent come and go.
const RACES: usize = 16;

/// Makes a cgroup with all its parents. `each` is called for every directory
/// on the way with its parent, before anything is made below it, and told
/// whether it is the last; again for all of them when a parent had vanished.
pub(super) fn make(
    mounted: &Mounted,
    path: &Path,
    mut each: impl FnMut(&Dir, &Dir, bool) -> Result<()>,
) -> Result<(Dir, GroupRecord)> {
    let root = Dir::mount_point(&mounted.mount)?;
    for attempt in 0.. {
        match walk(&root, path, &mut each) {
            Err(
                CgroupError::Create {
                    source: Errno::NOENT | Errno::NODEV,
                    ..
                }
                | CgroupError::Enable {
                    source: Errno::NOENT | Errno::NODEV,
                    ..
                }
                | CgroupError::Read {
                    source: Errno::NOENT | Errno::NODEV,
                    ..
                }
                | CgroupError::Write {
                    source: Errno::NOENT | Errno::NODEV,
                    ..
                },
            ) if attempt < RACES => {}
            Err(error) => return Err(error),
            Ok((dir, made)) => {
                let record = GroupRecord {
                    controllers: mounted.controllers.clone(),
                    mount: mounted.mount.clone(),
                    path: path.to_owned(),
                    // The last one is the container's own even where it was there.
                    made: made.max(1),
                };
                return Ok((dir, record));
            }
        }
    }
    Err(CgroupError::NoHierarchy)
}

fn walk(
    root: &Dir,
    path: &Path,
    each: &mut impl FnMut(&Dir, &Dir, bool) -> Result<()>,
) -> Result<(Dir, usize)> {
    let names: Vec<&Path> = path.iter().map(Path::new).collect();
    // The directories at the end of the path that are new, each with its parent.
    let mut made: Vec<(Dir, &Path)> = Vec::new();
    let mut dir = root.clone();
    for (at, name) in names.iter().enumerate() {
        let step = dir.make(name).and_then(|(child, new)| {
            if new {
                made.push((dir.clone(), name));
            } else {
                made.clear();
            }
            each(&dir, &child, at + 1 == names.len()).map(|()| child)
        });
        match step {
            Ok(child) => dir = child,
            Err(error) => {
                for (parent, name) in made.iter().rev() {
                    let _ = parent.remove(name);
                }
                return Err(error);
            }
        }
    }
    Ok((dir, made.len()))
}

/// Removes a cgroup and what is below it, then the parents made for it. Waits for processes that are
/// about to be gone.
pub(super) fn remove(record: &GroupRecord, deadline: Instant) -> Result<()> {
    let (Some(parent), Some(name)) = (record.path.parent(), record.path.file_name()) else {
        return Ok(());
    };
    let root = match Dir::mount_point(&record.mount) {
        Ok(root) => root,
        // Not mounted any more: nothing is left to remove.
        Err(CgroupError::Open {
            source: Errno::NOENT,
            ..
        }) => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(parent) = root.open_if_there(parent)? {
        remove_below(&parent, Path::new(name), deadline)?;
    }
    let mut path = record.path.as_path();
    for _ in 1..record.made {
        let Some(above) = path.parent() else { break };
        let (Some(parent), Some(name)) = (above.parent(), above.file_name()) else {
            break;
        };
        // In use by another container by now, perhaps: then it stays.
        match root.open_if_there(parent)? {
            Some(parent) if parent.remove(Path::new(name)).is_ok() => path = above,
            _ => break,
        }
    }
    Ok(())
}

fn remove_below(parent: &Dir, name: &Path, deadline: Instant) -> Result<()> {
    loop {
        if remove_leaf(parent, name, deadline)? {
            return Ok(());
        }
        if let Some(dir) = parent.open_if_there(name)? {
            // One that a process made meanwhile is met in the next round.
            dir.walk(
                |_| Ok(()),
                |parent, name| remove_leaf(parent, name, deadline).map(drop),
            )?;
        }
        if Instant::now() >= deadline {
            return Err(CgroupError::Busy {
                path: parent.path("").join(name),
            });
        }
    }
}

/// Removes a directory in which a process may still be dying; false where others are in it.
fn remove_leaf(parent: &Dir, name: &Path, deadline: Instant) -> Result<bool> {
    let mut attempt = 0;
    loop {
        match parent.remove(name) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(source) => {
                return Err(CgroupError::Delete {
                    path: parent.path("").join(name),
                    source,
                });
            }
        }
        let Some(dir) = parent.open_if_there(name)? else {
            return Ok(true);
        };
        if !dir.children()?.is_empty() {
            return Ok(false);
        }
        // A process that is dying leaves its cgroup a little later.
        if Instant::now() >= deadline {
            return Err(CgroupError::Busy { path: dir.path("") });
        }
        if !(dir.has("cgroup.events") && wait_for(&dir, "populated", 0, deadline)?) {
            pause(attempt);
        }
        attempt += 1;
    }
}

/// Waits until a line of `cgroup.events` has a value. False when the deadline
/// comes first, or at once when it does not change any more.
pub(super) fn wait_for(dir: &Dir, key: &str, value: u64, deadline: Instant) -> Result<bool> {
    let wait = |what, source| CgroupError::Wait {
        path: dir.path("cgroup.events"),
        what,
        source,
    };
    let file = match dir.open_file("cgroup.events") {
        Ok(file) => file,
        Err(CgroupError::Read {
            source: Errno::NOENT | Errno::NODEV,
            ..
        }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let mut buffer = [0_u8; 256];
    loop {
        // Reading is also what arms the next event.
        let length = match rustix::io::pread(&file, &mut buffer, 0) {
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(Errno::NODEV) => return Ok(true),
            Err(source) => return Err(wait("read", source)),
        };
        let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
        if keyed(text, key) == Some(value) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = Timespec::try_from(left).map_err(|_| wait("poll", Errno::INVAL))?;
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(source) => return Err(wait("poll", source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::Host;
    use super::super::limits::is_denied;
    use super::*;

    /// A hierarchy and a name in it; `None` where this process may make none.
    fn ground(name: &str) -> Option<(Mounted, PathBuf)> {
        let mounted = Host::detect().ok()?.hierarchies.pop()?;
        let path = PathBuf::from(format!("cove-test-{}-{name}", std::process::id()));
        match make(&mounted, &path, |_, _, _| Ok(())) {
            Ok((_, record)) => remove(&record, Instant::now()).unwrap(),
            Err(CgroupError::Create { source, .. }) if is_denied(source) => return None,
            Err(error) => panic!("{error:?}"),
        }
        Some((mounted, path))
    }

    #[test]
    fn a_failure_at_any_depth_leaves_no_directory() {
        let Some((mounted, top)) = ground("undo") else {
            return;
        };
        // The kernel takes no such name.
        let bad = top.join("a/two\nlines");
        assert!(make(&mounted, &bad, |_, _, _| Ok(())).is_err());
        assert!(!mounted.mount.join(&top).exists());
        let refuse = |_: &Dir, _: &Dir, last: bool| {
            if last {
                return Err(CgroupError::NoHierarchy);
            }
            Ok(())
        };
        assert!(make(&mounted, &top.join("a/b"), refuse).is_err());
        assert!(!mounted.mount.join(&top).exists());
    }

    #[test]
    fn each_directory_is_seen_again_after_a_parent_had_vanished() {
        let Some((mounted, top)) = ground("again") else {
            return;
        };
        let mut seen = Vec::new();
        let (_, record) = make(&mounted, &top.join("a/b"), |_, child, last| {
            seen.push((child.path(""), last));
            if seen.len() == 2 {
                return Err(CgroupError::Read {
                    path: child.path(""),
                    source: Errno::NOENT,
                });
            }
            Ok(())
        })
        .unwrap();
        remove(&record, Instant::now()).unwrap();
        let top = mounted.mount.join(top);
        let (a, b) = (top.join("a"), top.join("a/b"));
        let all = [(top.clone(), false), (a.clone(), false), (b, true)];
        assert_eq!(
            seen,
            [&[(top.clone(), false), (a, false)], &all[..]].concat()
        );
        assert!(!top.exists());
    }
}
