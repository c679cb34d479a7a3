//! The real binary, as people and scripts meet it: processes, signals, exit codes, and partners without Sekisho.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "everything here is a test: what does not hold must stop it"
)]

#[path = "../world/mod.rs"]
mod world;

mod approvals;
mod bundles;
mod commands;
mod compiled;
mod confined;
mod crash;
mod demo;
mod erasure;
mod odrl;
mod outside;
mod partners;
mod pass_keys;
mod policies;
mod policy_check;
mod replay;
mod rotation;
mod site;
mod sources;
mod twins;
mod verdicts;
