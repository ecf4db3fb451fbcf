//! `import`, `load` and `commit`: where archives come from, how they are
//! compressed, what their documents leave open, and what changes make of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::Value;
use testkit::cmd::Cmd;
use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

/// An archive of a root file system with one file.
fn archive(directory: &Path) -> Vec<u8> {
    std::fs::write(directory.join("file"), "content").unwrap();
    Cmd::new("tar")
        .args(["-c", "-C"])
        .arg(directory)
        .arg("file")
        .ok()
        .stdout
}

fn config(cove: &Cove, image: &str) -> Value {
    let text = cove.ok(&["image", "inspect", "--format", "json", image]);
    serde_json::from_str::<Value>(&text).unwrap()[0]["Config"].take()
}

/// Answers each request with what `answer` makes of its path, until it is dropped.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default();
            // The other side may have seen enough.
            drop(stream.write_all(&answer(path)));
        }
    });
    address
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn an_archive_is_imported_from_a_url() {
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let tar = archive(directory.path());
    let address = serve(move |path| {
        let length = format!("Content-Length: {}\r\n", tar.len());
        match path {
            "/a.tar" => http("200 OK", &length, &tar),
            "/old" => http(
                "302 Found",
                "Location: /a.tar?x=1\r\nContent-Length: 0\r\n",
                b"",
            ),
            "/a.tar?x=1" => http("200 OK", "", &tar),
            "/cut" => http("200 OK", &length, &tar[..tar.len() - 600]),
            "/loop" => http("302 Found", "Location: /loop\r\nContent-Length: 0\r\n", b""),
            "/file" => http("302 Found", "Location: file:///etc/passwd\r\n", b""),
            _ => http("404 Not Found", "Content-Length: 0\r\n", b""),
        }
    });
    let url = |path: &str| format!("http://{address}{path}");
    for path in ["/a.tar", "/old"] {
        let out = cove.ok(&["import", &url(path), "from:url"]);
        let (first, id) = out.split_once('\n').unwrap();
        assert_eq!(first, format!("Downloading from {}", url(path)));
        assert_eq!(cove.ok(&["images", "-q", "--no-trunc", "from:url"]), id);
        let comment = cove.ok(&["history", "--format", "{{.Comment}}", "from:url"]);
        assert_eq!(comment, format!("Imported from {}", url(path)));
    }
    let before = cove.ok(&["images", "-aq"]);
    for (path, words) in [
        ("/none", "received unexpected HTTP status: 404"),
        ("/cut", "cannot read the incoming stream"),
        ("/loop", "too many redirects"),
        ("/file", "this is no URL of http or https"),
    ] {
        let said = cove.fails(1, &["import", &url(path)]);
        assert!(
            said.contains(words) && said.lines().count() == 1,
            "{path}: {said}"
        );
    }
    for words in [&["import", "/tmp"][..], &["load", "-i", "/tmp"]] {
        assert_eq!(cove.fails(1, words), "read /tmp: is a directory");
    }
    let said = cove.fails(1, &["import", "http://"]);
    assert_eq!(said, "Error: invalid URL \"http://\"");
    assert_eq!(cove.ok(&["images", "-aq"]), before);
}

#[test]
fn an_import_is_for_the_platform_that_is_named() {
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let tar = archive(directory.path());
    for (platform, wanted) in [
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/386", "linux/386/"),
        ("s390x", "linux/s390x/"),
    ] {
        let words = ["import", "--platform", platform, "-", "for:it"];
        cove.cmd(words).input(tar.clone()).ok();
        let format = "{{.Os}}/{{.Architecture}}/{{.Variant}}";
        assert_eq!(
            cove.ok(&["image", "inspect", "-f", format, "for:it"]),
            wanted
        );
    }
    let output = cove
        .cmd(["import", "--platform", "windows/amd64", "-"])
        .input(tar)
        .run();
    assert_eq!(output.err(), "Error: operating system is not supported\n");
}

#[test]
fn archives_of_every_compression_are_imported_and_loaded() {
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    let tar = archive(directory.path());
    let saved = cove.cmd(["save", IMAGE]).ok().stdout;
    let id = cove.ok(&["images", "-q", "--no-trunc", IMAGE]);
    let plain = cove.cmd(["import", "-"]).input(tar.clone()).ok().out();
    let layer =
        |image: &str| cove.ok(&["image", "inspect", "-f", "{{.RootFS.Layers}}", image.trim()]);
    for program in ["gzip", "bzip2", "xz", "zstd"] {
        let packed = |bytes: &[u8]| Cmd::new(program).arg("-c").input(bytes).ok().stdout;
        std::fs::write(&path, packed(&tar)).unwrap();
        let image = cove.ok(&["import", path.to_str().unwrap()]);
        assert_eq!(layer(&image), layer(&plain), "{program}");
        cove.ok(&["rmi", "-f", IMAGE]);
        let output = cove.cmd(["load", "-q"]).input(packed(&saved)).ok();
        assert_eq!(
            output.out(),
            format!("Loaded image: {IMAGE}\n"),
            "{program}"
        );
        assert_eq!(cove.ok(&["images", "-q", "--no-trunc", IMAGE]), id);
        let cut = &packed(&saved)[..1000];
        let said = cove.cmd(["load"]).input(cut).run();
        assert_eq!(said.code(), 1, "{said}");
    }
}

#[test]
fn null_in_an_images_documents_is_as_if_absent() {
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let busybox = cove.cmd(["save", IMAGE]).ok().stdout;
    Cmd::new("tar")
        .args(["-x", "-C"])
        .arg(root)
        .input(busybox)
        .ok();
    let read = |name: &str| -> Value {
        serde_json::from_str(&testkit::files::text(&root.join(name)).unwrap()).unwrap()
    };
    let mut manifest = read("manifest.json");
    let name = manifest[0]["Config"].as_str().unwrap().to_owned();
    let mut document = read(&name);
    for field in ["created", "author", "variant", "history"] {
        document[field] = Value::Null;
    }
    for field in [
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "Healthcheck",
        "Shell",
        "OnBuild",
    ] {
        document["config"][field] = Value::Null;
    }
    std::fs::write(root.join("nulls.json"), document.to_string()).unwrap();
    manifest[0]["Config"] = "nulls.json".into();
    manifest[0]["RepoTags"] = Value::Null;
    std::fs::write(root.join("manifest.json"), manifest.to_string()).unwrap();
    let tar = Cmd::new("tar")
        .args(["-c", "-C"])
        .arg(root)
        .arg(".")
        .ok()
        .stdout;
    let loaded = cove.cmd(["load"]).input(tar).ok().out();
    let id = loaded.trim().strip_prefix("Loaded image ID: ").unwrap();
    assert_eq!(cove.ok(&["run", "--rm", id, "echo", "works"]), "works");
}

#[test]
fn changes_of_a_commit_are_a_dockerfiles() {
    let cove = cove();
    let from = ["-e", "PATH=/usr/bin:/bin", "-e", "A=1"];
    cove.cmd(["create", "--name", "box"])
        .args(from)
        .args([IMAGE, "sleep", "9"])
        .ok();
    let mut words = vec!["commit"];
    for change in [
        "ENV PATH=/opt/bin:$PATH",
        "ENV A=2 B=$A C=${NONE:-c}",
        "ENV OLD the old form",
        "EXPOSE 80-81/TCP 53/udp",
        "HEALTHCHECK --interval=3s --retries=2 CMD [\"true\"]",
        "LABEL \"a b\"='$A'",
        "WORKDIR /srv",
        "WORKDIR $A",
        "ENTRYPOINT [\"/bin/sh\", \"-c\"]",
    ] {
        words.extend(["--change", change]);
    }
    words.extend(["box", "changed"]);
    cove.ok(&words);
    let config = config(&cove, "changed");
    let env: Vec<&str> = config["Env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for pair in [
        "PATH=/opt/bin:/usr/bin:/bin",
        "A=2",
        "B=1",
        "C=c",
        "OLD=the old form",
    ] {
        assert!(env.contains(&pair), "{pair}: {env:?}");
    }
    let ports: Vec<&String> = config["ExposedPorts"].as_object().unwrap().keys().collect();
    assert_eq!(ports, ["53/udp", "80/tcp", "81/tcp"]);
    assert_eq!(config["Labels"]["a b"], "$A");
    assert_eq!(config["WorkingDir"], "/srv/2");
    assert_eq!(
        config["Healthcheck"]["Test"],
        serde_json::json!(["CMD", "true"])
    );
    // Another entrypoint does not get the old arguments.
    assert!(config["Cmd"].is_null(), "{config}");
    let said = cove.fails(1, &["commit", "-c", "RUN x", "box"]);
    assert_eq!(said, "Error: RUN is not a valid change command");
    let said = cove.fails(1, &["commit", "-c", "ENV A=${B:?none}", "box"]);
    assert_eq!(said, "Error: failed to process \"${B:?none}\": B: none");

    let directory = tempfile::tempdir().unwrap();
    let words = [
        "import",
        "-c",
        "ENV P=/x:$PATH",
        "-c",
        "CMD echo",
        "-",
        "made",
    ];
    cove.cmd(words).input(archive(directory.path())).ok();
    let config = self::config(&cove, "made");
    assert_eq!(config["Env"][0], "P=/x:");
    assert_eq!(config["Cmd"], serde_json::json!(["/bin/sh", "-c", "echo"]));
}
