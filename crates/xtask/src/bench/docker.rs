//! A dockerd of our own: private data, private socket, no networks.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use testkit::cmd::{Cmd, pidfd, readable};

/// A running dockerd, ended with its value.
pub(crate) struct Docker {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Docker {
    pub(crate) fn start() -> Result<Self, String> {
        Self::start_in(&std::env::temp_dir())
    }

    /// One whose data lie below `base`.
    pub(crate) fn start_in(base: &Path) -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("cvd")
            .tempdir_in(base)
            .map_err(|e| e.to_string())?;
        let place = directory.path().to_owned();
        let at = |name: &str| place.join(name).display().to_string();
        std::fs::write(at("daemon.json"), "{}").map_err(|e| e.to_string())?;
        let log = std::fs::File::create(at("log")).map_err(|e| e.to_string())?;
        let host = format!("unix://{}", at("sock"));
        let words = [
            "--data-root",
            &at("data"),
            "--exec-root",
            &at("exec"),
            "--pidfile",
            &at("pid"),
            "--host",
            &host,
            "--config-file",
            &at("daemon.json"),
            "--bridge",
            "none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ];
        let daemon = testkit::tied::spawn("dockerd", &words, |command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
        });
        let docker = Self { directory, daemon };
        let ended = pidfd(&docker.daemon);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !docker.cmd(&["version"]).run().success() {
            if readable(&ended, Duration::from_millis(200)) || Instant::now() > deadline {
                let log = testkit::files::text(at("log").as_ref()).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("dockerd did not come up: {last}"));
            }
        }
        Ok(docker)
    }

    /// Where its clients find it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("sock").display())
    }

    /// The client's command line.
    pub(crate) fn words(&self, words: &[&str]) -> Vec<String> {
        let mut all = vec!["docker".to_owned(), "--host".to_owned(), self.host()];
        all.extend(words.iter().map(|w| (*w).to_owned()));
        all
    }

    pub(crate) fn cmd(&self, words: &[&str]) -> Cmd {
        let words = self.words(words);
        Cmd::new(&words[0])
            .args(&words[1..])
            .limit(Duration::from_secs(600))
    }

    pub(crate) fn ok(&self, words: &[&str]) -> Result<String, String> {
        let output = self.cmd(words).run();
        if output.success() {
            Ok(output.out().trim().to_owned())
        } else {
            Err(output.to_string())
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Politely first: it unmounts what it mounted and ends its containerd.
        let pid = self.daemon.id().to_string();
        let _gone = Cmd::new("kill").args(["-TERM", &pid]).run();
        let _ended = readable(pidfd(&self.daemon), Duration::from_secs(20));
        let _gone = self.daemon.kill();
        let _status = self.daemon.wait();
        for pid in testkit::roots::processes_of(self.directory.path()) {
            let _gone = Cmd::new("kill").args(["-KILL", &pid.to_string()]).run();
        }
        for mount in testkit::files::mounts_beneath(self.directory.path())
            .iter()
            .rev()
        {
            let _gone = Cmd::new("umount").arg("--lazy").arg(mount).run();
        }
    }
}
