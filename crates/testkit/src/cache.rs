//! What is dear to make is made once: a directory of finished things, each
//! under a key that names its recipe, shared by parallel test processes.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::files;

/// The cache directory: `$COVE_TEST_CACHE`, or `testkit-cache` in the
/// workspace's target directory.
#[must_use]
pub fn dir() -> PathBuf {
    std::env::var_os("COVE_TEST_CACHE").map_or_else(
        || crate::workspace().join("target/testkit-cache"),
        PathBuf::from,
    )
}

/// The finished thing of `key`, a directory. `build` fills a new directory
/// the first time; when it panics nothing is kept. Callers in other processes
/// wait for the one that builds.
///
/// # Panics
/// When the cache cannot be written.
pub fn entry(key: &str, build: impl FnOnce(&Path)) -> PathBuf {
    let dir = dir();
    let done = dir.join(key);
    if done.is_dir() {
        return done;
    }
    std::fs::create_dir_all(&dir)
        .unwrap_or_else(|e| panic!("cannot make the cache {}: {e}", dir.display()));
    let lock = File::create(dir.join(format!("{key}.lock"))).expect("the lock file opens");
    flock(&lock, FlockOperation::LockExclusive).expect("flock works on the cache");
    if !done.is_dir() {
        let half = dir.join(format!("{key}.half"));
        files::remove_tree(&half);
        std::fs::create_dir(&half).expect("the cache is writable");
        build(&half);
        std::fs::rename(&half, &done).expect("a rename within the cache works");
    }
    done
}
