//! Leases: what a running operation relies on and garbage collection must
//! leave alone.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use cove_model::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{At, Result, Step};
use crate::staging;
use crate::store::Store;

/// No lease names more digests than this many bytes hold.
const LEASE_LIMIT: u64 = 16 << 20;

/// Keeps blobs and layers from being collected until it is dropped or its
/// process dies.
///
/// The order that makes it safe: [`Lease::protect`] a digest, look whether
/// the content is there, and write the record that uses it before the lease
/// goes.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    path: PathBuf,
    file: File,
}

impl Lease {
    /// A new lease that protects nothing yet.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn new(store: &Store) -> Result<Self> {
        let _guard = store.lock(false)?;
        let path = store.path("leases").join(staging::random_name("l"));
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).at(Step::Create, &path)?;
        staging::lock(&fd, true, &path)?;
        Ok(Self {
            store: store.clone(),
            path,
            file: File::from(fd),
        })
    }

    /// Protects the blobs or layers (by diff id) with these digests from now
    /// on, whether they are there yet or not. Waits while a collection is
    /// deciding.
    ///
    /// # Errors
    /// When the lease's file cannot be written.
    pub fn protect(&self, digests: &[Digest]) -> Result<()> {
        let mut lines = String::with_capacity(digests.len() * 65);
        for digest in digests {
            lines.push_str(&digest.hex());
            lines.push('\n');
        }
        let _guard = self.store.lock(false)?;
        (&self.file)
            .write_all(lines.as_bytes())
            .at(Step::Write, &self.path)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The next collection removes what stays.
        let _collected_later = std::fs::remove_file(&self.path);
    }
}

impl Store {
    /// Removes what killed processes left in staging and of leases; returns how many
    /// entries there were. Cheap when there is nothing.
    ///
    /// # Errors
    /// When an entry cannot be removed.
    pub fn sweep(&self) -> Result<usize> {
        let (staged, leases) = (staging::sweep(&self.tmp()), sweep(self));
        Ok(staged? + leases?)
    }
}

/// Removes leases whose process was killed; returns how many. While somebody
/// makes a lease, or collects, this does nothing.
fn sweep(store: &Store) -> Result<usize> {
    let directory = store.path("leases");
    let mut entries = std::fs::read_dir(&directory).at(Step::List, &directory)?;
    if entries.next().is_none() {
        return Ok(0);
    }
    let Some(_guard) = store.try_lock()? else {
        return Ok(0);
    };
    let count = || -> Result<usize> {
        let entries = std::fs::read_dir(&directory).at(Step::List, &directory)?;
        Ok(entries.count())
    };
    let before = count()?;
    protected(store)?;
    Ok(before.saturating_sub(count()?))
}

/// Every digest that a living lease protects. The caller holds the store's
/// lock exclusively, so no lease can be half made.
pub(crate) fn protected(store: &Store) -> Result<BTreeSet<Digest>> {
    let directory = store.path("leases");
    let mut digests = BTreeSet::new();
    for entry in std::fs::read_dir(&directory).at(Step::List, &directory)? {
        let path = entry.at(Step::List, &directory)?.path();
        let fd = match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno).at(Step::Open, &path),
        };
        if staging::try_lock(&fd, &path)? {
            staging::remove(&path)?;
        } else {
            read_lease(fd.into(), &path, &mut digests)?;
        }
    }
    Ok(digests)
}

fn read_lease(file: File, path: &Path, digests: &mut BTreeSet<Digest>) -> Result<()> {
    let bytes = cove_sys::fs::read_from(file, LEASE_LIMIT).at(Step::Read, path)?;
    let text = String::from_utf8_lossy(&bytes);
    digests.extend(text.lines().filter_map(|line| Digest::from_hex(line).ok()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_without_its_process_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let living = Lease::new(&store).unwrap();
        living.protect(&[Digest::from_bytes([7; 32])]).unwrap();
        // What kill -9 leaves: the file, and nobody who has it locked.
        let dead = store.path("leases").join("l-dead");
        std::fs::write(&dead, Digest::from_bytes([8; 32]).hex()).unwrap();
        {
            let _deciding = store.lock(true).unwrap();
            assert_eq!(store.sweep().unwrap(), 0);
        }
        assert_eq!(store.sweep().unwrap(), 1);
        assert!(!dead.exists());
        assert_eq!(
            protected(&store).unwrap(),
            [Digest::from_bytes([7; 32])].into()
        );
    }
}
