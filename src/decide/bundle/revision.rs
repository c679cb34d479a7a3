//! The order of a policy's revisions, so that an older signed bundle cannot be played back.

use std::cmp::Ordering;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Bundle;
use crate::decide::DecideError;
use crate::types::Digest;

/// The longest revision, in bytes: some four times a time with its offset and a counter.
const BYTES: usize = 128;
/// What may stand between two numbers of a revision.
const SEPARATORS: [char; 5] = ['.', '-', '_', ':', '/'];

/// A revision that has a place among others: numbers with separators between them (`2026-11-21.1`, `v1.4.0`, `17`) or a
/// time as RFC 3339 writes it, which counts as its UTC date and time.
///
/// Numbers are compared one by one from the left, and a number that is missing is 0. So a date is older than each of its
/// times and than its own `.1`, and `1.4` is the same revision as `1.4.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(Vec<u64>);

impl Revision {
    /// Reads a revision.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] `bundle_revision_unordered` when nobody could tell whether it is older than another one.
    pub fn parse(text: &str) -> Result<Self, DecideError> {
        let unordered = || DecideError::Bundle {
            code: "bundle_revision_unordered",
            why: format!(
                ".manifest: the revision {:?} has no place before or after others: write numbers that grow, such as 2026-11-21.1, 1.4.0 or 17, or a time such as 2026-11-21T09:00:00Z",
                text.chars().take(BYTES).collect::<String>()
            ),
        };
        if text.len() > BYTES {
            return Err(unordered());
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Self::of_time(time).ok_or_else(unordered);
        }
        let digits = text.strip_prefix('v').unwrap_or(text);
        let number = |digits: &str| {
            // `parse` would take a sign.
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let numbers: Option<Vec<u64>> = digits.split(SEPARATORS).map(number).collect();
        numbers.map(Self::of).ok_or_else(unordered)
    }

    fn of_time(time: OffsetDateTime) -> Option<Self> {
        let time = time.checked_to_offset(time::UtcOffset::UTC)?;
        let (hour, minute, second, nanosecond) = time.time().as_hms_nano();
        let day = [u64::try_from(time.year()).ok()?, u64::from(u8::from(time.month())), u64::from(time.day())];
        let clock = [u64::from(hour), u64::from(minute), u64::from(second), u64::from(nanosecond)];
        Some(Self::of(day.into_iter().chain(clock).collect()))
    }

    /// Without the zeros at its end, so that equal revisions are equal values.
    fn of(mut numbers: Vec<u64>) -> Self {
        let length = numbers.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
        numbers.truncate(length);
        Self(numbers)
    }
}

impl Ord for Revision {
    fn cmp(&self, other: &Self) -> Ordering {
        // No zeros stand at the end, so a longer one with the same beginning is the greater.
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Revision {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What was accepted last from a policy's source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Accepted {
    /// Which policy it is.
    pub id: String,
    /// Its revision.
    pub revision: String,
    /// Its digest, which is that of its source.
    pub digest: Digest,
    /// The digest of its module, which is what decides.
    pub module: Option<Digest>,
}

impl Accepted {
    /// What is remembered of a bundle once it is accepted.
    pub fn of(bundle: &Bundle) -> Self {
        let identity = bundle.identity();
        Self {
            id: identity.id.clone(),
            revision: identity.revision.clone(),
            digest: identity.digest,
            module: bundle.module().map(|module| Digest::of(module)),
        }
    }

    /// Whether a bundle may follow this one: a later revision of the same policy may, and the same one again.
    ///
    /// # Errors
    /// [`DecideError::Bundle`]: `policy_unexpected` for another policy, `bundle_older`, `bundle_revision_reused` for other
    /// content or another module under the same revision, or `bundle_revision_unordered`.
    pub fn followed_by(&self, offered: &Self) -> Result<(), DecideError> {
        if offered.id != self.id {
            return Err(DecideError::Bundle {
                code: "policy_unexpected",
                why: format!(
                    ".manifest: the policy is {}, and {} was accepted from this source: publish it from a source of its own, or let this one's be forgotten",
                    offered.id, self.id
                ),
            });
        }
        let (last, next) = (Revision::parse(&self.revision)?, Revision::parse(&offered.revision)?);
        match next.cmp(&last) {
            Ordering::Greater => Ok(()),
            Ordering::Equal if offered.digest == self.digest && offered.module == self.module => Ok(()),
            Ordering::Equal if offered.digest == self.digest => Err(DecideError::Bundle {
                code: "bundle_revision_reused",
                why: format!(
                    "policy.wasm: revision {} was accepted with another module: give what was compiled anew a later revision",
                    offered.revision
                ),
            }),
            Ordering::Equal => Err(DecideError::Bundle {
                code: "bundle_revision_reused",
                why: format!(
                    ".manifest: revision {} was accepted with other content ({}, now {}): give changed content a later revision",
                    offered.revision, self.digest, offered.digest
                ),
            }),
            Ordering::Less => Err(DecideError::Bundle {
                code: "bundle_older",
                why: format!(
                    ".manifest: revision {} is older than {}, which was accepted already: publish old content again under a later revision",
                    offered.revision, self.revision
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(text: &str) -> Revision {
        Revision::parse(text).unwrap()
    }

    fn bundle(revision: &str, content: &str) -> Accepted {
        let module = Some(Digest::of(format!("compiled {content}").as_bytes()));
        Accepted { id: "t".to_owned(), revision: revision.to_owned(), digest: Digest::of(content.as_bytes()), module }
    }

    #[test]
    fn revisions_are_ordered_as_people_read_them() {
        let ascending = [
            "0",
            "1.4",
            "1.4.1",
            "v1.10.0",
            "2",
            "17",
            "2026-11-21",
            "2026-11-21.1",
            "2026-11-21.2",
            "2026-11-21.10",
            "2026-11-22T00:30:00+09:00",
            "2026-11-21T15:30:00.5Z",
            "2026-11-22",
            "2026-12-01",
            "20261121103000",
        ];
        for (place, one) in ascending.iter().enumerate() {
            for (other_place, other) in ascending.iter().enumerate() {
                assert_eq!(revision(one).cmp(&revision(other)), place.cmp(&other_place), "{one} and {other}");
            }
        }
        assert_eq!(revision("1.4"), revision("v1.4.0.0"));
        assert_eq!(revision("2026-11-21T09:00:00+09:00"), revision("2026-11-21"));
        assert_eq!(revision("0.0"), revision("0"));
    }

    #[test]
    fn what_has_no_order_is_refused() {
        let long = format!("1{}", ".0".repeat(64));
        for text in [
            "",
            "v",
            "9fceb02d0ae598e95dc970b74767f19372d61af8",
            "1.0.0-rc1",
            "1..2",
            ".1",
            "1-",
            "+1",
            "-1",
            "1 2",
            "١",
            "18446744073709551616",
            "2026-11-21T09:00:00",
            &long,
        ] {
            let error = Revision::parse(text).unwrap_err();
            assert_eq!(error.code(), "bundle_revision_unordered", "{text}");
        }
        assert_eq!(revision("18446744073709551615").0, [u64::MAX]);
        assert_eq!(revision(&long[..BYTES - 1]), revision("1"));
    }

    #[test]
    fn only_a_later_revision_or_the_same_bundle_follows() {
        let accepted = bundle("2026-11-21.2", "two");
        let code = |offered: &Accepted| accepted.followed_by(offered).map_err(|error| error.code());
        let follows = |revision: &str, content: &str| code(&bundle(revision, content));
        assert_eq!(follows("2026-11-21.3", "three"), Ok(()));
        assert_eq!(follows("2026-11-21.10", "ten"), Ok(()));
        assert_eq!(follows("2026-11-21.2", "two"), Ok(()));
        assert_eq!(follows("2026-11-21.2", "other"), Err("bundle_revision_reused"));
        assert_eq!(follows("2026-11-21.2.0", "other"), Err("bundle_revision_reused"));
        assert_eq!(follows("2026-11-21.1", "one"), Err("bundle_older"));
        assert_eq!(follows("2026-11-21", "two"), Err("bundle_older"));
        assert_eq!(follows("abc", "two"), Err("bundle_revision_unordered"));
        for module in [None, Some(Digest::of(b"another"))] {
            let same = bundle("2026-11-21.2", "two");
            assert_eq!(code(&Accepted { module, ..same }), Err("bundle_revision_reused"));
            let later = bundle("2026-11-21.3", "two");
            assert_eq!(code(&Accepted { module, ..later }), Ok(()));
        }
        for revision in ["2026-11-21.2", "2026-11-21.3"] {
            let other = Accepted { id: "u".to_owned(), ..bundle(revision, "two") };
            assert_eq!(code(&other), Err("policy_unexpected"));
        }
    }

    #[test]
    fn what_was_accepted_survives_on_disk() {
        let accepted = bundle("17", "x");
        let text = serde_json::to_string(&accepted).unwrap();
        assert_eq!(serde_json::from_str::<Accepted>(&text).unwrap(), accepted);
    }
}
