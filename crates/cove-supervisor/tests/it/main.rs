//! A supervisor as its users see it: started, asked, attached to, killed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod attach;
mod fixture;
mod kill;
mod life;
mod lost;
mod output;
mod queue;
