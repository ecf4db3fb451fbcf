//! What `stat` tells of a process: whether it has executed a program, and which
//! one it is, told apart from a later one of the same pid by its start time.
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
    parse(&stat(pid)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Whether a process has executed a program since it was forked. A zombie still tells.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn has_executed(pid: i32) -> io::Result<bool> {
    /// Set by every fork and cleared by `execve`, before it closes descriptors.
    const PF_FORKNOEXEC: u64 = 0x40;
    let flags = flags(&stat(pid)?).ok_or(io::ErrorKind::InvalidData)?;
    Ok(flags & PF_FORKNOEXEC == 0)
}

/// The soft and the hard limit of a process, by the number of the resource; `u64::MAX` is none.
///
/// # Errors
/// `ESRCH` if there is no such process, `EPERM` when it is another's.
#[expect(
    unsafe_code,
    reason = "rustix only reads the limits of its own process"
)]
pub fn limit(pid: i32, resource: u32) -> io::Result<(u64, u64)> {
    let mut limits = [0u64; 2];
    let none = std::ptr::null::<u64>();
    // SAFETY: the kernel fills both numbers of its structure, which has no others.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            none,
            limits.as_mut_ptr(),
        )
    };
    match done {
        0 => Ok((limits[0], limits[1])),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How much the out-of-memory killer prefers a process.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn oom_score_adj(pid: i32) -> io::Result<i32> {
    let path = format!("/proc/{pid}/oom_score_adj");
    let text = crate::fs::read_to_string(std::path::Path::new(&path), 32)?;
    let number = text.trim().parse();
    number.map_err(|_| io::ErrorKind::InvalidData.into())
}

fn stat(pid: i32) -> io::Result<Vec<u8>> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let file = openat(
        CWD,
        format!("/proc/{pid}/stat"),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut buffer = vec![0u8; 1024];
    let length = match rustix::io::read(&file, &mut buffer) {
        Err(rustix::io::Errno::SRCH) => return Err(io::ErrorKind::NotFound.into()),
        other => other?,
    };
    buffer.truncate(length);
    Ok(buffer)
}

/// The fields from the third on. The name in parentheses before them may hold anything, so they
/// are counted from the last parenthesis.
fn fields(stat: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let end = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    Some(rest.split(' '))
}

/// Numbers of the calling process, by their places in proc(5), which begin with one.
///
/// # Errors
/// If `/proc` is not mounted, or has no such number.
pub(crate) fn own_numbers<const N: usize>(places: [usize; N]) -> io::Result<[u64; N]> {
    let stat = stat(i32::try_from(std::process::id()).unwrap_or(0))?;
    let number = |place: usize| fields(&stat)?.nth(place.checked_sub(3)?)?.parse().ok();
    let mut numbers = [0; N];
    for (slot, place) in numbers.iter_mut().zip(places) {
        *slot = number(place).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(numbers)
}

fn flags(stat: &[u8]) -> Option<u64> {
    fields(stat)?.nth(6)?.parse().ok()
}

fn parse(stat: &[u8]) -> Option<(u64, bool)> {
    let mut fields = fields(stat)?;
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
        assert_eq!(flags(stat), Some(4));
        assert_eq!(
            parse(b"7 (x) Z 1 7 7 0 -1 4 9 0 0 0 0 0 0 0 20 0 1 0 5 0 0"),
            Some((5, true))
        );
        assert_eq!(parse(b"7 x"), None);
        let own = i32::try_from(std::process::id()).unwrap();
        let (start, _) = start_time(own).unwrap();
        let parent = std::os::unix::process::parent_id();
        assert_eq!(own_numbers([4, 22]).unwrap(), [parent.into(), start]);
        assert!(own_numbers([100]).is_err());
    }
    #[test]
    fn a_program_that_runs_was_executed() {
        assert!(has_executed(i32::try_from(std::process::id()).unwrap()).unwrap());
    }
}
