//! A process told apart from a later one of the same pid: pid and start time.
//! The time counts ticks of a hundredth of a second: two processes that get the
//! pid within one tick are taken for one. The kernel gives pids in turn, so every
//! other pid would have to be used up in that tick.

use std::io;

/// Start time of a process in clock ticks since boot (field 22 of its `stat`), and whether it is a
/// zombie.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn start_time(pid: i32) -> io::Result<(u64, bool)> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let file = openat(
        CWD,
        format!("/proc/{pid}/stat"),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut buffer = [0u8; 1024];
    let length = match rustix::io::read(&file, &mut buffer) {
        Err(rustix::io::Errno::SRCH) => return Err(io::ErrorKind::NotFound.into()),
        other => other?,
    };
    parse(&buffer[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(stat: &[u8]) -> Option<(u64, bool)> {
    // The name in parentheses may hold anything, so count fields from the last parenthesis on.
    let end = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((start, matches!(state, "Z" | "X")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = b"7 (a) b) S 1 7 7 0 -1 4 9 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse(stat), Some((4242, false)));
        assert_eq!(
            parse(b"7 (x) Z 1 7 7 0 -1 4 9 0 0 0 0 0 0 0 20 0 1 0 5 0 0"),
            Some((5, true))
        );
        assert_eq!(parse(b"7 x"), None);
        assert!(start_time(i32::try_from(std::process::id()).unwrap()).is_ok());
    }
}
