//! Each rule of the check: what it refuses, with its line, and what it lets through.

mod bundles;
mod language;
mod limits;

use serde_json::{Value, json};

use super::{CheckReport, check, check_language};
use crate::decide::{Bundle, BundleFile};

/// The codes of the errors of a module, with their lines, in the module's order.
fn errors(module: &str) -> Vec<(u32, &'static str)> {
    errors_with(module, &json!({}))
}

fn errors_with(module: &str, data: &Value) -> Vec<(u32, &'static str)> {
    let file = BundleFile { path: "policy.rego".to_owned(), text: format!("package p\n{module}") };
    let report = check_language(&[file], data);
    report.errors().map(|finding| (finding.line, finding.code)).collect()
}

/// A bundle of one module and a manifest, checked on a day.
fn checked(manifest: &Value, module: &str, data: &Value) -> CheckReport {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write(".manifest", &manifest.to_string());
    write("policy.rego", module);
    write("data.json", &data.to_string());
    check(&Bundle::read(directory.path()).unwrap(), Some("2026-11-21"))
}

fn codes(report: &CheckReport) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code).collect()
}
