//! What the demo tells: a line for each exchange, or all of it as JSON.

use anyhow::Result;
use serde_json::{Value, json};

use super::forgery::Forgery;
use super::stage::Verification;
use crate::shell::cli::Verdict;

/// The most resident memory that a gateway may reach while it streams.
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// One exchange as it ended.
pub(super) struct Exchange {
    pub(super) title: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) dataset: String,
    pub(super) purpose: String,
    /// `permit`, `review`, `deny` or `refused`.
    pub(super) decision: String,
    /// The code of a refusal.
    pub(super) code: Option<String>,
    pub(super) rules: Vec<String>,
    /// What would make it permitted.
    pub(super) remedies: Vec<String>,
    /// What was done to the payload.
    pub(super) done: Vec<String>,
    pub(super) bytes: u64,
    pub(super) milliseconds: u64,
    /// The decision entry's index in the provider's log (the receiver's, for a push).
    pub(super) index: u64,
    pub(super) exchange: String,
    /// What differs from the story; empty when it ended as it should.
    pub(super) differences: Vec<String>,
}

/// Collects and prints.
pub(super) struct Report {
    json: bool,
    exchanges: Vec<Value>,
    logs: Vec<Value>,
    memory: Vec<Value>,
    cosigned: Vec<Value>,
    forgeries: Vec<Value>,
    failures: Vec<String>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            exchanges: Vec::new(),
            logs: Vec::new(),
            memory: Vec::new(),
            cosigned: Vec::new(),
            forgeries: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Talk for people; never part of the data.
    pub(super) fn say(&self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    /// An exchange ended.
    pub(super) fn exchange(&mut self, exchange: &Exchange) {
        let number = self.exchanges.len() + 1;
        let decision = match (exchange.decision.as_str(), exchange.code.as_deref()) {
            ("permit", _) => "PERMIT".to_owned(),
            ("review", _) => "REVIEW".to_owned(),
            ("deny", _) => "DENY".to_owned(),
            (_, code) => format!("REFUSED {}", code.unwrap_or("?")),
        };
        let purpose = exchange.purpose.split_once(':').map_or(exchange.purpose.as_str(), |(_, term)| term);
        let mut line =
            format!("{number:>2} {} → {}  {}  {purpose}  {decision}", exchange.from, exchange.to, exchange.dataset);
        if !exchange.rules.is_empty() {
            let lifted = if exchange.decision == "permit" { " lifted by approval" } else { "" };
            line.push_str(&format!(" [{}{lifted}]", exchange.rules.join(" ")));
        }
        if exchange.decision == "permit" {
            let done = if exchange.done.is_empty() { "untouched".to_owned() } else { exchange.done.join(", ") };
            line.push_str(&format!("  {done}  {}", size(exchange.bytes)));
        }
        line.push_str(&format!("  {} ms  #{}", exchange.milliseconds, exchange.index));
        self.say(&line);
        for remedy in exchange.remedies.iter().filter(|_| exchange.decision != "permit") {
            self.say(&format!("     would help: {remedy}"));
        }
        for difference in &exchange.differences {
            self.say(&format!("     NOT AS THE STORY SAYS: {difference}"));
            self.failures.push(format!("exchange {number} ({}): {difference}", exchange.title));
        }
        self.exchanges.push(json!({
            "number": number,
            "title": exchange.title,
            "from": exchange.from,
            "to": exchange.to,
            "dataset": exchange.dataset,
            "purpose": exchange.purpose,
            "decision": exchange.decision,
            "code": exchange.code,
            "rules": exchange.rules,
            "remedies": exchange.remedies,
            "done": exchange.done,
            "bytes": exchange.bytes,
            "milliseconds": exchange.milliseconds,
            "record": exchange.index,
            "exchange": exchange.exchange,
            "as_expected": exchange.differences.is_empty(),
        }));
    }

    /// The gateways' peak memory, in bytes.
    pub(super) fn memory(&mut self, peaks: Vec<(&'static str, u64)>) {
        self.say("");
        for (party, bytes) in peaks {
            let within = bytes < MEMORY_BYTES;
            self.say(&format!("Peak memory of the gateway of {party}: {}", size(bytes)));
            if !within {
                self.failures.push(format!("the gateway of {party} took {}, more than 64 MiB", size(bytes)));
            }
            self.memory.push(json!({ "party": party, "peak_resident_bytes": bytes, "under_64_mib": within }));
        }
    }

    /// The last checkpoint of a log has the cosignatures of these witnesses.
    pub(super) fn cosigned(&mut self, party: &'static str, witnesses: &[String]) {
        self.say(&format!("Log of {party}: cosigned by {}.", witnesses.join(" and ")));
        self.cosigned.push(json!({ "party": party, "by": witnesses }));
    }

    /// An outsider verified a log.
    pub(super) fn verified(&mut self, verification: Verification) {
        let Verification { party, report } = verification;
        let verified = report.get("verified").and_then(Value::as_bool) == Some(true);
        let count = |name: &str| {
            let checks = report.get("checks").and_then(Value::as_array).into_iter().flatten();
            let mut found = checks.filter(|check| check.get("name").and_then(Value::as_str) == Some(name));
            found.next().and_then(|check| check.get("count")).and_then(Value::as_u64).unwrap_or(0)
        };
        if verified {
            let signatures = count("signatures");
            self.say(&format!(
                "Log of {party}: verified. {signatures} signed entries, their tree and every checkpoint hold, both others \
                 witnessed it, and {} receipts and signatures of partners are theirs.",
                count("receipts")
            ));
        } else {
            self.say(&format!("Log of {party}: NOT VERIFIED. {report}"));
            self.failures.push(format!("the log of {party} does not verify"));
        }
        self.logs.push(json!({ "party": party, "verified": verified, "report": report }));
    }

    /// A log was tampered with, and an outsider looked at it.
    pub(super) fn forgery(&mut self, forgery: &Forgery) {
        let Forgery { title, findings } = forgery;
        match findings.as_slice() {
            [] => {
                self.say(&format!("  {title}: NOT NOTICED"));
                self.failures.push(format!("nobody notices when {title}"));
            }
            [first, others @ ..] => {
                self.say(&format!("  {title}: caught"));
                self.say(&format!("     {first}"));
                if !others.is_empty() {
                    self.say(&format!("     and {} more", others.len()));
                }
            }
        }
        self.forgeries.push(json!({ "what": title, "caught": !findings.is_empty(), "findings": findings }));
    }

    /// The end: JSON if asked for, and whether all went as the story says.
    pub(super) fn finish(&self) -> Result<Verdict> {
        let well = self.failures.is_empty();
        if self.json {
            let report = json!({
                "as_expected": well,
                "exchanges": self.exchanges,
                "logs": self.logs,
                "memory": self.memory,
                "cosigned": self.cosigned,
                "forgeries": self.forgeries,
                "failures": self.failures,
            });
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else if well {
            println!("\nAll {} exchanges ended as the story says.", self.exchanges.len());
        } else {
            println!("\nNot as the story says:\n  {}", self.failures.join("\n  "));
        }
        Ok(if well { Verdict::Yes } else { Verdict::No })
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let number = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", number / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", number / 1_048_576.0),
        _ => format!("{:.1} GiB", number / 1_073_741_824.0),
    }
}
