//! What people do all day: a shell in a terminal, logs that are followed, a
//! distribution's image, several containers at once.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use testkit::cove::Cove;
use testkit::image::debian;
use testkit::registry::Registry;
use testkit::roots::Roots;

use crate::support::{IMAGE, cove};

/// Both ends of a new terminal.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let path = Path::new(name.to_str().unwrap());
    let theirs = File::options().read(true).write(true).open(path).unwrap();
    (File::from(ours), theirs)
}

#[test]
fn files_that_exec_reads_and_writes_stay_whose_they_are() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let path = cove.roots().path().join("file");
    std::fs::write(&path, "secret\n").unwrap();
    let input = File::open(&path).unwrap();
    let output = File::options().append(true).open(&path).unwrap();
    let mut exec = cove
        .cmd(["exec", "-i", "-u", "1000", "box", "head", "-n1"])
        .command();
    let status = exec.stdin(input).stdout(output).status().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(
        testkit::files::read(&path, 1 << 10).unwrap(),
        b"secret\nsecret\n"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().uid(), 0);
}

/// Types `input` into a command's terminal; returns what it showed and its
/// status.
fn typed(cove: &Cove, arguments: &[&str], input: &str) -> (String, i32) {
    let (mut ours, theirs) = terminal();
    let mut command = cove.cmd(arguments).command();
    command
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs.try_clone().unwrap()))
        .stderr(OwnedFd::from(theirs));
    let mut child = command.spawn().unwrap();
    // The command object holds the terminal's other end open.
    drop(command);
    ours.write_all(input.as_bytes()).unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    // The last holder of the other end is gone: EIO, the terminal's end of file.
    while let Ok(n @ 1..) = ours.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..n]);
    }
    let status = child.wait().unwrap();
    (
        String::from_utf8_lossy(&shown).into_owned(),
        status.code().unwrap(),
    )
}

/// One container's day: a shell in a terminal, in front and by exec, logs
/// that are followed to the end, a stop, a removal.
fn a_day(cove: &Cove, image: &str, shell: &str) {
    let (shown, code) = typed(
        cove,
        &["run", "--rm", "-it", image, shell],
        "tty; echo $((40 + 2))\nexit 5\n",
    );
    assert!(shown.contains("/dev/pts/0"), "{shown}");
    assert!(shown.contains("42\r\n"), "{shown}");
    assert_eq!(code, 5, "{shown}");
    let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    cove.ok(&["run", "-d", "--name", "day", image, shell, "-c", script]);
    let follower = cove.cmd(["logs", "-f", "day"]).start();
    let (shown, code) = typed(
        cove,
        &["exec", "-it", "day", shell],
        "echo $((6 * 7))\nexit 3\n",
    );
    assert!(shown.contains("42\r\n"), "{shown}");
    assert_eq!(code, 3, "{shown}");
    assert!(!follower.ends_within(Duration::ZERO));
    cove.ok(&["stop", "day"]);
    let followed = follower.wait();
    assert_eq!(followed.out(), "up\nbye\n", "{followed}");
    assert_eq!(
        cove.ok(&["inspect", "-f", "{{.State.ExitCode}}", "day"]),
        "0"
    );
    cove.ok(&["rm", "day"]);
    assert_eq!(cove.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_day_with_busybox() {
    a_day(&cove(), IMAGE, "sh");
}

#[test]
fn a_day_with_debian() {
    let registry = Registry::start();
    registry.push("debian:bookworm", &debian::image());
    let cove = Cove::at(Path::new(env!("CARGO_BIN_EXE_cove")), Roots::new());
    let image = registry.reference("debian:bookworm");
    let pull = cove.cmd(["pull", "-q", &image]);
    pull.limit(Duration::from_secs(600)).ok();
    let release = cove.ok(&["run", "--rm", &image, "cat", "/etc/debian_version"]);
    assert!(release.starts_with("12"), "{release}");
    // apt drops to its own user and writes all over /var.
    let text = cove.ok(&[
        "run",
        "--rm",
        &image,
        "sh",
        "-c",
        "su -s /bin/sh -c id nobody && dpkg -l bash && apt-get --version",
    ]);
    assert!(text.contains("uid=65534(nobody)"), "{text}");
    a_day(&cove, &image, "bash");
}

#[test]
fn eight_at_once_do_not_disturb_each_other() {
    let cove = cove();
    let image = cove.ok(&["images", "-q"]);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (cove, image) = (&cove, &image);
            scope.spawn(move || {
                let name = format!("box{n}");
                let script = format!("echo {n}; echo {n} > /mine; exec sleep 1000");
                cove.ok(&["run", "-d", "--name", &name, image, "sh", "-c", &script]);
                let mine = "until [ -s /mine ]; do :; done; cat /mine";
                assert_eq!(cove.ok(&["exec", &name, "sh", "-c", mine]), n.to_string());
                assert_eq!(cove.ok(&["logs", &name]), n.to_string());
                assert_eq!(
                    cove.ok(&["run", "--rm", image, "cat", "/etc/hostname"])
                        .len(),
                    12
                );
                cove.ok(&["kill", &name]);
                assert_eq!(cove.ok(&["wait", &name]), "137");
                cove.ok(&["rm", &name]);
            });
        }
    });
    assert_eq!(cove.ok(&["ps", "-aq"]), "");
}
