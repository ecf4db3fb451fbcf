//! Until when what is written and not synced can be relied on.

use std::path::Path;

use cove_sys::fs::read_to_string;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde::{Deserialize, Serialize};

use crate::error::{At, Result, Step};

const KERNEL: &str = "/proc/sys/kernel/random/boot_id";
/// `STATX_MNT_ID_UNIQUE` (Linux 6.8): no later mount gets the same number.
const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The life of a page cache: it ends with its kernel, or when the file system
/// is no longer mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Boot {
    /// The kernel's name for the time since it started.
    pub(crate) kernel: String,
    /// The mount. Another mount of the same file system, as mount namespaces
    /// have, has another number; before Linux 6.8 a later one may have the same.
    mount: u64,
}

impl Boot {
    /// That of what is on the file system of `root` now.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let kernel = read_to_string(Path::new(KERNEL), 64).at(Step::Read, KERNEL)?;
        let found =
            statx(CWD, root, AtFlags::empty(), StatxFlags::MNT_ID | UNIQUE).at(Step::Stat, root)?;
        Ok(Self {
            kernel: kernel.trim_end().to_owned(),
            mount: found.stx_mnt_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_of_one_mount() {
        let root = Boot::of(Path::new("/")).unwrap();
        assert_eq!(Boot::of(Path::new("/usr/..")).unwrap(), root);
        let other = Boot::of(Path::new("/proc")).unwrap();
        assert_eq!(other.kernel, root.kernel);
        assert_ne!(other, root);
    }
}
