//! What a container is given beside its image: a tmpfs, devices, the files that Cove writes.

use crate::support::{IMAGE, cove};

/// Whoever runs in it writes to a tmpfs where the image has nothing, also when it starts again; what
/// the image has there gives it its mode.
#[test]
fn a_new_tmpfs_is_everybodys() {
    let cove = cove();
    let script = "touch /newdir/f /deep/er/f && stat -c %a /newdir /deep /deep/er /home";
    let options = [
        "--user",
        "1000",
        "--tmpfs",
        "/newdir",
        "--tmpfs",
        "/deep/er:size=1m",
    ];
    let words = [
        &options[..],
        &["--tmpfs", "/home", IMAGE, "sh", "-c", script],
    ]
    .concat();
    let said = "1777\n755\n1777\n755";
    assert_eq!(cove.ok(&[&["run", "--rm"], &words[..]].concat()), said);
    cove.ok(&[&["create", "--name", "box"], &words[..]].concat());
    for _ in 0..2 {
        assert_eq!(cove.ok(&["start", "-a", "box"]), said);
    }
    assert_eq!(cove.ok(&["diff", "box"]), "");
    let mode = [
        "run",
        "--rm",
        "--tmpfs",
        "/newdir:mode=700",
        IMAGE,
        "stat",
        "-c",
        "%a",
        "/newdir",
    ];
    assert_eq!(cove.ok(&mode), "700");
}

/// The runtime's own devices may be named, and others have other names.
#[test]
fn devices_are_those_that_are_named() {
    let cove = cove();
    let run = |device: &str, script: &str| {
        cove.ok(&["run", "--rm", "--device", device, IMAGE, "sh", "-c", script])
    };
    assert_eq!(run("/dev/ptmx", "readlink /dev/ptmx"), "pts/ptmx");
    let zero = run(
        "/dev/zero:/dev/null",
        "stat -c %t:%T /dev/null; stat -c %F /proc/keys; cat /proc/keys",
    );
    assert_eq!(zero, "1:5\nregular empty file");
}

/// Root fills `/etc/hosts` as it fills its own layer: what the whole host keeps below `/run` has room.
#[test]
fn the_files_of_a_container_take_no_room_below_run() {
    let cove = cove();
    let script = "dd if=/dev/zero of=/etc/hosts bs=1M count=8 2>/dev/null; stat -c %s /etc/hosts";
    let run = ["run", "--name", "box", IMAGE, "sh", "-c", script];
    assert_eq!(cove.ok(&run), "8388608");
    let hosts = cove.ok(&["inspect", "-f", "{{.HostsPath}}", "box"]);
    assert!(
        std::path::Path::new(&hosts).starts_with(cove.roots().root()),
        "{hosts}"
    );
    let used = cove_engine::size_of_tree(&cove.roots().runroot());
    assert!(used < 1 << 20, "{used}");
    // The next start finds them as they should be.
    cove.ok(&["start", "box"]);
    assert_eq!(cove.ok(&["wait", "box"]), "0");
}
