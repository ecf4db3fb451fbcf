//! `cp` and `export` of what is more than a file with content: owners and modes,
//! special files, and files that change while they are copied.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use testkit::cove::Cove;
use testkit::race::beside;

use crate::support::{IMAGE, cove};

fn sh(cove: &Cove, name: &str, script: &str) -> String {
    cove.ok(&["exec", name, "sh", "-c", script])
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn owners_cross_only_when_asked_and_set_id_bits_always() {
    let cove = cove();
    cove.ok(&[
        "run", "-d", "--user", "ann", "--name", "box", IMAGE, "sleep", "1000",
    ]);
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("f");
    fs::write(&file, "x").unwrap();
    std::os::unix::fs::chown(&file, Some(33), Some(44)).unwrap();
    cove.ok(&["cp", &text(&file), "box:/tmp/plain"]);
    cove.ok(&["cp", "-a", &text(&file), "box:/tmp/archive"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6711)).unwrap();
    cove.ok(&["cp", &text(&file), "box:/tmp/set-id"]);
    let mode = cove.ok(&["exec", "box", "stat", "-c", "%a %u", "/tmp/set-id"]);
    assert_eq!(mode, "6711 33");
    let owners = cove.ok(&[
        "exec",
        "box",
        "stat",
        "-c",
        "%u:%g",
        "/tmp/plain",
        "/tmp/archive",
    ]);
    assert_eq!(owners, "33:44\n1000:1000");

    let script = "mkdir /home/ann/d && cp /bin/busybox /home/ann/d/su && chmod 4755 /home/ann/d/su";
    sh(&cove, "box", script);
    for (flags, mode, uid) in [(&[][..], 0o4755, 0), (&["-a"][..], 0o4755, 1000)] {
        let to = host.path().join(format!("to{uid}"));
        cove.cmd(["cp"])
            .args(flags)
            .args(["box:/home/ann/d", &text(&to)])
            .ok();
        let file = fs::metadata(to.join("su")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.uid()), (mode, uid));
    }
}

#[test]
fn what_is_no_file_is_copied_when_it_is_named() {
    let cove = cove();
    let may = ["run", "-d", "--cap-add", "MKNOD", "--name", "box"];
    cove.cmd(may).args([IMAGE, "sleep", "1000"]).ok();
    let script = "mkdir /d && mkfifo /d/fifo && mknod /d/null c 1 3 && echo x >/d/file";
    sh(&cove, "box", script);
    let host = tempfile::tempdir().unwrap();
    let to = |name: &str| text(&host.path().join(name));
    let kind = |name: &str| {
        fs::symlink_metadata(host.path().join(name))
            .unwrap()
            .file_type()
    };
    cove.ok(&["cp", "box:/d/fifo", &to("fifo")]);
    assert!(kind("fifo").is_fifo());
    cove.ok(&["cp", "box:/d/null", &to("null")]);
    assert!(kind("null").is_char_device());
    cove.ok(&["cp", &to("fifo"), "box:/back"]);
    cove.ok(&["cp", &to("null"), "box:/back2"]);
    sh(&cove, "box", "test -p /back && test -c /back2");

    // A socket has no copy; whoever asks for one is told.
    let pid = cove.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
    let inside = format!("/proc/{pid}/root/d/sock");
    let _bound = UnixListener::bind(&inside).unwrap();
    let output = cove.cmd(["cp", "box:/d/sock", &to("sock")]).ok();
    assert!(output.err().contains("not copied: socket sock"), "{output}");
    assert!(!host.path().join("sock").exists());
    let output = cove.cmd(["cp", &inside, "box:/sock2"]).ok();
    assert!(
        output.err().contains("not copied: socket sock2"),
        "{output}"
    );

    // In a tree the rest is copied; its devices only for who asks.
    let output = cove.cmd(["cp", "box:/d", &to("plain")]).ok();
    let words = output.err();
    assert!(words.contains("not copied: socket plain/sock"), "{words}");
    assert!(
        words.contains("not copied without --archive: device plain/null"),
        "{words}"
    );
    assert_eq!(names(&host.path().join("plain")), ["fifo", "file"]);
    cove.ok(&["cp", "-a", "box:/d", &to("all")]);
    assert_eq!(names(&host.path().join("all")), ["fifo", "file", "null"]);
}

/// Data and holes in turn, cut to one byte again and again; names that come and go.
fn change(directory: &Path, file: &File) {
    for _ in 0..8 {
        for piece in 0..200 {
            file.write_all_at(b"data", piece * (32 << 10)).unwrap();
        }
        file.set_len(1).unwrap();
    }
    let (gone, again) = (directory.join("gone"), directory.join("again"));
    fs::write(&gone, "y").unwrap();
    fs::hard_link(&gone, &again).unwrap();
    fs::remove_file(&gone).unwrap();
    fs::remove_file(&again).unwrap();
}

#[test]
fn files_that_change_meanwhile_are_copied() {
    let cove = cove();
    let script = "mkdir /d; touch /d/ready; exec sleep 1000";
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sh", "-c", script]);
    sh(&cove, "box", "until [ -e /d/ready ]; do :; done");
    let pid = cove.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
    // No program of the image is as quick as this thread, which writes where the container would.
    let inside = PathBuf::from(format!("/proc/{pid}/root/d"));
    let file = File::create(inside.join("file")).unwrap();
    file.set_len(1).unwrap();
    let host = tempfile::tempdir().unwrap();
    let copies = || {
        for round in 0..40 {
            let to = host.path().join(round.to_string());
            cove.ok(&["cp", "box:/d", &text(&to)]);
            assert!(fs::metadata(to.join("file")).unwrap().len() >= 1);
            let archive = cove.cmd(["export", "box"]).ok().stdout;
            let mut found = false;
            for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                found |= entry.path().unwrap() == Path::new("d/file");
                std::io::copy(&mut entry, &mut std::io::sink()).unwrap();
            }
            assert!(found);
            cove.ok(&["commit", "--pause=false", "box", "copy"]);
        }
    };
    beside(|| change(&inside, &file), copies);
}
