//! The sandbox gives what the interpreter gives.

use serde_json::json;

use super::*;
use crate::decide::Case;

/// The reference policy, compiled.
fn reference() -> Built {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let built = Built(tempfile::tempdir().unwrap());
    copy(&root().join("policies/dfft"), built.0.path());
    let module = build(built.0.path(), "dfft/decision");
    built.write("policy.wasm", &module);
    built
}

#[test]
fn the_reference_policy_decides_alike_in_both_engines_and_for_thousands_of_evaluations() {
    let built = reference();
    let bundle = built.bundle();
    let sandbox = Policy::compile(&bundle, AMPLE).unwrap();
    let interpreter = Policy::interpret(&bundle, AMPLE).unwrap();
    let mut decided = Vec::new();
    for file in bundle.cases() {
        for case in serde_json::from_str::<Vec<Case>>(&file.text).unwrap() {
            let input = case.input.to_string();
            let decision = sandbox.evaluate(&input).unwrap();
            assert_eq!(decision, interpreter.evaluate(&input).unwrap(), "{}: {input}", case.id);
            decided.push((input, decision));
        }
    }
    assert!(decided.len() > 300, "only {} cases", decided.len());
    // One instance does it all. Without its heap put back each time it would pass the memory cap on the way.
    for _ in 0..20 {
        for (input, decision) in &decided {
            assert_eq!(sandbox.evaluate(input).as_ref(), Ok(decision));
        }
    }
}

#[test]
fn builtins_on_the_list_give_what_the_interpreter_gives() {
    let built = Built::from_rego(&format!(
        r#"package t
decision := {PERMIT} if {{
    base64url.encode_no_pad(input.text) == input.base64url
    hex.encode(input.text) == input.hex
    hex.decode(input.hex) == input.text
    semver.is_valid("1.2.3")
    not semver.is_valid(input.text)
    semver.compare("1.2.3", "1.10.0") == -1
}}"#
    ));
    for policy in [built.policy(AMPLE).unwrap(), Policy::interpret(&built.bundle(), AMPLE).unwrap()] {
        let right = json!({"text": "a~b>", "base64url": "YX5iPg", "hex": "617e623e"});
        assert_eq!(verdict(&policy, &right.to_string()), Ok(Verdict::Permit));
        let wrong = json!({"text": "a~b>", "base64url": "YX5iPg==", "hex": "617e623e"});
        assert_eq!(verdict(&policy, &wrong.to_string()).unwrap_err().0, "policy_undefined");
    }
}

#[test]
fn data_and_input_reach_the_module_and_undefined_is_no_failure() {
    let built = Built::without_module(&format!("package t\ndecision := {PERMIT} if input.x in data.named"));
    built.write("data.json", br#"{"named": ["one \" two", "\u0000", "\u95a2\u6240"]}"#);
    built.write("policy.wasm", &build(built.0.path(), "t/decision"));
    let policy = built.policy(AMPLE).unwrap();
    for (input, expected) in [
        (r#"{"x": "one \" two"}"#, Ok(Verdict::Permit)),
        (r#"{"x": "関所"}"#, Ok(Verdict::Permit)),
        (r#"{"x": "three"}"#, Err("policy_undefined")),
        (r#"{}"#, Err("policy_undefined")),
        ("", Err("policy_failed")),
        (r#"{"x": "#, Err("policy_failed")),
    ] {
        assert_eq!(verdict(&policy, input).map_err(|(code, _)| code), expected, "{input}");
    }
}

#[test]
fn the_module_decides_and_not_the_source_beside_it() {
    let built = Built::from_rego(&format!("package t\ndecision := {PERMIT}"));
    built.write("t.rego", b"package t\ndecision := \"the source\"");
    assert_eq!(verdict(&built.policy(AMPLE).unwrap(), "{}"), Ok(Verdict::Permit));
    let source = Policy::interpret(&built.bundle(), AMPLE).unwrap();
    assert_eq!(verdict(&source, "{}").unwrap_err().0, "policy_malformed");
}
