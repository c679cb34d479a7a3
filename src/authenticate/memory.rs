//! What the gateway remembers of passes: those verified, until they expire, and those shown where single use is demanded.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::{AuthenticateError, Requester};
use crate::types::{Digest, PartyId, Timestamp};

/// Verified passes kept: at about 600 bytes each, under 10 MiB. One evicted early is verified again.
const VERIFIED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// Single-use passes kept until they expire; past this a further one is refused, never forgotten.
const SHOWN: usize = 262_144;

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
#[derive(Debug)]
pub(super) struct ShownPasses {
    shown: Mutex<HashMap<(PartyId, String), Timestamp>>,
    most: usize,
}

impl ShownPasses {
    pub(super) fn new() -> Self {
        Self { shown: Mutex::default(), most: SHOWN }
    }

    /// Notes that a pass is shown now.
    ///
    /// # Errors
    /// [`AuthenticateError::PassUsed`] when it was shown before; [`AuthenticateError::PassMemoryFull`] when it could
    /// not be remembered.
    pub(super) fn show(&self, requester: &Requester, now: Timestamp) -> Result<(), AuthenticateError> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (requester.party().clone(), requester.jti().to_owned());
        if shown.contains_key(&key) {
            return Err(AuthenticateError::PassUsed);
        }
        if shown.len() >= self.most {
            shown.retain(|_, expires| *expires > now);
        }
        if shown.len() >= self.most {
            return Err(AuthenticateError::PassMemoryFull);
        }
        shown.insert(key, requester.expires());
        Ok(())
    }
}
