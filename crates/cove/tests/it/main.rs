//! The command line as its users meet it: the real binary, roots of its own.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by failing"
)]

mod bundle;
mod completion;
mod containers;
mod copy;
mod copy_kinds;
mod create_checks;
mod documents;
mod environment;
mod events;
mod given;
mod help;
mod hostile;
mod images;
mod imports;
mod info;
mod lab;
mod listing;
mod logs;
mod mistakes;
mod oci;
mod oci_cgroups;
mod oci_edges;
mod oci_engines;
mod oci_given;
mod oci_hooks;
mod oci_notify;
mod oci_process;
mod oci_userns;
mod probe;
mod pull;
mod records;
mod recovery;
mod sealing;
mod shown;
mod signals;
mod starts;
mod streams;
mod supervisor;
mod support;
mod terminal;
mod updates;
mod users;
mod walls;
mod workloads;
