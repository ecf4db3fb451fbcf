//! Which boot this is. What another one wrote and did not sync may be gone.

use std::io;
use std::path::Path;

use crate::error::{At, Result, Step};
use crate::staging::random_name;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A name for this boot: the kernel's own, and a mark in `runroot`, the
/// directory that dies with a boot, so that emptying it is the end of one.
///
/// # Errors
/// When the kernel's cannot be read or the mark cannot be made.
pub(crate) fn current(runroot: &Path) -> Result<String> {
    let kernel = cove_sys::fs::read_to_string(Path::new(BOOT_ID), 64).at(Step::Read, BOOT_ID)?;
    let mark = runroot.join("boot");
    // A link is made with what it says at once, by one process only.
    match std::os::unix::fs::symlink(random_name("b"), &mark) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.at(Step::Create, &mark)?,
    }
    let ours = std::fs::read_link(&mark).at(Step::Read, &mark)?;
    Ok(format!("{} {}", kernel.trim_end(), ours.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_ends_with_what_dies_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = current(directory.path()).unwrap();
        assert_eq!(current(directory.path()).unwrap(), first);
        std::fs::remove_file(directory.path().join("boot")).unwrap();
        let second = current(directory.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(first.split(' ').next(), second.split(' ').next());
    }
}
