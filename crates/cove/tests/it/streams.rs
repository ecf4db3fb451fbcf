//! The standard streams of a program: its own, whatever the caller has.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_getfl, flock};
use testkit::cmd::{pidfd, readable};
use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

const LONG: Duration = Duration::from_secs(30);

/// A Cove with a running container.
fn with_box() -> Cove {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    cove
}

fn exec(cove: &Cove, flags: &[&str], script: &str) -> Command {
    let words = [&["exec"], flags, &["box", "sh", "-c", script]].concat();
    cove.cmd(words).command()
}

/// What root of a container can do to what its descriptors lead to.
const ATTACK: &str = "
    for fd in 0 1 2 3 4 5 6 7 8 9; do
        file=/proc/self/fd/$fd
        [ -e $file ] || continue
        chmod 717 $file; chown 12:34 $file; touch -d '2001-01-01 00:00' $file
        flock -n -x $fd; ls $file/; cat $file/canary; rm $file/canary
        [ -p $file ] || { : >$file; echo written >>$file; }
    done 2>/dev/null
    for fd in 0 1 2 3 4 5 6 7 8 9; do
        file=/proc/self/fd/$fd
        [ -e $file ] && stat -Lc \"fd $fd %d:%i %F %t:%T\" $file
    done
    echo end";

/// Everything about a file that may not change.
fn facts(path: &Path) -> (u32, u32, u32, i64, i64, u64, Vec<u8>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let bytes = if meta.is_file() {
        cove_sys::fs::read(path, 1 << 20).unwrap()
    } else {
        Vec::new()
    };
    let (mode, size) = (meta.mode(), meta.size());
    (
        mode,
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.ctime(),
        size,
        bytes,
    )
}

fn identity(file: impl AsFd) -> String {
    let stat = rustix::fs::fstat(file).unwrap();
    format!("{}:{}", stat.st_dev, stat.st_ino)
}

fn open(path: &Path, write: bool, append: bool) -> OwnedFd {
    let mut options = File::options();
    options.read(true).write(write).append(append);
    options.open(path).unwrap().into()
}

#[test]
fn nothing_of_the_caller_can_be_touched_from_inside() {
    let cove = with_box();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("file"), "words\n").unwrap();
    fs::create_dir(path("dir")).unwrap();
    fs::write(path("dir/canary"), "kept\n").unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), mode).unwrap();
    // A node of the test's own: /dev/null is everybody's.
    let null = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, path("null"), kind, mode, null).unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let canaries: Vec<OwnedFd> = vec![
        open(&path("file"), true, false),
        open(&path("file"), false, true),
        open(&path("fifo"), true, false),
        open(&path("null"), true, false),
        open(&path("dir"), false, false),
        socket.into(),
        pipe.into(),
    ];
    let watched = ["file", "dir", "dir/canary", "fifo", "null"].map(path);
    let before = watched.each_ref().map(|path| facts(path));
    let flags = |fd: &OwnedFd| fcntl_getfl(fd).unwrap();
    for canary in &canaries {
        let ours = identity(canary);
        let state = flags(canary);
        for words in [&["exec"][..], &["exec", "-i"], &["exec", "-d"], &["run"]] {
            let script = match words {
                ["exec", "-d"] => format!("{{ {ATTACK}; }} >/seen 2>&1; mv /seen /done"),
                _ => ATTACK.to_owned(),
            };
            let target = if words[0] == "run" { IMAGE } else { "box" };
            let more: &[&str] = if words[0] == "run" { &["--rm"] } else { &[] };
            let line = [words, more, &[target, "sh", "-c", &script]].concat();
            let copy = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
            // In every place in turn, and beside them as a descriptor that is no one's.
            for place in 0..4 {
                let mut command = cove.cmd(line.clone()).command();
                let seen = tempfile::tempfile().unwrap();
                let stdio = |n| {
                    if place == n {
                        copy(canary)
                    } else {
                        Stdio::null()
                    }
                };
                command.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2));
                if place != 1 {
                    command.stdout(seen.try_clone().unwrap());
                }
                let extra = canary.try_clone().unwrap();
                if place == 3 {
                    rustix::io::fcntl_setfd(&extra, rustix::io::FdFlags::empty()).unwrap();
                }
                let mut child = command.spawn().unwrap();
                drop(command);
                drop(extra);
                assert!(readable(pidfd(&child), LONG), "{line:?} {place} hangs");
                child.wait().unwrap();
                let told = match words {
                    ["exec", "-d"] => {
                        let wait = "until [ -e /done ]; do :; done; cat /done; rm /done";
                        cove.ok(&["exec", "box", "sh", "-c", wait])
                    }
                    _ if place == 1 => continue,
                    _ => contents(&seen),
                };
                assert!(told.contains("end"), "{line:?}: {told}");
                for line in told.lines().filter(|line| line.starts_with("fd ")) {
                    assert!(
                        !line.contains(&format!(" {ours} ")),
                        "{words:?} {place} {line}"
                    );
                    let own = line.contains(" fifo ") || line.ends_with(" 1:3");
                    let named = words == ["exec", "-d"] && line.contains("regular");
                    assert!(own || named, "{words:?} {place} {line}");
                    assert!(
                        line.starts_with("fd 0 ")
                            || line.starts_with("fd 1 ")
                            || line.starts_with("fd 2 "),
                        "{line}"
                    );
                }
            }
        }
        assert_eq!(flags(canary), state);
        if canary
            .try_clone()
            .is_ok_and(|fd| File::from(fd).metadata().unwrap().is_file())
        {
            flock(canary, FlockOperation::NonBlockingLockExclusive).unwrap();
            flock(canary, FlockOperation::Unlock).unwrap();
        }
    }
    for (path, before) in watched.iter().zip(before) {
        let now = facts(path);
        if path.ends_with("file") || path.ends_with("fifo") {
            // What the programs said came to it, and nothing else of it changed.
            assert_eq!((now.0, now.1, now.2), (before.0, before.1, before.2));
            assert!(now.3 >= before.3, "{}", path.display());
            let text = String::from_utf8(now.6).unwrap();
            assert!(!text.contains("written"), "{text}");
        } else {
            assert_eq!(now, before, "{}", path.display());
        }
    }
    assert!(
        fs::metadata(path("null"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    cove.ok(&["rm", "-f", "box"]);
}

fn contents(mut file: &File) -> String {
    use std::io::Seek as _;
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_container_without_its_null_device_does_not_get_the_hosts() {
    let cove = with_box();
    for there in [
        "",
        "echo file >/dev/null",
        "mkfifo /dev/null",
        "ln -s zero /dev/null",
    ] {
        let script = format!("rm -f /dev/null; {there}");
        let (input, _open) = std::io::pipe().unwrap();
        let mut command = exec(&cove, &["-i"], &script);
        assert!(command.stdin(input).status().unwrap().success());
        let script = "stat -Lc '%F %t:%T %a' /proc/self/fd/0; stat -Lc %d:%i /proc/self/fd/0; cat; \
            chmod 604 /proc/self/fd/0 && echo mine";
        let output = exec(&cove, &[], script).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0], "character special file 1:3 666",
            "{there}: {text}"
        );
        let host = identity(open(Path::new("/dev/null"), false, false));
        assert_ne!(lines[1], host, "{there}");
        assert_eq!(lines[2], "mine");
    }
    cove.ok(&["rm", "-f", "box"]);
}

/// Bytes of every value, in no order that a piece of them could share.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn large_data_passes_whole_through_whatever_the_caller_has() {
    let cove = with_box();
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(3_000_001);
    let from = dir.path().join("from");
    fs::write(&from, &bytes).unwrap();
    for input in ["file", "pipe", "socket"] {
        for output in ["file", "appended", "pipe", "socket"] {
            let to = dir.path().join("to");
            fs::write(&to, "").unwrap();
            let mut command = exec(&cove, &["-i"], "cat; echo done >&2; exit 7");
            let mut feeder = None;
            match input {
                "file" => drop(command.stdin(File::open(&from).unwrap())),
                "pipe" => {
                    let (reader, mut writer) = std::io::pipe().unwrap();
                    let bytes = bytes.clone();
                    feeder = Some(thread::spawn(move || writer.write_all(&bytes).unwrap()));
                    command.stdin(reader);
                }
                _ => {
                    let (ours, theirs) = UnixStream::pair().unwrap();
                    let bytes = bytes.clone();
                    feeder = Some(thread::spawn(move || (&ours).write_all(&bytes).unwrap()));
                    command.stdin(OwnedFd::from(theirs));
                }
            }
            let mut reader: Option<Box<dyn std::io::Read + Send>> = None;
            match output {
                "file" => drop(command.stdout(open(&to, true, false))),
                "appended" => drop(command.stdout(open(&to, false, true))),
                "pipe" => {
                    let (shown, writer) = std::io::pipe().unwrap();
                    command.stdout(writer);
                    reader = Some(Box::new(shown));
                }
                _ => {
                    let (ours, theirs) = UnixStream::pair().unwrap();
                    command.stdout(OwnedFd::from(theirs));
                    reader = Some(Box::new(ours));
                }
            }
            let (mut errors, writer) = std::io::pipe().unwrap();
            let mut child = command.stderr(writer).spawn().unwrap();
            drop(command);
            let mut got = Vec::new();
            if let Some(mut reader) = reader {
                reader.read_to_end(&mut got).unwrap();
            }
            assert_eq!(child.wait().unwrap().code(), Some(7), "{input} {output}");
            if let Some(feeder) = feeder {
                feeder.join().unwrap();
            }
            if got.is_empty() {
                got = cove_sys::fs::read(&to, 8 << 20).unwrap();
            }
            assert!(got == bytes, "{input} {output}: {} bytes", got.len());
            let mut said = String::new();
            errors.read_to_string(&mut said).unwrap();
            assert_eq!(said, "done\n", "{input} {output}");
        }
    }
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_stream_that_is_not_read_holds_up_no_other() {
    let cove = with_box();
    // More than all the pipes on its way hold, then a word on the other stream.
    let script = "(seq 100000; echo out >&2) & echo first >&2; cat; wait; echo last";
    let mut command = exec(&cove, &["-i"], script);
    let (stdin, mut typed) = std::io::pipe().unwrap();
    let (mut stdout, out) = std::io::pipe().unwrap();
    let (mut stderr, err) = std::io::pipe().unwrap();
    let mut child = command
        .stdin(stdin)
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    drop(command);
    let mut first = [0; 6];
    stderr.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    // Nobody has read a byte of the output; the input is still taken to its end.
    typed.write_all(b"typed\n").unwrap();
    drop(typed);
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert!(
        text.ends_with("last\n") && text.contains("\n100000\n"),
        "{}",
        text.len()
    );
    assert!(text.contains("typed\n"));
    assert!(child.wait().unwrap().success());
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn output_is_complete_before_the_exit_status() {
    let cove = with_box();
    for round in 0..20 {
        let script = format!("seq 30000; echo {round} >&2; exit {round}");
        let output = exec(&cove, &[], &script).output().unwrap();
        assert_eq!(output.status.code(), Some(round));
        assert!(
            output.stdout.ends_with(b"\n30000\n"),
            "{}",
            output.stdout.len()
        );
        assert_eq!(output.stdout.len(), 168_894);
        assert_eq!(output.stderr, format!("{round}\n").into_bytes());
    }
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_child_that_keeps_the_output_is_heard_a_little_and_not_waited_for() {
    let cove = with_box();
    // Bash's process substitution, `docker exec … &`: it writes after its parent has ended.
    let script = "mkfifo /go; (read x </go; echo late; exec sleep 1000) & (sleep 0.1; echo >/go) &
        echo early; exit 4";
    let begun = Instant::now();
    let output = exec(&cove, &[], script).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "early\nlate\n");
    assert!(begun.elapsed() < LONG);
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_reader_that_leaves_is_a_broken_pipe_to_the_program() {
    let cove = with_box();
    let (mut shown, out) = std::io::pipe().unwrap();
    let mut command = exec(&cove, &[], "yes; echo $? >/status");
    let mut child = command.stdout(out).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    let mut two = [0; 2];
    shown.read_exact(&mut two).unwrap();
    drop(shown);
    assert!(readable(pidfd(&child), LONG));
    child.wait().unwrap();
    assert_eq!(cove.ok(&["exec", "box", "cat", "/status"]), "141");
    // Where nobody reads the errors, the output still comes.
    let (errors, writer) = std::io::pipe().unwrap();
    drop(errors);
    let script = "trap '' PIPE; seq 20000 >&2; seq 20000";
    let mut command = exec(&cove, &[], script);
    let output = finish(
        command
            .stdout(Stdio::piped())
            .stderr(writer)
            .spawn()
            .unwrap(),
    );
    assert!(output.ends_with("\n20000\n"), "{output}");
    cove.ok(&["rm", "-f", "box"]);
}

fn finish(child: Child) -> String {
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn input_that_is_not_wanted_is_not_read_to_its_end() {
    let cove = with_box();
    let (stdin, typed) = std::io::pipe().unwrap();
    // The writer stays open: only the program says that it is done.
    let mut command = exec(&cove, &["-i"], "exec <&-; echo closed; read x; exit 0");
    let child = command.stdin(stdin).stdout(Stdio::piped()).spawn().unwrap();
    drop(command);
    assert!(readable(pidfd(&child), LONG));
    assert_eq!(finish(child), "closed\n");
    drop(typed);
    // A directory cannot be read; the program sees an empty input.
    let mut command = exec(&cove, &["-i"], "cat; echo after");
    let output = command.stdin(File::open("/etc").unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "after\n");
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn streams_that_are_closed_are_no_hole() {
    let cove = with_box();
    let line = format!(
        "{} --root {} --runroot {} exec -i box sh -c 'cat; echo out; echo err >&2; ls /proc/self/fd' ",
        cove.program().display(),
        cove.roots().root().display(),
        cove.roots().runroot().display()
    );
    for (closed, code) in [("<&-", 0), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)] {
        #[expect(clippy::disallowed_methods, reason = "a shell closes descriptors")]
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{line} {closed}"))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{closed}");
        if closed == "<&-" {
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text, "out\n0\n1\n2\n3\n");
        }
    }
    cove.ok(&["rm", "-f", "box"]);
}
