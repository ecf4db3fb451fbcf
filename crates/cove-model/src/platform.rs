//! What images run on, and how near one platform is to another.

use serde::{Deserialize, Serialize};

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
