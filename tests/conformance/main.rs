//! OPA's own cases for the language, asked of both engines: what the check lets through must mean to each what OPA says.
//!
//! The cases are not part of this repository. They are looked for in `SEKISHO_OPA_CASES`, or beside it in
//! `../shared/vectors/opa-cases.tar.xz`; where there are none, the test says so and passes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be read here fails the test, as it should")]

mod cases;
mod compiled;
mod tally;

use std::collections::BTreeMap;

use sekisho::decide::{BundleFile, CheckReport, check_language};
use serde_json::Value;

use self::cases::{Case, Expectation};
use self::tally::{Answer, Tally};

/// Cases that the check accepts and an engine answers otherwise than OPA. Each would have to be argued; there is none.
const EXCEPTIONS: &[&str] = &[];

#[test]
fn no_accepted_case_is_answered_otherwise_than_by_opa() {
    let Some(archive) = cases::archive() else {
        println!("SKIPPED: OPA's cases are not here; set SEKISHO_OPA_CASES to opa-cases.tar.xz");
        return;
    };
    let all = cases::read(&archive);
    let mut tally = Tally::default();
    let (mut accepted, mut refused) = (Vec::new(), BTreeMap::<String, usize>::new());
    for case in &all {
        let report = judge(case);
        match report.errors().next() {
            Some(finding) => *refused.entry(finding.code.to_owned()).or_default() += 1,
            None => accepted.push(case),
        }
    }
    for case in &accepted {
        tally.add("interpreter", case, &interpreted(case));
    }
    match compiled::opa() {
        Some(opa) => compiled::ask(&opa, &accepted, |case, answer| tally.add("sandbox", case, answer)),
        None => println!("SKIPPED: there is no opa to compile with, so the sandbox was not asked"),
    }
    println!(
        "{} cases, {} accepted by the check; refused, by the first finding: {refused:?}",
        all.len(),
        accepted.len()
    );
    println!("{tally}");
    assert!(accepted.len() > all.len() / 10, "the check accepts only {} of {} cases", accepted.len(), all.len());
    let wrong = tally.wrong(EXCEPTIONS);
    assert!(wrong.is_empty(), "{} answers differ from OPA's:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the check says of a case's modules.
fn judge(case: &Case) -> CheckReport {
    let file =
        |(place, text): (usize, &String)| BundleFile { path: format!("module-{place}.rego"), text: text.clone() };
    let sources: Vec<_> = case.modules.iter().enumerate().map(file).collect();
    check_language(&sources, &case.data)
}

/// The interpreter as the gateway sets it up.
fn interpreted(case: &Case) -> Answer {
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(true);
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| -> Result<Option<Value>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        for (place, module) in case.modules.iter().enumerate() {
            engine.add_policy(format!("module-{place}.rego"), module.clone()).map_err(|error| text(&error))?;
        }
        engine.add_data_json(&case.data.to_string()).map_err(|error| text(&error))?;
        if let Some(input) = &case.input {
            engine.set_input_json(&input.to_string()).map_err(|error| text(&error))?;
        }
        // Some cases ask for what is no single rule, such as a whole package: only a query can name that.
        let rule = format!("data.{}", case.path.join("."));
        let value = match engine.eval_rule(rule.clone()) {
            Err(error) if error.to_string().contains("not a valid rule path") => {
                let results = engine.eval_query(rule, false).map_err(|error| text(&error))?;
                let first = results.result.first().and_then(|result| result.expressions.first());
                first.map_or(regorus::Value::Undefined, |expression| expression.value.clone())
            }
            answer => answer.map_err(|error| text(&error))?,
        };
        match value {
            regorus::Value::Undefined => Ok(None),
            value => {
                let json = value.to_json_str().map_err(|error| text(&error))?;
                serde_json::from_str(&json).map(Some).map_err(|error| text(&error))
            }
        }
    }));
    match asked {
        Ok(Ok(Some(value))) => Answer::Value(value),
        Ok(Ok(None)) => Answer::Undefined,
        Ok(Err(why)) => Answer::Failed(why),
        Err(_) => Answer::Failed("crashed".to_owned()),
    }
}

/// Whether an answer is what a case expects.
fn fits(case: &Case, answer: &Answer) -> bool {
    match (&case.expected, answer) {
        (Expectation::Value(expected), Answer::Value(found)) => cases::same(expected, found),
        // An error is no answer, and so is undefined.
        (Expectation::Undefined | Expectation::Error, Answer::Undefined | Answer::Failed(_)) => true,
        _ => false,
    }
}
