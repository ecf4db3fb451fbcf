//! A container that runs through all kills, counts, and writes the count.

use std::time::Duration;

use super::Tally;
use super::world::{SENTINEL, World};

/// A broken pipe would end it, and its stdin has a keeper.
const SCRIPT: &str = "n=0; while :; do n=$((n+1)); echo $n || exit 9; usleep 20000; done";

pub(super) struct Sentinel {
    pid: String,
    /// The last count that its log had.
    seen: u64,
    lost: bool,
}

impl Sentinel {
    pub(super) fn start(world: &World) -> Result<Self, String> {
        let image = world.busybox.as_str();
        let mut words = vec!["run", "-d", "-i", "--network", "none", "--name", SENTINEL];
        words.extend([image, "sh", "-c", SCRIPT]);
        world.must(&words)?;
        Ok(Self {
            pid: world.must(&["inspect", "--format", "{{.State.Pid}}", SENTINEL])?,
            seen: 0,
            lost: false,
        })
    }

    /// It goes on, can be entered, and its log goes on.
    pub(super) fn check(&mut self, world: &World, when: &str, tally: &mut Tally) {
        if self.lost {
            return;
        }
        let stat = testkit::files::text(format!("/proc/{}/stat", self.pid).as_ref());
        if stat.is_none_or(|stat| stat.contains(") Z ")) {
            self.lost = true;
            tally.lost.push(format!("{when}: the running container"));
            return;
        }
        let works = world
            .cove
            .cmd(["exec", SENTINEL, "true"])
            .limit(Duration::from_secs(20))
            .run();
        if !works.success() {
            tally.broken.push(format!("{when}: {works}"));
        }
        // It writes fifty times a second; what matters is that more comes at all.
        for _ in 0..200 {
            let last = world.must(&["logs", "--tail", "1", SENTINEL]);
            match last.map(|line| line.parse::<u64>()) {
                Ok(Ok(n)) if n > self.seen => {
                    self.seen = n;
                    return;
                }
                Ok(_) => {}
                Err(e) => {
                    tally.broken.push(format!("{when}: {e}"));
                    return;
                }
            }
        }
        tally
            .lost
            .push(format!("{when}: its log stands at {}", self.seen));
    }

    /// Counts what its log lacks: a supervisor that is killed takes along what
    /// it has read and not written yet.
    pub(super) fn end(&self, world: &World, when: &str, tally: &mut Tally) {
        if self.lost {
            return;
        }
        match world.must(&["logs", SENTINEL]) {
            Ok(text) => {
                let mut last = 0;
                for line in text.lines() {
                    match line.parse::<u64>() {
                        Ok(n) if n > last => {
                            tally.lines += 1;
                            tally.lines_lost += n - last - 1;
                            last = n;
                        }
                        _ => tally
                            .lost
                            .push(format!("{when}: {line:?} follows {last} in the log")),
                    }
                }
            }
            Err(e) => tally.broken.push(format!("{when}: {e}")),
        }
    }
}
