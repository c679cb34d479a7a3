//! Whatever is done to a log afterwards, verifying it says so.

use std::os::unix::fs::FileExt as _;

use proptest::prelude::*;

use super::*;
use crate::record::edge::Edge;
use crate::record::verify::VerifyError;

/// Whether verifying with the directory's own key, or opening, would let it pass.
fn passes(world: &World) -> bool {
    verify_directory(&world.directory(), None, |_, _| {}).is_ok_and(|report| report.verified)
}

#[tokio::test]
async fn a_byte_changed_anywhere_is_caught() {
    let world = closed(1).await;
    assert!(passes(&world));
    for name in [WAL, CHECKPOINT, KEY] {
        let path = world.directory().join(name);
        let sound = std::fs::read(&path).unwrap();
        for place in 0..sound.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = sound.clone();
                changed[place] ^= flip;
                std::fs::write(&path, &changed).unwrap();
                assert!(!passes(&world), "{name} changed at {place} by {flip:#x} passes");
            }
        }
        std::fs::write(&path, &sound).unwrap();
    }
    assert!(passes(&world));
}

#[tokio::test]
async fn a_log_cut_at_any_byte_is_caught() {
    let world = closed(1).await;
    let wal = world.wal();
    let mut frames = Frames::open(Cursor::new(&wal)).unwrap();
    let mut ends = vec![frames.offset()];
    while frames.next().unwrap().is_some() {
        ends.push(frames.offset());
    }
    for length in 0..wal.len() {
        std::fs::write(world.directory().join(WAL), &wal[..length]).unwrap();
        // Between two frames, or with nothing but the zeros that a frame starts with, it is a file that never held the
        // second: the tiles hold what it held, and opening tells.
        let end = ends.iter().rfind(|end| **end <= length as u64);
        let between = end.is_some_and(|end| written(&wal[usize::try_from(*end).unwrap()..length]) == 0);
        assert_eq!(passes(&world), between, "cut at {length}");
        assert!(world.open().is_err(), "cut at {length} opens");
    }
}

/// A copy of a log with these entries in place of its own, in the file and in the tiles, under the same checkpoint.
fn forged(world: &World, entries: &[Vec<u8>]) -> World {
    let copy = world.crashed(&forge(entries));
    let _ = std::fs::remove_dir_all(copy.directory().join("tile"));
    let mut edge = Edge::default();
    entries.iter().for_each(|entry| edge.push(entry));
    for (path, bytes) in edge.partial_bundle().into_iter().chain(edge.partial_tiles()) {
        let path = copy.directory().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    copy
}

/// Writes forged entries and expects these checks to fail.
fn check(world: &World, entries: &[Vec<u8>], expected: &[&str]) {
    let report = forged(world, entries).verify();
    let found = found(&report);
    assert!(!report.verified && !found.is_empty());
    assert!(expected.iter().all(|name| found.contains(name)), "{found:?}: {}", report.render());
    assert!(report.render().ends_with("NOT VERIFIED\n"));
}

#[tokio::test]
async fn entries_forged_with_every_checksum_right_are_caught() {
    let world = closed(3).await;
    let sound = entries(&world.wal());
    let pick = |indices: &[usize]| indices.iter().map(|index| sound[*index].clone()).collect::<Vec<_>>();
    // Removed, at the end and before it; put in another order; written twice.
    check(&world, &pick(&[0, 1, 2, 3, 4]), &[]);
    check(&world, &pick(&[0, 1, 2, 3]), &[]);
    check(&world, &pick(&[0, 1, 4, 5]), &[]);
    check(&world, &pick(&[2, 3, 0, 1, 4, 5]), &["tree"]);
    check(&world, &pick(&[1, 0, 2, 3, 4, 5]), &["tree", "pairing"]);
    check(&world, &pick(&[0, 1, 0, 1, 2, 3, 4, 5]), &[]);
}

#[tokio::test]
async fn what_another_key_signed_is_caught() {
    let world = closed(2).await;
    let mut stolen = entries(&world.wal());
    let thief = signer();
    stolen[1] = thief.seal(&outcome(ExchangeId::new(NOW))).unwrap().as_bytes().to_vec();
    check(&world, &stolen, &["signatures", "tree"]);

    // A whole log signed anew, with its own key beside it: only the true key tells.
    let other = World { home: tempfile::tempdir().unwrap(), signer: thief };
    let log = other.open().unwrap();
    fill(&log, 2).await;
    log.close().await.unwrap();
    let report = verify_directory(&other.directory(), None, |_, _| {}).unwrap();
    assert!(report.verified);
    assert!(report.not_checked.iter().any(|gap| gap.contains("log.pub")), "{:?}", report.not_checked);
    let report = verify_directory(&other.directory(), Some(&world.vkey()), |_, _| {}).unwrap();
    assert_eq!(found(&report), ["key", "checkpoint", "signatures"], "{}", report.render());
    assert!(!report.not_checked.iter().any(|gap| gap.contains("log.pub")));
}

#[tokio::test]
async fn a_header_with_anything_else_in_it_is_caught() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let world = closed(1).await;
    let sound = entries(&world.wal());
    let jws = String::from_utf8(sound[1].clone()).unwrap();
    let (_, rest) = jws.split_once('.').unwrap();
    let kid = world.signer.kid();
    for header in [
        format!(r#"{{"alg":"none","kid":"{kid}","typ":"sekisho-record+jws"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT"}}"#),
        r#"{"alg":"EdDSA","kid":"other","typ":"sekisho-record+jws"}"#.to_owned(),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"sekisho-record+jws","crit":["b64"],"b64":false}}"#),
        format!(r#"{{"typ":"sekisho-record+jws","alg":"EdDSA","kid":"{kid}"}}"#),
    ] {
        let changed = [sound[0].clone(), format!("{}.{rest}", URL_SAFE_NO_PAD.encode(&header)).into_bytes()];
        let report = forged(&world, &changed).verify();
        assert!(found(&report).contains(&"signatures"), "{header}: {}", report.render());
    }
}

#[tokio::test]
async fn zeros_behind_the_entries_are_none_and_anything_else_is_caught() {
    let world = closed(1).await;
    let wal = world.wal();
    let report = world.crashed(&with_zeros(&wal, 600)).verify();
    assert!(report.verified && report.entries == 2, "{}", report.render());
    for place in wal.len()..wal.len() + 600 {
        for value in [0x01, 0x80] {
            let mut changed = with_zeros(&wal, 600);
            changed[place] = value;
            assert_eq!(found(&world.crashed(&changed).verify()), ["frames"], "{value:#x} at {place} passes");
        }
    }
    for place in Head::default().bytes().len()..wal.len() {
        let mut changed = with_zeros(&wal, 600);
        changed[place] ^= 0x01;
        assert!(!world.crashed(&changed).verify().verified, "changed at {place} passes");
    }
}

/// A log that is written in without a pause until it is closed, and what writes in it.
fn busy(world: &World, rotate_after: u64) -> (Log, tokio::task::JoinHandle<()>) {
    let config = LogConfig { checkpoint_every: Duration::from_millis(1), rotate_after, ..world.config() };
    let log = open(config, &world.signer).unwrap();
    let writing = log.clone();
    let writer = tokio::spawn(async move {
        // Long entries: reading one takes the time in which another is written.
        let path = "p".repeat(20_000);
        while writing.health() == Health::Accepting {
            let request = Some(RequestLine { method: "GET", path: &path });
            let entry = DecisionEntry { request, ..decision(ExchangeId::new(NOW), Verdict::Deny) };
            if writing.append(writing.seal(&entry).unwrap()).await.is_err() {
                break;
            }
        }
    });
    (log, writer)
}

#[tokio::test]
async fn a_log_verifies_as_far_as_its_checkpoint_while_it_is_renewed() {
    let world = World::new();
    let (log, writer) = busy(&world, 1024 * 1024);
    let (directory, key, published) = (world.directory(), world.vkey(), log.published());
    let look = move || {
        let covered = published.borrow().size;
        let read = Entries::open(&directory).unwrap().map(Result::unwrap).count() as u64;
        let report = verify_directory(&directory, Some(&key), |_, _| {}).unwrap();
        (covered, read, report)
    };
    for _ in 0..20 {
        let (covered, read, report) = tokio::task::spawn_blocking(look.clone()).await.unwrap();
        assert!(read >= covered, "{read} of {covered} were read");
        assert!(report.verified && report.entries >= covered, "{covered} before: {}", report.render());
    }
    log.close().await.unwrap();
    writer.await.unwrap();
    let wal = std::fs::File::open(world.directory().join(WAL)).unwrap();
    let base = crate::record::frame::Frames::open(wal).unwrap_or_else(|_| panic!("no log")).head().base;
    assert!(base > 0, "the write-ahead log was never renewed");
}

#[tokio::test]
async fn a_log_in_use_verifies_and_reads_at_any_moment() {
    let world = World::new();
    let (log, writer) = busy(&world, u64::MAX);
    let (directory, key) = (world.directory(), world.vkey());
    let look = move || {
        let before = Entries::open(&directory).unwrap().map(Result::unwrap).count() as u64;
        let report = verify_directory(&directory, Some(&key), |_, _| {}).unwrap();
        (before, report)
    };
    for _ in 0..20 {
        let (before, report) = tokio::task::spawn_blocking(look.clone()).await.unwrap();
        assert!(report.verified && report.entries >= before, "{before} before: {}", report.render());
    }
    // A frame that is not finished is the writer's business while there is one, and a finding afterwards.
    let wal = world.directory().join(WAL);
    log.close().await.unwrap();
    writer.await.unwrap();
    let end = std::fs::metadata(&wal).unwrap().len();
    let put = |bytes: &[u8], at: u64| {
        std::fs::OpenOptions::new().write(true).open(&wal).unwrap().write_all_at(bytes, end + at).unwrap();
    };
    put(&[0, 0, 1], 0);
    assert_eq!(found(&world.verify()), ["frames"]);
    let log = world.open().unwrap();
    assert!(world.verify().verified, "it was not cut off");
    put(&[0, 0, 1], 0);
    assert!(world.verify().verified);
    // Further away than that frame would reach, nothing can stand.
    put(&[1], 303);
    assert_eq!(found(&world.verify()), ["frames"]);
    drop(log);
}

#[tokio::test]
async fn another_checkpoint_is_caught() {
    let world = closed(2).await;
    let (smaller, other) = (closed(1).await, closed(2).await);
    let place = world.directory().join(CHECKPOINT);
    for from in [&smaller, &other] {
        std::fs::copy(from.directory().join(CHECKPOINT), &place).unwrap();
        assert_eq!(found(&world.verify())[0], "checkpoint");
    }
    std::fs::remove_file(&place).unwrap();
    assert_eq!(found(&world.verify()), ["checkpoint", "tree"]);
    std::fs::remove_file(world.directory().join(WAL)).unwrap();
    assert!(matches!(verify_directory(&world.directory(), None, |_, _| {}), Err(VerifyError::NoLog(_))));
}

#[tokio::test]
async fn exchanges_that_do_not_add_up_are_found() {
    let world = World::new();
    let log = world.open().unwrap();
    let (open, orphan, twice) = (ExchangeId::new(NOW), ExchangeId::new(NOW), ExchangeId::new(NOW));
    log.append(log.seal(&decision(open, Verdict::Permit)).unwrap()).await.unwrap();
    log.append(log.seal(&outcome(orphan)).unwrap()).await.unwrap();
    log.append(log.seal(&decision(twice, Verdict::Deny)).unwrap()).await.unwrap();
    log.append(log.seal(&decision(twice, Verdict::Deny)).unwrap()).await.unwrap();
    // As long as the checkpoint does not cover it, an open exchange may be under way.
    let report = world.verify();
    assert_eq!(report.findings.iter().map(|finding| finding.index).collect::<Vec<_>>(), [Some(1), Some(3)]);
    assert!(report.checks.iter().any(|check| check.detail.contains("4 entries lie beyond it, 0 to 3")));
    log.close().await.unwrap();
    let report = world.verify();
    assert_eq!(found(&report), ["pairing"]);
    let indices: Vec<_> = report.findings.iter().filter_map(|finding| finding.index).collect();
    assert_eq!(indices, [1, 3, 0], "{}", report.render());
}

#[tokio::test]
async fn the_key_may_be_given_as_text_or_as_a_file() {
    let world = closed(1).await;
    let file = world.home.path().join("given.pub");
    std::fs::write(&file, world.vkey() + "\n").unwrap();
    let verify = |key: &str| verify_directory(&world.directory(), Some(key), |_, _| {});
    assert!(verify(file.to_str().unwrap()).unwrap().verified);
    assert!(verify(&world.vkey()).unwrap().verified);
    assert_eq!(verify("nowhere.pub").unwrap_err().code(), "verify_key_invalid");
    std::fs::remove_file(world.directory().join(KEY)).unwrap();
    assert!(verify(&world.vkey()).unwrap().verified);
    let keyless = verify_directory(&world.directory(), None, |_, _| {});
    assert_eq!(keyless.unwrap_err().code(), "verify_no_key");
}

#[tokio::test]
async fn progress_reaches_the_end() {
    let world = closed(2).await;
    let mut heard = Vec::new();
    verify_directory(&world.directory(), None, |done, total| heard.push((done, total))).unwrap();
    assert_eq!(heard.last(), Some(&(4, 4)));
    assert!(heard.is_sorted());
}

proptest! {
    /// No file, however odd, makes verifying or reading panic, and none passes for a log with entries.
    #[test]
    fn noise_is_never_a_log(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let home = tempfile::tempdir().unwrap();
        let key = signer().verifier_key(ORIGIN);
        let wal = [&Head::default().bytes()[..], &noise].concat();
        std::fs::write(home.path().join(WAL), wal).unwrap();
        std::fs::write(home.path().join(CHECKPOINT), &noise).unwrap();
        let report = verify_directory(home.path(), Some(&key), |_, _| {}).unwrap();
        prop_assert!(!report.verified);
        let readable = Entries::open(home.path()).map_or(0, |entries| entries.filter(Result::is_ok).count());
        prop_assert_eq!(readable, 0);
    }
}
