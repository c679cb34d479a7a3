//! What the gateway remembers of passes: those verified, until they expire, and those shown where single use is demanded.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::{AuthenticateError, Requester};
use crate::types::{Digest, PartyId, Timestamp};

/// Verified passes kept: at about 600 bytes each, 3 KiB at most, that is 10 to 48 MiB. One evicted early is verified again.
const VERIFIED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// Single-use passes of one partner kept until they expire, a hundred a second for ten minutes; past this a further one
/// is refused, never forgotten.
const SHOWN: usize = 65_536;

/// Passes that verified, by the digest of their text.
#[derive(Debug)]
pub(super) struct VerifiedPasses(Mutex<LruCache<Digest, Arc<Requester>>>);

impl VerifiedPasses {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(VERIFIED)))
    }

    pub(super) fn get(&self, pass: &Digest) -> Option<Arc<Requester>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pass).cloned()
    }

    pub(super) fn put(&self, pass: Digest, requester: Arc<Requester>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(pass, requester);
    }
}

/// Single-use passes that were shown, by issuer and `jti`, with the time until which they could be shown again.
#[derive(Debug, Default)]
pub(super) struct ShownPasses(Mutex<HashMap<PartyId, HashMap<String, Timestamp>>>);

impl ShownPasses {
    /// Notes that a pass is shown now.
    ///
    /// # Errors
    /// [`AuthenticateError::PassUsed`] when it was shown before; [`AuthenticateError::PassMemoryFull`] when it could
    /// not be remembered.
    pub(super) fn show(&self, requester: &Requester, now: Timestamp) -> Result<(), AuthenticateError> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_party = shown.entry(requester.party().clone()).or_default();
        if of_party.contains_key(requester.jti()) {
            return Err(AuthenticateError::PassUsed);
        }
        if of_party.len() >= SHOWN {
            of_party.retain(|_, expires| *expires > now);
        }
        if of_party.len() >= SHOWN {
            return Err(AuthenticateError::PassMemoryFull);
        }
        of_party.insert(requester.jti().to_owned(), requester.expires());
        Ok(())
    }
}
