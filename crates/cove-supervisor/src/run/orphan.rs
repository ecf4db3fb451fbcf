//! How a process ended that is not our child: it was adopted, and whoever got
//! it from the killed supervisor reaps it, at any time.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cove_model::status::ProcessId;
use cove_sys::pidfd_info;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::geteuid;
use rustix::time::Timespec;

use crate::state;

/// How long a process is waited for that is on its way from zombie to gone.
/// That takes microseconds, if its parent is not kept from the processor.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(2);

/// Whether the process of a pidfd has ended.
pub(super) fn has_ended(pidfd: impl AsFd) -> bool {
    poll_once(pidfd, PollFlags::IN, Duration::ZERO).intersects(PollFlags::IN | PollFlags::HUP)
}

/// The raw wait status of a process that has ended; `None`: nobody can know.
///
/// A zombie shows its status in /proc, and the kernel keeps that of a reaped
/// process for those who hold its pidfd (Linux 6.15). In between, while its
/// parent is reaping it, there is neither, so this waits for the second.
pub(super) fn exit_status(id: ProcessId, pidfd: impl AsFd) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // First whether it is gone, then the status: what is gone has one, or never will.
        let reaped = !state::is_alive(id).unwrap_or(false);
        if let Ok(Some(status)) = pidfd_info::exit_status(pidfd.as_fd()) {
            return Some(status);
        }
        match state::zombie_status(id) {
            Some(status) if status != 0 || geteuid().is_root() => return Some(status),
            // Not there, or hidden from us: the reaped process tells.
            Some(_) | None => {}
        }
        if reaped || Instant::now() >= deadline {
            return None;
        }
        // Woken by the reaping (Linux 6.9) or by the clock.
        poll_once(pidfd.as_fd(), PollFlags::empty(), STEP);
    }
}

fn poll_once(pidfd: impl AsFd, flags: PollFlags, time: Duration) -> PollFlags {
    let mut fds = [PollFd::new(&pidfd, flags)];
    let time = Timespec::try_from(time).unwrap_or_default();
    match poll(&mut fds, Some(&time)) {
        Ok(_) => fds[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::fd::OwnedFd;
    use std::process::{Child, ChildStdin, Command, Stdio};

    /// A process that ends with 9 when the pipe is closed.
    fn process() -> (Child, ProcessId, OwnedFd, ChildStdin) {
        #[expect(clippy::disallowed_methods, reason = "a process to look at")]
        let mut command = Command::new("/bin/sh");
        let command = command.args(["-c", "read x; exit 9"]).stdin(Stdio::piped());
        let starting = state::STARTING.lock().unwrap();
        let mut child = command.spawn().unwrap();
        drop(starting);
        let pid = i32::try_from(child.id()).unwrap();
        let start_ticks = state::start_ticks(pid).unwrap().unwrap();
        let init = Pid::from_raw(pid).unwrap();
        let pidfd = pidfd_open(init, PidfdFlags::empty()).unwrap();
        let id = ProcessId { pid, start_ticks };
        let gate = child.stdin.take().unwrap();
        (child, id, pidfd, gate)
    }

    fn wait_for_end(pidfd: &OwnedFd) {
        poll_once(pidfd, PollFlags::IN, Duration::from_secs(20));
        assert!(has_ended(pidfd));
    }

    #[test]
    fn a_zombie_and_a_reaped_process_tell() {
        let (mut child, id, pidfd, gate) = process();
        assert!(!has_ended(&pidfd));
        drop(gate);
        wait_for_end(&pidfd);
        assert_eq!(exit_status(id, &pidfd), Some(9 << 8));
        child.wait().unwrap();
        assert_eq!(exit_status(id, &pidfd), Some(9 << 8));
    }

    #[test]
    fn so_does_one_that_is_just_being_reaped() {
        for _ in 0..100 {
            let (mut child, id, pidfd, gate) = process();
            let reaper = std::thread::spawn(move || {
                child.wait().unwrap();
            });
            drop(gate);
            wait_for_end(&pidfd);
            assert_eq!(exit_status(id, &pidfd), Some(9 << 8));
            reaper.join().unwrap();
        }
    }
}
