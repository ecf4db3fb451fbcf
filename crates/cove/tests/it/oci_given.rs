//! What podman and dockerd hand into a container by way of Cove as their runtime: all devices or one
//! of them, a tmpfs for a user.

use std::process::{Command, Stdio};

use crate::oci_engines::{Daemons, IMAGE, archive, out, podman_in, require, runtime};

/// What a run in the image says.
#[track_caller]
fn says(engine: &dyn Fn(&[&str]) -> Command, options: &[&str], script: &str) -> String {
    let words = [
        &["run", "--rm", "--network", "none"],
        options,
        &[IMAGE, "sh", "-c", script],
    ]
    .concat();
    let output = engine(&words).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{options:?}: {output:?}");
    out(&output)
}

/// The same for both engines.
fn exercise(engine: &dyn Fn(&[&str]) -> Command) {
    // A privileged container has the host's devices, and terminals of its own.
    let own = "readlink /dev/ptmx; test -c /dev/full && test -c /dev/pts/ptmx && echo devices";
    let text = says(engine, &["--privileged"], own);
    assert_eq!(text, "pts/ptmx\ndevices\n");
    let text = says(
        engine,
        &["--privileged", "-t"],
        "test -c /dev/console && tty",
    );
    assert_eq!(text.trim_end(), "/dev/pts/0");

    let text = says(engine, &["--device", "/dev/ptmx"], "readlink /dev/ptmx");
    assert_eq!(text, "pts/ptmx\n");
    let number = "ls -l /dev/other | awk '{ print $5, $6 }'; head -c 2 /dev/other | od -An -tx1";
    let text = says(engine, &["--device", "/dev/zero:/dev/other"], number);
    assert_eq!(text, "1, 5\n 00 00\n");

    let write = "touch /newdir/f && ls -ld /newdir | cut -d ' ' -f 1";
    let text = says(engine, &["--user", "1000", "--tmpfs", "/newdir"], write);
    assert_eq!(text, "drwxrwxrwt\n");
    // A next start finds the place that the first has made.
    let create = [
        "create",
        "--network",
        "none",
        "--name",
        "again",
        "--user",
        "1000",
    ];
    let create = [
        &create[..],
        &["--tmpfs", "/newdir", IMAGE, "touch", "/newdir/f"],
    ]
    .concat();
    assert!(engine(&create).output().unwrap().status.success());
    for _ in 0..2 {
        let output = engine(&["start", "-a", "again"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert!(engine(&["rm", "again"]).output().unwrap().status.success());
}

#[test]
fn by_podman() {
    require("podman");
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(directory.path());
    let engine = |words: &[&str]| podman_in(directory.path(), &runtime, words);
    let root = archive(directory.path());
    let import = ["import", root.to_str().unwrap(), IMAGE];
    assert!(engine(&import).output().unwrap().status.success());
    exercise(&engine);
    // In a user namespace, in which the host has no such name.
    let number = "ls -l /dev/other | awk '{ print $5, $6 }'; head -c 2 /dev/other | od -An -tx1";
    let options = [
        "--uidmap",
        "0:100000:65536",
        "--device",
        "/dev/zero:/dev/other",
    ];
    assert_eq!(says(&engine, &options, number), "1, 5\n 00 00\n");
}

#[test]
fn by_dockerd() {
    ["dockerd", "containerd", "docker"]
        .into_iter()
        .for_each(require);
    let daemons = Daemons::start();
    let directory = tempfile::tempdir().unwrap();
    let engine = |words: &[&str]| daemons.docker(words);
    let root = archive(directory.path());
    let import = ["import", root.to_str().unwrap(), IMAGE];
    assert!(engine(&import).output().unwrap().status.success());
    exercise(&engine);
}
