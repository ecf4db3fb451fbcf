//! What happens to the things of an installation: written here and by
//! supervisors, read by whoever asks.

use std::os::fd::{AsFd, BorrowedFd};

use cove_model::event::{Event, Happening, InstanceChange};
use cove_model::instance::Record;
pub use cove_state::journal::{Decoder as EventDecoder, Since};
use cove_state::journal::{Journal, Reader};

use crate::error::{Error, Result};
use crate::{Engine, Roots};

/// What happened and happens in an installation: see [`Engine::events`].
#[derive(Debug, Clone, Copy)]
pub struct Events<'a> {
    engine: &'a Engine,
}

/// Events in the order in which they happened. It never waits: poll its
/// descriptor, which is readable once there may be more.
#[derive(Debug)]
pub struct EventStream(Reader);

impl Engine {
    /// What happened since the boot, as far back as the journal goes, and what
    /// happens from now on.
    #[must_use]
    pub const fn events(&self) -> Events<'_> {
        Events { engine: self }
    }
}

impl Events<'_> {
    /// The events from there on.
    ///
    /// # Errors
    /// When the journal cannot be opened or followed.
    pub fn stream(&self, since: Since) -> Result<EventStream> {
        Journal::at(&self.engine.roots.runroot)
            .read(since)
            .map(EventStream)
            .map_err(Error::Journal)
    }
}

impl EventStream {
    /// The next event that is there. `None`: there is no more yet.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        self.0.next_event().map_err(Error::Journal)
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Writes into the journal what has just happened. It has happened also where
/// it cannot be written.
pub(crate) fn note(roots: &Roots, what: Vec<Happening>) {
    Journal::at(&roots.runroot).append(what).unwrap_or(());
}

/// What became of an instance.
pub(crate) fn of_instance(record: &Record, change: InstanceChange) -> Happening {
    Happening::Instance {
        id: record.id.to_string(),
        name: record.name.clone(),
        image: record.image.name.clone(),
        labels: record.spec.run.labels.clone(),
        change,
    }
}

impl Engine {
    pub(crate) fn note(&self, what: Happening) {
        note(&self.roots, vec![what]);
    }
}
