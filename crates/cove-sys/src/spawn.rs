//! Starting an already opened executable as the leader of a new session.
#![expect(
    unsafe_code,
    reason = "posix_spawn and adopting an inherited descriptor"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// Starts `exe` in a new session with `fds` as its descriptors 0, 1, 2 … and
/// no others, an empty signal mask and default dispositions.
///
/// glibc's `posix_spawn` shares memory with the child until it executes
/// (CLONE_VM | CLONE_VFORK), so this is safe in a threaded process and costs no
/// copy of page tables. The path is `/proc/self/fd/N`, so /proc must be mounted.
///
/// # Errors
/// The system's refusal of any step, of the execution included.
pub fn spawn_session(
    exe: BorrowedFd<'_>,
    argv: &[CString],
    env: &[CString],
    fds: &[BorrowedFd<'_>],
) -> io::Result<i32> {
    // Duplicates above the targets, so that no adddup2 overwrites a later source. They are
    // close-on-exec; dup2 to another number clears that.
    let floor = i32::try_from(fds.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let sources = fds
        .iter()
        .map(|fd| dup_above(*fd, floor))
        .collect::<io::Result<Vec<_>>>()?;
    let program = dup_above(exe, floor + 1)?;
    let path = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd()))?;

    let mut actions = Actions::new()?;
    for (target, source) in (0..).zip(&sources) {
        actions.dup2(source.as_raw_fd(), target)?;
    }
    let mut attributes = Attributes::new()?;
    attributes.new_session_clean_signals()?;

    let argv = pointers(argv);
    let env = pointers(env);
    let mut pid = 0;
    // SAFETY: path, argv and env are null-terminated and outlive the call; actions and
    // attributes are initialized.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr(),
            env.as_ptr(),
        )
    })?;
    Ok(pid)
}

/// Takes over a descriptor that this process inherited at number `fd`.
///
/// # Errors
/// `EBADF` when it is not open; `EINVAL` for 0, 1 and 2.
///
/// # Contract
/// Call it once per number, early in `main`, before anything else could have
/// opened a descriptor there.
pub fn take_inherited(fd: i32) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: F_SETFD on any number is harmless and fails with EBADF when it is not open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: open, as just shown, and by the contract owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn dup_above(fd: BorrowedFd<'_>, floor: i32) -> io::Result<OwnedFd> {
    // SAFETY: duplicates a borrowed, hence open, descriptor.
    let new = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) };
    if new < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    let cast = |string: &CString| -> *mut libc::c_char { CStr::as_ptr(string).cast_mut() };
    strings
        .iter()
        .map(cast)
        .chain(std::iter::once(ptr::null_mut()))
        .collect()
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init fills the structure when it returns 0.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: initialized above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn dup2(&mut self, from: i32, to: i32) -> io::Result<()> {
        // SAFETY: the structure is initialized.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init fills the structure when it returns 0.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialized above.
        Ok(Self(unsafe { attributes.assume_init() }))
    }

    fn new_session_clean_signals(&mut self) -> io::Result<()> {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF | SETSID;
        let flags = i16::try_from(flags).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: both sets are initialized by the first two calls, the attributes by `new`.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigfillset(all.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(
                &raw mut self.0,
                none.as_ptr(),
            ))?;
            check(libc::posix_spawnattr_setsigdefault(
                &raw mut self.0,
                all.as_ptr(),
            ))?;
            check(libc::posix_spawnattr_setflags(&raw mut self.0, flags))
        }
    }
}

/// `POSIX_SPAWN_SETSID` of glibc 2.26, not in libc's list for every target.
const SETSID: libc::c_int = 0x80;

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
