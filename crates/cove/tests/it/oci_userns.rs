//! Podman with user namespaces on Cove: beside a network namespace of the host's, in a pod, and with
//! volumes whose ids are mapped.
#![expect(
    clippy::disallowed_methods,
    reason = "engines and ip are other programs"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::oci_engines::{IMAGE, archive, out, podman_in, require, runtime};

const MAP: &str = "0:100000:65536";

struct Podman {
    directory: TempDir,
    runtime: PathBuf,
}

impl Podman {
    fn new() -> Self {
        require("podman");
        let directory = tempfile::tempdir().unwrap();
        let podman = Self {
            runtime: runtime(directory.path()),
            directory,
        };
        // A default of Debian's is for network namespaces of podman's own.
        let config = "[containers]\ndefault_sysctls = []\n";
        std::fs::write(podman.directory.path().join("containers.conf"), config).unwrap();
        let archive = archive(podman.directory.path());
        podman.ok(&["import", archive.to_str().unwrap(), IMAGE]);
        podman
    }

    fn run(&self, words: &[&str]) -> Output {
        let config = self.directory.path().join("containers.conf");
        podman_in(self.directory.path(), &self.runtime, words)
            .env("CONTAINERS_CONF", config)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        out(&output)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        drop(self.run(&["pod", "rm", "-f", "-t", "0", "--all"]));
        drop(self.run(&["rm", "-f", "-t", "0", "--all"]));
    }
}

/// As a network plug-in makes it.
struct Network(String);

impl Network {
    fn new(name: &str) -> Self {
        let network = Self(format!("cove-it-{}-{name}", std::process::id()));
        network.ip("add");
        network
    }

    fn ip(&self, verb: &str) {
        let status = Command::new("ip").args(["netns", verb, &self.0]).status();
        assert!(status.unwrap().success(), "{verb}");
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.ip("delete");
    }
}

const LOOK: &str = "id -u; cat /proc/self/uid_map; ls -l /proc/self/ns/net";

#[test]
fn a_network_namespace_of_the_hosts() {
    use std::os::unix::fs::MetadataExt;
    let podman = Podman::new();
    let network = Network::new("net");
    let own = std::fs::metadata(network.path()).unwrap().ino();
    let path = format!("ns:{}", network.path().display());
    let options = ["--uidmap", MAP, "--network", &path];
    let text = podman.ok(&[&["run", "--rm"], &options[..], &[IMAGE, "sh", "-c", LOOK]].concat());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("0"));
    let map: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", "100000", "65536"]);
    let net = format!("net:[{own}]");
    assert!(lines.next().unwrap().ends_with(&net), "{text}");

    let sleep = [IMAGE, "sleep", "1000"];
    podman.ok(&[&["run", "-d", "--name", "one"], &options[..], &sleep].concat());
    let text = podman.ok(&["exec", "one", "ls", "-l", "/proc/self/ns/net"]);
    assert!(text.trim_end().ends_with(&net), "{text}");
}

/// A pod with a user namespace of its own, and what its members are like.
fn pod(shared: &str, network: &[&str]) {
    let podman = Podman::new();
    let create = ["pod", "create", "--name", "pod", "--share", shared];
    let infra = ["--infra-image", IMAGE, "--infra-command", "sleep 1000"];
    let net: &[&str] = if network.is_empty() {
        &["--network", "none"]
    } else {
        &[]
    };
    podman.ok(&[&create[..], net, &["--uidmap", MAP], &infra].concat());
    let namespaces = "id -u; cat /proc/self/uid_map; \
        for n in user net ipc uts; do ls -l /proc/self/ns/$n | cut -d '>' -f 2; done";
    let show = ["sh", "-c", namespaces];
    let member = [&["run", "--pod", "pod"], network].concat();
    let run = [&member[..], &["--rm", IMAGE], &show].concat();
    let first = podman.ok(&run);
    assert!(first.starts_with("0\n"), "{first}");
    assert!(first.contains("100000"), "{first}");
    assert_eq!(podman.ok(&run), first);
    let sleep = ["-d", "--name", "member", IMAGE, "sleep", "1000"];
    podman.ok(&[&member[..], &sleep].concat());
    let exec = [&["exec", "member"], &show[..]].concat();
    assert_eq!(podman.ok(&exec), first);
}

#[test]
fn a_pod() {
    pod("ipc,net,uts", &[]);
}

#[test]
fn a_pod_whose_members_are_beside_a_network_namespace_of_the_hosts() {
    let network = Network::new("pod");
    let path = format!("ns:{}", network.path().display());
    pod("ipc,uts", &["--network", &path]);
}

#[test]
fn a_volume_with_mapped_ids() {
    let podman = Podman::new();
    let volume = podman.directory.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::os::unix::fs::chown(&volume, Some(7), Some(7)).unwrap();
    for (option, owner) in [("ro", "65534"), ("idmap", "7")] {
        let volume = format!("{}:/volume:{option}", volume.display());
        let words = [
            "run",
            "--rm",
            "--network",
            "none",
            "--uidmap",
            MAP,
            "-v",
            &volume,
        ];
        let text = podman.ok(&[&words[..], &[IMAGE, "ls", "-lnd", "/volume"]].concat());
        assert_eq!(text.split_whitespace().nth(2), Some(owner), "{text}");
    }
}
