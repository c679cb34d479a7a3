//! No byte of a signed archive can be changed so that another policy passes.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::signature::{NOW, ed25519, signed};
use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Everything that a policy is.
fn content(bundle: &Bundle) -> impl PartialEq + std::fmt::Debug {
    (
        bundle.identity().clone(),
        bundle.sources().to_vec(),
        bundle.data().clone(),
        bundle.cases().to_vec(),
        bundle.module().cloned(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_changed_byte_never_makes_another_policy(place in any::<prop::sample::Index>(), change in 1..=255u8, inside in any::<bool>()) {
        // Keys are made once; each case would else sign anew.
        static SIGNED: std::sync::LazyLock<(Vec<u8>, BundleKeys)> = std::sync::LazyLock::new(|| {
            let regulator = ed25519("regulator");
            (signed(&regulator, "1").pack().unwrap(), regulator.keys())
        });
        let (packed, keys) = &*SIGNED;
        let verification = Verification { trust: Trust::Keys(keys), now: NOW, last: None };
        let original = Bundle::verified(packed, &verification).unwrap();
        let mutated = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            bytes
        };
        // Of the tarball, so that the checksum of gzip is in nobody's way; and of the archive as it is fetched.
        let bytes = if inside {
            let mut tarball = Vec::new();
            GzDecoder::new(&packed[..]).read_to_end(&mut tarball).unwrap();
            gzip(&mutated(&tarball))
        } else {
            mutated(packed)
        };
        if let Ok(bundle) = Bundle::verified(&bytes, &verification) {
            prop_assert_eq!(content(&bundle), content(&original));
        }
    }
}
