//! `events`: usage, once or again and again, and out-of-memory kills.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cove_flags::flags;
use cove_sandbox::{Container, Error, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::json;

use crate::args::{self, Globals};
use crate::failure::{Failure, Outcome};
use crate::output::print;
use crate::read;

flags! {
    /// What `events` takes.
    pub(crate) struct EventsFlags {
        interval: Option<Duration> = duration(duration), "";
        stats: bool = switch, "";
    }
}

pub(crate) fn events(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, id): (EventsFlags, _) = args::container(words, "events")?;
    let container = Container::load(&globals.root, &id)?;
    if container.status()? == Status::Stopped {
        return Err(Failure::new(format!(
            "container with id {id} is not running"
        )));
    }
    if flags.stats {
        return stats(&container);
    }
    follow(&container, flags.interval.unwrap_or(Duration::from_secs(5)))
}

fn stats(container: &Container) -> Outcome {
    print(&format!(
        "{}\n",
        json!({"type": "stats", "id": container.id(), "data": container.stats()?})
    ))
}

/// Until the container ends.
fn follow(container: &Container, interval: Duration) -> Outcome {
    let pidfd = match container.pidfd() {
        Err(Error::WrongStatus { .. }) => return Ok(0),
        other => other?,
    };
    let cgroup_failed = |error| Failure::from(Error::Cgroup { source: error });
    let mut oom = match container.cgroup()? {
        Some(cgroup) => cgroup.watch_oom().map_err(cgroup_failed)?,
        None => None,
    };
    let mut kills = oom
        .as_mut()
        .map_or(Ok(0), cove_sandbox::cgroup::OomWatch::kills)
        .map_err(cgroup_failed)?;
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let left =
            Timespec::try_from(left).map_err(|_| Failure::new("the interval is out of range"))?;
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        if let Some(watch) = &oom {
            fds.push(PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::new(format!("wait for events: {error}"))),
        }
        let ended = !fds[0].revents().is_empty();
        let memory = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if let Some(watch) = oom.as_mut().filter(|_| memory) {
            let now = watch.kills().map_err(cgroup_failed)?;
            for _ in kills..now {
                print(&format!(
                    "{}\n",
                    json!({"type": "oom", "id": container.id()})
                ))?;
            }
            kills = now.max(kills);
        }
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            stats(container)?;
            next = Instant::now() + interval;
        }
    }
}

/// A duration as Go writes it: `5s`, `1m30s`, `100ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("--interval {text:?}: a duration such as 5s or 1m30s");
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(refuse)?;
        let number: u32 = rest[..digits].parse().map_err(|_| refuse())?;
        let tail = &rest[digits..];
        let (unit, length) = [
            ("ms", Duration::from_millis(1)),
            ("s", Duration::from_secs(1)),
            ("m", Duration::from_mins(1)),
            ("h", Duration::from_hours(1)),
        ]
        .into_iter()
        .find(|(unit, _)| tail.starts_with(unit))
        .ok_or_else(refuse)?;
        sum = length
            .checked_mul(number)
            .and_then(|part| sum.checked_add(part))
            .ok_or_else(refuse)?;
        rest = &tail[unit.len()..];
    }
    if sum.is_zero() {
        Err(refuse())
    } else {
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, want) in [
            ("5s", 5_000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                duration(text).unwrap(),
                Duration::from_millis(want),
                "{text}"
            );
        }
        for bad in ["", "0s", "5", "s", "5x"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
