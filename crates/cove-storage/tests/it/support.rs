//! What the tests share: a store of their own, archives, canaries.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cove_model::image::{Compression, ImageConfig, RunConfig};
use cove_model::{Digest, Reference};
use cove_storage::{
    ImageRecord, Layer, Lease, Result, Saved, StagedLayer, Store, Unpack, digest_of,
};

/// A store in a directory that goes with it.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_with(&directory.path().join("root"), false).unwrap();
        Self { store, directory }
    }

    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Names under staging, which must be none when nothing runs.
    pub(crate) fn staged(&self) -> Vec<String> {
        names(&self.store.root().join("tmp"))
    }

    pub(crate) fn stage(&self, tar: &[u8]) -> Result<StagedLayer> {
        self.store.unpack(tar, &Unpack::new(Compression::None))
    }

    pub(crate) fn unpack(&self, tar: &[u8]) -> Layer {
        let lease = Lease::new(&self.store).unwrap();
        let staged = self.stage(tar).unwrap();
        self.store.publish(&lease, vec![staged]).unwrap();
        self.store.layer(&digest_of(tar)).unwrap()
    }
}

pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

pub(crate) fn tar_of(layer: &Layer) -> Vec<u8> {
    let mut bytes = Vec::new();
    layer.tar().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Rebuilds the layer's archive and compares it.
pub(crate) fn assert_exact(layer: &Layer, tar: &[u8]) {
    let rebuilt = tar_of(layer);
    let id: Digest = layer.info().diff_id;
    assert_eq!(rebuilt.len(), tar.len());
    assert!(rebuilt == tar, "another archive comes back for {id}");
}

/// Runs a program and returns what it prints; it must succeed.
#[expect(
    clippy::disallowed_methods,
    reason = "the reference tools run as programs"
)]
pub(crate) fn run(program: &str, arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        output.status
    );
    output.stdout
}

/// What the program of that name makes of the bytes.
#[expect(
    clippy::disallowed_methods,
    reason = "the reference tools run as programs"
)]
pub(crate) fn compressed(how: Compression, bytes: &[u8], arguments: &[&str]) -> Vec<u8> {
    let mut child = Command::new(how.name())
        .arg("-c")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).unwrap());
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut output)
            .unwrap();
    });
    assert!(child.wait().unwrap().success());
    output
}

/// One file in ustar form.
pub(crate) fn member(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    let bytes = header.as_mut_bytes();
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    header.as_mut_bytes()[156] = kind;
    header.set_cksum();
    let mut member = header.as_bytes().to_vec();
    member.extend_from_slice(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

pub(crate) fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

pub(crate) fn reference(text: &str) -> Reference {
    Reference::parse_docker(text).unwrap()
}

/// An image of one layer for each content.
pub(crate) fn image(store: &Store, name: &str, contents: &[&str]) -> ImageRecord {
    let lease = Lease::new(store).unwrap();
    let tars = contents.iter().map(|content| {
        archive(&[
            member("a/f", b'0', "", content.as_bytes()),
            member("l", b'2', "a", b""),
        ])
    });
    let staged = tars
        .map(|tar| store.import(tar.as_slice()).unwrap())
        .collect();
    let layers = store.publish(&lease, staged).unwrap();
    let ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
    let config = ImageConfig {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        created: Some("2026-01-02T03:04:05Z".to_owned()),
        config: RunConfig {
            cmd: Some(vec!["sh".to_owned()]),
            ..RunConfig::default()
        },
        ..ImageConfig::default()
    };
    store
        .create_image(&lease, config, &ids, &[reference(name)], None)
        .unwrap()
}

pub(crate) fn saved(records: &[(&ImageRecord, &str)]) -> Vec<Saved> {
    let one = |(record, name): &(&ImageRecord, &str)| Saved {
        id: record.id,
        names: vec![reference(name)],
    };
    records.iter().map(one).collect()
}

pub(crate) fn nothing_used() -> std::io::Result<BTreeSet<Digest>> {
    Ok(BTreeSet::new())
}
