//! The small process beside every running instance.
