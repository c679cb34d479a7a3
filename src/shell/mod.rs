//! Everything outside a request: the command line, configuration, certificates for development, the admin listener.

mod admin;
mod assemble;
pub mod certs;
pub mod cli;
mod client;
pub mod config;
pub mod confined;
mod demo;
mod log_buffer;
mod peer;
pub mod policies;
mod receipts;
pub mod replay;
mod serve;
mod state;
pub mod timestamps;
pub mod trial;
pub mod witnesses;

pub use serve::{Addresses, Listening, Running};
pub use state::State;
