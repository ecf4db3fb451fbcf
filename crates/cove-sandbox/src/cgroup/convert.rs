//! Values of cgroup v1, which the specification speaks, in terms of v2.

use super::error::{CgroupError, Result};

/// `cpu.weight` for processor shares: 2 is 1, 1024 is 100, 262144 is 10000,
/// and between them the curve runc and crun use since 2025, which keeps the
/// default where the default is. `None` for 0, which means unset.
pub(super) fn cpu_weight(shares: u64) -> Option<u64> {
    match shares {
        0 => None,
        1..=2 => Some(1),
        262_144.. => Some(10_000),
        _ => {
            let bits = f64::from(u32::try_from(shares).unwrap_or(u32::MAX)).log2();
            let exponent = (bits * bits + 125.0 * bits) / 612.0 - 7.0 / 34.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 10000 by the bounds above"
            )]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            Some(weight)
        }
    }
}

/// `io.weight` (1 to 10000) for a block weight (10 to 1000).
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// `memory.swap.max` for a limit of memory and swap together. `None` leaves it.
pub(super) fn swap_max(swap: Option<i64>, memory: Option<i64>) -> Result<Option<String>> {
    let refuse = |value: i64, reason| {
        Err(CgroupError::Value {
            limit: "memory.swap",
            value: value.to_string(),
            reason,
        })
    };
    match (swap, memory) {
        (None | Some(0), _) => Ok(None),
        (Some(swap), _) if swap < 0 => Ok(Some("max".to_owned())),
        (Some(swap), None | Some(0)) => refuse(
            swap,
            "it counts memory and swap together, so it needs memory.limit too",
        ),
        (Some(swap), Some(limit)) if limit < 0 => refuse(
            swap,
            "it counts memory and swap together, and memory.limit is unlimited",
        ),
        (Some(swap), Some(limit)) if swap < limit => refuse(
            swap,
            "it counts memory and swap together, so it is at least memory.limit",
        ),
        (Some(swap), Some(limit)) => Ok(Some((swap - limit).to_string())),
    }
}

/// A limit in bytes or counts: negative is `max`; 0 and nothing leave it.
pub(super) fn max(limit: Option<i64>) -> Option<String> {
    match limit {
        None | Some(0) => None,
        Some(limit) if limit < 0 => Some("max".to_owned()),
        Some(limit) => Some(limit.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        for (shares, weight) in [
            (0, None),
            (1, Some(1)),
            (2, Some(1)),
            (3, Some(2)),
            (512, Some(59)),
            (1024, Some(100)),
            (2048, Some(174)),
            (262_143, Some(10_000)),
            (262_144, Some(10_000)),
            (u64::MAX, Some(10_000)),
        ] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10_000]);
    }

    #[test]
    fn swap() {
        for (swap, memory, want) in [
            (None, Some(5), None),
            (Some(0), None, None),
            (Some(-1), None, Some("max")),
            (Some(7), Some(5), Some("2")),
            (Some(5), Some(5), Some("0")),
        ] {
            assert_eq!(
                swap_max(swap, memory).unwrap().as_deref(),
                want,
                "{swap:?} {memory:?}"
            );
        }
        for (swap, memory) in [(5, None), (5, Some(-1)), (5, Some(7))] {
            assert!(swap_max(Some(swap), memory).is_err(), "{swap} {memory:?}");
        }
    }
}
