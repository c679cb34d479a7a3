//! stub while wiring
use super::cli::Verdict;
use anyhow::Result;
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct Options {}
#[derive(Debug, Args)]
pub(super) struct DataServiceOptions {}
pub(super) fn demo(_: &Options) -> Result<Verdict> {
    Ok(Verdict::No)
}
pub(super) fn data_service(_: &DataServiceOptions) -> Result<()> {
    Ok(())
}
