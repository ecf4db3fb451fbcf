//! Faults of disks: an ext4 whose power can be cut, a tmpfs that is soon full.
//!
//! An ext4 lives until the last mount of it is gone, and every mount namespace
//! that any program on the machine makes has copies of the mounts it began with.
//! A disk is therefore mounted in a namespace of the thread that makes it: that
//! thread and whatever it starts see it, and nobody else can hold it.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use tempfile::TempDir;

use crate::cmd::Cmd;
use crate::roots::{kill, processes_of};

/// An ext4 in a file, mounted through a loop device. [`Disk::cut`] loses what
/// was not synced, in milliseconds.
#[derive(Debug)]
pub struct Disk {
    directory: TempDir,
    device: String,
    /// Whether the loop device passes by the page cache of the file's own disk.
    direct: bool,
}

impl Disk {
    /// A new empty disk of `mib` mebibytes, which this thread and what it starts
    /// from now on see.
    ///
    /// # Panics
    /// Without root, mkfs.ext4 or a free loop device.
    #[must_use]
    pub fn new(mib: u64) -> Self {
        let disk = Self::backed(&std::env::temp_dir(), false);
        File::create(disk.image())
            .and_then(|f| f.set_len(mib << 20))
            .expect("the disk's file is made");
        disk.formatted()
    }

    /// A new empty disk in `base` to measure on: its file is written to its end
    /// beforehand and then read and written without another cache in between,
    /// so that it costs little more than the disk that `base` is on.
    ///
    /// # Panics
    /// As [`Disk::new`], and when `base` has too little room.
    #[must_use]
    pub fn steady(base: &Path, mib: u64) -> Self {
        let disk = Self::backed(base, true);
        let mut zeros = std::io::repeat(0).take(mib << 20);
        let mut image = File::create(disk.image()).expect("the disk's file is made");
        std::io::copy(&mut zeros, &mut image).expect("there is room for the disk's file");
        image.sync_all().expect("the disk's file is written");
        disk.formatted()
    }

    fn backed(base: &Path, direct: bool) -> Self {
        leave_mounts();
        let directory = tempfile::Builder::new()
            .prefix("cvdisk")
            .tempdir_in(base)
            .expect("a directory");
        std::fs::create_dir(directory.path().join("m")).expect("the mount point is made");
        Self {
            directory,
            device: String::new(),
            direct,
        }
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn formatted(mut self) -> Self {
        self.format();
        self.attach();
        self
    }

    /// Everything at once: nothing is left to write while somebody measures.
    fn format(&self) {
        Cmd::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-E"])
            .arg("nodiscard,lazy_itable_init=0,lazy_journal_init=0")
            .arg(self.image())
            .ok();
    }

    /// Empties it, as if it was new.
    ///
    /// # Panics
    /// When a mount of it is still held somewhere.
    pub fn renew(&mut self) {
        self.detach();
        self.format();
        self.attach();
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("m")
    }

    /// Cuts the power: the file system stops at once, every process that uses
    /// it is killed, and it comes back as the disk has it (journal replayed).
    ///
    /// # Panics
    /// When a mount of it is still held somewhere, or it does not come back.
    pub fn cut(&mut self) {
        self.stop();
        self.detach();
        self.attach();
    }

    fn stop(&self) {
        let root = File::open(self.path()).expect("the disk is mounted");
        cove_sys::fs_shutdown::cut(&root).expect("ext4 shuts down");
    }

    /// Checks the file system's own consistency; all is synced, and it is
    /// unmounted meanwhile.
    ///
    /// # Panics
    /// When e2fsck finds an error.
    pub fn check(&mut self) {
        let image = self.image();
        Cmd::new("sync").arg("--file-system").arg(self.path()).ok();
        self.detach();
        // What a mount would do first: the journal, and files that were deleted while open.
        let replayed = Cmd::new("e2fsck").arg("-p").arg(&image).run();
        assert!(replayed.code() <= 1, "{replayed}");
        Cmd::new("e2fsck").args(["-f", "-n"]).arg(&image).ok();
        self.attach();
    }

    fn attach(&mut self) {
        let direct = if self.direct { "on" } else { "off" };
        let output = Cmd::new("losetup")
            .args(["--find", "--show"])
            .arg(format!("--direct-io={direct}"))
            .arg(self.image())
            .ok();
        output.out().trim().clone_into(&mut self.device);
        mount(
            self.device.as_str(),
            self.path(),
            "ext4",
            MountFlags::empty(),
            None,
        )
        .expect("the disk mounts");
    }

    fn detach(&self) {
        end_users(self.directory.path());
        for point in crate::files::mounts_beneath(&self.path()).iter().rev() {
            release(point);
        }
        Cmd::new("losetup").args(["--detach", &self.device]).ok();
        self.wait_released();
    }

    /// Whoever looks at all loop devices (losetup, blkid) holds each for a
    /// moment, and only when the last one lets go does the device leave its file.
    fn wait_released(&self) {
        let name = self.device.trim_start_matches("/dev/");
        let backing = PathBuf::from(format!("/sys/block/{name}/loop/backing_file"));
        let image = self.image();
        let ours =
            || crate::files::text(&backing).is_some_and(|text| image == Path::new(text.trim()));
        patiently(&format!("{} is let go", self.device), || !ours());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        end_users(self.directory.path());
        for point in crate::files::mounts_beneath(&self.path()).iter().rev() {
            let _gone = unmount(point, UnmountFlags::DETACH);
        }
        let _gone = Cmd::new("losetup").args(["--detach", &self.device]).run();
    }
}

/// A tmpfs of a few kilobytes, for what happens when the disk is full.
#[derive(Debug)]
pub struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// An empty tmpfs of `kib` kibibytes.
    ///
    /// # Panics
    /// Without root.
    #[must_use]
    pub fn new(kib: u64) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("cvfull")
            .tempdir()
            .expect("a directory");
        let options = std::ffi::CString::new(format!("size={kib}k")).expect("no NUL in it");
        mount(
            "tmpfs",
            directory.path(),
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .expect("a tmpfs mounts");
        Self { directory }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Bytes in use.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn used(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("the tmpfs is mounted");
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        end_users(self.path());
        let _gone = unmount(self.path(), UnmountFlags::DETACH);
    }
}

/// Unmounts; what killed processes held is let go by the kernel a little later.
fn release(point: &Path) {
    patiently(
        &format!("{} is unmounted", point.display()),
        || match unmount(point, UnmountFlags::empty()) {
            Err(rustix::io::Errno::BUSY) => false,
            Err(e) => panic!("cannot unmount {}: {e}", point.display()),
            Ok(()) => true,
        },
    );
}

/// Waits for what the kernel tells nobody of.
fn patiently(what: &str, done: impl Fn() -> bool) {
    for _attempt in 0..1000 {
        if done() {
            return;
        }
        crate::cmd::pause(Duration::from_millis(10));
    }
    panic!("{what}: not after ten seconds");
}

/// Gives this thread a mount namespace of its own, once. What others mount and
/// unmount is still seen here; what is mounted here, nobody else sees.
fn leave_mounts() {
    thread_local!(static LEFT: Cell<bool> = const { Cell::new(false) });
    if LEFT.get() {
        return;
    }
    cove_sys::ns::unshare(cove_sys::ns::MOUNT).expect("a mount namespace is made");
    let receive_only = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", receive_only).expect("mounts are told to nobody");
    LEFT.set(true);
}

/// Ends all processes that name or use the directory.
fn end_users(directory: &Path) {
    for _round in 0..5 {
        let users = processes_of(directory);
        if users.is_empty() {
            return;
        }
        users.into_iter().for_each(kill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_loses_what_was_not_synced_and_only_that() {
        let mut disk = Disk::new(64);
        let synced = disk.path().join("synced");
        std::fs::write(&synced, [1; 100_000]).unwrap();
        File::open(&synced).unwrap().sync_all().unwrap();
        File::open(disk.path()).unwrap().sync_all().unwrap();
        let lost = disk.path().join("lost");
        std::fs::write(&lost, [2; 100_000]).unwrap();
        disk.cut();
        assert_eq!(crate::files::read(&synced, 1 << 20).unwrap(), [1; 100_000]);
        assert_ne!(
            crate::files::read(&lost, 1 << 20).unwrap_or_default(),
            [2; 100_000]
        );
        disk.check();
    }

    #[test]
    fn nobody_else_holds_a_disk() {
        let mut disk = Disk::new(64);
        // Another program on the machine, which is no child of this thread's namespace.
        let other = File::open("/proc/self/ns/mnt").unwrap();
        let mut bystander = Cmd::new("nsenter")
            .arg("--mount=/proc/self/fd/0")
            .args(["unshare", "--mount", "--propagation", "private"])
            .args(["sh", "-c", "echo up; exec sleep 600"])
            .command()
            .stdin(other)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        bystander
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut up)
            .unwrap();
        let table = format!("/proc/{}/mounts", bystander.id());
        let table = crate::files::text(table.as_ref()).unwrap();
        let device = disk.device.clone();
        disk.cut();
        disk.check();
        bystander.kill().unwrap();
        bystander.wait().unwrap();
        assert!(!table.contains(&device), "{table}");
    }

    #[test]
    fn a_steady_disk_can_be_emptied() {
        let mut disk = Disk::steady(&std::env::temp_dir(), 64);
        let file = disk.path().join("file");
        std::fs::write(&file, [1; 100_000]).unwrap();
        disk.renew();
        assert!(!file.exists());
        std::fs::write(&file, [2; 100_000]).unwrap();
    }

    #[test]
    fn a_small_disk_is_soon_full() {
        let disk = SmallDisk::new(64);
        let error = std::fs::write(disk.path().join("f"), vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        assert!(disk.used() >= 60 << 10);
    }
}
