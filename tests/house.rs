//! The house rules that no compiler keeps: who imports whom, how long a file may be, and that the pages tell the truth.

#![expect(clippy::unwrap_used, reason = "what cannot be read or parsed here fails the test, as it should")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms of a request's way, in its order. `record` stands beside them: any of them ends there.
const JOURNEY: [&str; 5] = ["accept", "authenticate", "decide", "enforce", "forward"];
/// Every module at the top.
const TOP: [&str; 10] =
    ["accept", "authenticate", "decide", "enforce", "forward", "gateway", "record", "refusal", "shell", "types"];
/// The most lines of a source file.
const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of the package, relative to its root: those that git tracks, or all where there is no git.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    if let Some(listed) = listed.ok().filter(|listed| listed.status.success() && !listed.stdout.is_empty()) {
        let names = String::from_utf8(listed.stdout).unwrap();
        let paths = names.split_terminator('\0').map(PathBuf::from);
        return paths.filter(|path| root().join(path).is_file()).collect();
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let inside = path.strip_prefix(root()).unwrap().to_owned();
        if path.is_dir() && !["target", "state", ".git"].iter().any(|name| inside == Path::new(name)) {
            walk(&path, found);
        } else if path.is_file() {
            found.push(inside);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (path.to_str().unwrap().replace('\\', "/"), read(&path))).collect()
}

/// A Rust source without comments and with the content of its literals blanked, so that only code is left.
fn code(source: &str) -> String {
    let bytes: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let at = |place: usize| bytes.get(place).copied().unwrap_or('\0');
    let mut i = 0;
    while i < bytes.len() {
        let word_before = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        if at(i) == '/' && at(i + 1) == '/' {
            while i < bytes.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '/' && at(i + 1) == '*' {
            while i < bytes.len() && !(at(i) == '*' && at(i + 1) == '/') {
                i += 1;
            }
            i += 2;
        } else if at(i) == 'r' && matches!(at(i + 1), '"' | '#') && (!word_before || at(i - 1) == 'b') {
            let hashes = bytes[i + 1..].iter().take_while(|c| **c == '#').count();
            if at(i + 1 + hashes) != '"' {
                out.push('r');
                i += 1;
                continue;
            }
            let closing = |end: usize| at(end) == '"' && (1..=hashes).all(|hash| at(end + hash) == '#');
            let end = (i + 2 + hashes..bytes.len()).find(|end| closing(*end)).unwrap_or(bytes.len());
            out.push_str("\"\"");
            i = end + 1 + hashes;
        } else if at(i) == '"' {
            i += 1;
            while i < bytes.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
            out.push_str("\"\"");
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < bytes.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
            out.push_str("' '");
        } else {
            out.push(at(i));
            i += 1;
        }
    }
    out
}

/// The names that follow a path's `::`: one, or the first of each branch of a brace.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(inside) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names, mut fresh) = (1, Vec::new(), true);
    for (place, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                names.push(name(&inside[place..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// The modules at the top that a file names, by `crate::` or by as many `super::` as lead there.
fn named_by(file: &str, source: &str) -> BTreeSet<String> {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = inside.split('/').count();
    let text: String = code(source);
    let mut names = BTreeSet::new();
    for (place, _) in text.match_indices("crate::") {
        names.extend(heads(&text[place + "crate::".len()..]));
    }
    for (place, _) in text.match_indices("super::") {
        if text[..place].ends_with("super::") {
            continue;
        }
        let rest = text[place..].trim_start_matches("super::");
        if (text[place..].len() - rest.len()) / "super::".len() >= depth {
            names.extend(heads(rest));
        }
    }
    names.retain(|name| TOP.contains(&name.as_str()));
    names
}

/// Which module at the top a file belongs to.
fn room(file: &str) -> &str {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    inside.split('/').next().unwrap()
}

/// Whether a file of one module may name another.
fn may_name(from: &str, to: &str) -> bool {
    let place = |room: &str| JOURNEY.iter().position(|other| *other == room);
    match (from, to) {
        (from, to) if from == to => true,
        ("types", _) => false,
        (_, "types") | ("shell" | "lib" | "main", _) => true,
        ("gateway", to) => to != "shell",
        ("refusal", to) => !matches!(to, "gateway" | "shell"),
        (from, to) => place(from).zip(place(to)).is_some_and(|(from, to)| to < from),
    }
}

#[test]
fn rooms_import_only_what_lies_before_them() {
    let mut wrong = Vec::new();
    for (file, source) in sources().iter().filter(|(file, _)| file.starts_with("src/")) {
        let names = named_by(file, source);
        let from = room(file);
        assert!(TOP.contains(&from) || matches!(from, "lib" | "main"), "{file} is no room that this test knows");
        wrong.extend(names.iter().filter(|to| !may_name(from, to)).map(|to| format!("{file} names {to}")));
        let all = JOURNEY.iter().chain(&["record"]).all(|room| names.contains(*room));
        if all && !matches!(from, "gateway" | "refusal") {
            wrong.push(format!("{file} names all six rooms, which only the gateway does"));
        }
    }
    assert!(wrong.is_empty(), "against ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn refusal_takes_errors_from_the_rooms_and_nothing_that_works() {
    let text = code(&read("src/refusal.rs"));
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("use crate::")) {
        let (room, names) = line.trim_end_matches(';').split_once("::").unwrap();
        for name in heads(names).iter().filter(|_| room != "types") {
            let fits = name.ends_with("Error") || ["BadTarget", "Denial", "Reason", "Verdict"].contains(&name.as_str());
            assert!(fits, "src/refusal.rs takes {room}::{name}");
        }
    }
}

#[test]
fn the_verifier_shares_no_cryptography_with_the_signer() {
    let ring = |source: &str| {
        let code = code(source);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        code.match_indices("ring::").any(|(place, _)| !code[..place].ends_with(|c: char| c.is_alphanumeric()))
    };
    let mut shared = BTreeSet::new();
    for (file, source) in sources().iter().filter(|(file, _)| file.starts_with("src/")) {
        if !file.starts_with("src/record/verify/") {
            assert!(file.contains("/tests") || !ring(source), "{file} uses ring, which is the verifier's alone");
            continue;
        }
        let mut code = code(source);
        // What CMS calls whoever signed a timestamp: an authority outside, and no code of ours.
        for theirs in ["SignerIdentifier", "SignerInfo", "signer_infos"] {
            code = code.replace(theirs, "");
        }
        for word in ["aws_lc_rs", "signer", "Signer", "merkle", "Hasher", "Digest", "jsonwebtoken", "rustls"] {
            assert!(!code.contains(word), "{file} names {word}");
        }
        for (place, _) in code.match_indices("record::") {
            shared.extend(heads(&code[place + "record::".len()..]));
        }
        for (place, _) in code.match_indices("super::").filter(|_| file.ends_with("verify/mod.rs")) {
            shared.extend(heads(&code[place + "super::".len()..]));
        }
    }
    assert!(shared.contains("frame") && shared.contains("note"), "the verifier uses {shared:?} of record");
    for module in shared.iter().filter(|module| root().join(format!("src/record/{module}.rs")).exists()) {
        let source = read(format!("src/record/{module}.rs"));
        let code = code(&source);
        let code = code.split("#[cfg(test)]").next().unwrap();
        for word in ["aws_lc_rs", "signer", "Hasher", "Digest::of"] {
            assert!(!code.contains(word), "src/record/{module}.rs, which the verifier uses, names {word}");
        }
    }
}

#[test]
fn files_are_short_and_open_with_a_sentence() {
    let mut wrong = Vec::new();
    for (file, source) in sources() {
        let lines = source.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{file} has {lines} lines, and {MOST_LINES} is the most"));
        }
        if !source.starts_with("//! ") {
            wrong.push(format!("{file} does not open with a //! sentence"));
        }
    }
    if read("ARCHITECTURE.md").lines().count() > 150 {
        wrong.push("ARCHITECTURE.md has more than 150 lines".to_owned());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dependency_says_why() {
    let (mut inside, mut before, mut count) = (false, String::new(), 0);
    for line in read("Cargo.toml").lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.contains("dependencies");
        } else if inside && line.contains('=') && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            assert!(before.starts_with("# "), "no reason above: {line}");
            count += 1;
        }
        before = line.to_owned();
    }
    assert!(count > 10, "only {count} dependencies were found");
}

#[test]
fn no_private_key_is_committed() {
    let key = |text: &str| {
        let pem = text.match_indices("PRIVATE KEY-----").any(|(place, mark)| {
            let rest = &text[place + mark.len()..];
            let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\\').trim_start_matches('n');
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')).count() >= 40
        });
        let jwk = text.match_indices("\"d\"").any(|(place, mark)| {
            let value = text[place + mark.len()..].trim_start().strip_prefix(':').unwrap_or_default().trim_start();
            value.trim_start_matches('"').chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).count()
                >= 43
        });
        pem || jwk
    };
    let body = "MC4CAQAwBQYDK2VwBCIE".repeat(3);
    assert!(key(&format!("-----BEGIN PRIVATE KEY-----\n{body}\n")), "the search finds nothing");
    assert!(key(&format!("\"d\": \"{body}\"")), "the search finds no JWK");
    for path in files() {
        let text = String::from_utf8_lossy(&std::fs::read(root().join(&path)).unwrap()).into_owned();
        assert!(!key(&text), "{} holds a private key", path.display());
    }
}

/// Text literals of the shape of a code, in the functions named `code` or in calls of `named`.
fn literals<'a>(source: &'a str, before: &str) -> Vec<&'a str> {
    let found = source.match_indices(before).filter_map(|(place, mark)| source[place + mark.len()..].split('"').next());
    found.filter(|text| is_code(text)).collect()
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
}

/// The codes that `refusal.rs` explains.
fn explained() -> BTreeSet<String> {
    let source = read("src/refusal.rs");
    let table = source.split("fn explain(").nth(1).unwrap();
    let words = table.split('"').skip(1).step_by(2).filter(|text| is_code(text));
    words.map(str::to_owned).collect()
}

#[test]
fn every_code_of_a_room_is_explained_to_peers() {
    let explained = explained();
    let mut codes: BTreeMap<String, String> = BTreeMap::new();
    for (file, source) in sources().iter().filter(|(file, _)| file.starts_with("src/")) {
        // What `record::verify` finds goes to the person at the terminal, and no peer ever meets it.
        let room = room(file);
        if JOURNEY.contains(&room) || (room == "record" && !file.starts_with("src/record/verify/")) {
            for function in source.split("fn code(&self)").skip(1) {
                let body = function.split("\n    }\n").next().unwrap();
                codes.extend(literals(body, "=> \"").into_iter().map(|code| (code.to_owned(), file.clone())));
            }
        }
        if matches!(room, "gateway" | "decide" | "accept") {
            for before in ["Refusal::new(\"", "Verdict::Deny => \"", "None => return Err(\"", "faulty(error, \""] {
                codes.extend(literals(source, before).into_iter().map(|code| (code.to_owned(), file.clone())));
            }
        }
    }
    // The words of `Verdict` itself are no codes.
    codes.remove("deny");
    assert!(codes.len() > 60, "only {} codes were found", codes.len());
    let unexplained: Vec<_> = codes.iter().filter(|(code, _)| !explained.contains(*code)).collect();
    assert!(unexplained.is_empty(), "src/refusal.rs does not explain {unexplained:?}");
}

#[test]
fn the_wire_reference_has_every_code_and_no_other() {
    let page = read("docs/wire.md");
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let Some((codes, rest)) = line.split_once("` | ") else { continue };
        let status = rest.split(" | ").next().unwrap();
        if status == "-" || (status.len() == 3 && status.parse::<u16>().is_ok()) {
            told.extend(codes.split("` `").map(|code| (code.to_owned(), status.to_owned())));
        }
    }
    let admin = read("src/shell/admin.rs");
    let admin = literals(&admin, "                \"").into_iter().chain(literals(&admin, "StatusCode::FORBIDDEN, \""));
    let admin: Vec<&str> = admin.filter(|code| code.contains('_')).collect();
    assert!(admin.contains(&"role_missing"), "the codes of the admin listener were not found: {admin:?}");
    let explained = explained();
    let untold: Vec<_> = explained.iter().filter(|code| !told.contains_key(*code)).collect();
    assert!(untold.is_empty(), "docs/wire.md does not tell of {untold:?}");
    let untold: Vec<_> = admin.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(untold.is_empty(), "docs/wire.md does not tell of {untold:?}");
    let shell = read("src/shell/admin.rs");
    for (code, status) in &told {
        if !explained.contains(code) {
            assert!(shell.contains(&format!("\"{code}\"")), "docs/wire.md tells of {code}, and the code does not");
        } else if status != "-" {
            let refusal = sekisho::refusal::Refusal::new(String::leak(code.clone()));
            assert_eq!(refusal.status().as_str(), status, "the status of {code} in docs/wire.md");
        }
    }
}

#[test]
fn every_test_that_security_names_exists() {
    let tests: Vec<String> = sources().into_iter().map(|(_, source)| source).collect();
    let exists = |name: &str| {
        tests.iter().any(|source| {
            source.match_indices(&format!("fn {name}(")).any(|(place, _)| {
                let before = &source[place.saturating_sub(200)..place];
                before
                    .rfind("#[")
                    .is_some_and(|mark| before[mark..].contains("test") && !before[mark..].contains(";\n"))
            })
        })
    };
    let page = read("SECURITY.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 2);
    let mut named = 0;
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            assert!(exists(name), "SECURITY.md names the test {name}, which does not exist");
            named += 1;
        }
    }
    assert!(named > 20, "SECURITY.md names only {named} tests");
}

#[test]
fn the_configuration_in_the_readme_has_no_problems() {
    let page = read("README.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert_eq!(blocks.len(), 2, "a configuration, and an agreement to go with it");
    let config = sekisho::shell::config::parse(&blocks.join("\n"), "README.md").unwrap();
    assert_eq!((config.partners.len(), config.datasets.len(), config.agreements.len()), (1, 1, 1));
}

#[test]
fn links_between_pages_lead_somewhere() {
    for path in files().iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let page = read(path);
        for (place, _) in page.match_indices("](") {
            let target = page[place + 2..].split(')').next().unwrap().split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let there = root().join(path).parent().unwrap().join(target);
            assert!(there.exists(), "{} links to {target}, which is not there", path.display());
        }
    }
}
