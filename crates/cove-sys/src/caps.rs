//! The capability sets of the calling thread, by bit mask (`1 << CAP_*`).
#![expect(
    unsafe_code,
    reason = "bounding and ambient sets of unnamed capabilities need raw prctl"
)]

use std::io;

/// The five sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSets {
    /// Limit of what an exec can gain.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// Kept across exec of files that list them.
    pub inheritable: u64,
    /// May be made effective.
    pub permitted: u64,
    /// Kept across exec of plain files.
    pub ambient: u64,
}

impl CapSets {
    /// What is in any of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.bounding | self.effective | self.inheritable | self.permitted | self.ambient
    }

    /// Each without what is not in `mask`.
    #[must_use]
    pub fn within(&self, mask: u64) -> Self {
        Self {
            bounding: self.bounding & mask,
            effective: self.effective & mask,
            inheritable: self.inheritable & mask,
            permitted: self.permitted & mask,
            ambient: self.ambient & mask,
        }
    }
}

fn prctl(option: i32, a: u64, b: u64) -> io::Result<i32> {
    // SAFETY: the options used here take numbers only.
    let done = unsafe { libc::prctl(option, a, b, 0, 0) };
    if done == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(done)
    }
}

/// Mask of the capabilities the running kernel knows.
#[must_use]
pub fn known() -> u64 {
    let mut mask = 0;
    for bit in 0..64 {
        if prctl(libc::PR_CAPBSET_READ, bit, 0).is_err() {
            break;
        }
        mask |= 1 << bit;
    }
    mask
}

/// Drops every capability out of `keep` from the bounding set. Answers with what is left, which may be
/// less than `keep`.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn limit_bounding(keep: u64) -> io::Result<u64> {
    let mut left = 0;
    for bit in 0..64 {
        if keep & (1 << bit) != 0 {
            left |= match prctl(libc::PR_CAPBSET_READ, bit, 0) {
                Ok(there) => u64::from(there != 0) << bit,
                Err(_) => 0,
            };
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, bit, 0) {
            Ok(_) => {}
            // The first number past the last capability of this kernel.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// What the thread has permitted, and what it can make inheritable without more.
///
/// # Errors
/// None that are known.
pub fn own() -> io::Result<(u64, u64)> {
    let sets = rustix::thread::capabilities(None)?;
    let permitted = sets.permitted.bits();
    Ok((permitted, permitted | sets.inheritable.bits()))
}

/// Sets effective, permitted and inheritable.
///
/// # Errors
/// `EPERM` when more is asked for than the thread has.
pub fn set(sets: &CapSets) -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::from_bits_retain(sets.effective),
            permitted: CapabilitySet::from_bits_retain(sets.permitted),
            inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
        },
    )?;
    Ok(())
}

/// Empties the ambient set, then raises `wanted`.
///
/// # Errors
/// `EPERM` if one of them is not both permitted and inheritable.
pub fn set_ambient(wanted: u64) -> io::Result<()> {
    const CLEAR_ALL: u64 = 4;
    const RAISE: u64 = 2;
    prctl(libc::PR_CAP_AMBIENT, CLEAR_ALL, 0)?;
    for bit in (0..64).filter(|bit| wanted & (1 << bit) != 0) {
        prctl(libc::PR_CAP_AMBIENT, RAISE, bit)?;
    }
    Ok(())
}

/// Keeps (or no longer keeps) permitted capabilities when the thread leaves uid 0.
///
/// # Errors
/// `EPERM` if the bit is locked.
pub fn keep_across_setuid(keep: bool) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, u64::from(keep), 0).map(drop)
}
