//! Places for exchanges in progress: so many in all, and no more than a share of them with one partner.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::types::PartyId;

/// The part of all places that exchanges with one partner may take, in either direction: half. One partner that holds on
/// to all it can get leaves as much to the others, and a gateway with a single busy partner still serves it well.
const SHARE: usize = 2;

/// The places of a gateway.
pub(super) struct Places {
    all: Arc<Semaphore>,
    shares: HashMap<PartyId, Arc<Semaphore>>,
}

/// One exchange's place, given back when this is dropped.
pub(super) struct Place {
    _share: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Places {
    /// `all` places, shared by these partners.
    pub(super) fn new<'a>(all: usize, partners: impl Iterator<Item = &'a PartyId>) -> Self {
        let share = all.div_ceil(SHARE);
        let shares = partners.map(|partner| (partner.clone(), Arc::new(Semaphore::new(share)))).collect();
        Self { all: Arc::new(Semaphore::new(all)), shares }
    }

    /// A place for an exchange with `partner`, if one is free.
    pub(super) fn take(&self, partner: &PartyId) -> Option<Place> {
        let share = Arc::clone(self.shares.get(partner)?).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _share: share, _all: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partner_takes_half_and_all_together_no_more_than_there_are() {
        let [one, two, three] =
            ["one.example", "two.example", "three.example"].map(|id| id.parse::<PartyId>().unwrap());
        let places = Places::new(5, [&one, &two].into_iter());
        let take = |partner, most: usize| (0..most).map_while(|_| places.take(partner)).collect::<Vec<_>>();
        let mut ones = take(&one, 9);
        assert_eq!(ones.len(), 3);
        let twos = take(&two, 9);
        assert_eq!(twos.len(), 2);
        assert!(places.take(&three).is_none(), "no partner, no place");
        ones.pop();
        assert_eq!(take(&two, 9).len(), 1);
        drop((ones, twos));
        assert_eq!(take(&one, 9).len(), 3);
    }
}
