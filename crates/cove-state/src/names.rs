//! The grammar of names, and names for those who give none.

const FIRST: [&str; 48] = [
    "amber", "ample", "azure", "brave", "brisk", "calm", "civil", "clear", "coral", "crisp",
    "deft", "eager", "early", "fair", "fleet", "fond", "fresh", "gentle", "glad", "golden",
    "grand", "happy", "hardy", "jolly", "keen", "kind", "lively", "loyal", "lucid", "merry",
    "mild", "neat", "noble", "patient", "placid", "proud", "quick", "quiet", "rapid", "serene",
    "sharp", "silent", "spry", "steady", "sunny", "swift", "tidy", "warm",
];

const SECOND: [&str; 48] = [
    "anchor", "atoll", "bay", "beach", "bight", "breeze", "buoy", "canal", "cape", "channel",
    "cliff", "coast", "coral", "creek", "current", "delta", "dock", "dune", "ebb", "estuary",
    "fjord", "gull", "harbor", "haven", "heron", "inlet", "island", "jetty", "kelp", "lagoon",
    "marina", "mooring", "oyster", "pearl", "pier", "port", "reef", "sail", "sandbar", "schooner",
    "shoal", "shore", "sound", "strait", "surf", "tern", "tide", "wharf",
];

/// Docker's grammar: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 bytes here
/// because a name is a file name.
#[must_use]
pub fn valid(name: &str) -> bool {
    let bytes = name.as_bytes();
    (2..=255).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A name derived from a random id; another one for each attempt.
pub(crate) fn generate(id: &str, attempt: usize) -> String {
    // The id is random hexadecimal text, so its bytes choose well enough.
    let mut seed = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.bytes().chain(attempt.to_le_bytes()) {
        seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let pick = |words: &[&'static str; 48], bits: u64| {
        words[usize::try_from(bits % 48).unwrap_or_default()]
    };
    let name = format!("{}_{}", pick(&FIRST, seed >> 8), pick(&SECOND, seed >> 32));
    // After a few collisions the word pairs run short: number them.
    if attempt < 8 {
        name
    } else {
        format!("{name}{}", seed % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_dockers() {
        for good in ["ab", "a.b-c_d", "0x", "Web1"] {
            assert!(valid(good), "{good}");
        }
        for bad in ["", "a", "-ab", ".ab", "_ab", "a/b", "a b", "ä1", "ab\n"] {
            assert!(!valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn generated_names_are_valid_and_differ_by_attempt() {
        let names: std::collections::HashSet<_> = (0..64).map(|n| generate("abc", n)).collect();
        assert!(names.iter().all(|name| valid(name)));
        assert!(names.len() > 32);
    }
}
