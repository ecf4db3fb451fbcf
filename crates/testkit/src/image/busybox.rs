//! The small image: Debian's static busybox with its applets.

use cove_model::image::{Compression, RunConfig};

use super::layer::Layer;
use super::tree::{Entry, Tree};
use super::{Image, default_env};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
    www-data:x:33:33:www-data:/var/www:/bin/false\n\
    ann:x:1000:1000:Ann:/home/ann:/bin/sh\n\
    nobody:x:65534:65534:nobody:/home:/bin/false\n";

const GROUP: &str = "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\naudio:x:29:ann\nvideo:x:44:ann,root\n\
    ann:x:1000:\nnogroup:x:65534:\n";

/// Busybox as one gzip layer; `sh` is its command. Users `root`, `daemon`,
/// `www-data`, `ann` (1000, in groups `audio` 29 and `video` 44), `nobody`.
///
/// # Panics
/// When /bin/busybox (package busybox-static) is missing.
#[must_use]
pub fn image() -> Image {
    packed(Compression::Gzip)
}

/// The same image with its layer in another compression.
///
/// # Panics
/// As [`image`].
#[must_use]
pub fn packed(compression: Compression) -> Image {
    let run = RunConfig {
        env: default_env(),
        cmd: Some(vec!["sh".to_owned()]),
        ..RunConfig::default()
    };
    Image::new(vec![Layer::new(tree().tar(), compression)], run)
}

/// The image's files as a table, for tests that add their own.
///
/// # Panics
/// As [`image`].
#[must_use]
pub fn tree() -> Tree {
    let mut tree = Tree::new();
    for name in [
        "bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "usr/bin", "usr/sbin", "var",
        "var/www",
    ] {
        tree.push(Entry::dir(name));
    }
    tree.push(Entry::dir("root").mode(0o700));
    tree.push(Entry::dir("tmp").mode(0o1777));
    tree.push(Entry::dir("home/ann").owner(1000, 1000));
    tree.push(Entry::file("etc/passwd", PASSWD));
    tree.push(Entry::file("etc/group", GROUP));
    tree.push(Entry::file("etc/hostname", "busybox\n"));
    let program = crate::files::read("/bin/busybox".as_ref(), 64 << 20)
        .expect("/bin/busybox is there (apt-get install busybox-static)");
    tree.push(Entry::file("bin/busybox", program).mode(0o755));
    let applets = crate::cmd::Cmd::new("/bin/busybox")
        .arg("--list")
        .ok()
        .out();
    for applet in applets.lines().filter(|name| *name != "busybox") {
        tree.push(Entry::symlink(&format!("bin/{applet}"), "busybox"));
    }
    tree
}
