//! Certificates and keys for development: a party's own authority and everything it vouches for, made in memory.
//!
//! `certs/README.md` at the root of the package says what production needs instead. Whatever is made here is as good as
//! any other authority's work, except that the authority's key lies beside what it signs.

mod authority;
mod identity;
mod key;

#[cfg(test)]
mod tests;

pub use authority::{Authority, Leaf};
pub use identity::{DevOptions, Identity, dev, write_party};
pub use key::{ed25519_key_pem, ed25519_public_key, jwks, pseudonym_key_hex, thumbprint};
