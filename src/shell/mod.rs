//! Everything outside a request: the command line, configuration, certificates for development, the admin listener.

mod admin;
mod assemble;
pub mod certs;
pub mod cli;
pub mod config;
mod demo;
mod log_buffer;
pub mod replay;
mod serve;
mod state;

pub use serve::{Addresses, Listening, Running};
pub use state::State;
