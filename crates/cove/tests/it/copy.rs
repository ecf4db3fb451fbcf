//! `cp`: Docker's rules, and what a hostile container cannot make of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

/// A container that runs until it is removed.
fn running(cove: &Cove, name: &str) {
    cove.ok(&["run", "-d", "--name", name, IMAGE, "sleep", "1000"]);
}

fn sh(cove: &Cove, name: &str, script: &str) -> String {
    cove.ok(&["exec", name, "sh", "-c", script])
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    testkit::files::text(path).unwrap()
}

/// Every file beneath a directory with its content; directories end with `/`.
fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = text(path.strip_prefix(directory).unwrap());
            let kind = fs::symlink_metadata(&path).unwrap();
            if kind.is_dir() {
                found.push(format!("{name}/"));
                ahead.push(path);
            } else if kind.is_symlink() {
                found.push(format!(
                    "{name} -> {}",
                    text(&fs::read_link(&path).unwrap())
                ));
            } else {
                found.push(format!("{name}={}", read(&path)));
            }
        }
    }
    found.sort();
    found
}

/// What is in the destination, or what the error says.
type Wanted = Result<&'static [&'static str], &'static str>;

/// Source, destination, and what is in the destination afterwards or the
/// error; the same for both directions, as Docker has it. Sources: `f` (a
/// file), `d` with `x` in it, `lf` and `ld` links to them. Destinations:
/// `file`, `dir` with `old` in it, `lfile`, `ldir` links to them, `new`, which
/// is not there, and `lnew`, a link to it.
const RULES: &[(&str, &str, Wanted)] = &[
    ("f", "new", Ok(&["new=f"])),
    ("f", "file", Ok(&["file=f"])),
    ("f", "lfile", Ok(&["file=f", "lfile -> file"])),
    ("f", "dir", Ok(&["dir/f=f"])),
    ("f", "dir/", Ok(&["dir/f=f"])),
    ("f", "ldir", Ok(&["dir/f=f"])),
    ("f", "lnew", Ok(&["lnew -> new", "new=f"])),
    ("f", "new/", Err("no such directory")),
    ("f", "nope/new", Err("nope")),
    ("d", "new", Ok(&["new/", "new/x=x"])),
    ("d", "new/", Ok(&["new/", "new/x=x"])),
    ("d", "dir", Ok(&["dir/d/", "dir/d/x=x", "dir/old=old"])),
    ("d", "ldir", Ok(&["dir/d/", "dir/d/x=x", "dir/old=old"])),
    ("d", "file", Err("cannot copy directory")),
    ("d/.", "new", Ok(&["new/", "new/x=x"])),
    ("d/.", "dir", Ok(&["dir/old=old", "dir/x=x"])),
    ("d/", "dir", Ok(&["dir/d/x=x"])),
    ("d/.", "file", Err("cannot copy directory")),
    ("lf", "new", Ok(&["new -> f"])),
    ("ld", "dir", Ok(&["dir/ld -> d"])),
    ("ld/", "dir", Ok(&["dir/ld/x=x"])),
    ("ld/.", "dir", Ok(&["dir/x=x"])),
    ("-L lf", "new", Ok(&["new=f"])),
    ("-L lf", "dir", Ok(&["dir/lf=f"])),
    ("-L ld", "dir", Ok(&["dir/ld/x=x"])),
    ("d", "busy", Err("cannot overwrite non-directory")),
    ("f", "busy", Err("cannot overwrite directory")),
    ("nope", "new", Err("nope")),
    ("f/", "new", Err("ot a directory")),
];

const SOURCES: &str = "mkdir d && printf f >f && printf x >d/x && ln -s f lf && ln -s d ld";
const DESTINATIONS: &str = "mkdir dir busy busy/f && printf old >dir/old && printf file >file && \
     printf d >busy/d && ln -s file lfile && ln -s dir ldir && ln -s new lnew";

fn prepare(directory: &Path, script: &str) {
    fs::create_dir_all(directory).unwrap();
    testkit::cmd::Cmd::new("sh")
        .args(["-ec", script])
        .directory(directory)
        .ok();
}

fn flags(source: &str) -> (Vec<&str>, &str) {
    match source.split_once(' ') {
        Some((flag, source)) => (vec!["cp", flag], source),
        None => (vec!["cp"], source),
    }
}

fn check(case: &str, output: &testkit::cmd::Output, seen: &[String], wanted: Wanted) {
    match wanted {
        Ok(files) => {
            assert!(output.success(), "{case}: {output}");
            for file in files {
                assert!(seen.iter().any(|s| s == file), "{case}: {file} of {seen:?}");
            }
        }
        Err(words) => {
            assert_eq!(output.code(), 1, "{case}: {output}");
            assert!(output.err().contains(words), "{case}: {output}");
        }
    }
}

#[test]
fn dockers_rules_hold_in_both_directions() {
    let cove = cove();
    running(&cove, "box");
    let host = tempfile::tempdir().unwrap();
    sh(&cove, "box", &format!("mkdir /src && cd /src && {SOURCES}"));
    prepare(&host.path().join("src"), SOURCES);
    for (n, &(source, destination, wanted)) in RULES.iter().enumerate() {
        let (arguments, source) = flags(source);
        // Out of the container.
        let to = host.path().join(format!("out{n}"));
        prepare(&to, DESTINATIONS);
        let mut out = arguments.clone();
        let from = format!("box:/src/{source}");
        let target = format!("{}/{destination}", text(&to));
        out.extend([from.as_str(), target.as_str()]);
        let case = format!("{out:?}");
        check(&case, &cove.cmd(&out).run(), &tree(&to), wanted);
        // Into the container.
        sh(
            &cove,
            "box",
            &format!("mkdir /in{n} && cd /in{n} && {DESTINATIONS}"),
        );
        let mut into = arguments;
        let from = format!("{}/src/{source}", text(host.path()));
        let target = format!("box:/in{n}/{destination}");
        into.extend([from.as_str(), target.as_str()]);
        let output = cove.cmd(&into).run();
        let case = format!("{into:?}");
        let back = host.path().join(format!("back{n}"));
        cove.ok(&["cp", &format!("box:/in{n}"), &text(&back)]);
        check(&case, &output, &tree(&back), wanted);
    }
}

#[test]
fn mistakes_are_told_in_dockers_words() {
    let cove = cove();
    cove.ok(&["create", "--name", "box", IMAGE, "true"]);
    let host = tempfile::tempdir().unwrap();
    let dir = text(host.path());
    for (arguments, words) in [
        (
            ["box:/x", "box:/y"],
            "copying between containers is not supported",
        ),
        (["x", "y"], "must specify at least one container source"),
        (["", "box:/x"], "source can not be empty"),
        (["box:/x", ""], "destination can not be empty"),
        (
            ["box:/nope", &dir],
            "Error: Could not find the file /nope in container box",
        ),
        (
            [&dir, "box:/nope/x"],
            "Error: Could not find the file /nope in container box",
        ),
        (["nobody:/x", &dir], "Error: No such container: nobody"),
        (
            ["-", "box:/etc/passwd"],
            "destination \"box:/etc/passwd\" must be a directory",
        ),
        (
            ["box:/etc", "/nowhere/at/all"],
            "invalid output path: directory \"/nowhere/at\" does not exist",
        ),
        (
            ["box:/etc/passwd", "/dev/null"],
            "invalid output path: \"/dev/null\" must be a directory or a regular file: got a device",
        ),
        (
            ["/nowhere", "box:/"],
            "lstat /nowhere: no such file or directory",
        ),
    ] {
        let output = cove.cmd(["cp"]).args(arguments).run();
        assert_eq!(output.code(), 1, "{output}");
        assert_eq!(output.err().trim_end(), words);
    }
}

#[test]
fn a_stopped_container_takes_and_gives_files() {
    let cove = cove();
    cove.ok(&["create", "--name", "box", IMAGE, "cat", "/tmp/f"]);
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("f");
    fs::write(&file, "hello\n").unwrap();
    let output = cove.cmd(["cp", "-q=false", &text(&file), "box:/tmp"]).ok();
    assert_eq!(output.err(), "Successfully copied 2.05kB to box:/tmp\n");
    assert_eq!(output.out(), "");
    assert_eq!(cove.ok(&["start", "-a", "box"]), "hello");
    // A stream of tar in both directions, compressed or not.
    let tar = cove.cmd(["cp", "box:/tmp/f", "-"]).ok().stdout;
    let mut names = tar::Archive::new(tar.as_slice());
    let names: Vec<_> = names
        .entries()
        .unwrap()
        .map(|entry| text(&entry.unwrap().path().unwrap()))
        .collect();
    assert_eq!(names, ["f"]);
    cove.cmd(["cp", "-", "box:/root"]).input(tar).ok();
    let to = host.path().join("back");
    let output = cove.cmd(["cp", "-q=false", "box:/root/f", &text(&to)]).ok();
    assert_eq!(
        output.err(),
        format!("Successfully copied 2.05kB to {}\n", text(&to))
    );
    assert_eq!(read(&to), "hello\n");
    assert_eq!(cove.cmd(["cp", "box:/root/f", &text(&to)]).ok().err(), "");
    // Read-only roots say so, whether they are mounted or not.
    cove.ok(&[
        "create",
        "--read-only",
        "--name",
        "ro",
        IMAGE,
        "sleep",
        "99",
    ]);
    for _ in 0..2 {
        let words = cove.fails(1, &["cp", &text(&file), "ro:/tmp"]);
        assert_eq!(words, "Error: container rootfs is marked read-only");
        cove.ok(&["start", "ro"]);
    }
}

#[test]
fn volumes_of_a_stopped_container_are_where_they_will_be() {
    let cove = cove();
    let host = tempfile::tempdir().unwrap();
    let volume = |name: &str| {
        fs::create_dir(host.path().join(name)).unwrap();
        format!("{}/{name}:/srv/{name}", text(host.path()))
    };
    let (rw, ro) = (volume("rw"), format!("{}:ro", volume("ro")));
    let file = host.path().join("file");
    fs::write(&file, "x").unwrap();
    let arguments = [
        "create",
        "--read-only",
        "--name",
        "box",
        "-v",
        &rw,
        "-v",
        &ro,
        IMAGE,
    ];
    cove.ok(&[&arguments[..], &["sleep", "99"]].concat());
    for state in ["created", "running"] {
        let name = format!("box:/srv/rw/{state}");
        cove.ok(&["cp", &text(&file), &name]);
        assert_eq!(read(&host.path().join("rw").join(state)), "x");
        let back = host.path().join(state);
        cove.ok(&["cp", &name, &text(&back)]);
        assert_eq!(read(&back), "x");
        let words = cove.fails(1, &["cp", &text(&file), "box:/srv/ro"]);
        assert_eq!(
            words, "Error: mounted volume is marked read-only",
            "{state}"
        );
        let words = cove.fails(1, &["cp", &text(&file), "box:/tmp"]);
        assert_eq!(
            words, "Error: container rootfs is marked read-only",
            "{state}"
        );
        cove.ok(&["start", "box"]);
    }
    assert_eq!(cove.ok(&["diff", "box"]), "");
}

/// What a hostile container must neither read nor change.
struct Canary {
    directory: tempfile::TempDir,
    state: Vec<(String, u64, u32, i64, i64)>,
}

const SECRET: &str = "the host's secret";

impl Canary {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), SECRET).unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(directory.path().join("sub/file"), SECRET).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let state = Self::look(directory.path());
        Self { directory, state }
    }

    fn path(&self) -> String {
        text(self.directory.path())
    }

    fn look(directory: &Path) -> Vec<(String, u64, u32, i64, i64)> {
        let mut all: Vec<String> = tree(directory);
        all.push(".".to_owned());
        all.iter()
            .map(|line| {
                let name = line.split('=').next().unwrap();
                let file = fs::symlink_metadata(directory.join(name)).unwrap();
                (
                    line.clone(),
                    file.ino(),
                    file.mode(),
                    file.mtime(),
                    file.ctime_nsec(),
                )
            })
            .collect()
    }

    fn assert_untouched(&self) {
        assert_eq!(Self::look(self.directory.path()), self.state);
    }
}

#[test]
fn links_to_the_hosts_paths_lead_to_the_containers() {
    let cove = cove();
    let canary = Canary::new();
    let path = canary.path();
    running(&cove, "box");
    sh(
        &cove,
        "box",
        &format!(
            "ln -s {path} /out && ln -s ../../../../../../..{path} /climb && ln -s {path}/file /file && ln -s /proc/1/root/etc /magic"
        ),
    );
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("f");
    fs::write(&file, "planted").unwrap();
    let to = text(&host.path().join("to"));
    for state in ["running", "stopped"] {
        for from in [
            "/out/file",
            "/climb/file",
            "/out/",
            "-L /file",
            "/magic/passwd",
        ] {
            let (mut arguments, from) = flags(from);
            let from = format!("box:{from}");
            arguments.extend([from.as_str(), to.as_str()]);
            let output = cove.cmd(&arguments).run();
            assert_eq!(output.code(), 1, "{state} {from}: {output}");
            assert!(!Path::new(&to).exists(), "{state} {from}");
        }
        for into in [
            "box:/out/planted",
            "box:/climb/planted",
            "box:/file",
            "box:/magic/planted",
        ] {
            let output = cove.cmd(["cp", &text(&file), into]).run();
            assert_eq!(output.code(), 1, "{state} {into}: {output}");
            canary.assert_untouched();
        }
        // The container's own directory of that name is what is meant.
        if state == "running" {
            sh(&cove, "box", &format!("mkdir -p {path}"));
            cove.ok(&["cp", &text(&file), "box:/out/planted"]);
            assert_eq!(sh(&cove, "box", &format!("cat {path}/planted")), "planted");
            sh(&cove, "box", &format!("rm -r {path}"));
            cove.ok(&["stop", "-t", "0", "box"]);
        }
        canary.assert_untouched();
    }
}

#[test]
fn a_copy_that_brought_a_link_is_no_way_out_for_the_next() {
    let cove = cove();
    let canary = Canary::new();
    running(&cove, "box");
    sh(
        &cove,
        "box",
        &format!("mkdir /d && ln -s {} /d/sub", canary.path()),
    );
    let host = tempfile::tempdir().unwrap();
    let to = text(host.path());
    cove.ok(&["cp", "box:/d", &to]);
    assert!(host.path().join("d/sub").is_symlink());
    sh(
        &cove,
        "box",
        "rm /d/sub && mkdir /d/sub && echo planted >/d/sub/file",
    );
    let words = cove.fails(1, &["cp", "box:/d", &to]);
    assert!(words.contains("cannot overwrite non-directory"), "{words}");
    canary.assert_untouched();
}

/// A directory is swapped for a link to the host's paths all the time; every
/// copy takes or leaves the container's own files, never the host's.
#[test]
fn swapping_directories_for_links_reaches_nothing_of_the_hosts() {
    const ROUNDS: usize = 5000;
    const TIME: Duration = Duration::from_secs(20);
    let cove = cove();
    let canary = Canary::new();
    let path = canary.path();
    running(&cove, "box");
    // Two swappers: one in the directory of the target, one of its parent.
    let script = format!(
        "mkdir -p /a/sub /b && echo mine >/a/sub/file && echo mine >/a/file && \
         ln -s {path} /l && ln -s /l /b/l && \
         (while :; do mv -T /a /x; mv -T /l /a; mv -T /a /l; mv -T /x /a; done) & \
         while :; do rm -f /a/sub/file 2>/dev/null; ln -s {path}/file /a/sub/file 2>/dev/null; \
         echo mine >/a/sub/new 2>/dev/null && mv /a/sub/new /a/sub/file 2>/dev/null; done"
    );
    cove.ok(&["exec", "-d", "box", "sh", "-c", &script]);
    let host = tempfile::tempdir().unwrap();
    let planted = host.path().join("planted");
    fs::create_dir(&planted).unwrap();
    fs::write(planted.join("file"), "planted").unwrap();
    symlink("file", planted.join("link")).unwrap();
    let to = host.path().join("to");
    let until = Instant::now() + TIME;
    let (mut rounds, mut worked) = (0, 0);
    while rounds < ROUNDS && Instant::now() < until {
        rounds += 1;
        let in_arg = format!("{}/.", text(&planted));
        let (from, into): (&str, &str) = match rounds % 4 {
            0 => ("box:/a/sub/file", &text(&to)),
            1 => (&in_arg, "box:/a/sub"),
            2 => ("box:/a", &text(&to)),
            _ => (&in_arg, "box:/a"),
        };
        let output = cove.cmd(["cp", "-L", from, into]).run();
        assert!(matches!(output.code(), 0 | 1), "{output}");
        worked += usize::from(output.success());
        assert!(!to.is_symlink(), "a link where what it leads to was wanted");
        if to.is_file() {
            assert_ne!(read(&to), SECRET);
            fs::remove_file(&to).unwrap();
        } else if to.is_dir() {
            let seen = tree(&to);
            assert!(!seen.iter().any(|line| line.contains(SECRET)), "{seen:?}");
            fs::remove_dir_all(&to).unwrap();
        }
        if rounds % 50 == 0 {
            canary.assert_untouched();
        }
    }
    eprintln!("{rounds} rounds, {worked} copies worked");
    canary.assert_untouched();
    assert!(
        worked > 0,
        "no copy of {rounds} worked, so nothing was tried"
    );
}

#[test]
fn the_kernels_files_are_not_copied() {
    let cove = cove();
    running(&cove, "box");
    let host = tempfile::tempdir().unwrap();
    let to = text(&host.path().join("to"));
    for from in ["box:/proc", "box:/proc/cpuinfo", "box:/sys/kernel"] {
        let words = cove.fails(1, &["cp", from, &to]);
        assert!(words.contains("is the kernel's"), "{words}");
    }
    // The whole root is copied without them.
    cove.ok(&["cp", "box:/", &to]);
    assert!(Path::new(&to).join("bin/busybox").is_file());
    assert!(!Path::new(&to).join("proc/cpuinfo").exists());
}

#[test]
fn an_untouched_container_has_no_changes() {
    let cove = cove();
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "").unwrap();
    let volume = format!("{}:/srv/deep/data", text(host.path()));
    let file = format!("{}/file:/opt/file", text(host.path()));
    // An image without any directory to mount on.
    let bare = host.path().join("bare");
    fs::create_dir_all(bare.join("bin")).unwrap();
    fs::copy("/bin/busybox", bare.join("bin/busybox")).unwrap();
    symlink("busybox", bare.join("bin/sh")).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", &bare).unwrap();
    let tar = tar.into_inner().unwrap();
    cove.cmd(["import", "-", "bare:1"]).input(tar).ok();
    for image in ["bare:1", IMAGE] {
        let arguments = [
            "run", "--name", "box", "--init", "-v", &volume, "-v", &file, image,
        ];
        let mut arguments = arguments.to_vec();
        arguments.extend(["/bin/busybox", "test", "-s", "/etc/hosts"]);
        cove.ok(&arguments);
        assert_eq!(cove.ok(&["diff", "box"]), "", "{image}");
        cove.ok(&["commit", "box", "made:1"]);
        cove.ok(&["create", "--name", "made", "made:1", "/bin/sh"]);
        let tar = cove.cmd(["export", "made"]).ok().stdout;
        let mut seen = tar::Archive::new(tar.as_slice());
        for entry in seen.entries().unwrap() {
            let path = text(&entry.unwrap().path().unwrap());
            assert!(!path.starts_with("srv") && path != "opt/file", "{path}");
        }
        cove.ok(&["rm", "box", "made"]);
        cove.ok(&["rmi", "made:1"]);
    }
    // A root that nothing can be made in.
    cove.ok(&[
        "run",
        "--rm",
        "--read-only",
        "bare:1",
        "/bin/busybox",
        "test",
        "-s",
        "/etc/hosts",
    ]);
    // Changes of one's own are seen beside the mounts.
    let script = "echo x >/etc/motd; mkdir /srv/mine";
    cove.ok(&[
        "run", "--name", "box", "-v", &volume, "bare:1", "sh", "-c", script,
    ]);
    assert_eq!(
        cove.ok(&["diff", "box"]),
        "C /etc\nA /etc/motd\nA /srv\nA /srv/mine"
    );
}
