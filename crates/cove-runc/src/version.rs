//! The versions: this program's, and the specification's that it implements.

/// The version of the runtime specification this implements.
pub(crate) const SPEC: &str = "1.3.0";

/// As runc prints it: dockerd, containerd and Podman read the first line and
/// the one that begins with `spec:`. `commit` is empty where none is known.
pub(crate) fn text(commit: &str) -> String {
    let commit = match commit {
        "" => String::new(),
        id => format!("commit: {id}\n"),
    };
    format!(
        "cove-oci version {}\n{commit}spec: {SPEC}\n",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_what_engines_parse() {
        let version = text("0123abcd");
        let first = version.lines().next().unwrap();
        assert_eq!(first.split("version").count(), 2);
        assert!(version.contains("\ncommit: 0123abcd\nspec: 1.3.0\n"));
        assert!(!text("").contains("commit"));
    }
}
