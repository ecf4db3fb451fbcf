//! The hostile images, as a table: layers that try to write, link, chown or
//! mount outside their directory, lie about themselves, or explode.

use std::path::{Path, PathBuf};

use cove_model::image::{Compression, RunConfig};

use super::layer::{Blob, Layer, sha256};
use super::tree::{Entry, Tree};
use super::{Image, busybox, default_env};

/// What must come of unpacking a hostile image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The pull fails and leaves nothing.
    Refused,
    /// Either refused, or unpacked with everything inside its directory.
    Contained,
}

/// One hostile image.
#[derive(Debug, Clone)]
pub struct Case {
    /// A name fit for a repository.
    pub name: &'static str,
    /// What must happen.
    pub verdict: Verdict,
    /// The image.
    pub image: Image,
}

/// Things outside that no image may change, and how they looked.
#[derive(Debug)]
pub struct Canary {
    directory: tempfile::TempDir,
    before: String,
}

impl Canary {
    /// A directory with a file, a directory, a setuid file and a link.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("cvcanary")
            .tempdir()
            .expect("a directory");
        let path = directory.path();
        crate::files::write(&path.join("file"), "untouched\n", 0o640);
        crate::files::write(&path.join("setuid"), "untouched\n", 0o4755);
        std::fs::create_dir(path.join("dir")).expect("the canary is made");
        crate::files::write(&path.join("dir/inner"), "untouched\n", 0o600);
        std::os::unix::fs::symlink("file", path.join("link")).expect("the canary is made");
        let before = look(path);
        Self { directory, before }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Compares content, inodes, modes, owners and times with the beginning.
    ///
    /// # Panics
    /// When anything changed.
    pub fn assert_untouched(&self) {
        assert_eq!(
            look(self.path()),
            self.before,
            "something outside was changed"
        );
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

fn look(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::fs::MetadataExt as _;
    let mut text = String::new();
    let mut paths: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        let m = path.symlink_metadata().expect("the canary is there");
        write!(
            text,
            "{} ino {} mode {:o} owner {}:{} links {} mtime {}.{}",
            path.display(),
            m.ino(),
            m.mode(),
            m.uid(),
            m.gid(),
            m.nlink(),
            m.mtime(),
            m.mtime_nsec()
        )
        .expect("memory is writable");
        if m.is_dir() {
            let mut inner: Vec<_> = std::fs::read_dir(&path)
                .expect("readable")
                .map(|e| e.expect("readable").path())
                .collect();
            inner.sort();
            paths.extend(inner);
        } else if m.is_file() {
            text.push_str(&crate::files::text(&path).expect("readable"));
        }
        text.push('\n');
    }
    text
}

/// All cases, aimed at `canary`. Each is the busybox image with one more
/// layer, so that what is contained can also be run.
///
/// # Panics
/// When busybox is missing.
#[must_use]
pub fn cases(canary: &Path) -> Vec<Case> {
    use Verdict::{Contained, Refused};
    let out = canary.to_str().expect("temporary paths are text");
    // As a name that climbs from any depth.
    let climb = format!("{}{}", "../".repeat(24), out.trim_start_matches('/'));
    let case = |name, verdict, tree: Tree| Case {
        name,
        verdict,
        image: with_layer(tree.tar()),
    };
    let t = Tree::new;
    vec![
        case(
            "climbing-name",
            Contained,
            t().with(Entry::file(&format!("{climb}/file"), "x")),
        ),
        case(
            "climbing-new",
            Contained,
            t().with(Entry::file(&format!("{climb}/new"), "x")),
        ),
        case(
            "absolute-name",
            Contained,
            t().with(Entry::file(&format!("{out}/file"), "x")),
        ),
        case(
            "climbing-inside",
            Contained,
            t().with(Entry::dir("a"))
                .with(Entry::file(&format!("a/../{climb}/new"), "x")),
        ),
        case(
            "climbing-pax-path",
            Contained,
            t().with(Entry::file("plain", "x").pax("path", format!("{climb}/new").as_bytes())),
        ),
        case(
            "symlink-parent-absolute",
            Contained,
            t().with(Entry::symlink("esc", out))
                .with(Entry::file("esc/new", "x")),
        ),
        case(
            "symlink-parent-relative",
            Contained,
            t().with(Entry::symlink("esc", &climb))
                .with(Entry::file("esc/file", "x")),
        ),
        case(
            "symlink-parent-chain",
            Contained,
            t().with(Entry::symlink("a", ".."))
                .with(Entry::symlink("b", "a/a/a/a/a/a/a/a"))
                .with(Entry::file(&format!("b{out}/new"), "x")),
        ),
        case(
            "symlink-then-directory",
            Contained,
            t().with(Entry::symlink("esc", out))
                .with(Entry::dir("esc").mode(0o777).owner(1000, 1000)),
        ),
        case(
            "symlink-then-file",
            Contained,
            t().with(Entry::symlink("esc", &format!("{out}/file")))
                .with(Entry::file("esc", "x")),
        ),
        case(
            "symlink-then-mode",
            Contained,
            t().with(Entry::symlink("esc", &format!("{out}/file")))
                .with(
                    Entry::symlink("esc", &format!("{out}/file"))
                        .mode(0o4777)
                        .owner(1000, 1000),
                ),
        ),
        case(
            "hardlink-absolute",
            Contained,
            t().with(Entry::hardlink("h", &format!("{out}/file")))
                .with(Entry::file("h", "x")),
        ),
        case(
            "hardlink-climbing",
            Contained,
            t().with(Entry::hardlink("h", &format!("{climb}/file")))
                .with(Entry::file("h", "x")),
        ),
        case(
            "hardlink-through-symlink",
            Contained,
            t().with(Entry::symlink("esc", out))
                .with(Entry::hardlink("h", "esc/file"))
                .with(Entry::file("h", "x").mode(0o777)),
        ),
        case(
            "hardlink-to-symlink",
            Contained,
            t().with(Entry::symlink("s", &format!("{out}/file")))
                .with(Entry::hardlink("h", "s"))
                .with(Entry::file("h", "x")),
        ),
        case(
            "device-of-the-host-disk",
            Contained,
            t().with(Entry::block_device("disk", 254, 0))
                .with(Entry::char_device("mem", 1, 1)),
        ),
        case(
            "symlink-parent-device",
            Contained,
            t().with(Entry::symlink("esc", out))
                .with(Entry::char_device("esc/null", 1, 3)),
        ),
        case(
            "symlink-parent-fifo",
            Contained,
            t().with(Entry::symlink("esc", out))
                .with(Entry::fifo("esc/pipe")),
        ),
        case(
            "whiteout-climbing",
            Contained,
            t().with(Entry::file(&format!("{climb}/.wh.file"), "")),
        ),
        case(
            "whiteout-dotdot",
            Contained,
            t().with(Entry::file("bin/.wh...", "")),
        ),
        case(
            "whiteout-dot",
            Contained,
            t().with(Entry::file("bin/.wh..", "")),
        ),
        case(
            "whiteout-empty",
            Contained,
            t().with(Entry::file("bin/.wh.", "")),
        ),
        case(
            "whiteout-through-symlink",
            Contained,
            t().with(Entry::symlink("esc", out))
                .with(Entry::file("esc/.wh.file", "")),
        ),
        case(
            "opaque-through-symlink",
            Contained,
            t().with(Entry::symlink("esc", out))
                .with(Entry::file("esc/.wh..wh..opq", "")),
        ),
        case(
            "whiteout-as-overlay-device",
            Contained,
            t().with(Entry::char_device("bin/sh", 0, 0)),
        ),
        case(
            "xattr-overlay-redirect",
            Contained,
            t().with(Entry::dir("bin").xattr("trusted.overlay.redirect", climb.as_bytes()))
                .with(Entry::dir("etc").xattr("trusted.overlay.opaque", b"y")),
        ),
        case(
            "name-through-file",
            Refused,
            t().with(Entry::file("f", "x"))
                .with(Entry::hardlink("g", "f/../../f")),
        ),
        case(
            "name-of-the-root",
            Contained,
            t().with(Entry::file(".", "x")),
        ),
        case("name-empty", Contained, t().with(Entry::file("", "x"))),
        case(
            "name-too-long",
            Refused,
            t().with(Entry::file(&"n".repeat(5000), "x")),
        ),
        case(
            "path-too-deep",
            Contained,
            t().with(Entry::dir(&"d/".repeat(3000))),
        ),
        case(
            "size-lies",
            Refused,
            t().with(Entry::file("f", "short").said_size(1 << 20)),
        ),
        case(
            "size-negative",
            Refused,
            t().with(Entry::file("f", "x").pax("size", b"-1")),
        ),
        case(
            "size-of-an-exabyte",
            Refused,
            t().with(Entry::file("f", "x").pax("size", b"1152921504606846976")),
        ),
        Case {
            name: "truncated",
            verdict: Refused,
            image: with_layer(truncated()),
        },
        Case {
            name: "not-a-tar",
            verdict: Refused,
            image: with_layer(vec![0x55; 4096]),
        },
        Case {
            name: "diff-id-lies",
            verdict: Refused,
            image: lying_diff_id(),
        },
        Case {
            name: "bomb-gzip",
            verdict: Refused,
            image: bomb(Compression::Gzip),
        },
        Case {
            name: "bomb-zstd",
            verdict: Refused,
            image: bomb(Compression::Zstd),
        },
    ]
}

fn with_layer(tar: Vec<u8>) -> Image {
    image(vec![
        Layer::new(busybox::tree().tar(), Compression::Gzip),
        Layer::new(tar, Compression::Gzip),
    ])
}

fn image(layers: Vec<Layer>) -> Image {
    let run = RunConfig {
        env: default_env(),
        cmd: Some(vec!["true".to_owned()]),
        ..RunConfig::default()
    };
    Image::new(layers, run)
}

fn truncated() -> Vec<u8> {
    let mut tar = Tree::new().with(Entry::file("f", vec![7; 100_000])).tar();
    tar.truncate(50_000);
    tar
}

fn lying_diff_id() -> Image {
    let mut layer = Layer::new(
        Tree::new().with(Entry::file("f", "x")).tar(),
        Compression::Gzip,
    );
    layer.diff_id = sha256(b"something else");
    image(vec![
        Layer::new(busybox::tree().tar(), Compression::Gzip),
        layer,
    ])
}

/// Sixteen gigabytes of zeros in one file, compressed a thousandfold; written
/// as a repeated compressed member, so that making it is quick.
fn bomb(compression: Compression) -> Image {
    const PIECE: usize = 16 << 20;
    const PIECES: u64 = 1024;
    let size = PIECE as u64 * PIECES;
    // The PAX record carries the size, the header's own field is too small.
    let head = Tree::new()
        .with(Entry::file("zeros", "").pax("size", size.to_string().as_bytes()))
        .tar();
    let head = head[..head.len() - 1024].to_vec();
    let head = Layer::new(head, compression).blob.to_vec();
    let piece = Layer::new(vec![0; PIECE], compression).blob.to_vec();
    let mut bytes = head;
    for _ in 0..PIECES {
        bytes.extend_from_slice(&piece);
    }
    let end = Layer::new(vec![0; 1024], compression).blob.to_vec();
    bytes.extend_from_slice(&end);
    // Nobody gets far enough to compare the diff id.
    let layer = Layer {
        blob: Blob::bytes(bytes),
        diff_id: sha256(b"a bomb"),
        compression,
    };
    image(vec![
        Layer::new(busybox::tree().tar(), Compression::Gzip),
        layer,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_bomb_is_small() {
        let canary = Canary::new();
        let cases = cases(canary.path());
        let mut names: Vec<_> = cases.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases.len());
        for case in &cases {
            assert!(case.image.compressed_size() < 64 << 20, "{}", case.name);
        }
        canary.assert_untouched();
    }

    #[test]
    #[should_panic(expected = "something outside was changed")]
    fn a_touched_canary_is_noticed() {
        let canary = Canary::new();
        crate::files::write(&canary.path().join("file"), "untouched\n", 0o644);
        canary.assert_untouched();
    }
}
