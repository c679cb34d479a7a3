//! Finds the word somebody probably meant.

/// The candidate nearest to `word` when it is near enough to be a slip of the keyboard.
pub(super) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let most = (word.len() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The candidate that `word` can only be a misspelling of: stricter than [`nearest`], for places where any word is
/// allowed.
pub(super) fn misspelt<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let most = match word.len() {
        0..=3 => return None,
        4..=7 => 1,
        _ => 2,
    };
    candidates.iter().find(|candidate| (1..=most).contains(&distance(word, candidate))).copied()
}

/// Edits from one word to the other: insertions, deletions, substitutions and swaps of neighbours, in bytes.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    // Three rows of the table are enough: a swap looks two rows back.
    let mut before = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1; right.len() + 1];
        for (j, b) in right.iter().enumerate() {
            let substituted = above[j] + usize::from(a != b);
            row[j + 1] = substituted.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["certificate", "key", "drain", "directory"];
        for (word, expected) in [
            ("certifcate", Some("certificate")),
            ("drian", Some("drain")),
            ("keys", Some("key")),
            ("directoy", Some("directory")),
            ("timeout", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &keys), expected, "{word}");
        }
        assert_eq!(misspelt("certificate", &keys), None);
        assert_eq!(misspelt("certifciate", &keys), Some("certificate"));
        assert_eq!(misspelt("kei", &keys), None);
    }
}
