//! The image that is built into the binary, so that a first `run` works on a
//! machine without a registry.

use std::io;

use cove_engine::PullPolicy;
use cove_model::Reference;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::outcome::Failure;
use crate::settings::Session;

/// The program, compressed when we were built.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello.zst"));
/// Far more than the program has.
const MAX_PROGRAM: usize = 16 << 20;
/// Where the program is in the image.
const PATH: &str = "hello";
/// Names and contents never change with the clock, so neither does the id.
const CREATED: &str = "2026-11-22T00:00:00Z";

/// Puts the built-in image in the store when `image` names it and it is not
/// there. No registry is asked for it, whatever `pull` says.
pub(crate) fn provide(session: &Session, image: &str, pull: PullPolicy) -> Result<(), Failure> {
    if !is_hello(image) || pull == PullPolicy::Never {
        return Ok(());
    }
    let engine = session.engine()?;
    match engine.images().get(image) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == cove_engine::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let archive = archive()
        .map_err(|error| Failure::error(format!("cannot unpack the built-in image: {error}")))?;
    engine.images().load(archive.as_slice())?;
    Ok(())
}

fn is_hello(image: &str) -> bool {
    let Ok(name) = Reference::parse_docker(image) else {
        return false;
    };
    name.registry() == "docker.io"
        && name.repository() == "cove/hello"
        && name.digest().is_none()
        && matches!(name.tag(), None | Some("latest"))
}

/// The image as `docker save` would write it.
fn archive() -> io::Result<Vec<u8>> {
    let program = zstd::bulk::decompress(PROGRAM, MAX_PROGRAM)?;
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, PATH, 0o755, &program)?;
    let layer = layer.into_inner()?;
    let hash: [u8; 32] = Sha256::digest(&layer).into();
    let config = json!({
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Cmd": [format!("/{PATH}")],
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.title": "cove/hello"},
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [cove_model::Digest::from_bytes(hash).to_string()],
        },
        "history": [{"created": CREATED, "created_by": "built into cove"}],
    });
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": ["cove/hello:latest"],
        "Layers": ["layer.tar"],
    }]);
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "layer.tar", 0o644, &layer)?;
    append(
        &mut archive,
        "config.json",
        0o644,
        config.to_string().as_bytes(),
    )?;
    append(
        &mut archive,
        "manifest.json",
        0o644,
        manifest.to_string().as_bytes(),
    )?;
    archive.into_inner()
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
    archive.append_data(&mut header, path, bytes)
}

/// Go's name of the architecture we were built for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_name_means_the_built_in_image() {
        for (name, want) in [
            ("cove/hello", true),
            ("docker.io/cove/hello:latest", true),
            ("cove/hello:1", false),
            ("quay.io/cove/hello", false),
            ("hello", false),
            ("COVE", false),
        ] {
            assert_eq!(is_hello(name), want, "{name}");
        }
    }

    #[test]
    fn the_image_is_small_and_the_same_every_time() {
        assert!(PROGRAM.len() < 500_000, "{} bytes", PROGRAM.len());
        let archive = archive().unwrap();
        assert_eq!(archive, super::archive().unwrap());
        let mut names = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            names.push(entry.unwrap().path().unwrap().display().to_string());
        }
        assert_eq!(names, ["layer.tar", "config.json", "manifest.json"]);
    }
}
