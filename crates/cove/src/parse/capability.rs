//! Capabilities by name.

const NAMES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// The capability as `CAP_…`, or `ALL`.
///
/// # Errors
/// Docker's words; `list` is `CapAdd` or `CapDrop`.
pub(crate) fn parse(text: &str, list: &str) -> Result<String, String> {
    let upper = text.trim().to_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if NAMES.contains(&name) {
        return Ok(format!("CAP_{name}"));
    }
    Err(format!(
        "invalid {list}: unknown capability: \"CAP_{name}\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities() {
        for (text, want) in [
            ("net_admin", "CAP_NET_ADMIN"),
            ("CAP_SYS_TIME", "CAP_SYS_TIME"),
            ("all", "ALL"),
        ] {
            assert_eq!(parse(text, "CapAdd").unwrap(), want);
        }
        assert_eq!(
            parse("a", "CapAdd").unwrap_err(),
            "invalid CapAdd: unknown capability: \"CAP_A\""
        );
    }
}
