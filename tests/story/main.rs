//! The story of the gateway, line by line: each exchange with its answer and with what the record says of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "everything here is a test: what does not hold must stop it"
)]

#[path = "../world/mod.rs"]
mod world;

mod forgotten;
mod gates;
mod health;
mod hostile;
mod impostor;
mod key_ends;
mod odrl;
mod open_data;
mod passes;
mod people;
mod push;
mod receipts;
mod refusals;
mod replay;
mod review;
mod signed;
mod sources;
mod stalls;
mod streams;
mod timestamps;
mod trade_secret;
mod witnesses;
mod witnessing;
