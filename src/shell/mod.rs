//! Everything outside a request: what an operator writes, runs and reads.

pub mod certs;
pub mod config;
