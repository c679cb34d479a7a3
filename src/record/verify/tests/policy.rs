//! Policy files: what the format allows, what it does not, and what a quorum takes.

use proptest::prelude::*;

use super::super::policy::*;
use super::*;

const TEXT: &str = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

/// The example of the format's own page, with two groups of three.
fn example() -> String {
    let mut file = format!("# a comment\n\n \t log {}\thttps://log.example/ \n", key(0, "log.example", Role::Log).1);
    for seed in 1..=6 {
        let name = if seed < 4 { format!("X{seed}") } else { format!("Y{}", seed - 3) };
        file += &format!("witness {name} {}\n", key(seed, &format!("w.example/{seed}"), Role::Witness).1);
    }
    file + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn judged(policy: &Policy, by: &[u8]) -> Witnessed {
    let (log, vkey) = key(0, "log.example", Role::Log);
    let mut note = format!("{TEXT}\n{}", sign(&log, &vkey, TEXT));
    for seed in by {
        let (pair, vkey) = key(*seed, &format!("w.example/{seed}"), Role::Witness);
        note += &cosign(&pair, &vkey, TEXT, 1000 + u64::from(*seed));
    }
    policy.judge(&Note::parse(&note).unwrap(), &policy.logs()[0])
}

#[test]
fn a_quorum_of_groups_is_met_by_enough_of_each() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses()), (1, 6));
    let cases: [(&[u8], bool); 8] = [
        (&[], false),
        (&[1, 2], false),
        (&[4, 5, 6], false),
        (&[1, 4], false),
        (&[1, 3, 6], true),
        (&[1, 1, 6], false),
        (&[1, 2, 3, 4, 5, 6], true),
        (&[7, 8, 9], false),
    ];
    for (by, met) in cases {
        assert_eq!(judged(&policy, by).quorum, met, "{by:?}");
    }
    let witnessed = judged(&policy, &[3, 6, 9]);
    assert_eq!(witnessed.by, [("X3".to_owned(), 1003), ("Y3".to_owned(), 1006)]);
    assert_eq!(witnessed.unknown, 1);
}

#[test]
fn a_policy_may_ask_for_nobody_and_says_so() {
    let policy = Policy::parse(b"quorum none").unwrap();
    assert!(policy.logs().is_empty());
    let log = NoteKey::parse(&key(0, "log.example", Role::Log).1).unwrap();
    let note = format!("{TEXT}\n\u{2014} somebody AAAAAAAA\n");
    let witnessed = policy.judge(&Note::parse(&note).unwrap(), &log);
    assert!(witnessed.quorum && witnessed.unknown == 1);
}

#[test]
fn what_the_format_does_not_allow_is_refused_with_its_line() {
    let (one, two) = (key(1, "w.example/1", Role::Witness).1, key(2, "w.example/2", Role::Witness).1);
    let (log, renamed) = (key(0, "log.example", Role::Log).1, key(1, "other.example", Role::Witness).1);
    let cases = [
        (String::new(), 1, "no quorum"),
        (format!("log {log}\n"), 2, "no quorum"),
        ("quorum none\nquorum none".into(), 2, "already"),
        ("quorum X".into(), 1, "no line before"),
        (format!("log {one}\n"), 1, "no Ed25519 key of a log"),
        (format!("witness A {log}\n"), 1, "no Ed25519 key of a witness"),
        (format!("log {log}\nlog {log}\n"), 2, "already"),
        (format!("witness A {one}\nwitness B {renamed}\n"), 2, "already"),
        (format!("witness A {one}\nwitness A {two}\n"), 2, "taken"),
        (format!("witness none {one}\n"), 1, "no name"),
        (format!("witness A {one}\ngroup G all\nquorum G"), 2, "threshold"),
        (format!("witness A {one}\ngroup G 2 A\nquorum G"), 2, "threshold"),
        (format!("witness A {one}\ngroup G 0 A\nquorum G"), 2, "threshold"),
        (format!("witness A {one}\ngroup G +1 A\nquorum G"), 2, "threshold"),
        (format!("witness A {one}\ngroup G some A\nquorum G"), 2, "threshold"),
        (format!("witness A {one}\ngroup G any A A\nquorum G"), 2, "twice"),
        (format!("witness A {one}\ngroup G any none\nquorum G"), 2, "no line before"),
        (format!("witness A {one}\ngroup G any G\nquorum G"), 2, "no line before"),
        ("quorum none\r\n".into(), 1, "control"),
        ("quorums none\n".into(), 1, "not a log"),
        ("quorum none\u{a0}\n".into(), 1, "no line before"),
    ];
    for (file, line, what) in cases {
        let error = Policy::parse(file.as_bytes()).unwrap_err();
        assert_eq!(error.line, line, "{file:?}");
        assert!(error.what.contains(what), "{file:?}: {error}");
    }
    let many: String = (0..2000)
        .map(|n| format!("group G{n} any {}\n", if n == 0 { "A".into() } else { format!("G{}", n - 1) }))
        .collect();
    assert!(Policy::parse(format!("witness A {one}\n{many}").as_bytes()).unwrap_err().what.contains("too many"));
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(noise in prop::collection::vec(any::<u8>(), 0..300), place in any::<prop::sample::Index>()) {
        let _ = Policy::parse(&noise);
        let mut file = example().into_bytes();
        let at = place.index(file.len());
        file.splice(at..at, noise);
        let _ = Policy::parse(&file);
    }
}
