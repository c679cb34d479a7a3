//! The log as a verifier sees it that nobody here wrote: the note and tlog packages of the Go distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::site::{Site, sekisho, stdout};
use crate::world::{Upstream, get};

/// Exchanges in the log: enough for full tiles at the lowest level, and for a second level.
const EXCHANGES: usize = 300;

/// Builds the verifier out of `tests/outside` and the Go distribution's own packages, without a network.
fn build(home: &Path) -> PathBuf {
    let go = |arguments: &[&str], directory: &Path| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(directory);
        command.envs([("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]);
        let output = command.env("GOCACHE", home.join("cache")).output();
        let output = output.expect("go runs: scripts/prepare-tests.sh installs it where it is missing");
        assert!(output.status.success(), "go {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let theirs = Path::new(&go(&["env", "GOROOT"], home)).join("src/cmd/vendor/golang.org/x/mod/sumdb");
    let version = go(&["env", "GOVERSION"], home);
    let version: Vec<&str> = version.trim_start_matches("go").split('.').collect();
    let version = version[..2].join(".");
    for package in ["note", "tlog"] {
        let to = home.join("mod/sumdb").join(package);
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(theirs.join(package)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    fs::write(home.join("mod/go.mod"), format!("module golang.org/x/mod\n\ngo {version}\n")).unwrap();
    let module = format!(
        "module outside\n\ngo {version}\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
    );
    fs::write(home.join("go.mod"), module).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/main.go");
    fs::copy(source, home.join("main.go")).unwrap();
    go(&["build", "-o", "outside", "."], home);
    home.join("outside")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_that_nobody_here_wrote_comes_to_the_same_verdict() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/*", "text/plain", "a reading");
    let site = Site::new(&upstream);
    let serving = site.serve();
    let peer = site.peer();
    let mut connection = peer.connect().await.unwrap();
    let pass = peer.pass("dfft:DisasterResponse").sign();
    for number in 0..EXCHANGES {
        let reply = connection.send(get(&format!("/data/open/{number}"), &pass)).await.unwrap();
        assert_eq!(reply.body, "a reading");
    }
    drop(connection);
    let status = tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));

    let home = tempfile::tempdir().unwrap();
    let outside = build(home.path());
    let check = |log: &Path| -> Output { Command::new(&outside).arg(log).output().unwrap() };
    let verdict = check(&site.log());
    println!("{}", stdout(&verdict).trim_end());
    assert_eq!(verdict.status.code(), Some(0), "{}", stdout(&verdict));
    let expected = format!("{} entries, each in the signed tree", 2 * EXCHANGES);
    assert!(stdout(&verdict).starts_with("outside verifier: VERIFIED:"), "{}", stdout(&verdict));
    assert!(stdout(&verdict).contains(&expected), "{}", stdout(&verdict));

    // What it refuses, ours refuses too: an entry changed, a tile changed, a checkpoint that is not the log's.
    for (name, place) in [("tile/entries/001", 700), ("tile/0/000", 40), ("checkpoint", 30)] {
        let tampered = site.path(&format!("tampered-{}", name.replace('/', "-")));
        copy(&site.log(), &tampered);
        let path = tampered.join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        let verdict = check(&tampered);
        println!("{name} tampered with: {}", stdout(&verdict).trim_end());
        assert_eq!(verdict.status.code(), Some(1), "{name}: {}", stdout(&verdict));
        assert!(stdout(&verdict).starts_with("outside verifier: REFUSED:"), "{name}: {}", stdout(&verdict));
        let ours = sekisho(["log", "verify", tampered.to_str().unwrap(), "--key", &site.log_key()]);
        assert_eq!(ours.status.code(), Some(1), "{name}: {}", stdout(&ours));
    }
}
