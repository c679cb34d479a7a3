//! `sekisho log export`: a part of a log in one file that verifies offline.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::remote::{self, TlsOptions};
use crate::record::extract::{Extract, Selection, export as write_bundle};
use crate::shell::cli::Verdict;
use crate::types::{ExchangeId, PartyId, Timestamp};

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// The log's directory or address
    log: String,
    /// From this day or time on, such as 2026-11-21 or 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Before this day or time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only exchanges with this party
    #[arg(long)]
    party: Option<PartyId>,
    /// Only this exchange
    #[arg(long, value_name = "ID")]
    exchange: Option<ExchangeId>,
    /// Where it is written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    tls: TlsOptions,
}

pub(in crate::shell::cli) fn export(options: &Options) -> Result<Verdict> {
    let source = remote::open(&options.log, &options.tls)?;
    let log = Extract::open(&*source, 0).with_context(|| format!("reading {}", options.log))?;
    let selection = Selection {
        from: options.from,
        until: options.until,
        party: options.party.clone(),
        exchange: options.exchange,
    };
    let file = File::create(&options.out).with_context(|| options.out.display().to_string())?;
    let mut out = BufWriter::new(file);
    let written = write_bundle(&log, &selection, &mut out)?;
    out.flush()?;
    eprintln!("{} of {} entries", written.entries, written.of);
    Ok(if written.entries > 0 { Verdict::Yes } else { Verdict::No })
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc());
    let at = day.or_else(|_| OffsetDateTime::parse(text, &Rfc3339)).map_err(|_| "expected 2026-11-21 or RFC 3339")?;
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).map_err(|_| "before 1970")?;
    Ok(Timestamp::from_millis(millis))
}
