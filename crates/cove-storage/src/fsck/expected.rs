//! What a layer's directory must look like, by its archive alone: the same
//! rules as in unpacking, of which this is the other side.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::tar::{Entry, Kind, names};
use crate::tree::{RootMetadata, WHITEOUT, join};

/// The marker in a directory that hides everything below it.
const OPAQUE: &[u8] = b".wh..wh..opq";

#[derive(Default)]
pub(super) struct Expected {
    /// The last member of each name, markers too.
    members: BTreeMap<Vec<u8>, Entry>,
    /// Names that must be marked as deleted.
    hidden: BTreeSet<Vec<u8>>,
    /// Directories that must hide what lower layers have in them.
    opaque: BTreeSet<Vec<u8>>,
}

impl Expected {
    /// The next member of the archive. The last of a name counts; one that is
    /// no directory takes a directory's content along.
    pub(super) fn add(&mut self, entry: Entry) {
        let (parent, name) = names::split(&entry.path);
        // AUFS kept its own things under such names.
        if is_marker(parent) {
            return;
        }
        self.enter(parent);
        if name.starts_with(WHITEOUT) {
            self.mark(parent, name);
        } else {
            let was_hidden = self.hidden.remove(&entry.path);
            if entry.kind == Kind::Directory {
                if was_hidden {
                    self.opaque.insert(entry.path.clone());
                }
            } else {
                self.clear(&entry.path);
            }
            // What overlayfs takes for a deletion is one, however it came.
            if entry.kind == Kind::Char && entry.device == (0, 0) {
                self.members.remove(&entry.path);
                self.hidden.insert(entry.path);
                return;
            }
        }
        self.members.insert(entry.path.clone(), entry);
    }

    /// What is made in a name that was deleted begins afresh.
    fn enter(&mut self, directory: &[u8]) {
        let ends = directory.iter().enumerate().filter(|(_, b)| **b == b'/');
        let ends = ends.map(|(at, _)| at).chain([directory.len()]);
        for end in ends {
            if let Some(path) = self.hidden.take(&directory[..end]) {
                self.opaque.insert(path);
            }
        }
    }

    fn mark(&mut self, parent: &[u8], marker: &[u8]) {
        let name = marker.strip_prefix(WHITEOUT).unwrap_or_default();
        if marker == OPAQUE {
            self.opaque.insert(parent.to_vec());
        }
        if name.starts_with(WHITEOUT) {
            return;
        }
        let path = join(parent, name);
        if self.is_directory(&path) {
            self.opaque.insert(path);
        } else if !self.members.contains_key(&path) {
            self.hidden.insert(path);
        }
    }

    /// Another kind of member takes the place of a directory.
    fn clear(&mut self, path: &[u8]) {
        self.opaque.remove(path);
        for set in [&mut self.hidden, &mut self.opaque] {
            let gone: Vec<_> = set.range(inside(path)).cloned().collect();
            for path in gone {
                set.remove(&path);
            }
        }
        let gone: Vec<_> = self
            .members
            .range(inside(path))
            .map(|(p, _)| p.clone())
            .collect();
        for path in gone {
            self.members.remove(&path);
        }
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        match self.members.get(path) {
            Some(entry) => entry.kind == Kind::Directory,
            // What is in a directory implies it, deletions too.
            None => {
                self.members.range(inside(path)).next().is_some()
                    || self.hidden.range(inside(path)).next().is_some()
            }
        }
    }

    /// Whether something of this name must be there.
    pub(super) fn has(&self, path: &[u8], directory: bool) -> bool {
        self.members.contains_key(path)
            || self.hidden.contains(path)
            || (directory && self.is_directory(path))
    }

    pub(super) fn is_opaque(&self, path: &[u8]) -> bool {
        self.opaque.contains(path)
    }

    /// Every member that is a file of its own.
    pub(super) fn members(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        let members = self.members.iter();
        members
            .filter(|(path, _)| !is_marker(path))
            .map(|(path, entry)| (path.as_slice(), entry))
    }

    pub(super) fn hidden(&self) -> impl Iterator<Item = &[u8]> {
        self.hidden.iter().map(Vec::as_slice)
    }

    pub(super) fn opaque(&self) -> impl Iterator<Item = &[u8]> {
        self.opaque.iter().map(Vec::as_slice)
    }

    /// What the archive says of the root.
    pub(super) fn root(&self) -> Option<RootMetadata> {
        let entry = self.members.get(&b""[..])?;
        Some(RootMetadata {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
        })
    }
}

fn is_marker(path: &[u8]) -> bool {
    path.split(|&b| b == b'/')
        .any(|part| part.starts_with(WHITEOUT))
}

/// All paths beneath `path`.
fn inside(path: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let first = [path, b"/"].concat();
    // The byte behind the slash.
    let last = [path, b"0"].concat();
    (Bound::Included(first), Bound::Excluded(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::Time;

    fn expected(members: &[&str]) -> Expected {
        let mut expected = Expected::default();
        for path in members {
            let kind = if path.ends_with('/') {
                Kind::Directory
            } else {
                Kind::File
            };
            expected.add(Entry {
                path: path.trim_end_matches('/').into(),
                kind,
                mode: 0o755,
                uid: 0,
                gid: 0,
                mtime: Time::default(),
                size: 0,
                link: Vec::new(),
                device: (0, 0),
                xattrs: Vec::new(),
                sparse: None,
            });
        }
        expected
    }

    #[test]
    fn what_deletes_is_expected_as_it_is_unpacked() {
        for (members, hidden, opaque) in [
            (&["d/", "d/.wh.x"][..], &["d/x"][..], &[][..]),
            (&["d/.wh.x", "d/x"], &[], &[]),
            (&["d/x", "d/.wh.x"], &[], &[]),
            (&["d/.wh.x", "d/x/"], &[], &["d/x"]),
            (&["d/.wh.x", "d/x/y/z"], &[], &["d/x"]),
            (&["d/x/", "d/.wh.x"], &[], &["d/x"]),
            (&["d/x/y", "d/.wh.x"], &[], &["d/x"]),
            (&["d/.wh..wh..opq"], &[], &["d"]),
            (&[".wh..wh..opq", ".wh.a"], &["a"], &[""]),
            (&["d/.wh..wh..opq", "d/.wh.a", "d"], &[], &[]),
            (&[".wh..wh.plnk/a", ".wh..wh.aufs"], &[], &[]),
        ] {
            let expected = expected(members);
            let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
            let found: Vec<_> = expected.hidden().map(text).collect();
            assert_eq!(found, hidden, "{members:?}");
            let found: Vec<_> = expected.opaque().map(text).collect();
            assert_eq!(found, opaque, "{members:?}");
        }
        let expected = expected(&["d/.wh.x"]);
        assert!(expected.has(b"d", true) && expected.has(b"d/x", false));
        assert!(!expected.has(b"d", false) && !expected.has(b"e", true));
        assert_eq!(expected.members().count(), 0);
    }
}
