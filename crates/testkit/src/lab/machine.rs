//! One running machine: QEMU, the directory of its job, its end.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::error::{LabError, file};
use super::kernel::Kernel;
use super::{Lab, initrd, kernel};
use crate::cmd::{Output, pidfd, readable};
use crate::files;

const QEMU: &str = "qemu-system-x86_64";
/// A machine that is not up by then never will be.
const BOOT: Duration = Duration::from_secs(90);
/// More of a command's output than this is an error, not a result.
const MOST_OUTPUT: u64 = 1 << 30;

/// A machine that runs a command.
#[derive(Debug)]
pub struct Machine {
    /// What the host and the guest share about the command: `run` (the
    /// script), `out`, `err`, `status`; and QEMU's `console`.
    job: TempDir,
    qemu: Child,
    pidfd: OwnedFd,
    started: Instant,
    limit: Duration,
    line: String,
}

impl Lab {
    /// Boots, runs one command in the project directory to its end, and
    /// powers off.
    ///
    /// # Errors
    /// When the machine cannot be started or ends without a status.
    pub fn run<S: AsRef<str>>(&self, command: &[S]) -> Result<Output, LabError> {
        self.start(command)?.wait()
    }

    /// Boots and starts one command, for [`Machine::wait`] or [`Machine::kill`].
    ///
    /// # Errors
    /// When the machine cannot be started.
    pub fn start<S: AsRef<str>>(&self, command: &[S]) -> Result<Machine, LabError> {
        let kernel = kernel::fetch()?;
        let initrd = initrd::make(&kernel)?;
        Machine::boot(self, &kernel, &initrd, command)
    }
}

impl Machine {
    pub(super) fn boot<S: AsRef<str>>(
        lab: &Lab,
        kernel: &Kernel,
        initrd: &Path,
        command: &[S],
    ) -> Result<Self, LabError> {
        let job = tempfile::Builder::new()
            .prefix("cvlab")
            .tempdir()
            .map_err(file(&std::env::temp_dir()))?;
        let work = crate::workspace();
        let line = command
            .iter()
            .map(|word| quote(word.as_ref()))
            .collect::<Vec<_>>()
            .join(" ");
        let put = |name: &str, text: String| {
            let path = job.path().join(name);
            std::fs::write(&path, text).map_err(file(&path))
        };
        let place = |path: &Path| quote(&path.to_string_lossy());
        put(
            "where",
            format!(
                "WORK={}\nMODULES={}\n",
                place(&work),
                place(&kernel.modules())
            ),
        )?;
        put("run", script(lab, &work, &line))?;
        let console = job.path().join("console");

        let mut arguments: Vec<String> = ["-accel", "tcg,thread=multi", "-cpu", "max,+svm"]
            .map(str::to_owned)
            .to_vec();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|w| (*w).to_owned()));
        add(&[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-nic",
            "none",
        ]);
        add(&[
            "-smp",
            &lab.cpus.to_string(),
            "-m",
            &format!("{}M", lab.memory),
        ]);
        add(&[
            "-kernel",
            &kernel.image().to_string_lossy(),
            "-initrd",
            &initrd.to_string_lossy(),
        ]);
        add(&[
            "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
        ]);
        add(&["-serial", &format!("file:{}", escape(&console))]);
        add(&["-device", "virtio-rng-pci"]);
        for (tag, path, more) in [
            ("root", Path::new("/"), "readonly=on,multidevs=remap"),
            ("work", work.as_path(), "multidevs=remap"),
            ("job", job.path(), "multidevs=remap"),
        ] {
            let path = escape(path);
            add(&[
                "-virtfs",
                &format!("local,path={path},mount_tag={tag},security_model=passthrough,{more}"),
            ]);
        }
        for disk in &lab.disks {
            let path = escape(disk);
            add(&[
                "-drive",
                &format!("file={path},if=virtio,format=raw,cache=writeback"),
            ]);
        }

        let log = job.path().join("qemu");
        let log = std::fs::File::create(&log).map_err(file(&log))?;
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let qemu = crate::tied::spawn(QEMU, &words, |command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
        });
        let pidfd = pidfd(&qemu);
        Ok(Self {
            job,
            qemu,
            pidfd,
            started: Instant::now(),
            limit: lab.limit,
            line,
        })
    }

    /// The command's standard output and error so far.
    #[must_use]
    pub fn output(&self) -> (Vec<u8>, Vec<u8>) {
        (self.bytes("out"), self.bytes("err"))
    }

    /// The last lines of the serial console and of QEMU's own messages.
    #[must_use]
    pub fn console(&self) -> String {
        let text =
            ["qemu", "console"].map(|n| String::from_utf8_lossy(&self.bytes(n)).into_owned());
        let text = text.concat();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits for a text in the command's standard output; false when the
    /// machine ended or `time` passed first.
    #[must_use]
    pub fn says(&self, text: &str, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if String::from_utf8_lossy(&self.bytes("out")).contains(text) {
                return true;
            }
            if self.ends_within(Duration::from_millis(50)) || Instant::now() > deadline {
                return String::from_utf8_lossy(&self.bytes("out")).contains(text);
            }
        }
    }

    /// True when the machine ended within `time`.
    #[must_use]
    pub fn ends_within(&self, time: Duration) -> bool {
        readable(&self.pidfd, time)
    }

    /// Time left until the limit.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    /// Pulls the plug.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits for the command's end.
    ///
    /// # Errors
    /// When the machine ends without a status or the limit passes.
    pub fn wait(mut self) -> Result<Output, LabError> {
        let mut ended = self.ends_within(BOOT.min(self.time_left()));
        if !ended && !self.console().contains("lab: up") && !self.time_left().is_zero() {
            let console = self.console();
            self.end();
            return Err(LabError::Died { console });
        }
        ended = ended || self.ends_within(self.time_left());
        let console = self.console();
        self.end();
        if !ended {
            return Err(LabError::Late {
                seconds: self.limit.as_secs(),
                console,
            });
        }
        let status = String::from_utf8_lossy(&self.bytes("status"))
            .trim()
            .parse::<i32>();
        let Ok(code) = status else {
            return Err(LabError::Died { console });
        };
        let (stdout, stderr) = self.output();
        Ok(Output {
            line: self.line.clone(),
            status: ExitStatus::from_raw(code << 8),
            stdout,
            stderr,
            time: self.started.elapsed(),
            held_open: false,
            timed_out: false,
        })
    }

    fn end(&mut self) {
        let _gone = self.qemu.kill();
        let _status = self.qemu.wait();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        files::read(&self.job.path().join(name), MOST_OUTPUT).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the guest's shell runs as process 1: the command as its child, then
/// its status, then the end. The status comes last and is renamed into place.
fn script(lab: &Lab, work: &Path, line: &str) -> String {
    let mut text = String::from("#!/bin/sh\n");
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let own = [
        ("PATH", path.as_str()),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("COVE_LAB", "1"),
    ];
    let given = lab
        .environment
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()));
    for (key, value) in own.into_iter().chain(given) {
        let _infallible = writeln!(text, "export {key}={}", quote(value));
    }
    let _infallible = write!(
        text,
        "cd {}\n({line}) </dev/null >/run/lab/out 2>/run/lab/err\n\
         echo $? >/run/lab/status.new\nmv /run/lab/status.new /run/lab/status\nsync\n\
         exec /bin/busybox reboot -f\n",
        quote(&work.to_string_lossy())
    );
    text
}

/// A word for the shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A value in one of QEMU's comma-separated lists.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        let word = "it's $HOME `x` \"y\"";
        let output = crate::cmd::Cmd::new("sh")
            .arg("-c")
            .arg(format!("printf %s {}", quote(word)));
        assert_eq!(output.ok().out(), word);
    }
}
