//! `cargo xtask dist`: the release binary with its documents in one archive.

use testkit::cmd::Cmd;

/// The binary must stay below this.
const MOST_BYTES: u64 = 12 << 20;

/// Builds, checks that the binary is static and small, packs.
pub(crate) fn build() -> Result<String, String> {
    let root = testkit::workspace();
    let run = |cmd: Cmd| {
        let output = cmd
            .directory(&root)
            .limit(std::time::Duration::from_secs(3600))
            .run();
        if output.success() {
            Ok(output.out())
        } else {
            Err(output.to_string())
        }
    };
    run(Cmd::new("cargo").args(["build", "--release", "--locked", "--package", "cove"]))?;
    let triple = run(Cmd::new("rustc").arg("-vV"))?;
    let triple = triple
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .ok_or("rustc names no host")?;
    let binary = root.join("target").join(triple).join("release/cove");
    let size = binary
        .metadata()
        .map_err(|e| format!("{}: {e}", binary.display()))?
        .len();
    if size > MOST_BYTES {
        return Err(format!(
            "the binary has {size} bytes, more than {MOST_BYTES}"
        ));
    }
    let headers = run(Cmd::new("readelf").arg("--program-headers").arg(&binary))?;
    if headers.contains("INTERP") {
        return Err("the binary wants a dynamic linker; it must be static".to_owned());
    }
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("cove-{version}-{triple}");
    let stage = root.join("target/dist").join(&name);
    testkit::files::remove_tree(&stage);
    let copy = |from: &std::path::Path, to: &str| {
        std::fs::copy(from, stage.join(to))
            .map(drop)
            .map_err(|e| format!("{}: {e}", from.display()))
    };
    std::fs::create_dir_all(&stage).map_err(|e| format!("{}: {e}", stage.display()))?;
    copy(&binary, "cove")?;
    for document in ["README.md", "CHANGELOG.md", "LICENSE"] {
        copy(&root.join(document), document)?;
    }
    for directory in ["completions", "man/man1"] {
        let directory = stage.join(directory);
        std::fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    }
    // By its name alone, as it is typed: then the completions hold no path of ours.
    let cove = || Cmd::new("cove").env("PATH", &stage);
    run(cove().args(["man", "--output"]).arg(stage.join("man/man1")))?;
    for (shell, file) in [("bash", "cove"), ("fish", "cove.fish"), ("zsh", "_cove")] {
        let path = stage.join("completions").join(file);
        std::fs::write(&path, run(cove().args(["completion", shell]))?)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let archive = root.join("target/dist").join(format!("{name}.tar.zst"));
    run(Cmd::new("tar")
        .args([
            "--create",
            "--zstd",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .args(["--mtime=@0", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(root.join("target/dist"))
        .arg(&name))?;
    Ok(format!(
        "{}: static, {} KiB unpacked",
        archive.display(),
        size / 1024
    ))
}
