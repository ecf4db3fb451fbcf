//! Tells file systems that hold files from windows into the kernel.

use std::os::fd::AsFd;

/// `statfs` types of the kernel's own trees: their files are made while they
/// are read, and writing to them acts on the host.
const INTERFACES: [u64; 16] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
];

/// Whether the open file or directory is one of the kernel's own. Copies
/// leave these out, and nothing is ever extracted into them.
///
/// # Errors
/// When the file system cannot be asked.
pub fn has(fd: impl AsFd) -> rustix::io::Result<bool> {
    let kind = rustix::fs::fstatfs(fd)?.f_type;
    // The sign is an accident of some architectures' structures.
    Ok(INTERFACES.contains(&(kind.cast_unsigned() & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_into_the_kernel_are_known() {
        for (path, window) in [
            ("/proc", true),
            ("/sys", true),
            ("/usr", false),
            ("/tmp", false),
        ] {
            let directory = std::fs::File::open(path).unwrap();
            assert_eq!(has(&directory).unwrap(), window, "{path}");
        }
    }
}
