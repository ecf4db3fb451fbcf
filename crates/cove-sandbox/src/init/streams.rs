//! The standard streams of the process: placed, and made its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fchmod, fcntl_getfl, fcntl_setfl, fstat, mknodat,
    openat,
};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::Uid;

use super::devices::is_character_device;
use super::fail::{During, Step, refuse};
use super::path;
use crate::error::InitFault;

/// The device that swallows everything.
const NULL: (u32, u32) = (1, 3);

/// Something with a descriptor, as an object.
pub(crate) trait AsRaw {
    fn fd(&self) -> BorrowedFd<'_>;
}

impl<T: AsFd> AsRaw for T {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// Places the standard streams.
#[expect(
    unsafe_code,
    reason = "descriptors 0 to 2 belong to nobody in the init"
)]
pub(crate) fn place(fds: [&dyn AsRaw; 3]) -> Step {
    for (number, fd) in (0..).zip(fds) {
        // SAFETY: the init uses no standard stream itself.
        unsafe { cove_sys::fds::place(fd.fd(), number) }.during(|| "set up standard streams")?;
    }
    Ok(())
}

/// A standard stream that is the host's null device becomes the container's own: through
/// `/proc/self/fd` root could change its mode for the whole host.
pub(crate) fn own_null(in_userns: bool) -> Step {
    let text = || "open /dev/null in the container";
    for (number, stream) in (0..).zip(all()) {
        if !is_character_device(stream, NULL.0, NULL.1) {
            continue;
        }
        let flags = fcntl_getfl(stream).during(text)?;
        let own = match null(flags).during(text)? {
            Some(own) => own,
            // The container did away with its own: one of this process alone.
            None => match private_null() {
                Ok(own) => own,
                // As empty, and as little the host's.
                Err(_) if flags & OFlags::ACCMODE == OFlags::RDONLY => {
                    rustix::pipe::pipe().during(text)?.0
                }
                // There the host's is nobody's to change.
                Err(_) if in_userns => continue,
                Err(_) => {
                    let text = "standard output is the null device, and the container has none";
                    return refuse(InitFault::Setup, text);
                }
            },
        };
        put(&own, number)?;
        // What is open is closed with everything else that is nobody's.
        std::mem::forget(own);
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "descriptors 0 to 2 belong to nobody in the init"
)]
fn put(stream: &OwnedFd, number: i32) -> Step {
    // SAFETY: the init uses no standard stream itself.
    unsafe { cove_sys::fds::place(stream, number) }.during(|| "set up standard streams")
}

fn all() -> [BorrowedFd<'static>; 3] {
    [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ]
}

/// The container's null device, if that is what its `/dev/null` is.
fn null(flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
    let path = Path::new("/dev/null");
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = |flags| {
        path::open(
            CWD.as_fd(),
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    };
    // Nothing else is opened, which may wait or do something; nor taken when it is exchanged.
    let is_null = |fd: &OwnedFd| is_character_device(fd, NULL.0, NULL.1);
    if !open(OFlags::PATH).is_ok_and(|found| is_null(&found)) {
        return Ok(None);
    }
    let access = flags & OFlags::ACCMODE;
    let opened = open(access | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if !is_null(&opened) {
        return Ok(None);
    }
    fcntl_setfl(&opened, flags & (OFlags::APPEND | OFlags::NONBLOCK))?;
    Ok(Some(opened))
}

/// A null device that nobody else has.
fn private_null() -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    let flags = MountAttrFlags::empty();
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    let mode = Mode::from_raw_mode(0o666);
    let device = rustix::fs::makedev(NULL.0, NULL.1);
    mknodat(&mount, "null", FileType::CharacterDevice, mode, device)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = openat(&mount, "null", flags, Mode::empty())?;
    fchmod(&null, mode)?;
    Ok(null)
}

/// Gives the standard streams to the user, who may open them again by name (`/dev/stdout`): pipes and
/// terminals, which were made for the program. A file or a device stays whose it is.
pub(crate) fn give(uid: Uid) -> Step {
    let text = || "give the standard streams to the user";
    for stream in all() {
        let stat = match fstat(stream) {
            Err(Errno::BADF) => continue,
            other => other.during(text)?,
        };
        let made = path::kind(&stat) == FileType::Fifo || rustix::termios::isatty(stream);
        if !made || stat.st_uid == uid.as_raw() {
            continue;
        }
        match rustix::fs::fchown(stream, Some(uid), None) {
            // Not ours to give: of a user that is not mapped here, or on a read-only mount.
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
            Err(error) => return Err(error).during(text),
        }
    }
    Ok(())
}
