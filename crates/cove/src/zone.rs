//! The user's time zone: what `TZ` says, as C's library and Go's read it.
//!
//! Zone files are read here, one of them: a library that knows them by name
//! looks through the whole directory first.

use std::path::Path;

use cove_docker::time::Clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The host's own zone.
const HOST: &str = "/etc/localtime";
/// Where zone files are.
const DIRECTORIES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];
/// A zone file has a few KiB.
const LIMIT: u64 = 1 << 20;

/// When it is, and in which zone times are shown and read.
pub(crate) fn clock() -> Clock {
    Clock {
        now: Timestamp::now(),
        zone: local(),
    }
}

/// The user's zone; UTC where none can be had.
fn local() -> TimeZone {
    let variable = std::env::var_os("TZ");
    let variable = variable.as_ref().map(|text| text.to_string_lossy());
    of(variable.as_deref(), &DIRECTORIES, HOST)
}

fn of(variable: Option<&str>, directories: &[&str], host: &str) -> TimeZone {
    let found = match variable {
        None => file(host, Path::new(host)),
        Some(text) => named(text.strip_prefix(':').unwrap_or(text), directories),
    };
    found.unwrap_or(TimeZone::UTC)
}

/// A file's path, a name below one of the directories, or a rule such as
/// `CET-1CEST,M3.5.0,M10.5.0/3`.
fn named(text: &str, directories: &[&str]) -> Option<TimeZone> {
    if text.starts_with('/') {
        return file(text, Path::new(text));
    }
    let is_name = !text.is_empty() && !text.split('/').any(|part| matches!(part, "" | "." | ".."));
    let files = directories.iter().filter(|_| is_name);
    files
        .map(|directory| Path::new(directory).join(text))
        .find_map(|path| file(text, &path))
        .or_else(|| TimeZone::posix(text).ok())
}

fn file(name: &str, path: &Path) -> Option<TimeZone> {
    let bytes = cove_sys::fs::read(path, LIMIT).ok()?;
    TimeZone::tzif(name, &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zone file without rules: `XYZ`, three hours and a quarter east.
    fn zone_file() -> Vec<u8> {
        let block = || {
            let mut bytes = b"TZif2".to_vec();
            bytes.extend([0; 15]);
            for count in [0_u32, 0, 0, 0, 1, 4] {
                bytes.extend(count.to_be_bytes());
            }
            bytes.extend((3 * 3600 + 900_i32).to_be_bytes());
            bytes.extend([0, 0]);
            bytes.extend(b"XYZ\0");
            bytes
        };
        [block(), block(), b"\nXYZ-3:15\n".to_vec()].concat()
    }

    #[test]
    fn the_zone_is_what_the_variable_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Area/City");
        std::fs::create_dir(directory.path().join("Area")).unwrap();
        std::fs::write(&path, zone_file()).unwrap();
        std::fs::write(directory.path().join("broken"), "TZif").unwrap();
        let (directory, path) = (directory.path().to_str().unwrap(), path.to_str().unwrap());
        let now: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        let shown = |variable: Option<&str>| {
            let zone = of(variable, &["/nonexistent", directory], path);
            now.to_zoned(zone).strftime("%H:%M %Z").to_string()
        };
        for (variable, wanted) in [
            (None, "15:15 XYZ"),
            (Some("Area/City"), "15:15 XYZ"),
            (Some(":Area/City"), "15:15 XYZ"),
            (Some(path), "15:15 XYZ"),
            (Some("CET-1CEST,M3.5.0,M10.5.0/3"), "14:00 CEST"),
            (Some("JST-9"), "21:00 JST"),
            (Some(""), "12:00 UTC"),
            (Some(":"), "12:00 UTC"),
            (Some("UTC"), "12:00 UTC"),
            (Some("Area"), "12:00 UTC"),
            (Some("broken"), "12:00 UTC"),
            (Some("Area/../Area/City"), "12:00 UTC"),
            (Some("No/Where"), "12:00 UTC"),
            (Some("/dev/null"), "12:00 UTC"),
        ] {
            assert_eq!(shown(variable), wanted, "{variable:?}");
        }
        let zone = of(None, &[], "/nonexistent");
        assert_eq!(zone, TimeZone::UTC);
    }
}
