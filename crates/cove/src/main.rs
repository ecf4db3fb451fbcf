//! One engine for containers, system containers and virtual machines.

fn main() {}
