//! The big image: many small files, generated, the same on every machine.
//!
//! Sizes follow what real images hold: most files are a few kilobytes, a few
//! are megabytes; about a third of the bytes do not compress.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use cove_model::image::{Compression, RunConfig};

use super::layer::{Layer, write_layer};
use super::tree::{self, Entry};
use super::{Image, default_env};
use crate::cache;
use crate::rng::Rng;

/// How big the image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of layers.
    pub layers: u64,
    /// Files in all layers together.
    pub files: u64,
    /// Their bytes together, uncompressed.
    pub bytes: u64,
    /// How layers are compressed.
    pub compression: Compression,
}

impl Shape {
    /// The benchmark's image: four gzip layers, 65,000 files, 1.7 GB that
    /// compress to about 500 MB.
    pub const FULL: Self = Self {
        layers: 4,
        files: 65_000,
        bytes: 1_700_000_000,
        compression: Compression::Gzip,
    };

    /// The same shape with one `n`-th of the files and bytes.
    #[must_use]
    pub const fn scaled(self, n: u64) -> Self {
        Self {
            files: self.files / n,
            bytes: self.bytes / n,
            ..self
        }
    }
}

/// The image of a shape, from the cache when it was made before.
///
/// # Panics
/// When the cache cannot be written.
#[must_use]
pub fn image(shape: Shape) -> Image {
    let Shape {
        layers,
        files,
        bytes,
        compression,
    } = shape;
    let key = format!("many-2-{layers}-{files}-{bytes}-{compression:?}").to_lowercase();
    let directory = cache::entry(&key, |directory| {
        std::thread::scope(|scope| {
            // As many at once as a small machine has cores.
            for wave in (0..layers).collect::<Vec<_>>().chunks(2) {
                let workers: Vec<_> = wave
                    .iter()
                    .map(|&n| {
                        scope.spawn(move || {
                            write_layer(
                                stream(shape, n),
                                directory,
                                &format!("layer{n}"),
                                compression,
                            );
                        })
                    })
                    .collect();
                for worker in workers {
                    worker.join().expect("the layer is generated");
                }
            }
        });
    });
    let layers = (0..layers)
        .map(|n| Layer::cached(&directory, &format!("layer{n}"), compression))
        .collect();
    let run = RunConfig {
        env: default_env(),
        cmd: Some(vec!["/bin/true".to_owned()]),
        ..RunConfig::default()
    };
    Image::new(layers, run)
}

/// The tar stream of layer `n`, generated while it is read.
fn stream(shape: Shape, n: u64) -> impl Read {
    let (reader, writer) = UnixStream::pair().expect("a socket pair");
    std::thread::spawn(move || generate(shape, n, writer));
    reader
}

fn generate(shape: Shape, n: u64, to: impl Write) -> io::Result<()> {
    let mut rng = Rng::new(0xc0de + n);
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(1 << 18, to));
    let files = shape.files / shape.layers;
    let average = (shape.bytes / shape.files).max(16);
    tree::write(&mut builder, &Entry::dir(&format!("layer{n}")))?;
    for i in 0..files {
        if i % 50 == 0 {
            tree::write(&mut builder, &Entry::dir(&format!("layer{n}/d{}", i / 50)))?;
        }
        // 1 in 50 files carries half of all bytes, the others share the rest.
        let half = average / 2;
        let size = if i % 50 == 25 {
            25 * average + rng.below(2 * half)
        } else {
            rng.below(2 * half) + half / 50
        };
        let content = content(&mut rng, usize::try_from(size).unwrap_or(0));
        let name = format!("layer{n}/d{}/file-{i}", i / 50);
        let mode = if i % 7 == 0 { 0o755 } else { 0o644 };
        tree::write(
            &mut builder,
            &Entry::file(&name, content)
                .mode(mode)
                .time(1_600_000_000 + i),
        )?;
    }
    builder.into_inner()?.flush()
}

/// Blocks of 512 bytes, three of ten random, the others words.
fn content(rng: &mut Rng, size: usize) -> Vec<u8> {
    const WORDS: &[u8] = b"the layer of an image is a tar stream of its changes and every path \
        in it is resolved beneath the descriptor of one directory so that nothing outside is touched ";
    let words = WORDS.repeat(512 / WORDS.len() + 2);
    let mut bytes = vec![0; size];
    for block in bytes.chunks_mut(512) {
        if rng.below(10) < 3 {
            rng.fill(block);
        } else {
            let at = usize::try_from(rng.below(64)).unwrap_or(0);
            block.copy_from_slice(&words[at..at + block.len()]);
            let tag = rng.next().to_le_bytes();
            let n = block.len().min(8);
            block[..n].copy_from_slice(&tag[..n]);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_image_has_its_shape() {
        let image = image(Shape::FULL.scaled(500));
        assert_eq!(image.layers.len(), 4);
        let ratio = Shape::FULL.scaled(500).bytes / image.compressed_size();
        assert!((2..5).contains(&ratio), "compresses {ratio}-fold");
        let root = tempfile::tempdir().unwrap();
        image.write_rootfs(root.path());
        let files = crate::cmd::Cmd::new("find")
            .arg(root.path())
            .args(["-type", "f"])
            .ok()
            .out();
        assert_eq!(files.lines().count(), 128);
    }
}
