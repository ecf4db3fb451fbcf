//! A supervisor as its users see it: started, asked, attached to, killed.

mod attach;
mod fixture;
mod life;
mod lost;
mod output;
