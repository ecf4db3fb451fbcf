//! The store as its callers see it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]
#![expect(clippy::disallowed_methods, reason = "small files of the tests' own")]

mod archives;
mod compressed;
mod copies;
mod crash;
mod differential;
mod fsck;
mod hostile;
mod images;
mod layouts;
mod racing;
mod round_trip;
mod settle;
mod snapshots;
mod support;
