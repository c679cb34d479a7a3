//! Agreements in ODRL.
