//! The leak oracle.
use std::path::{Path, PathBuf};

/// Mount points of this namespace at or beneath a path, outermost first.
#[must_use]
pub fn mounts_beneath(path: &Path) -> Vec<PathBuf> {
    let table = crate::files::text("/proc/self/mounts".as_ref()).unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(path))
        .collect()
}
