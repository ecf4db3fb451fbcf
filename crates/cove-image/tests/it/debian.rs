//! Against the registry that Debian ships: what we think the protocol is, is
//! what a real one speaks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cove_image::{Error, Registries};
use cove_model::Digest;

use crate::fake::{Image, MANIFEST, client, digest, first_layer};

const PROGRAM: &str = "/usr/bin/docker-registry";

struct Registry {
    child: Child,
    address: SocketAddr,
    _root: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Free at this moment; the registry says on its log when it listens.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let data = root.path().join("data");
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            data.display()
        );
        let path = root.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "the registry under test is a program"
        )]
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&path)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the registry ended");
        }
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            child,
            address,
            _root: root,
        }
    }

    /// One request by hand: status, headers and body as text.
    fn request(&self, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let host = self.address;
        write!(
            stream,
            "{head}host: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn push_blob(&self, repository: &str, blob: &[u8]) {
        let started = self.request(
            &format!("POST /v2/{repository}/blobs/uploads/ HTTP/1.1\r\n"),
            b"",
        );
        let location = started
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap();
        let path = &location[location.find("/v2/").unwrap()..];
        let done = self.request(
            &format!(
                "PUT {path}&digest={} HTTP/1.1\r\ncontent-type: application/octet-stream\r\n",
                digest(blob)
            ),
            blob,
        );
        assert!(done.starts_with("HTTP/1.1 201"), "{done}");
    }

    fn push(&self, repository: &str, tag: &str, image: &Image) -> Digest {
        self.push_blob(repository, &image.config);
        self.push_blob(repository, &image.layer);
        let manifest = image.bytes();
        let done = self.request(
            &format!(
                "PUT /v2/{repository}/manifests/{tag} HTTP/1.1\r\ncontent-type: {MANIFEST}\r\n"
            ),
            &manifest,
        );
        assert!(done.starts_with("HTTP/1.1 201"), "{done}");
        digest(&manifest)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn an_image_comes_back_as_it_was_pushed() {
    assert!(
        Path::new(PROGRAM).exists(),
        "install Debian's docker-registry"
    );
    let registry = Registry::start();
    let image = Image::new();
    let pushed = registry.push("team/app", "1.0", &image);
    let (client, _) = client();
    let resolve = |rest: &str| {
        let candidates = Registries::default()
            .resolve(&format!("{}/{rest}", registry.address))
            .unwrap();
        client.resolve(&candidates, None)
    };
    for name in ["team/app:1.0".to_owned(), format!("team/app@{pushed}")] {
        let found = resolve(&name).unwrap();
        assert_eq!(found.digest(), pushed, "{name}");
        assert_eq!(found.manifest_bytes, image.bytes());
        assert_eq!(found.config_bytes, image.config);
        let bytes = first_layer(&client, &found);
        assert_eq!(bytes, image.layer);
    }
    let unknown = resolve("team/app:2.0").unwrap_err();
    assert!(
        matches!(unknown, Error::ManifestUnknown { .. }),
        "{unknown}"
    );
    let unknown = resolve("team/other:1.0").unwrap_err();
    assert!(
        matches!(
            unknown,
            Error::ManifestUnknown { .. } | Error::RepositoryUnknown { .. }
        ),
        "{unknown}"
    );
}
