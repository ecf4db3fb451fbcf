//! A process that runs one command again and again and measures each time, so
//! that contestants in different mount namespaces are measured alike.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use testkit::cmd::Cmd;

use super::table::median;

/// In arguments: replaced by the number of the round.
pub(crate) const ROUND: &str = "@round@";

/// A command, ready to be measured.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    times: Vec<Duration>,
    rss: u64,
    rounds: usize,
}

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// As it is.
    Here,
    /// In a mount namespace where /sys/fs/cgroup is cgroup2 alone: crun
    /// refuses a host with both versions.
    OnlyCgroup2,
    /// Where every sync succeeds at once and does nothing.
    NoSync,
}

impl Worker {
    /// Starts a worker for a command.
    pub(crate) fn new<S: AsRef<str>>(place: Place, command: &[S]) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut cmd = Cmd::new(&own)
            .arg("worker")
            .args(command.iter().map(AsRef::as_ref));
        cmd = match place {
            Place::Here => cmd,
            Place::OnlyCgroup2 => {
                let script = "umount -R -l /sys/fs/cgroup 2>/dev/null; \
                    mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"";
                cmd.under(
                    "unshare",
                    &[
                        "--mount",
                        "--propagation",
                        "private",
                        "sh",
                        "-c",
                        script,
                        "sh",
                    ],
                )
            }
            Place::NoSync => cmd.under(&own.to_string_lossy(), &["without-sync"]),
        };
        let mut child = cmd
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start a worker: {e}"))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a worker has no pipes".to_owned());
        };
        let answers = BufReader::new(answers);
        Ok(Self {
            child,
            orders,
            answers,
            times: Vec::new(),
            rss: 0,
            rounds: 0,
        })
    }

    /// Runs the command once.
    pub(crate) fn round(&mut self) -> Result<Duration, String> {
        self.rounds += 1;
        writeln!(self.orders, "{}", self.rounds).map_err(|e| format!("the worker is gone: {e}"))?;
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(nanos)), Some(Ok(rss)), Some(Ok(0))) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("the measured command failed: {}", line.trim()));
        };
        let time = Duration::from_nanos(nanos);
        self.times.push(time);
        self.rss = rss;
        Ok(time)
    }

    /// Forgets what was measured: the first round warms caches.
    pub(crate) fn forget(&mut self) {
        self.times.clear();
    }

    /// The median of all rounds.
    pub(crate) fn median(&self) -> Duration {
        median(&self.times).unwrap_or_default()
    }

    /// The largest resident set of the command or a child it waited for, in bytes.
    pub(crate) const fn rss(&self) -> u64 {
        self.rss
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Runs `rounds` rounds of all workers in turn, after one that does not count.
pub(crate) fn interleave(workers: &mut [&mut Worker], rounds: usize) -> Result<(), String> {
    for worker in workers.iter_mut() {
        worker.round()?;
        worker.forget();
    }
    for _ in 0..rounds {
        for worker in workers.iter_mut() {
            worker.round()?;
        }
    }
    Ok(())
}

/// The worker's side: for each line (a round's number) runs the command and
/// answers nanoseconds, largest resident set, status.
pub(crate) fn serve(command: &[&str]) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("worker COMMAND")?;
    for round in std::io::stdin().lines() {
        let round = round.map_err(|e| e.to_string())?;
        let arguments = arguments.iter().map(|a| a.replace(ROUND, &round));
        let mut command = Cmd::new(program).args(arguments).command();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // A child that is made to change its user is forked. Any other shares our memory until
        // it executes the command, and the kernel counts ours as the command's.
        command.uid(rustix::process::getuid().as_raw());
        let began = Instant::now();
        let status = command.status().map_err(|e| format!("{program}: {e}"))?;
        let nanos = began.elapsed().as_nanos();
        let rss = cove_sys::rusage::children_max_rss().map_err(|e| e.to_string())?;
        println!("{nanos} {rss} {}", status.code().unwrap_or(-1));
    }
    Ok(String::new())
}
