//! System call filters: from the specification's rules ([`oci_spec::runtime::LinuxSeccomp`]) to a
//! BPF program ([`Program`]) and into the kernel, and the default profile.
//!
//! What the rules mean follows libseccomp and runc, since profiles are written
//! against those:
//! - a rule without arguments beats every other rule for its call; among such
//!   rules the first wins, and among rules with arguments the first that matches;
//! - the conditions of one rule all hold, unless two of them look at the same
//!   argument: then each is a rule of its own, and one is enough;
//! - names no architecture knows are ignored;
//! - the native architecture is always filtered; a call made through another
//!   that is not listed kills the process;
//! - where the default denies, calls newer than any the profile names fail with
//!   `ENOSYS`, so that a C library falls back instead of giving up.

mod arch;
mod assembler;
mod compile;
mod error;
mod install;
mod merge;
mod profile;
mod table;
#[cfg(test)]
mod tests;

pub use compile::compile;
pub use error::SeccompError;
pub use install::Program;
pub use profile::default_profile;
