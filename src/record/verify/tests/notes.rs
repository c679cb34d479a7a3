//! Keys and signatures under notes, against the published example and against our own cosignatures.

use super::super::notes::*;
use super::*;

/// The example of C2SP's signed-note.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

#[test]
fn the_published_note_is_signed_by_its_key_alone() {
    let key = NoteKey::parse(VKEY).unwrap();
    assert_eq!((key.role, key.name.as_str()), (Role::Log, "example.com/foo"));
    let note = Note::parse(NOTE).unwrap();
    assert_eq!(signed_by(&note, &key), Signed::Yes(None));
    let changed = NOTE.replace("example message", "exemple message");
    assert_eq!(signed_by(&Note::parse(&changed).unwrap(), &key), Signed::Forged);
    let (_, other) = super::key(9, "example.com/foo", Role::Log);
    assert_eq!(signed_by(&note, &NoteKey::parse(&other).unwrap()), Signed::No);
    // Another id, another type, another name: none is this key.
    for bad in [VKEY.replace("530d903a", "530d903b"), VKEY.replace("+Ae", "+Be"), VKEY.replace("foo", "fop")] {
        assert_eq!(NoteKey::parse(&bad), None, "{bad}");
    }
}

#[test]
fn a_cosignature_says_when_and_holds_for_its_text_alone() {
    let (pair, vkey) = key(1, "witness.example/w1", Role::Witness);
    let witness = NoteKey::parse(&vkey).unwrap();
    let text = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let line = cosign(&pair, &vkey, text, 1_795_219_200);
    let signed = |text: &str, lines: &str| signed_by(&Note::parse(&format!("{text}\n{lines}")).unwrap(), &witness);
    assert_eq!(signed(text, &line), Signed::Yes(Some(1_795_219_200)));
    assert_eq!(signed(&text.replace("\n0\n", "\n1\n"), &line), Signed::Forged);
    // Twice is once, with the later time; and one that is forged spoils it.
    let later = cosign(&pair, &vkey, text, 1_795_219_300);
    assert_eq!(signed(text, &(later.clone() + &line)), Signed::Yes(Some(1_795_219_300)));
    assert_eq!(signed(text, &(later + &cosign(&pair, &vkey, "else\n", 5))), Signed::Forged);
    // The time is part of what was signed.
    let mut bytes = STANDARD.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
    bytes[11] ^= 1;
    let forged = format!("\u{2014} {} {}\n", witness.name, STANDARD.encode(bytes));
    assert_eq!(signed(text, &forged), Signed::Forged);
    // What a log signs under this name is no cosignature: the key's id tells.
    assert_eq!(signed(text, &sign(&pair, &key(1, "witness.example/w1", Role::Log).1, text)), Signed::No);
}
