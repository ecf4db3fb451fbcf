//! Sealing without executing again: the running program is mapped anew, from the same bytes
//! by way of the sealed image, and the kernel is told that this is its executable.
//!
//! A second execution costs an eighth of a short run: most of it is libc asking the processor
//! what it can do, and in a virtual machine each such question stops the guest.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::ptr;

use crate::fs::read_to_string;
use crate::proc::own_numbers;

const MAPS_LIMIT: u64 = 1 << 20;

/// One mapping of the executable.
struct Mapping {
    range: Range<usize>,
    protection: libc::c_int,
    offset: i64,
}

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Makes `image`, which has the bytes of the running program, its executable. The caller has
/// no other thread.
///
/// # Errors
/// Where the kernel or a missing privilege (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE) does not
/// allow it. The program goes on all the same.
pub(super) fn become_image(image: impl AsFd) -> io::Result<()> {
    // The kernel maps only what is really open.
    let link = format!("/proc/self/fd/{}", image.as_fd().as_raw_fd());
    let image = File::open(link)?;
    let written = written_segments()?;
    let (copied, clean): (Vec<_>, Vec<_>) = mappings()?
        .into_iter()
        .partition(|mapping| written.iter().any(|segment| mapping.overlaps(segment)));
    // The headers are not where they say, or more was made writable: nothing is known then.
    if clean.iter().any(Mapping::is_writable) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    for mapping in &copied {
        mapping.replace_by_copy()?;
    }
    for mapping in &clean {
        mapping.replace_by(&image)?;
    }
    tell_kernel(&image)
}

impl Mapping {
    fn overlaps(&self, segment: &Range<usize>) -> bool {
        segment.start < self.range.end && self.range.start < segment.end
    }

    const fn is_writable(&self) -> bool {
        self.protection & libc::PROT_WRITE != 0
    }

    /// Maps the same bytes from another file.
    fn replace_by(&self, image: &File) -> io::Result<()> {
        // SAFETY: in one step of the kernel's the range shows the same bytes, which were never
        // written to, with the same protection as before.
        let at = unsafe {
            libc::mmap(
                self.start(),
                self.range.len(),
                self.protection,
                libc::MAP_PRIVATE | libc::MAP_FIXED,
                image.as_raw_fd(),
                self.offset,
            )
        };
        mapped(at).map(drop)
    }

    /// Replaces the mapping by memory of no file, with what is in it now.
    fn replace_by_copy(&self) -> io::Result<()> {
        let length = self.range.len();
        // SAFETY: a new mapping of its own, where nothing is.
        let copy = mapped(unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        })?;
        // SAFETY: both are so long, the first is mapped readable, and they do not overlap. No
        // other thread is there to write to it, and what this function writes is on its stack.
        // The move puts the same bytes into the place of the old ones in one step.
        unsafe {
            ptr::copy_nonoverlapping(self.start().cast::<u8>(), copy.cast::<u8>(), length);
            if libc::mprotect(copy, length, self.protection) != 0 {
                return Err(io::Error::last_os_error());
            }
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            mapped(libc::mremap(copy, length, length, flags, self.start())).map(drop)
        }
    }

    fn start(&self) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.range.start)
    }
}

fn mapped(at: *mut c_void) -> io::Result<*mut c_void> {
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(at)
}

/// The mappings of the executable, as /proc/self/maps tells them.
fn mappings() -> io::Result<Vec<Mapping>> {
    let own = std::fs::read_link("/proc/self/exe")?;
    let text = read_to_string(Path::new("/proc/self/maps"), MAPS_LIMIT)?;
    let of_ours = |line: &&str| {
        let path = line.split_whitespace().nth(5);
        path.is_some_and(|path| line.ends_with(&*own.to_string_lossy()) && path.starts_with('/'))
    };
    let parsed = text.lines().filter(of_ours).map(parse);
    parsed.collect::<Option<_>>().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "cannot understand /proc/self/maps",
        )
    })
}

/// A line such as `00400000-00452000 r-xp 00002000 08:02 173521 /usr/bin/cove`.
fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let [r, w, x, kind] = *words.next()?.as_bytes().first_chunk::<4>()?;
    let hex = |word: &str| usize::from_str_radix(word, 16).ok();
    let offset = i64::from_str_radix(words.next()?, 16).ok()?;
    let when = |given: bool, bit| if given { bit } else { 0 };
    let protection = when(r == b'r', libc::PROT_READ)
        | when(w == b'w', libc::PROT_WRITE)
        | when(x == b'x', libc::PROT_EXEC);
    (kind == b'p').then_some(Mapping {
        range: hex(start)?..hex(end)?,
        protection,
        offset,
    })
}

/// Where the program was writable at its start, which relocations made read-only in part.
fn written_segments() -> io::Result<Vec<Range<usize>>> {
    let address = |value: u64| usize::try_from(value).map_err(io::Error::other);
    // SAFETY: both only look up what the kernel gave the program.
    let (first, count) = unsafe {
        (
            libc::getauxval(libc::AT_PHDR),
            libc::getauxval(libc::AT_PHNUM),
        )
    };
    let (first, count) = (address(first)?, address(count)?);
    if first == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: these are the program headers, which are mapped for as long as the program is.
    let headers: &[libc::Elf64_Phdr] =
        unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(first), count) };
    // A program that may lie anywhere is so far from where it was linked to.
    let moved = match headers.iter().find(|header| header.p_type == libc::PT_PHDR) {
        Some(linked) => first.wrapping_sub(address(linked.p_vaddr)?),
        None => 0,
    };
    headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0)
        .map(|header| {
            let start = moved.wrapping_add(address(header.p_vaddr)?);
            Ok(start..start.wrapping_add(address(header.p_memsz)?))
        })
        .collect()
}

/// Everything as it is, and the executable.
fn tell_kernel(image: &File) -> io::Result<()> {
    let [start_code, end_code, start_stack] = own_numbers([26, 27, 28])?;
    let [start_data, end_data, start_brk] = own_numbers([45, 46, 47])?;
    let [arg_start, arg_end, env_start, env_end] = own_numbers([48, 49, 50, 51])?;
    // SAFETY: asks where the heap ends.
    let brk = unsafe { libc::sbrk(0) }.addr() as u64;
    let map = MmMap {
        start_code,
        end_code,
        start_data,
        end_data,
        start_brk,
        brk,
        start_stack,
        arg_start,
        arg_end,
        env_start,
        env_end,
        auxv: 0,
        auxv_size: 0,
        exe_fd: image.as_raw_fd().unsigned_abs(),
    };
    // SAFETY: the kernel reads the structure, which has the size that is said.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP,
            &raw const map,
            size_of::<MmMap>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_understood() {
        let line = "00400000-00452000 r-xp 00002000 08:02 173521      /usr/bin/a cove";
        let mapping = parse(line).unwrap();
        assert_eq!(mapping.range, 0x40_0000..0x45_2000);
        assert_eq!(mapping.protection, libc::PROT_READ | libc::PROT_EXEC);
        assert_eq!(mapping.offset, 0x2000);
        assert!(!mapping.is_writable());
        assert!(parse("00400000-00452000 rw-s 00002000 08:02 1 /usr/bin/cove").is_none());
    }

    #[test]
    fn what_is_writable_now_lies_in_a_segment_that_was() {
        let written = written_segments().unwrap();
        let all = mappings().unwrap();
        assert!(all.iter().any(Mapping::is_writable));
        for mapping in all.iter().filter(|mapping| mapping.is_writable()) {
            assert!(written.iter().any(|segment| mapping.overlaps(segment)));
        }
    }
}
