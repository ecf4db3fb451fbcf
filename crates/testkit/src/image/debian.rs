//! The real distribution: Debian's base with apt, made by mmdebstrap from the
//! archives this machine itself is configured for.

use std::fs::File;

use cove_model::image::{Compression, RunConfig};

use super::layer::{Layer, write_layer};
use super::{Image, default_env};
use crate::cache;
use crate::cmd::Cmd;

/// Part of the cache key: change it with the recipe below.
const RECIPE: &str = "debian-bookworm-apt-3";

/// Debian 12 with apt as one gzip layer; `bash` is its command. The first use
/// on a machine takes about a minute and needs the Debian archive.
///
/// # Panics
/// When mmdebstrap fails.
#[must_use]
pub fn image() -> Image {
    let directory = cache::entry(RECIPE, |directory| {
        let tar = directory.join("root.tar");
        Cmd::new("mmdebstrap")
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .args(["--mode=root", "--variant=apt", "--format=tar"])
            .args([
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
            ])
            .arg(r#"--customize-hook=rm -rf "$1"/var/lib/apt/lists/*"#)
            .arg("bookworm")
            .arg(&tar)
            .arg("-")
            .input(sources())
            .limit(std::time::Duration::from_secs(900))
            .ok();
        let file = File::open(&tar).expect("mmdebstrap wrote its archive");
        write_layer(file, directory, "layer", Compression::Gzip);
        std::fs::remove_file(&tar).expect("the archive is removed");
    });
    let layer = Layer::cached(&directory, "layer", Compression::Gzip);
    let run = RunConfig {
        env: default_env(),
        cmd: Some(vec!["bash".to_owned()]),
        ..RunConfig::default()
    };
    Image::new(vec![layer], run)
}

/// This machine's own Debian sources as one-line entries.
fn sources() -> String {
    let output = Cmd::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
        ])
        .args(["Identifier: Packages", "Origin: Debian"])
        .ok()
        .out();
    let mut lines: Vec<&str> = output
        .lines()
        .filter(|line| line.contains(" bookworm"))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    assert!(
        !lines.is_empty(),
        "apt knows no Debian 12 archive:\n{output}"
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_has_apt_and_a_shell() {
        let image = super::image();
        let root = tempfile::tempdir().unwrap();
        image.write_rootfs(root.path());
        for program in ["usr/bin/apt-get", "bin/bash"] {
            assert!(root.path().join(program).is_file(), "{program} is missing");
        }
    }
}
