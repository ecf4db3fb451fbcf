//! `cove oci` where its caller is wrong, hostile or unlucky.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::bundle::{Bundle, cgroups, text};

/// Runs a command of the bundle from a shell that closes descriptors 3 to 9 first.
fn without_descriptors(bundle: &Bundle, words: &[&str]) -> Output {
    let run = bundle.command(words);
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$@\"",
        "sh",
    ]);
    shell.arg(run.get_program()).args(run.get_args());
    shell.current_dir(bundle.path()).output().unwrap()
}

#[test]
fn descriptors_of_coves_own_are_not_handed_on() {
    let bundle = Bundle::new("fds", &["ls", "-l", "/proc/self/fd"]);
    let id = bundle.id.as_str();
    // The log and the state directory are open at these numbers by then.
    for count in ["1", "2", "4", "4294967295"] {
        let run = ["--log", "log", "run", "--preserve-fds", count, id];
        let output = without_descriptors(&bundle, &run);
        assert!(!output.status.success(), "{count}: {output:?}");
        let error = text(&output.stderr);
        assert!(error.contains("descriptor 3 is to be preserved"), "{error}");
    }
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    bundle.create();
    bundle.ok(&["start"]);
    let exec = ["--log", "log", "exec", "--preserve-fds", "2", id, "true"];
    let output = without_descriptors(&bundle, &exec);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
}

#[test]
fn a_run_that_cannot_start_leaves_nothing() {
    let bundle = Bundle::new("bad", &["/bin/bad"]);
    let program = bundle.path().join("rootfs/bin/bad");
    std::fs::write(&program, "#!/no/interpreter\n").unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    for words in [&["run"][..], &["run", "-d"]] {
        let mut run = bundle.command(words);
        let error = std::fs::File::create(bundle.path().join("error")).unwrap();
        run.arg(&bundle.id).stdout(Stdio::null()).stderr(error);
        assert_eq!(run.status().unwrap().code(), Some(1), "{words:?}");
        let error = std::fs::read_to_string(bundle.path().join("error")).unwrap();
        assert!(error.contains("no such file"), "{words:?}: {error}");
        assert!(!bundle.path().join("state").join(&bundle.id).exists());
        assert_eq!(cgroups(&bundle.id), Vec::<PathBuf>::new());
    }
}
