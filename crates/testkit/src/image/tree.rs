//! Tar streams from tables of entries. Names go into the header as they are,
//! so that a table can say what no honest archiver would.

use tar::{Builder, EntryType, Header};

/// One entry of a layer.
#[derive(Debug, Clone)]
pub struct Entry {
    name: Vec<u8>,
    kind: EntryType,
    mode: u32,
    owner: (u64, u64),
    time: u64,
    target: Vec<u8>,
    device: (u32, u32),
    content: Vec<u8>,
    records: Vec<(String, Vec<u8>)>,
    said_size: Option<u64>,
}

impl Entry {
    fn new(name: &str, kind: EntryType, mode: u32) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            kind,
            mode,
            owner: (0, 0),
            time: 1_700_000_000,
            target: Vec::new(),
            device: (0, 0),
            content: Vec::new(),
            records: Vec::new(),
            said_size: None,
        }
    }

    /// A directory, mode 0755.
    #[must_use]
    pub fn dir(name: &str) -> Self {
        Self::new(name, EntryType::Directory, 0o755)
    }

    /// A regular file, mode 0644.
    #[must_use]
    pub fn file(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            content: content.into(),
            ..Self::new(name, EntryType::Regular, 0o644)
        }
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(name: &str, target: &str) -> Self {
        Self {
            target: target.into(),
            ..Self::new(name, EntryType::Symlink, 0o777)
        }
    }

    /// A hard link to an entry named before.
    #[must_use]
    pub fn hardlink(name: &str, target: &str) -> Self {
        Self {
            target: target.into(),
            ..Self::new(name, EntryType::Link, 0o644)
        }
    }

    /// A character device.
    #[must_use]
    pub fn char_device(name: &str, major: u32, minor: u32) -> Self {
        Self {
            device: (major, minor),
            ..Self::new(name, EntryType::Char, 0o666)
        }
    }

    /// A block device.
    #[must_use]
    pub fn block_device(name: &str, major: u32, minor: u32) -> Self {
        Self {
            device: (major, minor),
            ..Self::new(name, EntryType::Block, 0o660)
        }
    }

    /// A FIFO.
    #[must_use]
    pub fn fifo(name: &str) -> Self {
        Self::new(name, EntryType::Fifo, 0o644)
    }

    /// Sets permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets user and group; above 2^21 they are written in base 256.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Sets the modification time in seconds since 1970.
    #[must_use]
    pub fn time(mut self, seconds: u64) -> Self {
        self.time = seconds;
        self
    }

    /// Adds an extended attribute.
    #[must_use]
    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Adds a PAX record (`mtime`, `path`, `linkpath`, `size`, …).
    #[must_use]
    pub fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.records.push((key.to_owned(), value.to_vec()));
        self
    }

    /// Makes the header lie about the content's length.
    #[must_use]
    pub fn said_size(mut self, size: u64) -> Self {
        self.said_size = Some(size);
        self
    }
}

/// Entries in the order they are written.
#[derive(Debug, Clone, Default)]
pub struct Tree(Vec<Entry>);

impl Tree {
    /// No entries.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an entry.
    #[must_use]
    pub fn with(mut self, entry: Entry) -> Self {
        self.0.push(entry);
        self
    }

    /// Adds an entry in place.
    pub fn push(&mut self, entry: Entry) {
        self.0.push(entry);
    }

    /// The tar stream.
    ///
    /// # Panics
    /// Never: the stream is written to memory.
    #[must_use]
    pub fn tar(&self) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for entry in &self.0 {
            write(&mut builder, entry).expect("memory is writable");
        }
        builder.into_inner().expect("memory is writable")
    }
}

impl FromIterator<Entry> for Tree {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

/// Writes one entry to a tar stream.
///
/// # Errors
/// When the stream cannot be written.
pub fn write<W: std::io::Write>(builder: &mut Builder<W>, entry: &Entry) -> std::io::Result<()> {
    let mut records = entry.records.clone();
    for (key, value) in [("path", &entry.name), ("linkpath", &entry.target)] {
        if value.len() > 100 {
            records.push((key.to_owned(), value.clone()));
        }
    }
    builder.append_pax_extensions(records.iter().map(|(k, v)| (k.as_str(), v.as_slice())))?;
    let mut header = Header::new_ustar();
    header.set_entry_type(entry.kind);
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.0);
    header.set_gid(entry.owner.1);
    header.set_mtime(entry.time);
    header.set_size(entry.said_size.unwrap_or(entry.content.len() as u64));
    if matches!(entry.kind, EntryType::Char | EntryType::Block) {
        header.set_device_major(entry.device.0)?;
        header.set_device_minor(entry.device.1)?;
    }
    let old = header.as_old_mut();
    for (field, value) in [
        (&mut old.name, &entry.name),
        (&mut old.linkname, &entry.target),
    ] {
        let length = value.len().min(field.len());
        field[..length].copy_from_slice(&value[..length]);
    }
    header.set_cksum();
    builder.append(&header, entry.content.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_tar_reads_what_is_written() {
        let long = "d/".repeat(80) + "file";
        let tree = Tree::new()
            .with(Entry::dir("a/"))
            .with(
                Entry::file("a/b", "text")
                    .owner(4_000_000_000, 5)
                    .mode(0o4755),
            )
            .with(Entry::symlink("a/s", "../b"))
            .with(Entry::hardlink("a/h", "a/b"))
            .with(Entry::char_device("a/null", 1, 3))
            .with(Entry::file("../../climb", "x"))
            .with(Entry::file(&long, "long").xattr("user.k", b"v"));
        let list = crate::cmd::Cmd::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "-P"])
            .input(tree.tar())
            .ok();
        let list = list.out();
        for part in [
            "-rwsr-xr-x 4000000000/5",
            "a/s -> ../b",
            "a/h link to a/b",
            "1,3",
            "../../climb",
            &long,
        ] {
            assert!(list.contains(part), "{part} not in:\n{list}");
        }
    }
}
