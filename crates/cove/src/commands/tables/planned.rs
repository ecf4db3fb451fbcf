//! Commands that users of Docker and Podman know and Cove does not have yet:
//! whoever types one is told so, instead of that nobody has heard of it.

/// Words of the top level, those that group commands among them.
const TOP: &[&str] = &[
    "artifact",
    "auto-update",
    "bake",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "cleanup",
    "clone",
    "compose",
    "config",
    "context",
    "exists",
    "farm",
    "generate",
    "healthcheck",
    "init",
    "kube",
    "machine",
    "manifest",
    "mount",
    "network",
    "node",
    "play",
    "plugin",
    "pod",
    "port",
    "push",
    "quadlet",
    "restore",
    "runlabel",
    "search",
    "secret",
    "service",
    "stack",
    "stats",
    "swarm",
    "trust",
    "umount",
    "unmount",
    "unshare",
    "untag",
    "volume",
];

/// Words of the groups that are there.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "container",
        &[
            "checkpoint",
            "cleanup",
            "clone",
            "exists",
            "init",
            "mount",
            "port",
            "restore",
            "runlabel",
            "stats",
            "umount",
            "unmount",
        ],
    ),
    (
        "image",
        &[
            "build", "diff", "exists", "mount", "push", "scp", "search", "sign", "tree", "trust",
            "umount", "unmount", "untag",
        ],
    ),
    (
        "system",
        &[
            "check",
            "connection",
            "dial-stdio",
            "migrate",
            "renumber",
            "reset",
            "service",
        ],
    ),
];

/// Whether a word of the top level is planned.
pub(crate) fn has_word(word: &str) -> bool {
    TOP.contains(&word)
}

/// Whether a word of a group is planned.
pub(crate) fn has_word_of(group: &str, word: &str) -> bool {
    GROUPS
        .iter()
        .any(|(name, words)| *name == group && words.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tables;

    #[test]
    fn what_is_built_is_not_planned() {
        for word in TOP {
            assert!(tables::TOP.iter().all(|(name, _)| name != word), "{word}");
            assert!(
                tables::GROUPS.iter().all(|group| group.name != *word),
                "{word}"
            );
        }
        for (name, words) in GROUPS {
            let group = tables::GROUPS
                .iter()
                .find(|group| group.name == *name)
                .unwrap();
            for word in *words {
                let built = group.commands.iter().any(|(name, _)| name == word);
                assert!(!built, "{name} {word}");
            }
        }
        assert!(has_word("build") && has_word_of("system", "migrate"));
        assert!(!has_word("nonsense") && !has_word_of("system", "nonsense"));
    }
}
