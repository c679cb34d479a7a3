//! Groups of records that look alike: what stands in a group smaller than k does not leave.
//!
//! Nothing may leave before every group's size is known, so the transformed records wait here, in memory, up to
//! [`super::MAX_GROUPED`] bytes.

use std::collections::HashMap;

use bytes::BytesMut;

use super::{EnforceError, MAX_GROUPED};

/// What the policy demands of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grouping {
    /// The smallest group that may leave.
    pub(super) k: u32,
    /// Whether a smaller group denies the whole payload, rather than being left out.
    pub(super) deny: bool,
}

/// Bytes that a record or a group costs beyond its text: its entry in the lists and the map.
const OVERHEAD: usize = 64;

/// Records that wait for their group's size.
#[derive(Debug)]
pub(super) struct Groups {
    grouping: Grouping,
    /// A head that leaves in any case, then the records one after the other, each with its separator.
    pub(super) waiting: BytesMut,
    head: usize,
    /// End of each record in `waiting`, and its group.
    records: Vec<(usize, usize)>,
    by_key: HashMap<Box<[u8]>, usize>,
    sizes: Vec<u32>,
    /// Bytes of keys, and the overhead of records and groups.
    held: usize,
}

impl Groups {
    pub(super) fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            waiting: BytesMut::new(),
            head: 0,
            records: Vec::new(),
            by_key: HashMap::new(),
            sizes: Vec::new(),
            held: 0,
        }
    }

    /// The first `end` bytes of what waits are the head.
    pub(super) fn end_head(&mut self, end: usize) {
        self.head = end;
    }

    /// Everything that came since the last record, up to `end`, is a record of the group `key`.
    pub(super) fn end_record(&mut self, end: usize, key: &[u8]) -> Result<(), EnforceError> {
        let group = match self.by_key.get(key) {
            Some(&group) => group,
            None => {
                let group = self.sizes.len();
                self.sizes.push(0);
                self.by_key.insert(key.into(), group);
                self.held += key.len() + OVERHEAD;
                group
            }
        };
        self.sizes[group] = self.sizes[group].saturating_add(1);
        self.records.push((end, group));
        self.held += OVERHEAD;
        self.check(end)
    }

    /// Refuses to hold more than [`MAX_GROUPED`], when `waiting` bytes of payload wait.
    pub(super) fn check(&self, waiting: usize) -> Result<(), EnforceError> {
        if waiting + self.held > MAX_GROUPED {
            return Err(EnforceError::TooLarge { action: "k_anonymity", limit: MAX_GROUPED });
        }
        Ok(())
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.waiting.len() + self.held
    }

    /// Leaves in `waiting` the head and the records of large enough groups; returns how many were left out.
    pub(super) fn settle(&mut self) -> Result<u64, EnforceError> {
        let Grouping { k, deny } = self.grouping;
        let small: u64 = self.sizes.iter().filter(|size| **size < k).map(|size| u64::from(*size)).sum();
        if deny && small > 0 {
            return Err(EnforceError::NotAnonymous { k, records: small });
        }
        let (mut from, mut to) = (self.head, self.head);
        for &(end, group) in &self.records {
            if self.sizes[group] >= k {
                self.waiting.copy_within(from..end, to);
                to += end - from;
            }
            from = end;
        }
        self.waiting.truncate(to);
        Ok(small)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(deny: bool) -> Groups {
        let mut groups = Groups::new(Grouping { k: 2, deny });
        groups.waiting.extend_from_slice(b"head;");
        groups.end_head(groups.waiting.len());
        for (record, key) in [("a1;", "a"), ("b1;", "b"), ("a2;", "a"), ("c1;", "c")] {
            groups.waiting.extend_from_slice(record.as_bytes());
            groups.end_record(groups.waiting.len(), key.as_bytes()).unwrap();
        }
        groups
    }

    #[test]
    fn only_large_enough_groups_leave() {
        let mut left = groups(false);
        assert_eq!(left.settle(), Ok(2));
        assert_eq!(&left.waiting[..], b"head;a1;a2;");
    }

    #[test]
    fn or_nothing_leaves() {
        assert_eq!(groups(true).settle(), Err(EnforceError::NotAnonymous { k: 2, records: 2 }));
    }

    #[test]
    fn what_may_wait_is_bounded() {
        let mut groups = Groups::new(Grouping { k: 2, deny: false });
        let record = vec![b'x'; MAX_GROUPED / 4];
        let ends = (0..4).map(|_| {
            groups.waiting.extend_from_slice(&record);
            groups.end_record(groups.waiting.len(), b"").map_err(|error| error.code())
        });
        assert_eq!(ends.collect::<Vec<_>>(), [Ok(()), Ok(()), Ok(()), Err("obligation_limit")]);
    }
}
