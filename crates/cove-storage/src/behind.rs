//! Writing back beside the work, so that the sync at its end finds little to do.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::Result;
use crate::layer::open_directory;
use crate::store::Store;

/// How long what was written waits. Less writes again what changes again, such
/// as directories; more leaves the end too much.
const EVERY: Duration = Duration::from_millis(500);

/// A thread that writes back what a store takes in; it ends with this value.
#[derive(Debug)]
pub struct WriteBehind(Option<(Sender<()>, JoinHandle<()>)>);

impl Store {
    /// Begins to write back; in a store that is not durable there is nothing
    /// to do.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn write_behind(&self) -> Result<WriteBehind> {
        if !self.is_durable() {
            return Ok(WriteBehind(None));
        }
        let directory = open_directory(&self.tmp())?;
        let (stop, stopped) = mpsc::channel();
        let body = move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // Errors are told at the end: every descriptor hears of them.
                let _told_later = rustix::fs::syncfs(&directory);
            }
        };
        // Without the thread the end takes longer, nothing else.
        let thread = thread::Builder::new().spawn(body).ok();
        Ok(WriteBehind(thread.map(|thread| (stop, thread))))
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            // It only waits and syncs.
            let _never_panics = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        for store in [
            Store::open(root.path()).unwrap(),
            Store::open_with(root.path(), false).unwrap(),
        ] {
            let durable = store.is_durable();
            let behind = store.write_behind().unwrap();
            assert_eq!(behind.0.is_some(), durable);
            // Joins the thread, or hangs.
            drop(behind);
        }
    }
}
