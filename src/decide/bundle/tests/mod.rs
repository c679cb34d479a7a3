//! What bundles are taken, and that no other is.

mod archive;
mod mutations;
mod signature;

use super::*;

pub(super) const REGO: &str = r#"package t

decision := {"decision": "permit", "reasons": [], "obligations": []} if input.purpose == data.t.purpose
"#;
pub(super) const DATA: &str = r#"{"t": {"purpose": "dpv:ScientificResearch", "limit": 1.50}}"#;

/// The manifest of a small policy, at a revision.
pub(super) fn manifest(revision: &str) -> String {
    format!(
        r#"{{"revision": "{revision}", "roots": ["t"], "rego_version": 1,
            "wasm": [{{"entrypoint": "t/decision", "module": "/policy.wasm"}}],
            "metadata": {{"id": "t", "entrypoint": "t/decision", "inputs": ["purpose"]}}}}"#
    )
}

/// The files of a small policy. Its module is never run here, so that a header is enough of one.
pub(super) fn files(revision: &str) -> Vec<(String, Vec<u8>)> {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    vec![
        file(".manifest", &manifest(revision)),
        file("cases/all.json", "[]"),
        file("data.json", DATA),
        file("policy.wasm", "\0asm\u{1}\0\0\0"),
        file("t.rego", REGO),
    ]
}

/// An archive of files, as this crate packs it.
pub(super) fn archive(files: &[(String, Vec<u8>)]) -> Archive {
    let mut archive = Archive::default();
    for (path, content) in files {
        archive.insert(path, content.clone()).unwrap();
    }
    archive
}

/// The code with which something is refused.
pub(super) fn code<T: std::fmt::Debug>(result: Result<T, DecideError>) -> &'static str {
    result.unwrap_err().code()
}
