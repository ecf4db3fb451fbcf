//! A loopback registry: Debian's docker-registry on a port of its own with a
//! storage directory of its own, ended with its value or with this process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use base64::Engine as _;
use cove_model::Digest;
use cove_model::image::Platform;
use tempfile::TempDir;

use crate::http::{Body, Response, request};
use crate::image::{Blob, Family, Image, index_blob, index_entry};

/// The user that [`Registry::with_login`] accepts.
pub const USER: &str = "sailor";
/// That user's password.
pub const PASSWORD: &str = "harbour";
/// bcrypt of [`PASSWORD`], the one hash the registry takes.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuZ9hITkhSjgdPh1azpD9e5XbVlHeIfui";

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    directory: TempDir,
    process: Child,
    address: SocketAddr,
    login: bool,
}

impl Registry {
    /// Starts an empty registry that asks for no login.
    ///
    /// # Panics
    /// When docker-registry is missing or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::launch(false)
    }

    /// Starts an empty registry that asks for [`USER`] and [`PASSWORD`] by
    /// basic authentication.
    ///
    /// # Panics
    /// As [`Registry::start`].
    #[must_use]
    pub fn with_login() -> Self {
        Self::launch(true)
    }

    /// Starts one with `busybox:latest`, `busybox:zstd` and `busybox:docker`
    /// (Docker's media types) in it.
    ///
    /// # Panics
    /// As [`Registry::start`].
    #[must_use]
    pub fn with_busybox() -> Self {
        use cove_model::image::Compression;
        let registry = Self::start();
        let busybox = crate::image::busybox::image();
        registry.push("busybox:latest", &busybox);
        registry.push("busybox:docker", &busybox.family(Family::Docker));
        registry.push(
            "busybox:zstd",
            &crate::image::busybox::packed(Compression::Zstd),
        );
        registry
    }

    fn launch(login: bool) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("cove-reg")
            .tempdir()
            .expect("a directory");
        let path = directory.path();
        let auth = if login {
            let file = path.join("htpasswd");
            std::fs::write(&file, format!("{USER}:{HASH}\n"))
                .expect("the password file is written");
            format!(
                "auth: {{htpasswd: {{realm: testkit, path: {}}}}}\n",
                file.display()
            )
        } else {
            String::new()
        };
        let settings = path.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: testkit}}\n{auth}",
            path.join("storage").display()
        );
        std::fs::write(&settings, text).expect("the registry's settings are written");
        let settings = settings.to_str().expect("temporary paths are text");
        let mut process = crate::tied::spawn("docker-registry", &["serve", settings], |command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
        });
        let mut log = BufReader::new(process.stderr.take().expect("stderr is piped"));
        let address = listening(&mut log);
        // The log must be read on, or the registry would block on it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()).ok());
        Self {
            directory,
            process,
            address,
            login,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The reference of an image here: `127.0.0.1:PORT/name`.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Uploads an image under `repository:tag`; returns the manifest's digest.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn push(&self, name: &str, image: &Image) -> Digest {
        let (repository, tag) = split(name);
        self.put_parts(repository, image);
        self.put_manifest(
            repository,
            tag,
            image.family.manifest(),
            &image.manifest_blob(),
        )
    }

    /// Uploads an index of several images; returns the index's digest.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn push_index(&self, name: &str, family: Family, images: &[Image]) -> Digest {
        let (repository, tag) = split(name);
        for image in images {
            self.put_parts(repository, image);
            let manifest = image.manifest_blob();
            let reference = manifest.digest.to_string();
            self.put_manifest(repository, &reference, image.family.manifest(), &manifest);
        }
        let index = index_blob(family, images.iter().map(index_entry).collect());
        self.put_manifest(repository, tag, family.index(), &index)
    }

    /// Uploads layers and configuration without a manifest.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn put_parts(&self, repository: &str, image: &Image) {
        for layer in &image.layers {
            self.put_blob(repository, &layer.blob);
        }
        self.put_blob(repository, &image.config_blob());
    }

    /// Uploads one blob unless it is there.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn put_blob(&self, repository: &str, blob: &Blob) {
        let place = format!("/v2/{repository}/blobs/{}", blob.digest);
        if self.send("HEAD", &place, &[], Body::Bytes(b"")).status == 200 {
            return;
        }
        let begun = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            &[],
            Body::Bytes(b""),
        );
        assert_eq!(begun.status, 202, "an upload to {repository} begins");
        let location = begun.header("location").expect("an upload has a location");
        // Absolute; the path follows the third slash.
        let target = location
            .splitn(4, '/')
            .nth(3)
            .expect("the location has a path");
        let target = format!("/{target}&digest={}", blob.digest);
        let kind = [("Content-Type", "application/octet-stream")];
        let done = self.send("PUT", &target, &kind, blob.body());
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    }

    /// Uploads a manifest or index as it is, valid or not.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        kind: &str,
        blob: &Blob,
    ) -> Digest {
        let target = format!("/v2/{repository}/manifests/{reference}");
        let done = self.send("PUT", &target, &[("Content-Type", kind)], blob.body());
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
        blob.digest
    }

    /// Where the registry keeps a blob's bytes, for tests that damage them.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.directory
            .path()
            .join("storage/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(&hex)
            .join("data")
    }

    /// The storage directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The test platforms' index: this machine's image and one for arm64.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn push_platforms(&self, name: &str, family: Family, image: &Image) -> Digest {
        let arm = Platform {
            os: "linux".to_owned(),
            architecture: "arm64".to_owned(),
            variant: Some("v8".to_owned()),
        };
        let other = image.clone().platform(&arm);
        self.push_index(name, family, &[other, image.clone()])
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Response {
        let mut headers = headers.to_vec();
        let token = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let basic = format!("Basic {token}");
        if self.login {
            headers.push(("Authorization", &basic));
        }
        request(self.address, method, target, &headers, body)
            .unwrap_or_else(|e| panic!("the registry does not answer {method} {target}: {e}"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

/// Reads the log up to the line that names the port the kernel chose.
fn listening(log: &mut impl BufRead) -> SocketAddr {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        let n = log
            .read_line(&mut line)
            .expect("the registry's log is readable");
        assert!(n > 0, "docker-registry ended at its start:\n{seen}");
        if let Some(address) = line
            .split_once("listening on ")
            .and_then(|(_, rest)| rest.split(['"', ',']).next())
            .and_then(|address| address.parse().ok())
        {
            return address;
        }
        seen.push_str(&line);
    }
}

fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or((name, "latest"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::busybox;

    fn get(registry: &Registry, target: &str) -> Response {
        request(
            registry.address(),
            "GET",
            target,
            &[("Accept", Family::Oci.manifest())],
            Body::Bytes(b""),
        )
        .unwrap()
    }

    #[test]
    fn what_is_pushed_is_served() {
        let registry = Registry::start();
        let image = busybox::image();
        let digest = registry.push("a/b:1", &image);
        let manifest = get(&registry, "/v2/a/b/manifests/1");
        assert_eq!(manifest.body, image.manifest_blob().to_vec());
        let layer = &image.layers[0].blob;
        assert_eq!(
            get(&registry, &format!("/v2/a/b/blobs/{}", layer.digest)).body,
            layer.to_vec()
        );
        assert!(registry.blob_path(&digest).is_file());
        let index = registry.push_platforms("a/b:2", Family::Docker, &image);
        assert_ne!(index, digest);
    }

    #[test]
    fn a_login_is_asked_for() {
        let registry = Registry::with_login();
        registry.push("busybox:latest", &busybox::image());
        assert_eq!(get(&registry, "/v2/").status, 401);
    }

    #[test]
    fn podman_reads_our_images() {
        let (registry, directory) = (Registry::start(), tempfile::tempdir().unwrap());
        registry.push(
            "busybox:latest",
            &busybox::packed(cove_model::image::Compression::Zstd),
        );
        crate::cmd::Cmd::new("skopeo")
            .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
            .arg(format!("docker://{}", registry.reference("busybox:latest")))
            .arg(format!("dir:{}", directory.path().display()))
            .ok();
    }
}
