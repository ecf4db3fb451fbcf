//! How far a quota of processor time may be exceeded, the same in both versions.

use oci_spec::runtime::LinuxCpu;
use rustix::io::Errno;

use super::dir::Dir;
use super::error::{CgroupError, Result};

/// Sets how far a quota may be exceeded. What is more than the quota in force
/// allows comes back, to be written after the new quota.
pub(super) fn early_burst(
    dir: &Dir,
    cpu: &LinuxCpu,
    file: &str,
    missing: &'static str,
) -> Result<Option<String>> {
    let Some(burst) = cpu.burst().map(|burst| burst.to_string()) else {
        return Ok(None);
    };
    match dir.write_errno(file, &burst) {
        Ok(()) => Ok(None),
        Err(Errno::INVAL) => Ok(Some(burst)),
        Err(Errno::NOENT) => Err(CgroupError::Unsupported {
            limit: "cpu.burst",
            reason: missing,
        }),
        Err(source) => Err(dir.refused(file, &burst, source)),
    }
}
