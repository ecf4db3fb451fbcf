//! Compiles the program of the built-in image, a static program of its own, and
//! tells the linker which functions belong together.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    order_text();
    name_build();
    println!("cargo::rerun-if-changed=hello/hello.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(variable("OUT_DIR")).join("hello");
    #[expect(
        clippy::disallowed_methods,
        reason = "the compiler is what builds programs"
    )]
    let status = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-name", "hello", "--target"])
        .arg(variable("TARGET"))
        .args([
            "-C",
            "opt-level=z",
            "-C",
            "panic=abort",
            "-C",
            "lto=fat",
            "-C",
            "codegen-units=1",
        ])
        .args(["-C", "strip=symbols", "-C", "target-feature=+crt-static"])
        .args(["-C", "relocation-model=static", "-D", "unsafe-code"])
        .arg("-o")
        .arg(&out)
        .arg("hello/hello.rs")
        .status();
    match status {
        Ok(status) if status.success() => compress(&out),
        Ok(status) => fail(&format!("compiling hello/hello.rs: {status}")),
        Err(error) => fail(&format!("running the compiler: {error}")),
    }
}

/// Hands commit and date of the sources to the program. The time is
/// `SOURCE_DATE_EPOCH` or the commit's, never the clock's: the same sources
/// make the same bytes. Where there is no git both are empty.
fn name_build() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // The log of HEAD grows with every commit, checkout and rebase, HEAD alone
    // does not. A file that is missing would have this run every time.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let epoch = env::var("SOURCE_DATE_EPOCH").ok();
    let epoch = epoch.or_else(|| git(&["log", "-1", "--format=%ct"]));
    println!("cargo::rustc-env=COVE_EPOCH={}", epoch.unwrap_or_default());
    let commit = git(&["rev-parse", "--verify", "HEAD"]).unwrap_or_default();
    println!("cargo::rustc-env=COVE_COMMIT={commit}");
}

/// What git prints, if these sources are a checkout of its own: sources that
/// were unpacked inside of another one are not that one's commit.
fn git(arguments: &[&str]) -> Option<String> {
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = workspace.canonicalize().ok()?;
    if !workspace.join(".git").exists() {
        return None;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "git is asked which build this is"
    )]
    let output = Command::new("git")
        .arg("-C")
        .arg(&workspace)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Functions that run when a container starts are spread over the whole text;
/// laid out side by side they need a fraction of the pages, which is memory in
/// every runtime process and supervisor. Only lld, the linker of this target,
/// knows how: Rust's functions have a section each, whose name a script can
/// match although it holds hashes; those of the C library it finds by symbol.
fn order_text() {
    println!("cargo::rerun-if-changed=text-order.txt");
    if variable("PROFILE") != "release" || variable("TARGET") != "x86_64-unknown-linux-gnu" {
        return;
    }
    let order = Path::new(&variable("CARGO_MANIFEST_DIR")).join("text-order.txt");
    let script = PathBuf::from(variable("OUT_DIR")).join("text-order.ld");
    if let Err(error) = write_script(&order, &script) {
        fail(&format!("reading {}: {error}", order.display()));
    }
    for argument in [
        format!("--symbol-ordering-file={}", order.display()),
        "--no-warn-symbol-ordering".to_owned(),
        format!("--script={}", script.display()),
    ] {
        println!("cargo::rustc-link-arg-bins=-Wl,{argument}");
    }
}

#[expect(clippy::disallowed_methods, reason = "files of the build")]
fn write_script(order: &Path, script: &Path) -> std::io::Result<()> {
    let mut text = "SECTIONS {\n  .text.start : {\n".to_owned();
    for name in std::fs::read_to_string(order)?.lines() {
        if name.starts_with("_R") {
            text += &format!("    *(.text.{name} .text.unlikely.{name})\n");
        }
    }
    text += "  }\n} INSERT BEFORE .text;\n";
    std::fs::write(script, text)
}

/// A static program is mostly the C library; compressed it is a third.
fn compress(program: &Path) {
    #[expect(clippy::disallowed_methods, reason = "a file that was just built here")]
    let compressed = std::fs::read(program).and_then(|bytes| zstd::bulk::compress(&bytes, 19));
    let written = compressed.and_then(|bytes| std::fs::write(program.with_extension("zst"), bytes));
    if let Err(error) = written {
        fail(&format!("compressing {}: {error}", program.display()));
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        fail(&format!("cargo did not set {name}"));
        String::new()
    })
}

fn fail(message: &str) {
    println!("cargo::error={message}");
}
