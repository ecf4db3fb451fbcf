//! The first file system of the guest: busybox, the modules that reach the
//! host's root, and the script that sets the machine up.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::error::{LabError, file};
use super::kernel::Kernel;
use crate::files;

/// In load order: each after what it needs. `modprobe` cannot say, because
/// its tables are on the root that these modules reach.
const MODULES: &[&str] = &[
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "fs/netfs/netfs.ko",
    "fs/fscache/fscache.ko",
    "net/9p/9pnet.ko",
    "net/9p/9pnet_virtio.ko",
    "fs/9p/9p.ko",
    "fs/overlayfs/overlay.ko",
];

/// Loaded once the root is there; dependencies come along by `modprobe`.
const LATER: &[&str] = &[
    "rng-core",
    "ccp",
    "kvm-amd",
    "loop",
    "crc32c_generic",
    "ext4",
    "virtio_blk",
    "fuse",
    "tun",
    "veth",
    "bridge",
    "nf_tables",
];

/// Runs as process 1. `@insmod@`, `@later@` and `@release@` are filled in.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
@insmod@
share() { mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,access=client,$3 "$1" "$2"; }
share root /host ro,cache=loose || reboot -f
mount -t tmpfs -o size=70% rw /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work root /new || reboot -f
cd /new
for d in proc sys dev tmp run var/lib/cove; do mkdir -p $d; done
mount --move /proc proc
mount --move /sys sys
mount --move /dev dev
mkdir -p dev/pts dev/shm dev/mqueue
mount -t devpts -o mode=620,ptmxmode=666 pts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t mqueue mqueue dev/mqueue
for d in tmp run var/lib/cove; do mount -t tmpfs -o mode=1777 $d $d; done
chmod 755 run var/lib/cove
mkdir -p run/lab lib/modules/@release@
share job run/lab rw,cache=none
. run/lab/where
mkdir -p ".$WORK"
share work ".$WORK" rw,cache=mmap
mount --bind ".$MODULES" lib/modules/@release@
mount -t cgroup2 cgroup sys/fs/cgroup
for c in $(cat sys/fs/cgroup/cgroup.controllers); do echo +$c > sys/fs/cgroup/cgroup.subtree_control; done
for m in @later@; do chroot . /bin/busybox modprobe $m 2>/dev/null; done
ip link set lo up
hostname lab
echo lab: up
exec switch_root . /bin/sh /run/lab/run
"#;

/// The initrd's file, made when the kernel or this recipe is new.
pub(super) fn make(kernel: &Kernel) -> Result<PathBuf, LabError> {
    let mut insmod = String::new();
    for module in MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        let _infallible = writeln!(insmod, "insmod /m/{name}");
    }
    let init = INIT
        .replace("@insmod@", insmod.trim_end())
        .replace("@later@", &LATER.join(" "))
        .replace("@release@", &kernel.release);

    let mut archive = Cpio::default();
    for directory in ["bin", "dev", "host", "m", "new", "proc", "rw", "sys"] {
        archive.add(directory, 0o040_755, b"");
    }
    let read = |path: PathBuf| files::read(&path, 64 << 20).map_err(file(&path));
    archive.add("bin/busybox", 0o100_755, &read("/bin/busybox".into())?);
    archive.add("init", 0o100_755, init.as_bytes());
    for module in MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        let content = read(kernel.modules().join("kernel").join(module))?;
        archive.add(&format!("m/{name}"), 0o100_644, &content);
    }
    let bytes = archive.finish();
    let name = format!("lab-initrd-{}", &crate::image::sha256(&bytes).hex()[..16]);
    let directory = crate::cache::entry(&name, |directory| {
        files::write(&directory.join("initrd"), &bytes, 0o644);
    });
    Ok(directory.join("initrd"))
}

/// A cpio archive in the kernel's "newc" format.
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let head = [
            self.inode as usize,
            mode as usize,
            0,
            0,
            1,
            0,
            content.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in head {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busybox_reads_the_archive() {
        let mut archive = Cpio::default();
        archive.add("d", 0o040_755, b"");
        archive.add("d/f", 0o100_600, b"text");
        let bytes = archive.finish();
        let list = crate::cmd::Cmd::new("/bin/busybox")
            .args(["cpio", "-tv"])
            .input(bytes)
            .ok();
        let list = list.out();
        assert!(
            list.contains("drwxr-xr-x") && list.contains("d/f"),
            "{list}"
        );
    }
}
