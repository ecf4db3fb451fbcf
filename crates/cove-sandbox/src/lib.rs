//! Runs an OCI runtime specification with namespaces, cgroups and seccomp.
