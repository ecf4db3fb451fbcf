//! Log throughput against conmon (by podman with runc), and every byte there.

use std::path::Path;
use std::time::{Duration, Instant};

use testkit::cmd::Cmd;

use super::table::{Row, median};
use super::{Stage, succeed};

/// What the container writes; each line is 64 bytes.
const LINES: usize = 3_276_800;

/// 200 MiB through a log, less the time of the same container that writes
/// nothing. The container copies a file that lies in memory: a program that
/// makes its lines would be slower than both logs, and be what is measured.
pub(super) fn run(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let cove = stage.cove()?;
    let podman = Podman::new(&stage.busybox())?;
    let image = stage.busybox();
    let lines = tempfile::Builder::new()
        .prefix("cvl")
        .tempdir()
        .map_err(|e| e.to_string())?;
    std::fs::write(lines.path().join("some"), (line() + "\n").repeat(LINES))
        .and_then(|()| std::fs::write(lines.path().join("none"), ""))
        .map_err(|e| e.to_string())?;
    let volume = format!("{}:/lines:ro", lines.path().display());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (file, sign) in [("/lines/none", -1.0), ("/lines/some", 1.0)] {
            let began = Instant::now();
            let id = succeed(
                &cove,
                &[
                    "run",
                    "-d",
                    "--network",
                    "none",
                    "--log-opt",
                    "max-size=4g",
                    "--volume",
                    &volume,
                    &image,
                    "cat",
                    file,
                ],
            )?;
            succeed(&cove, &["wait", &id])?;
            ours.push(sign * began.elapsed().as_secs_f64());
            if sign > 0.0 {
                check(&cove, &id)?;
            }
            succeed(&cove, &["rm", &id])?;
            let began = Instant::now();
            let id = podman.ok(&[
                "run",
                "--detach",
                "--network",
                "none",
                "--ulimit=nofile=1024:1024",
                "--ulimit=nproc=4096:4096",
                "--log-driver",
                "k8s-file",
                "--volume",
                &volume,
                &image,
                "cat",
                file,
            ])?;
            podman.ok(&["wait", &id])?;
            theirs.push(sign * began.elapsed().as_secs_f64());
            podman.ok(&["rm", &id])?;
        }
    }
    let (ours, theirs) = (net(&ours), net(&theirs));
    // Twice the throughput is half the time.
    Ok(vec![Row::ratio(
        "200 MiB of log",
        ours,
        ("conmon", theirs),
        0.5,
    )])
}

/// Each pair is what the empty container took, negative, and the full one.
fn net(samples: &[f64]) -> Duration {
    let nanos: Vec<u64> = samples
        .chunks(2)
        .map(|pair| Duration::from_secs_f64((pair.iter().sum::<f64>()).max(1e-3)))
        .map(|d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
        .collect();
    Duration::from_nanos(median(&nanos).unwrap_or_default())
}

fn line() -> String {
    "the log keeps every byte of every line ".repeat(2)[..63].replace(' ', "-")
}

/// The log must be what was written.
fn check(cove: &testkit::cove::Cove, id: &str) -> Result<(), String> {
    let output = cove.cmd(["logs", id]).limit(Duration::from_secs(120)).run();
    let expected = line() + "\n";
    let whole = output.stdout.len() == LINES * expected.len();
    let exact = output
        .stdout
        .chunks(expected.len())
        .all(|chunk| chunk == expected.as_bytes());
    if output.success() && whole && exact {
        return Ok(());
    }
    Err(format!(
        "the log is not what was written: {} bytes, {}",
        output.stdout.len(),
        output.err()
    ))
}

/// Podman with storage of its own.
pub(super) struct Podman(tempfile::TempDir);

impl Podman {
    pub(super) fn new(image: &str) -> Result<Self, String> {
        let podman = Self::bare_in(&std::env::temp_dir())?;
        podman.ok(&["pull", "--quiet", "--tls-verify=false", image])?;
        Ok(podman)
    }

    /// One without images, whose storage lies below `base`.
    pub(super) fn bare_in(base: &Path) -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("cvp")
            .tempdir_in(base)
            .map_err(|e| e.to_string())?;
        Ok(Self(directory))
    }

    pub(super) fn words(&self, words: &[&str]) -> Vec<String> {
        let at = |name: &str| self.0.path().join(name).display().to_string();
        let mut all: Vec<String> = [
            "podman",
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
            "--storage-driver",
            "overlay",
            "--events-backend",
            "none",
        ]
        .map(str::to_owned)
        .to_vec();
        all.extend([
            "--root".to_owned(),
            at("root"),
            "--runroot".to_owned(),
            at("run"),
            "--tmpdir".to_owned(),
            at("tmp"),
        ]);
        all.extend(words.iter().map(|w| (*w).to_owned()));
        all
    }

    pub(super) fn ok(&self, words: &[&str]) -> Result<String, String> {
        let words = self.words(words);
        let output = Cmd::new(&words[0])
            .args(&words[1..])
            .limit(Duration::from_secs(600))
            .run();
        if output.success() {
            Ok(output.out().trim().to_owned())
        } else {
            Err(output.to_string())
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        for pid in testkit::roots::processes_of(self.0.path()) {
            let _gone = Cmd::new("kill").args(["-KILL", &pid.to_string()]).run();
        }
        for mount in testkit::files::mounts_beneath(self.0.path()).iter().rev() {
            let _gone = Cmd::new("umount").arg("--lazy").arg(mount).run();
        }
    }
}
