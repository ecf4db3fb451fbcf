//! Claims on values, such as addresses and ports: of each one owner has it.

use std::path::PathBuf;

use cove_model::Resource;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::links::Links;

/// Values that the resources of a collection claim. A claim lasts until its
/// owner gives it back or is gone; of a creation that ended half-way it is
/// nobody's at once, and somebody else may have it.
#[derive(Debug)]
pub struct Values<'a, R> {
    owners: &'a Collection<R>,
    links: Links,
}

impl<R: Resource> Collection<R> {
    /// The values of one sort, such as the addresses of one network, whose
    /// claims lie in `directory`: where claims are to end with a boot, one that
    /// does.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn values(&self, directory: PathBuf) -> Result<Values<'_, R>> {
        Ok(Values {
            owners: self,
            links: Links::open(directory)?,
        })
    }
}

impl<R: Resource> Values<'_, R> {
    /// Claims a value for an owner that exists or is being created; one that
    /// has it already keeps it.
    ///
    /// # Errors
    /// [`Error::Claimed`] when another one has it, or when the file system refuses.
    pub fn claim(&self, value: &str, owner: &R::Id) -> Result<()> {
        check(value)?;
        let holds = |other: &R::Id| Ok(!self.owners.is_abandoned(other));
        match self.links.claim(value, owner, holds)? {
            Some(other) if other != *owner => Err(Error::Claimed {
                kind: R::KIND,
                value: value.to_owned(),
                owner: other.to_string(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Who has a value.
    ///
    /// # Errors
    /// When the link cannot be read.
    pub fn owner(&self, value: &str) -> Result<Option<R::Id>> {
        check(value)?;
        let owner = self.links.owner::<R::Id>(value)?.flatten();
        Ok(owner.filter(|owner| !self.owners.is_abandoned(owner)))
    }

    /// Gives a value back, unless it is another's by now.
    ///
    /// # Errors
    /// When the link cannot be removed.
    pub fn release(&self, value: &str, owner: &R::Id) -> Result<()> {
        check(value)?;
        let guard = self.links.lock()?;
        guard.release(value, |other: &R::Id| {
            Ok(other != owner && !self.owners.is_abandoned(other))
        })
    }

    /// Removes the claims of owners that are gone, unless somebody removes some now.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn sweep(&self) -> Result<()> {
        let mut links = self.links.by_owner::<R::Id>(self.links.all()?)?;
        links.retain(|owner, _| owner.as_ref().is_none_or(|id| self.owners.is_abandoned(id)));
        if links.is_empty() {
            return Ok(());
        }
        let Some(guard) = self.links.try_lock()? else {
            return Ok(());
        };
        let holds = |owner: &R::Id| Ok(!self.owners.is_abandoned(owner));
        let mut stale = links.into_values().flatten();
        stale.try_for_each(|value| guard.release(&value, holds))
    }
}

/// A value is a link's name.
fn check(value: &str) -> Result<()> {
    let fits = (1..=255).contains(&value.len())
        && !matches!(value, "." | "..")
        && !value.bytes().any(|byte| matches!(byte, b'/' | 0));
    if fits {
        return Ok(());
    }
    Err(Error::InvalidValue {
        value: value.to_owned(),
    })
}
