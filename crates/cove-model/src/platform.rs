//! What images run on, and which of several images is for a platform.

use serde::{Deserialize, Serialize};

use crate::image::{Descriptor, Index};

/// What an image runs on, in Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// What a word alone can be, besides an operating system.
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

impl Platform {
    /// The platform of this build.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Reads the value of `--platform`: `os/architecture[/variant]`, or only one
    /// of the two first parts. `None` when it is none of these.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(valid) {
            return None;
        }
        let host = Self::host();
        let (os, architecture, variant) = match parts[..] {
            ["linux"] => return Some(host),
            [one] if ["windows", "darwin", "freebsd"].contains(&one) => {
                (one, host.architecture.as_str(), None)
            }
            [one] => {
                let platform = normal("linux", one, None);
                return ARCHITECTURES
                    .contains(&platform.architecture.as_str())
                    .then_some(platform);
            }
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return None,
        };
        Some(normal(os, architecture, variant))
    }

    /// Whether an image of this platform runs where another is wanted.
    #[must_use]
    pub fn runs_on(&self, wanted: &Self) -> bool {
        self.distance(wanted).is_some()
    }

    /// How far below the wanted variant an image of this platform is, since a
    /// processor runs lower ones as well; `None` when it does not run.
    #[must_use]
    pub fn distance(&self, wanted: &Self) -> Option<u32> {
        let image = normal(&self.os, &self.architecture, self.variant.as_deref());
        let wanted = normal(&wanted.os, &wanted.architecture, wanted.variant.as_deref());
        if image.os != wanted.os || image.architecture != wanted.architecture {
            return None;
        }
        let (have, want) = (level(&image)?, level(&wanted)?);
        want.checked_sub(have)
    }
}

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

/// The spellings that Docker takes for the same.
fn normal(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
    let lower = architecture.to_ascii_lowercase();
    let (architecture, implied) = match lower.as_str() {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "x86" | "i386" | "i486" | "i586" | "i686" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        other => (other, None),
    };
    let variant = variant.or(implied).map(|text| {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with(|c: char| c.is_ascii_digit()) {
            format!("v{lower}")
        } else {
            lower
        }
    });
    Platform {
        os: os.to_ascii_lowercase(),
        architecture: architecture.to_owned(),
        variant,
    }
}

/// The variant as a number, the architecture's default filled in.
fn level(platform: &Platform) -> Option<u32> {
    let default = match platform.architecture.as_str() {
        "arm" => 7,
        "arm64" => 8,
        _ => 1,
    };
    match platform.variant.as_deref() {
        None | Some("") => Some(default),
        Some(variant) => variant.strip_prefix('v')?.parse().ok(),
    }
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

    #[test]
    fn platforms_are_read() {
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d64"] {
            assert!(Platform::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Platform::parse("linux"), Some(Platform::host()));
        for (text, architecture, variant) in [
            ("armhf", "arm", Some("v7")),
            ("x86_64", "amd64", None),
            ("x86", "386", None),
            ("linux/arm64/8", "arm64", Some("v8")),
        ] {
            let found = Platform::parse(text).unwrap();
            assert_eq!(found.architecture, architecture, "{text}");
            assert_eq!(found.variant.as_deref(), variant, "{text}");
        }
    }
}
