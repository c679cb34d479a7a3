//! Archives: both layouts, every limit at its boundary, and what a hostile tarball may try.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::*;

/// A tarball as its author wants it, hostile or not.
struct Tarball(Vec<u8>);

impl Tarball {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn of(files: &[(String, Vec<u8>)]) -> Self {
        files.iter().fold(Self::new(), |tarball, (path, content)| tarball.file(path, content))
    }

    /// An entry whose name is written as it stands, unlike the tar crate's own writer.
    fn entry(mut self, name: &[u8], kind: EntryType, size: u64, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name.as_bytes(), EntryType::Regular, content.len() as u64, content)
    }

    /// An extended header for the next entry.
    fn pax(self, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let length = (rest.len()..).find(|length| format!("{length}{rest}").len() == *length).unwrap();
        let record = format!("{length}{rest}");
        self.entry(b"pax", EntryType::XHeader, record.len() as u64, record.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        gzip(&self.0)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn load(bytes: &[u8]) -> Result<Bundle, DecideError> {
    Bundle::from_archive(&Archive::unpack(bytes)?)
}

/// The small policy with one file more.
fn with(path: &str, content: &[u8]) -> Result<Bundle, DecideError> {
    load(&Tarball::of(&files("1")).file(path, content).end())
}

/// The small policy without a file, and with another in its place if there is one.
fn instead(path: &str, replacement: Option<(&str, &str)>) -> Result<Bundle, DecideError> {
    let mut files = files("1");
    files.retain(|(other, _)| other != path);
    files.extend(replacement.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())));
    load(&Tarball::of(&files).end())
}

#[test]
fn an_archive_is_the_same_policy_as_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files("1") {
        let place = directory.path().join(&path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, content).unwrap();
    }
    std::fs::write(directory.path().join("README.md"), "for people").unwrap();
    std::fs::write(directory.path().join("notes.txt"), "for nobody else").unwrap();
    let read = Bundle::open(directory.path()).unwrap();
    let packed = Archive::of_directory(directory.path()).unwrap();
    assert!(packed.file("README.md").is_some() && packed.file("notes.txt").is_none());
    let bytes = packed.pack().unwrap();
    assert_eq!(bytes, packed.pack().unwrap());
    // OPA finds no module under a name without the slash.
    let mut first = [0];
    flate2::read::GzDecoder::new(&bytes[..]).read_exact(&mut first).unwrap();
    assert_eq!(first, *b"/");
    assert_eq!(Archive::unpack(&bytes).unwrap(), packed);
    let file = directory.path().join("bundle.tar.gz");
    std::fs::write(&file, &bytes).unwrap();
    let opened = Bundle::open(&file).unwrap();
    assert_eq!(opened.identity(), read.identity());
    assert_eq!((opened.data(), opened.sources(), opened.cases()), (read.data(), read.sources(), read.cases()));
    assert_eq!(opened.module(), read.module());
    assert_eq!(code(Bundle::open(&directory.path().join("nothing"))), "policy_unusable");
}

#[test]
fn layouts_of_other_tools_are_read() {
    // OPA writes a slash before each path, the source directory before Rego, and one data.json.
    let mut opa: Vec<_> = files("1").into_iter().map(|(path, content)| (format!("/{path}"), content)).collect();
    opa[4].0 = "/policies/t.rego".to_owned();
    let bundle = load(&Tarball::of(&opa).end()).unwrap();
    assert_eq!(bundle.sources()[0].path, "policies/t.rego");
    assert_eq!(bundle.data()["t"]["limit"], 1.5);
    // `tar -czf bundle.tar.gz .` has `./` and directories, and may say when it was packed.
    let mut plain =
        Tarball::new().entry(b"./", EntryType::Directory, 0, b"").entry(b"./cases/", EntryType::Directory, 0, b"");
    for (path, content) in files("1") {
        plain = plain.pax("mtime", "1795219200.5").file(&format!("./{path}"), &content);
    }
    assert_eq!(load(&plain.end()).unwrap().identity(), load(&Tarball::of(&files("1")).end()).unwrap().identity());
}

#[test]
fn a_digest_knows_content_and_not_spacing_or_module() {
    let digest = |files: &[(String, Vec<u8>)]| load(&Tarball::of(files).end()).unwrap().identity().digest;
    let one = digest(&files("1"));
    let mut other = files("1");
    other[2].1 = DATA.replace(": ", ":").into_bytes();
    other[3].1 = b"another module".to_vec();
    assert_eq!(digest(&other), one);
    other[2].1 = DATA.replace("1.50", "1.51").into_bytes();
    assert_ne!(digest(&other), one);
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for path in [
        "../t.rego",
        "/../t.rego",
        "a/../../t.rego",
        "//t.rego",
        "a//t.rego",
        "./../t.rego",
        "a/./t.rego",
        "..",
        "a\\t.rego",
        "a\nt.rego",
    ] {
        assert_eq!(code(with(path, b"package t")), "bundle_path_refused", "{path:?}");
    }
    let named = |name: &[u8]| load(&Tarball::of(&files("1")).entry(name, EntryType::Regular, 0, b"").end());
    assert_eq!(code(named(b"\xff.rego")), "bundle_path_refused");
    assert_eq!(code(named(b"a.rego/")), "bundle_path_refused");
    let directory = Tarball::of(&files("1")).entry(b"../", EntryType::Directory, 0, b"").end();
    assert_eq!(code(load(&directory)), "bundle_path_refused");
    // Longer names come in extended headers.
    let long = |length: usize| format!("{}/a.rego", "d".repeat(length - 7));
    let extended =
        |path: &str| load(&Tarball::of(&files("1")).pax("path", path).file("short.rego", b"package t.a").end());
    assert_eq!(extended(&long(PATH_BYTES)).unwrap().sources()[0].path.len(), PATH_BYTES);
    assert_eq!(code(extended(&long(PATH_BYTES + 1))), "bundle_path_refused");
    assert_eq!(code(extended("../../etc/t.rego")), "bundle_path_refused");
    assert_eq!(code(extended(&"x".repeat(512 * 1024))), "bundle_path_refused");
}

#[test]
fn what_is_neither_file_nor_directory_is_refused() {
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Continuous,
        EntryType::GNUSparse,
        EntryType::XGlobalHeader,
        EntryType::new(b'?'),
    ] {
        let result = load(&Tarball::of(&files("1")).entry(b"more.rego", kind, 0, b"").end());
        let expected = if kind == EntryType::GNUSparse { "bundle_unreadable" } else { "bundle_path_refused" };
        assert_eq!(code(result), expected, "{kind:?}");
    }
}

#[test]
fn a_file_that_stands_twice_is_refused() {
    for path in ["t.rego", "/t.rego", "./t.rego", ".manifest", "policy.wasm"] {
        assert_eq!(code(with(path, b"package t")), "bundle_duplicate", "{path}");
    }
}

#[test]
fn what_takes_no_part_is_refused_unless_it_is_for_people() {
    for path in ["README", "README.md", "docs/LICENSE.txt", "NOTICE", "t_test.rego"] {
        assert_eq!(with(path, b"words").unwrap().sources().len(), 1, "{path}");
    }
    let refused = [
        "data.yaml",
        "a/data.yml",
        "plan.json",
        "other.wasm",
        "a/policy.wasm",
        "a/.manifest",
        "x.manifest",
        "a/.signatures.json",
        "inner.tar.gz",
        "run.sh",
        "cases/a.rego",
        "cases/data.json",
        "cases/README.md",
        "._t.rego.bin",
    ];
    for path in refused {
        let error = with(path, b"{}").unwrap_err();
        assert_eq!(error.code(), "bundle_file_refused", "{path}");
        assert!(error.to_string().contains(path), "{error}");
    }
    assert_eq!(code(with("patch.json", br#"{"data": []}"#)), "bundle_delta");
}

#[test]
fn parts_that_are_missing_or_wrong_are_named() {
    for (path, replacement, expected, named) in [
        (".manifest", None, "policy_unusable", "no .manifest"),
        ("t.rego", None, "bundle_sourceless", ".rego"),
        ("t.rego", Some(("t_test.rego", REGO)), "bundle_sourceless", ".rego"),
        ("policy.wasm", None, "bundle_uncompiled", "sekisho policy build"),
        (
            ".manifest",
            Some((".manifest", &*manifest("1").replace("t/decision\", \"mod", "t/other\", \"mod"))),
            "bundle_uncompiled",
            "t/decision",
        ),
        (
            ".manifest",
            Some((".manifest", &*manifest("1").replace("/policy.wasm", "/other.wasm"))),
            "bundle_uncompiled",
            "policy.wasm",
        ),
        (
            ".manifest",
            Some((".manifest", &*manifest("1").replace("\"rego_version\": 1", "\"rego_version\": 0"))),
            "policy_unusable",
            "version 1",
        ),
        (
            ".manifest",
            Some((
                ".manifest",
                &*manifest("1").replace("\"rego_version\": 1", "\"file_rego_versions\": {\"/t.rego\": 0}"),
            )),
            "policy_unusable",
            "version 1",
        ),
        (".manifest", Some((".manifest", "{")), "policy_unusable", ".manifest:1"),
        ("data.json", Some(("data.json", "{\"t\": {},\n\"u\": 1}")), "bundle_outside_roots", "at u,"),
        ("data.json", Some(("t2/data.json", "{\"a\": 1}")), "bundle_outside_roots", "at t2,"),
        ("data.json", Some(("data.json", "{\"t\": {},\n\"t\": 1}")), "policy_unusable", "data.json:2"),
        ("data.json", Some(("data.json", "[]")), "policy_unusable", "data.json:"),
        ("cases/all.json", Some(("cases/all.json", "[\n1,,]")), "policy_unusable", "cases/all.json:2"),
    ] {
        let error = instead(path, replacement).unwrap_err();
        assert_eq!(error.code(), expected, "{path}: {error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    assert_eq!(
        code(load(&Tarball::of(&files("1")).entry(b"u.rego", EntryType::Regular, 2, b"\xff\xfe").end())),
        "bundle_unreadable"
    );
    assert!(instead("data.json", Some(("t/deep/data.json", "{\"a\": 1}"))).is_ok());
    assert!(instead("data.json", Some(("data.json", "{}"))).is_ok());
}

#[test]
fn what_was_cut_off_or_added_to_is_refused() {
    let whole = Tarball::of(&files("1")).end();
    assert!(load(&whole).is_ok());
    for cut in [0, 1, 9, 10, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        assert_eq!(code(load(&whole[..cut])), "bundle_unreadable", "cut at {cut}");
    }
    assert_eq!(code(load(b"PK\x03\x04 this is no gzip")), "bundle_unreadable");
    // Behind the end of the gzip member: garbage, zeros, a second member.
    for more in [&b"x"[..], &[0; 512], &gzip(&[0; 1024]), &whole] {
        assert_eq!(code(load(&[&whole, more].concat())), "bundle_unreadable");
    }
    // Behind the end of the tarball, or no such end.
    let tarball = Tarball::of(&files("1")).0;
    let ended = |end: &[u8]| load(&gzip(&[&tarball, end].concat()));
    assert!(ended(&[0; 10240]).is_ok());
    assert!(ended(&[0; 1024]).is_ok());
    assert_eq!(code(ended(&[0; 512])), "bundle_unreadable");
    assert_eq!(code(ended(&[])), "bundle_unreadable");
    assert_eq!(code(ended(&[&[0; 1024], &b"x"[..]].concat())), "bundle_unreadable");
    assert_eq!(code(ended(&[&[0; 1024], &tarball[..]].concat())), "bundle_unreadable");
    // In the middle of a file, and of a header.
    assert_eq!(code(load(&gzip(&tarball[..tarball.len() - 512]))), "bundle_unreadable");
    assert_eq!(code(load(&gzip(&tarball[..100]))), "bundle_unreadable");
}

#[test]
fn headers_that_lie_about_sizes_are_refused() {
    let lying = |size: u64| {
        code(load(&Tarball::of(&files("1")).entry(b"a.rego", EntryType::Regular, size, b"package t").end()))
    };
    assert_eq!(lying(u64::MAX), "bundle_unreadable");
    assert_eq!(lying(1 << 40), "bundle_too_large");
    assert_eq!(lying(FILE_BYTES), "bundle_unreadable");
    let extended = |key: &str, value: &str| {
        code(load(&Tarball::of(&files("1")).pax(key, value).file("a.rego", b"package t").end()))
    };
    assert_eq!(extended("size", "9"), "bundle_unreadable");
    assert_eq!(extended("size", "18446744073709551615"), "bundle_unreadable");
    assert_eq!(extended("GNU.sparse.major", "1"), "bundle_unreadable");
    assert_eq!(extended("linkpath", "/etc/passwd"), "bundle_unreadable");
    // An extended header for nothing.
    assert_eq!(code(load(&Tarball::of(&files("1")).pax("path", "a.rego").end())), "bundle_unreadable");
    // A header whose checksum is wrong.
    let mut tarball = Tarball::of(&files("1")).0;
    tarball[0] ^= 1;
    assert_eq!(code(load(&gzip(&[tarball, vec![0; 1024]].concat()))), "bundle_unreadable");
}

/// Bytes that gzip cannot make smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.alphanumeric() as u8).take(length).collect()
}

#[test]
fn every_limit_of_an_archive_holds_at_its_boundary() {
    let rego = |length: usize| with("large.md", &noise(length));
    assert!(rego(FILE_BYTES as usize).is_ok());
    assert_eq!(code(rego(FILE_BYTES as usize + 1)), "bundle_too_large");
    let module = |length: usize| {
        let mut files = files("1");
        files[3].1 = noise(length);
        load(&Tarball::of(&files).end())
    };
    assert!(module(MODULE_BYTES).is_ok());
    assert_eq!(code(module(MODULE_BYTES + 1)), "bundle_too_large");
    let entries = |count: usize| {
        let start = Tarball::of(&files("1"));
        let full = (files("1").len()..count).fold(start, |tarball, place| tarball.file(&format!("{place}.md"), b""));
        load(&full.end())
    };
    assert!(entries(ENTRIES).is_ok());
    assert_eq!(code(entries(ENTRIES + 1)), "bundle_too_large");
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    let padded = |length: usize| {
        let mut tarball = Tarball::of(&files("1")).0;
        tarball.resize(length, 0);
        gzip(&tarball)
    };
    // Zeros are free up to a mebibyte, and beyond it they are a bomb.
    assert!(load(&padded(1024 * 1024)).is_ok());
    let bomb = padded(1024 * 1024 + 1);
    assert!(bomb.len() * RATIO < 1024 * 1024);
    assert_eq!(code(load(&bomb)), "bundle_too_large");
    assert_eq!(code(load(&gzip(&vec![0; 64 * 1024 * 1024]))), "bundle_too_large");
    // Content that is hard to compress fills the archive up to its own limit.
    let filled = |length: usize| {
        let mut tarball = Tarball::of(&files("1")).file("a.md", &noise(1024 * 1024)).0;
        tarball.resize(length, 0);
        gzip(&tarball)
    };
    assert!(load(&filled(UNPACKED_BYTES)).is_ok());
    assert_eq!(code(load(&filled(UNPACKED_BYTES + 1))), "bundle_too_large");
    let fetched = |length: usize| code(load(&vec![0; length]));
    assert_eq!((fetched(ARCHIVE_BYTES), fetched(ARCHIVE_BYTES + 1)), ("bundle_unreadable", "bundle_too_large"));
}

#[test]
fn nobody_packs_what_could_not_be_unpacked() {
    let mut archive = archive(&files("1"));
    assert_eq!(code(archive.insert("../a.rego", Vec::new())), "bundle_path_refused");
    assert_eq!(code(archive.insert("a.md", vec![0; FILE_BYTES as usize + 1])), "bundle_too_large");
    assert_eq!(code(archive.insert("a.sh", Vec::new())), "bundle_file_refused");
    archive.insert("a.md", vec![0; FILE_BYTES as usize]).unwrap();
    assert_eq!(code(archive.pack()), "bundle_too_large");
    archive.insert("a.md", Vec::new()).unwrap();
    archive.insert(&format!("{}/a.md", "d".repeat(PATH_BYTES - 5)), Vec::new()).unwrap();
    assert_eq!(Archive::unpack(&archive.pack().unwrap()).unwrap(), archive);
}
