//! docs/differences.md, made from the lists of the differences that stay.

use super::{bundles, commands};

const NAME: &str = "docs/differences.md";

const HEAD: &str = "\
# Differences

What Cove does otherwise than the programs whose command lines and documents it
speaks, as far as `cargo xtask differ` can see. This page is made from its lists
(`cargo xtask differ --write-docs`); what differs and is not here is a fault.

## Command lines

Compared with Docker's daemon 20.10 behind its client 28, podman 4.3.1 and runc
1.1.5. Each line is one example.

";

const BUNDLES: &str = "
## Bundles

Configurations at random, compared with runc 1.1.5 and crun 1.8.1. Each line is
what one of the three shows, and in which configurations; `*` stands for
anything.

";

/// Writes the page.
pub(crate) fn write() -> Result<String, String> {
    let path = testkit::workspace().join(NAME);
    std::fs::write(&path, text()?).map_err(|e| format!("cannot write {NAME}: {e}"))?;
    Ok(format!("{NAME} is written"))
}

/// Fails when the page is not what the lists say.
pub(crate) fn check() -> Result<(), String> {
    let there = testkit::files::text(&testkit::workspace().join(NAME)).unwrap_or_default();
    if there == text()? {
        Ok(())
    } else {
        Err(format!(
            "{NAME}: the lists say otherwise: cargo xtask differ --write-docs"
        ))
    }
}

fn text() -> Result<String, String> {
    let mut text = HEAD.to_owned();
    text.push_str(commands::document()?.trim_end());
    text.push('\n');
    text.push_str(BUNDLES);
    text.push_str(&bundles::document()?);
    Ok(text.trim_end().to_owned() + "\n")
}
