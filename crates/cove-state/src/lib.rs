//! Records of instances, shared by processes without a daemon and without a
//! lock that slow work could hold.
//!
//! Layout below the root:
//!
//! ```text
//! names/<name>              a link to the id that owns the name: symlink(2) lets only one
//!                           win, and leaves no content that a power cut could tear
//! containers/<id>/record.json   the record; its appearance is what creates the instance
//! containers/<id>/creating      locked while the creation is under way
//! ```
//!
//! A crash leaves either a whole instance or a directory without a record
//! whose `creating` lock is free, which [`State::sweep`] removes.
//!
//! A name is its owner's while the owner's record carries it or, before there
//! is a record, while the owner is being created. Any other link was left by a
//! crash, or is one step of a rename: an instance gets the link of its new
//! name, then the record, then loses the old link. The record decides which of
//! the two it has, so nothing has to be undone; the other link leads nowhere
//! until somebody takes it over or a sweep removes it.

mod error;
mod links;
mod names;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cove_model::instance::{InstanceId, Record};
use rustix::fs::FlockOperation;

use links::{Guard, Links};

pub use error::{Error, Result};
pub use names::{generate as generate_name, valid as valid_name};

/// Records are small; anything larger is no record of ours.
const MAX_RECORD: u64 = 4 << 20;

/// The records below one root.
#[derive(Debug, Clone)]
pub struct State {
    containers: PathBuf,
    links: Links,
}

/// An instance whose creation is under way: its id and name are taken, its
/// directory exists, its record does not. Dropping it gives all of that back.
#[derive(Debug)]
pub struct Reservation {
    state: State,
    id: InstanceId,
    name: String,
    committed: bool,
    /// Locked; tells other processes that somebody is at work here.
    _creating: File,
}

impl State {
    /// Opens the records below `root`, making the directories if needed.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let state = Self {
            containers: root.join("containers"),
            links: Links(root.join("names")),
        };
        // A container's own layer holds set-user-id programs: nobody else may look in, also where
        // the root was there before and is open.
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
        for directory in [&state.containers, &state.links.0] {
            if !directory.is_dir() {
                builder
                    .create(directory)
                    .map_err(|source| Error::Directory {
                        path: directory.clone(),
                        source,
                    })?;
            }
        }
        Ok(state)
    }

    /// The directory that belongs to an instance.
    #[must_use]
    pub fn directory(&self, id: &InstanceId) -> PathBuf {
        self.containers.join(id.as_str())
    }

    /// Takes an id and a name. Without a name, free ones are tried at random.
    ///
    /// # Errors
    /// [`Error::NameInUse`] when another instance has the name, or when the
    /// file system refuses.
    pub fn reserve(&self, id: InstanceId, name: Option<&str>) -> Result<Reservation> {
        let lock = self.begin(&id)?;
        let mut reservation = Reservation {
            state: self.clone(),
            id,
            name: String::new(),
            committed: false,
            _creating: lock,
        };
        reservation.name = match name {
            Some(name) => self
                .claim(name, &reservation.id)
                .map(|()| name.to_owned())?,
            None => self.claim_any(&reservation.id)?,
        };
        Ok(reservation)
    }

    /// Makes the directory of an instance and takes the lock in it. A sweep
    /// may find it before it is locked; then it is made once more.
    fn begin(&self, id: &InstanceId) -> Result<File> {
        let directory = self.directory(id);
        let path = directory.join("creating");
        let fail = |source| Error::Lock {
            path: path.clone(),
            source,
        };
        loop {
            fs::create_dir(&directory).map_err(|source| Error::Directory {
                path: directory.clone(),
                source,
            })?;
            let file = match File::create(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.discard(id);
                    return Err(fail(error));
                }
            };
            // Who has it is sweeping, and lets it go when all is gone.
            lock(&file).map_err(fail)?;
            if names(&path, &file).map_err(fail)? {
                return Ok(file);
            }
        }
    }

    fn claim_any(&self, id: &InstanceId) -> Result<String> {
        let seed = id.as_str();
        for attempt in 0..64 {
            let name = names::generate(seed, attempt);
            match self.claim(&name, id) {
                Ok(()) => return Ok(name),
                Err(Error::NameInUse { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        // Sixty-four collisions in a row: the id itself is free by nature.
        let name = id.short().to_owned();
        self.claim(&name, id)?;
        Ok(name)
    }

    /// Makes the link of a name, or fails because the name is another's.
    fn claim(&self, name: &str, id: &InstanceId) -> Result<()> {
        if !valid_name(name) {
            return Err(Error::InvalidName {
                name: name.to_owned(),
            });
        }
        if self.links.make(name, id)? {
            return Ok(());
        }
        self.take_over(&self.links.lock()?, name, id)
    }

    /// Makes the link of a name in the place of one that is nobody's.
    fn take_over(&self, guard: &Guard, name: &str, id: &InstanceId) -> Result<()> {
        loop {
            match self.links.owner(name)? {
                Some(Some(owner)) if self.holds(&owner, name)? => {
                    return Err(Error::NameInUse {
                        name: name.to_owned(),
                        owner,
                    });
                }
                Some(_) => guard.remove(name)?,
                None => {}
            }
            if self.links.make(name, id)? {
                return Ok(());
            }
        }
    }

    /// Removes a link that is nobody's. The guard is what makes the answer
    /// last: no rename is under way, and nobody else frees the name.
    fn release(&self, guard: &Guard, name: &str) -> Result<()> {
        match self.links.owner(name)? {
            Some(Some(owner)) if self.holds(&owner, name)? => Ok(()),
            Some(_) => guard.remove(name),
            None => Ok(()),
        }
    }

    /// Whether the name that links to an instance is that instance's.
    fn holds(&self, owner: &InstanceId, name: &str) -> Result<bool> {
        match self.read(owner) {
            Ok(Some(record)) => Ok(record.name == name),
            Ok(None) => Ok(!is_abandoned(&self.directory(owner))),
            // What cannot be read keeps its name.
            Err(Error::Corrupt { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The record of an instance by its whole id.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, or when it cannot be read.
    pub fn get(&self, id: &InstanceId) -> Result<Record> {
        self.read(id)?.ok_or_else(|| Error::NotFound {
            name: id.to_string(),
        })
    }

    fn read(&self, id: &InstanceId) -> Result<Option<Record>> {
        let path = self.directory(id).join("record.json");
        let bytes = match cove_sys::fs::read(&path, MAX_RECORD) {
            Ok(bytes) if bytes.is_empty() => return Ok(None),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path, source }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(source) => Err(Error::Corrupt { path, source }),
        }
    }

    /// Finds an instance by id, by name or by the beginning of its id, in
    /// this order, as Docker does.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Ambiguous`] when several ids begin so.
    pub fn find(&self, text: &str) -> Result<Record> {
        let not_found = || Error::NotFound {
            name: text.to_owned(),
        };
        if let Ok(id) = text.parse::<InstanceId>()
            && let Some(record) = self.read(&id)?
        {
            return Ok(record);
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if valid_name(name)
            && let Some(owner) = self.links.owner(name)?.flatten()
            && let Some(record) = self.read(&owner)?
            && record.name == name
        {
            return Ok(record);
        }
        if text.is_empty() || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(not_found());
        }
        let mut matches = self
            .ids()?
            .into_iter()
            .filter(|id| id.as_str().starts_with(text));
        match (matches.next(), matches.next()) {
            (Some(id), None) => self.read(&id)?.ok_or_else(not_found),
            (Some(_), Some(_)) => Err(Error::Ambiguous {
                prefix: text.to_owned(),
            }),
            (None, _) => Err(not_found()),
        }
    }

    /// All records, in no order. An instance that goes while we read is left
    /// out; one whose record is damaged is an error that names the file.
    ///
    /// # Errors
    /// When a directory or a record cannot be read.
    pub fn list(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for id in self.ids()? {
            records.extend(self.read(&id)?);
        }
        Ok(records)
    }

    /// The ids of all instance directories, those under creation included.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn ids(&self) -> Result<Vec<InstanceId>> {
        let fail = |source| Error::Directory {
            path: self.containers.clone(),
            source,
        };
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.containers).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse().ok()));
        }
        Ok(ids)
    }

    /// Changes a record as it is at this moment; its name stays.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone, or when the file system refuses.
    pub fn change(
        &self,
        id: &InstanceId,
        durable: bool,
        change: impl FnOnce(&mut Record),
    ) -> Result<()> {
        // A rename writes the record, too.
        let _guard = self.links.lock()?;
        let mut record = self.get(id)?;
        let name = record.name.clone();
        change(&mut record);
        record.name = name;
        self.write(&record, durable)
    }

    fn write(&self, record: &Record, durable: bool) -> Result<()> {
        let path = self.directory(&record.id).join("record.json");
        let bytes = serde_json::to_vec(record).map_err(|source| Error::Corrupt {
            path: path.clone(),
            source,
        })?;
        cove_sys::fs::write_atomic(&path, &bytes, durable)
            .map_err(|source| Error::Write { path, source })
    }

    /// Gives an instance another name.
    ///
    /// # Errors
    /// [`Error::NameInUse`] when it is taken, or when the file system refuses.
    pub fn rename(&self, id: &InstanceId, name: &str) -> Result<()> {
        if !valid_name(name) {
            return Err(Error::InvalidName {
                name: name.to_owned(),
            });
        }
        let guard = self.links.lock()?;
        let mut record = self.get(id)?;
        self.take_over(&guard, name, id)?;
        let old = std::mem::replace(&mut record.name, name.to_owned());
        let written = self.links.sync().and_then(|()| self.write(&record, true));
        // A write that failed may have happened: of both names the other one goes.
        let released = [name, &old].map(|name| self.release(&guard, name));
        written.and(released.into_iter().collect())
    }

    /// Forgets an instance in one step; its directory is moved to `trash`,
    /// whose content the caller deletes.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, or when the file system refuses.
    pub fn remove(&self, record: &Record, trash: &Path) -> Result<()> {
        let directory = self.directory(&record.id);
        let guard = self.links.lock()?;
        // It may have been renamed since the caller read its record.
        let now = self.read(&record.id).ok().flatten();
        fs::rename(&directory, trash).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound {
                name: record.id.to_string(),
            },
            _ => Error::Directory {
                path: directory,
                source,
            },
        })?;
        self.release(&guard, now.as_ref().map_or(&record.name, |now| &now.name))
    }

    /// The ids of creations that ended half-way: no record, nobody at work.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn abandoned(&self) -> Result<Vec<InstanceId>> {
        let ids = self.ids()?;
        Ok(ids
            .into_iter()
            .filter(|id| is_abandoned(&self.directory(id)))
            .collect())
    }

    /// Removes a creation that ended half-way, unless somebody is at work on it.
    fn sweep_creation(&self, id: &InstanceId) -> Result<()> {
        let path = self.directory(id).join("creating");
        let fail = |source| Error::Lock {
            path: path.clone(),
            source,
        };
        // With the lock in our hands, a creator that comes to it late sees that it was swept.
        let file = match File::options().create(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fail(error)),
        };
        let ours = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if ours && names(&path, &file).map_err(fail)? && !has_record(&self.directory(id)) {
            self.discard(id);
        }
        Ok(())
    }

    /// Removes what ended half-way: directories of creations and links that
    /// are nobody's. Where there is nothing to remove this costs two directory
    /// listings and one stat(2) per instance.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn sweep(&self) -> Result<()> {
        for id in self.abandoned()? {
            self.sweep_creation(&id)?;
        }
        let names = self.links.all()?;
        let ids = self.ids()?;
        // Every instance has one name, so equal numbers mean that none is stale.
        if names.len() == ids.len() {
            return Ok(());
        }
        let suspects = self.suspects(names, &ids)?;
        if suspects.is_empty() {
            return Ok(());
        }
        // Somebody at work on names now is a reason to leave it to the next command.
        let Some(guard) = self.links.try_lock()? else {
            return Ok(());
        };
        suspects
            .iter()
            .try_for_each(|name| self.release(&guard, name))
    }

    /// The names that link to no instance, or to one that others link to, too.
    fn suspects(&self, names: Vec<String>, ids: &[InstanceId]) -> Result<Vec<String>> {
        let mut of: BTreeMap<Option<InstanceId>, Vec<String>> = BTreeMap::new();
        for name in names {
            of.entry(self.links.owner(&name)?.flatten())
                .or_default()
                .push(name);
        }
        for id in ids {
            if of
                .get(&Some(id.clone()))
                .is_some_and(|names| names.len() == 1)
            {
                of.remove(&Some(id.clone()));
            }
        }
        Ok(of.into_values().flatten().collect())
    }

    /// Removes the directory of a creation that failed. What cannot be
    /// removed now is found by the next sweep.
    fn discard(&self, id: &InstanceId) {
        drop(cove_sys::fs::remove_tree(&self.directory(id)));
    }
}

impl Reservation {
    /// The instance's id.
    #[must_use]
    pub const fn id(&self) -> &InstanceId {
        &self.id
    }

    /// The name it got.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that belongs to the instance.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.state.directory(&self.id)
    }

    /// Makes the instance exist: from here on every command sees it.
    ///
    /// # Errors
    /// When the record cannot be written; nothing is left then.
    pub fn commit(mut self, record: &Record, durable: bool) -> Result<()> {
        self.state.write(record, durable)?;
        self.committed = true;
        let creating = self.directory().join("creating");
        drop(fs::remove_file(&creating));
        if durable {
            self.state.links.sync()?;
            let parent = &self.state.containers;
            File::open(parent)
                .and_then(|file| file.sync_all())
                .map_err(|source| Error::Directory {
                    path: parent.clone(),
                    source,
                })?;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.committed {
            // Without the directory the name is nobody's.
            self.state.discard(&self.id);
            if !self.name.is_empty()
                && let Ok(guard) = self.state.links.lock()
            {
                drop(self.state.release(&guard, &self.name));
            }
        }
    }
}

fn lock(file: &File) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::flock(file, FlockOperation::LockExclusive)
    })?)
}

/// Whether a path still names the file that is open.
fn names(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A directory without a record whose `creating` lock nobody holds.
fn is_abandoned(directory: &Path) -> bool {
    // The lock first, the record second: a creator writes the record before
    // it lets go of the lock, so this order cannot mistake it.
    if has_record(directory) {
        return false;
    }
    let unlocked = match File::open(directory.join("creating")) {
        Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_) => true,
    };
    unlocked && !has_record(directory)
}

/// A record that is not durable may lose its content to a power cut and keep
/// its name; then its instance, which was not to outlive one, is no more.
fn has_record(directory: &Path) -> bool {
    fs::metadata(directory.join("record.json")).is_ok_and(|file| file.len() > 0)
}

#[cfg(test)]
mod tests;
