//! Limits: what of them can be, and what those that were not said become.

use cove_model::instance::Limits;

use crate::error::{Result, invalid};
use crate::request::LimitsRequest;

/// The percentages of swappiness that there are.
pub const SWAPPINESS: std::ops::RangeInclusive<i64> = 0..=100;
/// Relative weights of block input and output.
const BLKIO_WEIGHT: std::ops::RangeInclusive<u16> = 10..=1000;

/// The limits that a caller asks for, of a new instance or of one that is there.
///
/// # Errors
/// When one is out of its range, in Docker's words.
pub fn limits(wish: &LimitsRequest) -> Result<Limits> {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let said = |value: i64| (value != 0).then_some(value);
    let swappiness = match wish.memory_swappiness.filter(|percent| *percent != -1) {
        Some(percent) if !SWAPPINESS.contains(&percent) => {
            return invalid(format!(
                "Invalid value: {percent}, valid memory swappiness range is 0-100"
            ));
        }
        percent => percent.and_then(|percent| u64::try_from(percent).ok()),
    };
    let blkio_weight = match wish.blkio_weight {
        0 => None,
        weight => match u16::try_from(weight)
            .ok()
            .filter(|weight| BLKIO_WEIGHT.contains(weight))
        {
            Some(weight) => Some(weight),
            None => return invalid("Range of blkio weight is from 10 to 1000"),
        },
    };
    if wish.cpu_shares < 0 {
        return invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            wish.cpu_shares
        ));
    }
    Ok(Limits {
        memory: amount(wish.memory),
        memory_reservation: amount(wish.memory_reservation),
        memory_swap: said(wish.memory_swap),
        memory_swappiness: swappiness,
        oom_kill_disable: wish.oom_kill_disable,
        nano_cpus: amount(wish.nano_cpus),
        cpu_shares: amount(wish.cpu_shares),
        cpu_quota: said(wish.cpu_quota),
        cpu_period: amount(wish.cpu_period),
        cpuset_cpus: text(&wish.cpuset_cpus),
        cpuset_mems: text(&wish.cpuset_mems),
        // Docker's 0 is "no limit", ours is −1; saying nothing is our default.
        pids: wish.pids.map(|most| if most > 0 { most } else { -1 }),
        blkio_weight,
        cgroup_parent: text(&wish.cgroup_parent),
    })
}

/// Less than nothing is less than the least of everything: refused as that.
fn amount(value: i64) -> Option<u64> {
    (value != 0).then(|| u64::try_from(value).unwrap_or(1))
}
