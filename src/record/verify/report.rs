//! What was checked, what was not, and what was found.

use std::fmt::Write as _;

use serde::Serialize;

use crate::record::show::escape_controls;

/// Findings of one check that are listed; the rest is counted.
const LISTED: usize = 100;

/// The verdict on a log.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every check held.
    pub verified: bool,
    /// The log's name.
    pub origin: String,
    /// The key it was checked against, as a C2SP vkey.
    pub key: String,
    /// Entries that were read.
    pub entries: u64,
    /// Entries that the checkpoint covers.
    pub checkpointed: u64,
    /// The root of the tree over the entries that were read, in base64.
    pub root: String,
    /// The checks that were made.
    pub checks: Vec<Check>,
    /// What this report says nothing about, each as a clause that starts with "that" or names its subject.
    pub not_checked: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many more findings there are than are listed.
    pub findings_left_out: u64,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Its stable name, such as `checkpoint`, `tiles`, `signatures`, `witnesses`.
    pub name: &'static str,
    /// Whether it held.
    pub ok: bool,
    /// How many things it looked at: entries, pairs, files.
    pub count: u64,
    /// What holding means.
    pub detail: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check that found it.
    pub check: &'static str,
    /// The entry, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What is wrong, as a sentence.
    pub what: String,
}

/// Gathers what one check finds, in bounded memory.
#[derive(Default)]
pub(super) struct Findings {
    listed: Vec<(Option<u64>, String)>,
    left_out: u64,
}

impl Findings {
    pub(super) fn add(&mut self, index: Option<u64>, what: String) {
        if self.listed.len() < LISTED {
            self.listed.push((index, what));
        } else {
            self.left_out += 1;
        }
    }

    /// Takes in what another check found.
    pub(super) fn append(&mut self, other: Self) {
        self.left_out += other.left_out;
        for (index, what) in other.listed {
            self.add(index, what);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl Report {
    pub(super) fn new(origin: &str, key: &str) -> Self {
        Self {
            verified: true,
            origin: origin.to_owned(),
            key: key.to_owned(),
            entries: 0,
            checkpointed: 0,
            root: String::new(),
            checks: Vec::new(),
            not_checked: Vec::new(),
            findings: Vec::new(),
            findings_left_out: 0,
        }
    }

    /// Makes one check and adds it.
    pub(super) fn check(&mut self, name: &'static str, count: u64, detail: &str, look: impl FnOnce(&mut Findings)) {
        let mut findings = Findings::default();
        look(&mut findings);
        self.conclude(name, count, detail.to_owned(), findings);
    }

    /// Adds a check that was made.
    pub(super) fn conclude(&mut self, name: &'static str, count: u64, detail: String, findings: Findings) {
        let ok = findings.is_empty();
        self.verified &= ok;
        self.checks.push(Check { name, ok, count, detail });
        self.findings_left_out += findings.left_out;
        let found = findings.listed.into_iter();
        self.findings.extend(found.map(|(index, what)| Finding { check: name, index, what }));
    }

    /// Says what no check of one log by itself can tell.
    pub(super) fn leave_open(&mut self, key_was_given: bool, other_was_given: bool) {
        if !key_was_given {
            self.not_checked.push("that log.pub is really the organisation's key: none was given".to_owned());
        }
        if !other_was_given {
            let what = "that the other party tells the same story: that needs its log, with --with";
            self.not_checked.push(what.to_owned());
        }
    }

    /// The report for a person, with a line for each check, finding and gap.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "log {}: {} entries, {} of them in the checkpoint",
            self.origin, self.entries, self.checkpointed
        );
        for Check { name, ok, count, detail } in &self.checks {
            let verdict = if *ok { "ok  " } else { "FAIL" };
            let detail = if *ok { detail.as_str() } else { "see below" };
            let _ = writeln!(text, "  {verdict}  {name:<10} {count:>9}  {detail}");
        }
        if !self.findings.is_empty() {
            text.push_str("found:\n");
        }
        for finding in &self.findings {
            let _ = writeln!(text, "  {}: {}", finding.check, finding.what);
        }
        if self.findings_left_out > 0 {
            let _ = writeln!(text, "  and {} more", self.findings_left_out);
        }
        text.push_str("not checked:\n");
        for gap in &self.not_checked {
            let _ = writeln!(text, "  {gap}");
        }
        text.push_str(if self.verified { "VERIFIED" } else { "NOT VERIFIED" });
        text.lines().map(escape_controls).collect::<Vec<_>>().join("\n") + "\n"
    }
}
