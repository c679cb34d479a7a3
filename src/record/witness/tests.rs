//! The witness by its protocol: every status, what it remembers, and what it keeps against a log.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::record::Signer;
use crate::record::merkle::{leaf_hash, node_hash};
use crate::record::note::{Checkpoint, Note};
use crate::record::proof;
use crate::types::{ManualClock, Timestamp};

const ORIGIN: &str = "kansai.example/log";

fn signer() -> Signer {
    Signer::from_pkcs8(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_der()).unwrap()
}

/// A log in memory: its leaves, and the key that signs it.
struct Tree {
    signer: Signer,
    leaves: Vec<[u8; 32]>,
}

impl Tree {
    fn new(leaves: u64) -> Self {
        Self { signer: signer(), leaves: (0..leaves).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect() }
    }

    fn node(&self, level: u8, index: u64) -> [u8; 32] {
        match level.checked_sub(1) {
            None => self.leaves[usize::try_from(index).unwrap()],
            Some(below) => node_hash(&self.node(below, 2 * index), &self.node(below, 2 * index + 1)),
        }
    }

    fn root(&self, size: u64) -> [u8; 32] {
        proof::root(size, |level, index| Ok(self.node(level, index))).unwrap()
    }

    fn proof(&self, old: u64, new: u64) -> Vec<[u8; 32]> {
        proof::consistency(old, new, |level, index| Ok(self.node(level, index))).unwrap()
    }

    fn note(&self, size: u64) -> String {
        self.signer.note(&Checkpoint { origin: ORIGIN.into(), size, root: self.root(size) }).unwrap()
    }

    fn submit(&self, old: u64, new: u64) -> Vec<u8> {
        submission(old, &self.proof(old, new), &self.note(new)).into_bytes()
    }

    fn key(&self) -> LogKey {
        LogKey::parse(&self.signer.verifier_key(ORIGIN)).unwrap()
    }
}

struct Stand {
    directory: tempfile::TempDir,
    key: Vec<u8>,
    clock: Arc<ManualClock>,
}

impl Stand {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_der();
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_251_600)));
        Self { directory: tempfile::tempdir().unwrap(), key, clock }
    }

    fn open(&self, tree: &Tree) -> Witness {
        let cosigner = Cosigner::from_pkcs8("wessex.example/witness", &self.key).unwrap();
        Witness::open(self.directory.path(), cosigner, [tree.key()], self.clock.clone()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(format!("{}.checkpoint", Digest::of(ORIGIN.as_bytes()).hex()))
    }
}

#[test]
fn a_log_that_grows_is_cosigned_and_a_restart_remembers() {
    let (stand, tree) = (Stand::new(), Tree::new(600));
    let witness = stand.open(&tree);
    let key = CosignerKey::parse(&witness.cosigner().verifier_key()).unwrap();
    for (old, new) in [(0, 0), (0, 3), (3, 4), (4, 4), (4, 257), (257, 512)] {
        let lines = witness.add_checkpoint(&tree.submit(old, new)).unwrap();
        let good = Cosignatures::read(&tree.note(new), &lines, std::slice::from_ref(&key)).unwrap();
        let under = good.under(&tree.note(new));
        assert_eq!(Note::parse(&under).unwrap().signatures.len(), 2);
        assert_eq!(
            Cosignatures::read(&tree.note(new + 1), &lines, std::slice::from_ref(&key)),
            Err(WitnessError::Unsigned)
        );
        let hash = Digest::of(ORIGIN.as_bytes()).hex();
        assert_eq!(witness.latest(&hash).as_deref(), Some(under.as_str()), "what is monitored is what was signed");
    }
    drop(witness);
    let witness = stand.open(&tree);
    assert_eq!(witness.logs(), [WitnessedLog { origin: ORIGIN.into(), size: Some(512), evidence: 0 }]);
    assert_eq!(witness.add_checkpoint(&tree.submit(257, 600)), Err(WitnessError::OtherSize(512)));
    assert!(witness.add_checkpoint(&tree.submit(512, 600)).is_ok());
    assert_eq!(witness.refused(), 1);
}

#[test]
fn every_status_of_the_protocol() {
    let (stand, tree) = (Stand::new(), Tree::new(20));
    let witness = stand.open(&tree);
    let add = |body: &[u8]| witness.add_checkpoint(body).unwrap_err();
    witness.add_checkpoint(&tree.submit(0, 7)).unwrap();
    // 404: an origin that nobody configured.
    let other = tree.signer.note(&Checkpoint { origin: "other.example/log".into(), size: 7, root: [1; 32] }).unwrap();
    assert_eq!(add(submission(0, &[], &other).as_bytes()), WitnessError::UnknownOrigin);
    // 403: no signature of a known key, or one in its name that is wrong.
    let stranger = Tree { signer: signer(), leaves: tree.leaves.clone() };
    assert_eq!(add(&stranger.submit(7, 9)), WitnessError::Unsigned);
    let (good, bad) = (tree.note(9), tree.note(10));
    let swapped = format!("{}\n\n{}", good.split_once("\n\n").unwrap().0, bad.split_once("\n\n").unwrap().1);
    assert_eq!(add(submission(7, &tree.proof(7, 9), &swapped).as_bytes()), WitnessError::Unsigned);
    let both = format!("{good}{}", bad.split_once("\n\n").unwrap().1);
    assert_eq!(add(submission(7, &tree.proof(7, 9), &both).as_bytes()), WitnessError::Unsigned);
    // 400: the old size is beyond the checkpoint.
    assert!(matches!(add(submission(10, &[], &good).as_bytes()), WitnessError::Malformed(_)));
    // 409: not the size that was cosigned last, larger or smaller.
    for old in [0, 6, 8] {
        assert_eq!(add(submission(old, &[], &good).as_bytes()), WitnessError::OtherSize(7));
    }
    // 422: a proof that does not fit, is missing, or stands where none belongs.
    let proof = tree.proof(7, 9);
    for proof in [vec![], proof[1..].to_vec(), [proof.clone(), vec![[0; 32]]].concat(), vec![[7; 32]; 63]] {
        assert_eq!(add(submission(7, &proof, &good).as_bytes()), WitnessError::Inconsistent);
    }
    assert_eq!(add(submission(7, &[[0; 32]], &tree.note(7)).as_bytes()), WitnessError::Inconsistent);
    assert!(witness.add_checkpoint(&tree.submit(7, 9)).is_ok(), "after all that the log goes on");
}

#[test]
fn nothing_is_proven_from_or_for_an_empty_tree() {
    let (stand, tree) = (Stand::new(), Tree::new(4));
    let witness = stand.open(&tree);
    let wrong = tree.signer.note(&Checkpoint { origin: ORIGIN.into(), size: 0, root: [9; 32] }).unwrap();
    assert_eq!(witness.add_checkpoint(submission(0, &[], &wrong).as_bytes()), Err(WitnessError::Inconsistent));
    let needless = submission(0, &[[9; 32]], &tree.note(4));
    assert_eq!(witness.add_checkpoint(needless.as_bytes()), Err(WitnessError::Inconsistent));
    assert!(witness.evidence().is_empty(), "that proves nothing against anybody");
    assert!(witness.add_checkpoint(&tree.submit(0, 4)).is_ok());
}

#[test]
fn a_fork_is_kept_once_with_what_it_contradicts() {
    let (stand, tree) = (Stand::new(), Tree::new(20));
    let fork =
        Tree { signer: tree.signer.clone(), leaves: (0..20).map(|leaf: u32| leaf_hash(&leaf.to_le_bytes())).collect() };
    let witness = stand.open(&tree);
    witness.add_checkpoint(&tree.submit(0, 8)).unwrap();
    for _ in 0..2 {
        assert_eq!(witness.add_checkpoint(&fork.submit(8, 8)), Err(WitnessError::Inconsistent));
        assert_eq!(witness.add_checkpoint(&fork.submit(8, 11)), Err(WitnessError::Inconsistent));
        // Also where the old size is one that was never cosigned: the two checkpoints speak for themselves.
        assert_eq!(witness.add_checkpoint(&fork.submit(3, 8)), Err(WitnessError::OtherSize(8)));
    }
    let evidence = witness.evidence();
    let told: Vec<_> = evidence.iter().map(|evidence| (evidence.finding, evidence.old)).collect();
    assert_eq!(told, [(Finding::Fork, 8), (Finding::Unproven, 8)]);
    assert_eq!(evidence[0].offered, fork.note(8));
    assert!(evidence[0].held.starts_with(&tree.note(8)));
    drop(witness);
    assert_eq!(stand.open(&tree).evidence(), evidence, "it outlives a restart");
}

#[test]
fn evidence_does_not_fill_the_disk() {
    let (stand, tree) = (Stand::new(), Tree::new(40));
    let witness = stand.open(&tree);
    witness.add_checkpoint(&tree.submit(0, 8)).unwrap();
    for size in 9..40 {
        // Anybody can send a good checkpoint with a bad proof; that leaves room for what proves something.
        let refused = witness.add_checkpoint(submission(8, &[], &tree.note(size)).as_bytes());
        assert_eq!(refused, Err(WitnessError::Inconsistent));
    }
    assert_eq!(witness.evidence().len(), MOST_EVIDENCE);
    let fork = tree.signer.note(&Checkpoint { origin: ORIGIN.into(), size: 8, root: [1; 32] }).unwrap();
    assert_eq!(witness.add_checkpoint(submission(8, &[], &fork).as_bytes()), Err(WitnessError::Inconsistent));
    assert_eq!(witness.evidence().iter().filter(|evidence| evidence.finding == Finding::Fork).count(), 1);
}

#[test]
fn what_cannot_be_kept_is_not_cosigned() {
    let (stand, tree) = (Stand::new(), Tree::new(20));
    let witness = stand.open(&tree);
    witness.add_checkpoint(&tree.submit(0, 8)).unwrap();
    // A directory stands where the next one would be drafted.
    std::fs::create_dir(stand.file().with_extension("new")).unwrap();
    for _ in 0..2 {
        assert_eq!(witness.add_checkpoint(&tree.submit(8, 9)).unwrap_err().code(), "witness_unavailable");
        std::fs::remove_dir(stand.file().with_extension("new")).ok();
    }
    drop(witness);
    let witness = stand.open(&tree);
    assert!(witness.add_checkpoint(&tree.submit(8, 9)).is_ok(), "the next start finds out what the disk holds");
}

#[test]
fn a_witness_that_cannot_read_what_it_signed_does_not_open() {
    let (stand, tree) = (Stand::new(), Tree::new(20));
    stand.open(&tree).add_checkpoint(&tree.submit(0, 8)).unwrap();
    let whole = std::fs::read(stand.file()).unwrap();
    let text = whole.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let cosigner = || Cosigner::from_pkcs8("wessex.example/witness", &stand.key).unwrap();
    let open = || Witness::open(stand.directory.path(), cosigner(), [tree.key()], stand.clock.clone());
    for cut in 0..=text + 1 {
        std::fs::write(stand.file(), &whole[..cut]).unwrap();
        assert_eq!(open().err().map(|error| error.code()), Some("log_corrupt"), "cut at {cut}");
    }
    std::fs::write(stand.file(), String::from_utf8(whole).unwrap().replace("kansai", "kansas")).unwrap();
    assert_eq!(open().err().map(|error| error.code()), Some("log_corrupt"));
}

#[test]
fn two_submissions_at_once_never_roll_back() {
    let (stand, tree) = (Stand::new(), Tree::new(64));
    let witness = stand.open(&tree);
    witness.add_checkpoint(&tree.submit(0, 1)).unwrap();
    let signed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (2..64)
            .map(|size| {
                scope.spawn({
                    let (witness, tree) = (&witness, &tree);
                    move || usize::from(witness.add_checkpoint(&tree.submit(1, size)).is_ok())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(signed, 1, "all started at one size, and only one of them may be first");
    assert!(witness.logs()[0].size > Some(1));
}

#[test]
fn consistency_is_what_the_prover_says_for_every_pair_of_small_trees() {
    let tree = Tree::new(70);
    for new in 0..=70 {
        for old in 0..=new {
            let (proof, roots) = (tree.proof(old, new), (tree.root(old), tree.root(new)));
            assert!(consistency::continues(old, new, &roots.0, &roots.1, &proof), "{old} to {new}");
            if old > 0 && old < new {
                for wrong in 0..proof.len() {
                    let mut bent = proof.clone();
                    bent[wrong][0] ^= 1;
                    assert!(!consistency::continues(old, new, &roots.0, &roots.1, &bent), "{old} to {new}");
                }
                assert!(!consistency::continues(old, new, &roots.1, &roots.1, &proof));
                assert!(!consistency::continues(old, new, &roots.0, &roots.0, &proof));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_makes_the_parser_fail(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Submission::parse(&body);
    }

    #[test]
    fn no_change_of_a_good_request_is_cosigned_unless_it_says_the_same(at in 0_usize..400, byte in any::<u8>()) {
        let (stand, tree) = (Stand::new(), Tree::new(12));
        let witness = stand.open(&tree);
        witness.add_checkpoint(&tree.submit(0, 5)).unwrap();
        let good = tree.submit(5, 12);
        let mut bad = good.clone();
        let at = at % bad.len();
        bad[at] = byte;
        prop_assert_eq!(witness.add_checkpoint(&bad).is_ok(), bad == good);
    }

    #[test]
    fn proofs_of_any_shape_are_judged(old in 0_u64..300, new in any::<u64>(), count in 0_usize..64) {
        // A root that nothing hashes to: whatever the sizes, no proof leads there.
        let proof = vec![[3; 32]; count];
        let same = old == new && count == 0;
        let empty = old == 0 && count == 0;
        prop_assert_eq!(consistency::continues(old, new, &[1; 32], &[2; 32], &proof), empty && !same);
    }
}

#[test]
fn requests_have_one_spelling() {
    let tree = Tree::new(9);
    let good = String::from_utf8(tree.submit(5, 9)).unwrap();
    assert!(Submission::parse(good.as_bytes()).is_ok());
    let line = good.lines().nth(1).unwrap().to_owned();
    for (from, to) in [
        ("old 5\n", "old 05\n"),
        ("old 5\n", "old +5\n"),
        ("old 5\n", "old  5\n"),
        ("old 5\n", "old 5\r\n"),
        ("old 5\n", "Old 5\n"),
        ("old 5\n", "old 18446744073709551616\n"),
        ("old 5\n", ""),
        (line.as_str(), "AAAA"),
        (line.as_str(), "not base64"),
        ("\n\n", "\n"),
    ] {
        assert_ne!(good, good.replacen(from, to, 1), "{from:?}");
        assert!(Submission::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{from:?} as {to:?}");
    }
    let long = |lines: usize| submission(5, &vec![[0; 32]; lines], &tree.note(9));
    assert!(Submission::parse(long(63).as_bytes()).is_ok());
    assert!(Submission::parse(long(64).as_bytes()).is_err());
    let huge = good + &"\u{2014} a AAAAAAAA\n".repeat(SUBMISSION_BYTES);
    assert!(matches!(Submission::parse(huge.as_bytes()), Err(WitnessError::Malformed("it is too large"))));
}
