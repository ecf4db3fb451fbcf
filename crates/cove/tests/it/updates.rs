//! Changes of instances that exist, several of them at once.

use std::path::{Path, PathBuf};
use std::thread;

use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

fn run(cove: &Cove) {
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
}

/// What the kernel has in a control file of the container's, of whichever
/// hierarchy has such a file.
fn kernel(cove: &Cove, files: [&str; 2]) -> String {
    let pid = cove.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
    let cgroups = testkit::files::text(format!("/proc/{pid}/cgroup").as_ref()).unwrap();
    let root = Path::new("/sys/fs/cgroup");
    let found = cgroups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let beneath = |root: PathBuf| root.join(path.trim_start_matches('/'));
        [beneath(root.join(controllers)), beneath(root.to_owned())]
            .iter()
            .flat_map(|place| files.map(|file| place.join(file)))
            .find_map(|file| testkit::files::text(&file))
    });
    found.unwrap().trim().to_owned()
}

fn shown(cove: &Cove) -> String {
    let format = "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    cove.ok(&["inspect", "-f", format, "box"])
}

/// Makes three changes at once.
fn change(cove: &Cove, round: u64) {
    let memory = format!("{}m", 100 + round);
    let shares = (1000 + round).to_string();
    let policy = format!("on-failure:{round}");
    let changes: [&[&str]; 3] = [
        &["--memory", &memory, "--memory-swap", "-1"],
        &["--cpu-shares", &shares],
        &["--restart", &policy],
    ];
    thread::scope(|scope| {
        for change in changes {
            scope.spawn(move || cove.ok(&[&["update"], change, &["box"]].concat()));
        }
    });
    let expected = format!("{} {shares} {round}", (100 + round) << 20);
    assert_eq!(shown(cove), expected);
}

#[test]
fn changes_at_once_are_all_kept() {
    let cove = cove();
    run(&cove);
    for round in 1..=8 {
        change(&cove, round);
        let memory = kernel(&cove, ["memory.limit_in_bytes", "memory.max"]);
        assert_eq!(memory, ((100 + round) << 20).to_string());
    }
    cove.ok(&["stop", "-t", "0", "box"]);
    for round in 11..=14 {
        change(&cove, round);
    }
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_change_that_cannot_be_recorded_is_taken_back() {
    let cove = cove();
    run(&cove);
    let before = shown(&cove);
    let memory = || kernel(&cove, ["memory.limit_in_bytes", "memory.max"]);
    let limit = memory();
    let update = ["update", "-m", "64m", "--restart", "always", "box"];
    // The record is the first thing that it renames.
    let renames = "?rename,?renameat,?renameat2";
    let failed = testkit::fault::failing_at(cove.cmd(update), renames, "EIO", 1).run();
    assert!(!failed.status.success(), "{failed}");
    assert_eq!(shown(&cove), before);
    assert_eq!(memory(), limit);
    cove.ok(&update);
    assert_eq!(memory(), (64 << 20).to_string());
    cove.ok(&["rm", "-f", "box"]);
}
