//! Signals by name and number, the same on every architecture that Cove
//! supports.

/// SIGKILL.
pub const KILL: i32 = 9;

/// Linux's names.
const NAMES: [(&str, i32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", RTMIN),
];

/// The lowest real-time signal that the C library leaves to programs.
const RTMIN: i32 = 34;
/// The highest real-time signal.
const RTMAX: i32 = 64;

/// A signal by number, or by name with or without `SIG`, in any case, as
/// Docker and runc read it: `TERM`, `SIGTERM`, `15`, `RTMIN+1`. `None` when
/// there is no such signal.
#[must_use]
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let offset = |rest: &str| {
        rest.parse::<i32>()
            .ok()
            .filter(|n| (0..=RTMAX - RTMIN).contains(n))
    };
    if name == "RTMAX" {
        return Some(RTMAX);
    }
    if let Some(n) = name.strip_prefix("RTMIN+").and_then(offset) {
        return Some(RTMIN + n);
    }
    name.strip_prefix("RTMAX-")
        .and_then(offset)
        .map(|n| RTMAX - n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_docker_and_runc_read_them() {
        for (text, number) in [
            ("9", 9),
            ("64", 64),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGUSR1", 10),
            ("RTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("rtmax", 64),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for bad in [
            "",
            "0",
            "-1",
            "65",
            "NOPE",
            "SIG",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMAX-",
            "RTMIN+99",
            "SIGSIGTERM",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
