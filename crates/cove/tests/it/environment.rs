//! Variables that are given more than once, of image, file and command line.

use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

/// The variables that a program gets, in its order, but for the usual ones.
fn seen(cove: &Cove, words: &[&str]) -> Vec<String> {
    let out = cove.ok(&[words, &["/bin/busybox", "env"]].concat());
    let usual = ["PATH=", "HOSTNAME="];
    let lines = out.lines().map(str::to_owned);
    lines
        .filter(|line| !usual.iter().any(|name| line.starts_with(name)))
        .collect()
}

#[test]
fn the_last_of_a_variable_counts_and_an_empty_home_is_the_users() {
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("env");
    std::fs::write(&file, "A=file\nB=file\nA=file2\nC=\n").unwrap();
    let file = file.to_str().unwrap();
    let given = [
        "--env-file",
        file,
        "-e",
        "B=flag",
        "-e",
        "B=flag2",
        "-e",
        "C=x",
    ];
    let want = ["A=file2", "B=flag2", "C=x", "HOME=/root"];
    let run = [&["run", "--rm"][..], &given, &[IMAGE]].concat();
    assert_eq!(seen(&cove, &run), want);
    let home = ["-u", "ann", "-e", "HOME=/x", "-e", "HOME="];
    let run = [&["run", "--rm"][..], &home, &[IMAGE]].concat();
    assert_eq!(seen(&cove, &run), ["HOME=/home/ann"]);

    // An image that sets one twice, and one that has no value.
    let mut image = testkit::image::busybox::image();
    image.config.config.env = ["A=1", "B=1", "A=2", "HOME=/x", "HOME=", "FOO"]
        .map(str::to_owned)
        .to_vec();
    let layout = directory.path().join("layout");
    std::fs::create_dir(&layout).unwrap();
    image.write_layout(&layout, "twice:1");
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", &layout).unwrap();
    cove.cmd(["load"]).input(archive.into_inner().unwrap()).ok();
    assert_eq!(
        seen(&cove, &["run", "--rm", "twice:1"]),
        ["B=1", "A=2", "HOME=/root"]
    );
    cove.ok(&[
        "run", "-d", "--name", "box", "-e", "B=2", "twice:1", "sleep", "1000",
    ]);
    assert_eq!(seen(&cove, &["exec", "box"]), ["B=2", "A=2", "HOME=/root"]);
    assert_eq!(
        seen(
            &cove,
            &["exec", "-e", "A=3", "-e", "A=4", "--env-file", file, "box"]
        ),
        ["B=file", "C=", "A=4", "HOME=/root"]
    );
    cove.ok(&["rm", "-f", "box"]);
}
