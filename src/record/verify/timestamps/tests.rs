//! What tokens and anchors are read from; tokens themselves are made by OpenSSL in `tests/story/timestamps.rs`.

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::token::seconds;
use super::*;

fn anchors() -> TimestampAnchors {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    TimestampAnchors::parse(pem.as_bytes()).unwrap()
}

#[test]
fn anchors_are_certificates_and_at_least_one() {
    for bad in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"] {
        assert!(TimestampAnchors::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn times_may_have_a_fraction_and_nothing_else() {
    for good in ["20261122031500Z", "20261122031500.5Z", "20261122031500.123456Z"] {
        assert_eq!(seconds(good), Some(1_795_317_300), "{good}");
    }
    for bad in [
        "20261122031500",
        "20261122031500.Z",
        "20261122031500.5",
        "20261122031500+0100",
        "202611220315Z",
        "20261322031500Z",
        "20261122036100Z",
        "19691231235959Z",
        "2026112203150\u{e9}Z",
        "+0261122031500Z",
    ] {
        assert_eq!(seconds(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_tokens_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(anchors().check(&bytes, b"stamped", None).is_err());
    }
}
