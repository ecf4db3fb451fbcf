//! Platforms as `linux/arm64/v8`, with the names that people use.

use cove_model::image::Platform;

use crate::format::go::quote;

/// A platform; an operating system or an architecture alone is enough.
///
/// # Errors
/// When there are too many parts, or one is no name.
pub(crate) fn parse(text: &str) -> Result<Platform, String> {
    let name = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || !parts.iter().all(|part| name(part)) {
        return Err(format!(
            "{}: cannot parse platform specifier: invalid argument",
            quote(text)
        ));
    }
    let (os, architecture, variant) = match parts.as_slice() {
        ["linux"] => ("linux", std::env::consts::ARCH, None),
        [architecture] => ("linux", *architecture, None),
        [os, architecture] => (*os, *architecture, None),
        [os, architecture, variant] => (*os, *architecture, Some(*variant)),
        _ => {
            return Err(format!(
                "{}: cannot parse platform specifier: invalid argument",
                quote(text)
            ));
        }
    };
    let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" | "amd64" => ("amd64".to_owned(), None),
        "aarch64" | "arm64" => ("arm64".to_owned(), None),
        "i386" | "i686" | "x86" => ("386".to_owned(), None),
        "armhf" => ("arm".to_owned(), Some("v7")),
        "armel" => ("arm".to_owned(), Some("v6")),
        other => (other.to_owned(), None),
    };
    let variant = variant.or(implied).map(str::to_ascii_lowercase);
    Ok(Platform {
        os: os.to_ascii_lowercase(),
        architecture,
        variant,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms() {
        for (text, want) in [
            ("linux/amd64", ("linux", "amd64", None)),
            ("x86_64", ("linux", "amd64", None)),
            ("linux/arm64/v8", ("linux", "arm64", Some("v8"))),
            ("armhf", ("linux", "arm", Some("v7"))),
        ] {
            let found = parse(text).unwrap();
            assert_eq!(
                (
                    found.os.as_str(),
                    found.architecture.as_str(),
                    found.variant.as_deref()
                ),
                want
            );
        }
        for bad in ["a/b/c/d", "", "a//b", "a b"] {
            assert!(
                parse(bad)
                    .unwrap_err()
                    .ends_with("cannot parse platform specifier: invalid argument")
            );
        }
    }
}
