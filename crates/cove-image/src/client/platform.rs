//! Which manifest of an index is for us.

use cove_model::image::{Descriptor, Platform};

/// The platform of this build, as images name it.
#[must_use]
pub fn host_platform() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "x86" => ("386", None),
        "aarch64" => ("arm64", None),
        "arm" => ("arm", Some("v7")),
        "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    };
    Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    }
}

/// Reads the value of `--platform`: `os/architecture[/variant]`, or only one
/// of the two first parts. `None` when it is none of these.
#[must_use]
pub fn parse_platform(text: &str) -> Option<Platform> {
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
    let host = host_platform();
    let (os, architecture, variant) = match parts[..] {
        ["linux"] => return Some(host),
        [one] if ["windows", "darwin", "freebsd"].contains(&one) => {
            (one, host.architecture.as_str(), None)
        }
        [one] => ("linux", one, None),
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some(variant)),
        _ => return None,
    };
    Some(normal(os, architecture, variant))
}

/// The spellings that Docker takes for the same.
fn normal(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
    let lower = architecture.to_ascii_lowercase();
    let (architecture, implied) = match lower.as_str() {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" | "i486" | "i586" | "i686" => ("386", None),
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

/// The entry that fits best: the wanted variant, else the next lower one that
/// the processor runs as well; among equals the first.
pub(super) fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let fitting = entries.iter().filter_map(|entry| {
        let platform = entry.platform.as_ref()?;
        Some((distance(platform, wanted)?, entry))
    });
    // min_by_key keeps the first of equals.
    fitting
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, entry)| entry)
}

/// Whether an image of one platform runs where another is wanted.
pub(super) fn runs_on(image: &Platform, wanted: &Platform) -> bool {
    distance(image, wanted).is_some()
}

/// How far below the wanted variant an image is; `None` when it does not run.
fn distance(image: &Platform, wanted: &Platform) -> Option<u32> {
    let image = normal(&image.os, &image.architecture, image.variant.as_deref());
    let wanted = normal(&wanted.os, &wanted.architecture, wanted.variant.as_deref());
    if image.os != wanted.os || image.architecture != wanted.architecture {
        return None;
    }
    let (have, want) = (level(&image)?, level(&wanted)?);
    want.checked_sub(have)
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
    use cove_model::Digest;

    fn entry(text: &str, number: u8) -> Descriptor {
        let mut entry = Descriptor::new("m", Digest::from_bytes([number; 32]), 1);
        entry.platform = (!text.is_empty()).then(|| parse_platform(text).unwrap());
        entry
    }

    #[test]
    fn the_best_entry_is_chosen() {
        let all = [
            entry("", 0),
            entry("unknown/unknown", 1),
            entry("linux/arm/v5", 2),
            entry("linux/arm/v6", 3),
            entry("linux/arm64/v8", 4),
            entry("linux/amd64", 5),
            entry("linux/amd64", 6),
            entry("windows/amd64", 7),
            entry("linux/amd64/v3", 8),
        ];
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
            let found = choose(&all, &parse_platform(wanted).unwrap());
            assert_eq!(found.map(|d| d.digest.as_bytes()[0]), expected, "{wanted}");
        }
    }

    #[test]
    fn platforms_are_read() {
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d64"] {
            assert!(parse_platform(bad).is_none(), "{bad}");
        }
        assert_eq!(parse_platform("linux"), Some(host_platform()));
        assert_eq!(
            parse_platform("armhf").unwrap().variant.as_deref(),
            Some("v7")
        );
    }
}
