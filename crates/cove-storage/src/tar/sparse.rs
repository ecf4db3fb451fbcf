//! Sparse maps: what every form of them must satisfy.

use super::{Limits, Segment};
use crate::error::TarError;

/// Segments in order, inside the file, together as long as what is stored.
pub(crate) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), TarError> {
    let (mut end, mut total) = (0_u64, 0_u64);
    for segment in segments {
        if segment.offset < end {
            return Err(TarError::Sparse("segments overlap or are out of order"));
        }
        end = segment
            .offset
            .checked_add(segment.length)
            .filter(|end| *end <= size)
            .ok_or(TarError::Sparse("a segment ends behind the file"))?;
        total += segment.length;
    }
    if total == stored {
        Ok(())
    } else {
        Err(TarError::Sparse("its length is not what is stored"))
    }
}

/// Offsets and lengths in turn to segments.
pub(crate) fn pairs(numbers: &[u64], limits: &Limits) -> Result<Vec<Segment>, TarError> {
    if !numbers.len().is_multiple_of(2) {
        return Err(TarError::Sparse("an offset without a length"));
    }
    if numbers.len() / 2 > limits.segments {
        return Err(too_many(limits));
    }
    Ok(numbers
        .chunks_exact(2)
        .map(|pair| Segment {
            offset: pair[0],
            length: pair[1],
        })
        .collect())
}

pub(crate) fn too_many(limits: &Limits) -> TarError {
    TarError::Limit {
        what: "segments in a sparse file",
        limit: limits.segments as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_fit_the_file_and_the_payload() {
        let map = |pairs: &[(u64, u64)]| -> Vec<Segment> {
            pairs
                .iter()
                .map(|&(offset, length)| Segment { offset, length })
                .collect()
        };
        assert!(check(&map(&[(0, 5), (10, 5), (20, 0)]), 20, 10).is_ok());
        for (pairs, size, stored) in [
            (&[(0, 5), (4, 5)][..], 20, 10),
            (&[(10, 5), (0, 5)], 20, 10),
            (&[(0, 21)], 20, 21),
            (&[(u64::MAX, 2)], 20, 2),
            (&[(0, 5)], 20, 6),
            (&[], 20, 1),
        ] {
            assert!(check(&map(pairs), size, stored).is_err(), "{pairs:?}");
        }
    }
}
