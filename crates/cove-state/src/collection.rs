//! All resources of one kind: found and listed, and whose their names are.

use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use cove_model::Resource;
use rustix::fs::{FlockOperation, flock};

use crate::directory;
use crate::error::{Error, Result};
use crate::links::{Guard, Links};
use crate::names;
use crate::record;

/// The resources of one kind below one root.
#[derive(Debug)]
pub struct Collection<R> {
    /// Each has a directory here.
    pub(crate) directory: PathBuf,
    pub(crate) names: Links,
    kind: PhantomData<fn() -> R>,
}

/// What a collection holds.
#[derive(Debug)]
pub struct Listing<R> {
    /// What can be read, in no order.
    pub records: Vec<R>,
    /// Why the others cannot be read: each error names its record.
    pub unreadable: Vec<Error>,
}

impl<R> Listing<R> {
    /// The records, for who must not overlook one.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn all(self) -> Result<Vec<R>> {
        match self.unreadable.into_iter().next() {
            None => Ok(self.records),
            Some(error) => Err(error),
        }
    }
}

impl<R: Resource> Collection<R> {
    /// Opens the collection below `root`, making its directories if needed.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let directory = root.join(R::DIRECTORY);
        directory::make(&directory)?;
        Ok(Self {
            directory,
            names: Links::open(root.join(R::NAMES))?,
            kind: PhantomData,
        })
    }

    /// The directory that belongs to one of them.
    #[must_use]
    pub fn directory(&self, id: &R::Id) -> PathBuf {
        self.directory.join(id.as_ref())
    }

    /// The ids of all directories, those under creation included.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn ids(&self) -> Result<Vec<R::Id>> {
        let names = directory::names(&self.directory)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The record of one by its whole id.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, or when it cannot be read.
    pub fn get(&self, id: &R::Id) -> Result<R> {
        self.read(id)?.ok_or_else(|| not_found::<R>(id.as_ref()))
    }

    fn read(&self, id: &R::Id) -> Result<Option<R>> {
        record::read(&self.record_path(id))
    }

    /// Finds one by id, by name or by the beginning of its id, in this order,
    /// as Docker does.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`] when several ids begin so, or
    /// when its record cannot be read.
    pub fn find(&self, text: &str) -> Result<R> {
        let (_, record) = self.locate(text)?;
        record
    }

    /// Finds the id of one as [`Self::find`] does, also where its record is
    /// damaged.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Ambiguous`] when several ids begin so.
    pub fn find_id(&self, text: &str) -> Result<R::Id> {
        let (id, _) = self.locate(text)?;
        Ok(id)
    }

    fn locate(&self, text: &str) -> Result<(R::Id, Result<R>)> {
        if let Ok(id) = text.parse::<R::Id>()
            && let Some(record) = self.read(&id).transpose()
        {
            return Ok((id, record));
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if names::valid(name)
            && let Some(owner) = self.names.owner::<R::Id>(name)?.flatten()
            && let Some(record) = self.read(&owner).transpose()
            && match &record {
                Ok(record) => record.name() == name,
                Err(_) => self.carries(&owner, name)?,
            }
        {
            return Ok((owner, record));
        }
        if text.is_empty() {
            return Err(not_found::<R>(text));
        }
        let ids = self.ids()?.into_iter();
        let mut matches = ids.filter(|id| id.as_ref().starts_with(text));
        match (matches.next(), matches.next()) {
            (Some(id), None) => {
                let record = self.read(&id).transpose();
                record
                    .map(|record| (id, record))
                    .ok_or_else(|| not_found::<R>(text))
            }
            (Some(_), Some(_)) => Err(Error::Ambiguous {
                prefix: text.to_owned(),
            }),
            (None, _) => Err(not_found::<R>(text)),
        }
    }

    /// All records. One that goes while we read is left out; one that cannot
    /// be read hides no other.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Listing<R>> {
        let mut listing = Listing {
            records: Vec::new(),
            unreadable: Vec::new(),
        };
        for id in self.ids()? {
            match self.read(&id) {
                Ok(record) => listing.records.extend(record),
                Err(error) => listing.unreadable.push(error),
            }
        }
        Ok(listing)
    }

    /// Makes the link of a name, or fails because the name is another's.
    pub(crate) fn claim_name(&self, name: &str, id: &R::Id) -> Result<()> {
        check_name::<R>(name)?;
        let taken = self
            .names
            .claim(name, id, |owner| self.carries(owner, name))?;
        refuse_taken::<R>(name, taken)
    }

    /// Removes the link of a name that is nobody's.
    pub(crate) fn release_name(&self, guard: &Guard, name: &str) -> Result<()> {
        guard.release(name, |owner| self.carries(owner, name))
    }

    /// Whether the name that links to one of them is that one's: while its
    /// record carries it or, before there is a record, while it is created.
    pub(crate) fn carries(&self, owner: &R::Id, name: &str) -> Result<bool> {
        match record::name(&self.record_path(owner)) {
            Ok(Some(carried)) => Ok(carried == name),
            Ok(None) => Ok(!self.is_abandoned(owner)),
            // What cannot be read keeps its name.
            Err(Error::Damaged { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn record_path(&self, id: &R::Id) -> PathBuf {
        self.directory(id).join("record.json")
    }

    pub(crate) fn has_record(&self, id: &R::Id) -> bool {
        record::exists(&self.record_path(id))
    }

    /// Where its creator holds a lock until there is a record.
    pub(crate) fn creating_path(&self, id: &R::Id) -> PathBuf {
        self.directory(id).join("creating")
    }

    /// Whether there is no record, and nobody at work on one.
    pub(crate) fn is_abandoned(&self, id: &R::Id) -> bool {
        // The lock first, the record second: a creator writes the record before
        // it lets go of the lock, so this order cannot mistake it.
        if self.has_record(id) {
            return false;
        }
        let unlocked = match File::open(self.creating_path(id)) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
            Err(_) => true,
        };
        unlocked && !self.has_record(id)
    }

    /// Removes the directory of a creation that failed. What cannot be
    /// removed now is found by the next sweep.
    pub(crate) fn discard(&self, id: &R::Id) {
        drop(cove_sys::fs::remove_tree(&self.directory(id)));
    }
}

pub(crate) fn not_found<R: Resource>(text: &str) -> Error {
    Error::NotFound {
        kind: R::KIND,
        name: text.to_owned(),
    }
}

pub(crate) fn check_name<R: Resource>(name: &str) -> Result<()> {
    if names::valid(name) {
        return Ok(());
    }
    Err(Error::InvalidName {
        kind: R::KIND,
        name: name.to_owned(),
    })
}

pub(crate) fn refuse_taken<R: Resource>(name: &str, taken: Option<R::Id>) -> Result<()> {
    match taken {
        None => Ok(()),
        Some(owner) => Err(Error::NameInUse {
            kind: R::KIND,
            name: name.to_owned(),
            owner: owner.to_string(),
        }),
    }
}
