//! The configuration file: read once, checked whole, every problem told at once with its line.
//!
//! [`parse`] judges the text alone and is pure. [`resolve`] then reads every file that the text names, once, and checks
//! that each is what it should be; nothing is read again later. [`load`] does both for a path, and is what `check` and
//! `serve` share. `reference.toml` beside this file shows every key.

mod bundle_url;
mod environment;
mod file;
mod model;
mod name;
mod nearest;
mod odrl;
mod policy;
mod problem;
mod reader;
mod registry;
mod resolve;
mod tables;
mod timestamps;
mod value;
mod witness;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;

use toml::de::DeTable;

pub use bundle_url::BundleUrl;
pub use environment::{LISTEN_ADMIN, LISTEN_LOCAL, LISTEN_PARTNER, RECORD_DIRECTORY};
pub use file::{FileRef, read_secret};
pub use model::{
    Accept, Admin, Agreement, Config, Dataset, Inputs, Limits, Listen, Partner, Party, Passes, Pseudonyms, Receipts,
    Record, State, Subjects, Tls,
};
pub use name::{Endpoint, SanName, Upstream};
pub use odrl::agreement_registry;
pub use policy::{Policy, PolicyKey, PolicyOwner, PolicyPlace, PolicySource, is_source_id};
pub use problem::Problem;
pub use resolve::{PartnerFiles, Resolved, Secret, SourceFiles, SourceTrust, resolve};
pub use timestamps::{AuthorityUrl, Timestamps};
pub use witness::Witness;

use environment::Overrides;
use reader::{Reader, Section};

/// A complete example: every key, its unit and its default. It has no problems.
pub const REFERENCE: &str = include_str!("reference.toml");

/// Reads a configuration from its text; `file` is what problems call it. Touches neither files nor the environment.
///
/// # Errors
/// Every problem found, in the order of lines. A text that is not TOML is told as such and judged no further.
pub fn parse(text: &str, file: &str) -> Result<Config, Vec<Problem>> {
    parse_with(text, file, [])
}

/// As [`parse`], with environment variables; only the four named in this module are looked at.
///
/// # Errors
/// As [`parse`]; what is wrong with a variable has `environment` in the place of the file. A variable that starts like
/// one of ours and is none is a problem too.
pub fn parse_with(
    text: &str,
    file: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Vec<Problem>> {
    let (overrides, environment) = Overrides::read(variables);
    let mut read = read(text, file, &overrides);
    read.problems.extend(environment);
    match read.config {
        Some(config) if read.problems.is_empty() => Ok(config),
        _ => Err(read.problems),
    }
}

/// Reads the configuration file at `path` and every file it names.
///
/// # Errors
/// Every problem found, in the text, in the files that it names and in the environment, in the order of lines.
pub fn load(path: &Path, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Resolved, Vec<Problem>> {
    let name = path.display().to_string();
    let whole =
        |what: String, fix: &str| vec![Problem { file: name.as_str().into(), line: 0, what, fix: fix.to_owned() }];
    let bytes = std::fs::read(path).map_err(|error| {
        whole(format!("cannot be read: {error}"), "name a configuration file that the gateway's user may read")
    })?;
    let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8".to_owned(), "save it as UTF-8"))?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));

    let (overrides, environment) = Overrides::read(variables);
    let mut read = read(&text, &name, &overrides);
    read.problems.extend(environment);
    match read.config {
        Some(config) if read.problems.is_empty() => resolve(config, directory),
        _ => {
            read.problems.extend(resolve::problems(&read.files, directory));
            problem::sort(&mut read.problems);
            Err(read.problems)
        }
    }
}

/// What a text yields: a configuration unless something required is missing or wrong, and what was noticed on the way.
struct Read {
    config: Option<Config>,
    problems: Vec<Problem>,
    files: Vec<FileRef>,
}

fn read(text: &str, file: &str, overrides: &Overrides) -> Read {
    let reader = Reader::new(text, file);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(0, |span| reader.line(span.start));
        reader.report(line, format!("not TOML: {}", error.message()), "correct the syntax (https://toml.io)");
    }
    let config = if errors.is_empty() { tables(&reader, document.get_ref(), overrides) } else { None };
    let (problems, files) = reader.finish();
    Read { config, problems, files }
}

fn tables<'a>(reader: &'a Reader, document: &'a DeTable<'a>, overrides: &Overrides) -> Option<Config> {
    let mut root = Section::root(reader, document);
    let (us, party) = registry::party(&mut root);
    let listen = tables::listen(&mut root, overrides);
    let tls = tables::tls(&mut root);
    let admin = tables::admin(&mut root, listen.as_ref().is_some_and(|listen| listen.admin.is_some()));
    let passes = tables::passes(&mut root);
    let record = tables::record(&mut root, overrides, us.as_ref());
    let policy = policy::policy(&mut root, listen.as_ref());
    let pseudonyms = tables::pseudonyms(&mut root);
    let state = tables::state(&mut root);
    let inputs = tables::inputs(&mut root);
    let subjects = tables::subjects(&mut root);
    let receipts = tables::receipts(&mut root);
    let timestamps = timestamps::timestamps(&mut root);
    let limits = tables::limits(&mut root);
    let (seen, partners) = registry::partners(&mut root, us.as_ref());
    let witness = witness::witness(&mut root, us.as_ref(), &seen, &partners);
    let (ids, datasets) = registry::datasets(&mut root, &seen);
    let agreements = registry::agreements(&mut root, &seen, &ids);
    root.finish();
    Some(Config {
        party: party?,
        listen: listen?,
        tls: tls?,
        admin: admin?,
        passes: passes?,
        record: record?,
        policy,
        pseudonyms: pseudonyms?,
        state,
        witness: witness?,
        inputs,
        subjects,
        receipts,
        timestamps: timestamps?,
        limits,
        datasets,
        partners,
        agreements,
    })
}
