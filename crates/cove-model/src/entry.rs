//! Which entry of an index is for a platform.

use crate::image::{Descriptor, Index};
use crate::platform::Platform;

impl Index {
    /// The entry for a platform: the nearest, among equals the first. The only
    /// entry of an index may leave its platform out.
    #[must_use]
    pub fn entry_for(&self, wanted: &Platform) -> Option<&Descriptor> {
        match (nearest(&self.manifests, wanted), &self.manifests[..]) {
            (Some(entry), _) => Some(entry),
            (None, [only]) if only.platform.is_none() => Some(only),
            (None, _) => None,
        }
    }
}

/// The entry that is nearest to a platform, among equals the first.
#[must_use]
pub fn nearest<'a>(
    entries: impl IntoIterator<Item = &'a Descriptor>,
    wanted: &Platform,
) -> Option<&'a Descriptor> {
    let fitting = entries.into_iter().filter_map(|entry| {
        let distance = entry.platform.as_ref()?.distance(wanted)?;
        Some((distance, entry))
    });
    // min_by_key keeps the first of equals.
    let (_, entry) = fitting.min_by_key(|(distance, _)| *distance)?;
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn entry(text: &str, number: u8) -> Descriptor {
        let mut entry = Descriptor::new("m", Digest::from_bytes([number; 32]), 1);
        entry.platform = (!text.is_empty()).then(|| Platform::parse(text).unwrap());
        entry
    }

    fn index(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: None,
            manifests,
            annotations: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn the_best_entry_is_chosen() {
        let all = index(vec![
            entry("", 0),
            entry("unknown/unknown", 1),
            entry("linux/arm/v5", 2),
            entry("linux/arm/v6", 3),
            entry("linux/arm64/v8", 4),
            entry("linux/amd64", 5),
            entry("linux/amd64", 6),
            entry("windows/amd64", 7),
            entry("linux/amd64/v3", 8),
        ]);
        for (wanted, expected) in [
            ("linux/amd64", Some(5)),
            ("linux/amd64/v2", Some(5)),
            ("linux/amd64/v4", Some(8)),
            ("arm64", Some(4)),
            ("aarch64", Some(4)),
            ("linux/arm/v7", Some(3)),
            ("linux/arm", Some(3)),
            ("linux/arm/v6", Some(3)),
            ("linux/arm/5", Some(2)),
            ("linux/s390x", None),
            ("linux/386", None),
            ("freebsd/amd64", None),
        ] {
            let found = all.entry_for(&Platform::parse(wanted).unwrap());
            assert_eq!(found.map(|d| d.digest.as_bytes()[0]), expected, "{wanted}");
        }
        let host = Platform::host();
        assert!(index(vec![entry("", 0)]).entry_for(&host).is_some());
        assert!(
            index(vec![entry("", 0), entry("", 1)])
                .entry_for(&host)
                .is_none()
        );
    }
}
