//! What hostile modules come to.

use super::assembler::{ABORT, ANSWER, Assembly, BUILTIN1, BUILTINS, ENDLESS, ENTRYPOINTS, constant};
use super::*;

#[test]
fn a_module_written_by_hand_may_decide() {
    let policy = Built::with_module(&Assembly::new().bytes()).policy(AMPLE).unwrap();
    assert_eq!(verdict(&policy, "{}"), Ok(Verdict::Permit));
}

#[test]
fn what_is_no_module_of_opa_is_refused() {
    let right = Assembly::new().bytes();
    let lacking = |name: &str| {
        let mut module = Assembly::new();
        module.functions.remove(name).unwrap();
        module.bytes()
    };
    for (what, module) in [
        ("no bytes", Vec::new()),
        ("another file", b"not a module".to_vec()),
        ("a module without anything", b"\0asm\x01\0\0\0".to_vec()),
        ("a module that ends early", right[..right.len() - 40].to_vec()),
        ("functions from elsewhere", Assembly { from: "wasi_snapshot_preview1", ..Assembly::new() }.bytes()),
        ("no opa_eval", lacking("opa_eval")),
        ("no list of builtins", lacking("builtins")),
        ("an older ABI", Assembly { abi: (1, 1), ..Assembly::new() }.bytes()),
        ("a later ABI", Assembly { abi: (2, 0), ..Assembly::new() }.bytes()),
        ("a list that is none", Assembly::new().saying(BUILTINS, "[1]").bytes()),
        ("a list that does not end", Assembly::new().with("builtins", &constant(-1)).bytes()),
        ("an endless start", Assembly { start: Some(ENDLESS.to_vec()), ..Assembly::new() }.bytes()),
        ("a start that traps", Assembly { start: Some(vec![0x00]), ..Assembly::new() }.bytes()),
        // memory.fill, of a later WebAssembly than OPA writes.
        ("bulk memory", {
            let fill = [constant(0), constant(0), constant(8), vec![0xfc, 0x0b, 0x00]].concat();
            Assembly { start: Some(fill), ..Assembly::new() }.bytes()
        }),
    ] {
        let (code, why) = Built::with_module(&module).policy(AMPLE).err().map(told).unwrap();
        assert_eq!(code, "bundle_module_refused", "{what}: {why}");
        assert!(why.starts_with("policy.wasm: ") && why.len() < 500, "{what}: {why}");
    }
}

#[test]
fn a_module_that_answers_for_another_entrypoint_is_refused() {
    let module = Assembly::new().saying(ENTRYPOINTS, r#"{"u/decision": 0}"#).bytes();
    let (code, why) = Built::with_module(&module).policy(AMPLE).err().map(told).unwrap();
    assert_eq!(code, "bundle_entrypoint_missing");
    assert!(why.contains("t/decision") && why.contains("u/decision"), "{why}");
}

#[test]
fn builtins_outside_the_sandbox_are_refused_by_name() {
    let module = Assembly::new().saying(BUILTINS, r#"{"hex.encode": 0, "opa.runtime": 1, "made\nup": 2}"#).bytes();
    let (code, why) = Built::with_module(&module).policy(AMPLE).err().map(told).unwrap();
    assert_eq!(code, "bundle_builtin_refused");
    assert_eq!(why.lines().count(), 2, "{why}");
    assert!(why.contains("opa.runtime") && why.contains("made up") && !why.contains("calls hex.encode"), "{why}");
    for (builtin, call) in [
        ("http.send", r#"http.send({"method": "get", "url": "http://127.0.0.1/"}).status_code == 200"#),
        ("opa.runtime", "opa.runtime().env.PATH"),
        ("time.now_ns", "time.now_ns() > 0"),
        ("rand.intn", r#"rand.intn("x", 5) > 0"#),
        ("sprintf", r#"sprintf("%999999999d", [input.x]) != """#),
        ("json.patch", r#"json.patch(input, [{"op": "copy", "from": "", "path": "/x"}]) != {}"#),
        ("io.jwt.decode", "io.jwt.decode(input.x)"),
        ("net.cidr_expand", r#"count(net.cidr_expand("10.0.0.0/8")) > 1"#),
    ] {
        let built = Built::from_rego(&format!("package t\ndecision := {PERMIT} if {call}"));
        let (code, why) = built.policy(AMPLE).err().map(told).unwrap();
        assert_eq!(code, "bundle_builtin_refused", "{builtin}");
        assert!(why.contains(builtin), "{why}");
    }
}

/// Modules that start and then do not decide, with the code that each comes to.
fn runaways() -> Vec<(&'static str, Built, Duration, &'static str)> {
    let nested = |code: &[u8]| [code, &constant(0)].concat();
    let hand = |assembly: Assembly| Built::with_module(&assembly.bytes());
    let call = |name, code: &[u8]| hand(Assembly::new().with(name, code));
    vec![
        ("an endless loop", call("opa_eval", &nested(ENDLESS)), SHORT, "policy_overrun"),
        // opa_eval calls itself: seven arguments, call.
        (
            "endless recursion",
            call("opa_eval", &[constant(0).repeat(7), vec![0x10, RECURSION]].concat()),
            AMPLE,
            "policy_failed",
        ),
        ("a trap", call("opa_eval", &[0x00]), AMPLE, "policy_failed"),
        ("an answer outside its memory", call("opa_eval", &constant(i32::MAX)), AMPLE, "policy_failed"),
        ("an answer at no address", call("opa_eval", &constant(-1)), AMPLE, "policy_failed"),
        ("a heap at no address", call("opa_heap_ptr_get", &constant(-4096)), AMPLE, "policy_unusable"),
        ("a heap at the end of addresses", call("opa_heap_ptr_get", &constant(i32::MAX)), AMPLE, "policy_unusable"),
        (
            "a builtin that it did not list",
            call("opa_eval", &[constant(7), constant(0), constant(0), vec![0x10, BUILTIN1]].concat()),
            AMPLE,
            "policy_failed",
        ),
        (
            "an answer that does not end",
            hand(Assembly::new().saying(ANSWER, vec![b'['; 2 * 65_536 - ANSWER as usize])),
            AMPLE,
            "policy_failed",
        ),
        ("an answer that is no JSON", hand(Assembly::new().saying(ANSWER, "[{")), AMPLE, "policy_malformed"),
        ("an answer that is no set", hand(Assembly::new().saying(ANSWER, PERMIT)), AMPLE, "policy_malformed"),
        (
            "two answers",
            hand(Assembly::new().saying(ANSWER, format!(r#"[{{"result": {PERMIT}}}, {{"result": {PERMIT}}}]"#))),
            AMPLE,
            "policy_malformed",
        ),
        (
            "an answer by another name",
            hand(Assembly::new().saying(ANSWER, format!(r#"[{{"outcome": {PERMIT}}}]"#))),
            AMPLE,
            "policy_malformed",
        ),
        ("no answer", hand(Assembly::new().saying(ANSWER, "[]")), AMPLE, "policy_undefined"),
        (
            "an answer of the wrong shape",
            hand(Assembly::new().saying(ANSWER, r#"[{"result": true}]"#)),
            AMPLE,
            "policy_malformed",
        ),
    ]
}

/// The index of `opa_eval` among the functions of an [`Assembly`]: the two imported ones, then by name.
const RECURSION: u8 = 2 + 3;

#[test]
fn runaways_are_refused_in_their_budget_while_others_decide() {
    let good = Built::from_rego(&format!("package t\ndecision := {PERMIT} if input.x == 1")).policy(AMPLE).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let decided = scope.spawn(|| {
            let mut decided = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                assert_eq!(verdict(&good, r#"{"x": 1}"#), Ok(Verdict::Permit));
                decided += 1;
            }
            decided
        });
        let outcome = std::panic::catch_unwind(|| {
            for (what, built, budget, expected) in runaways() {
                let started = std::time::Instant::now();
                let outcome = built.policy(budget).map_err(told).and_then(|policy| verdict(&policy, "{}"));
                let (code, why) = outcome.unwrap_err();
                // A policy that fails on an empty input fails on every one, and is not put in force.
                let code = if why.contains("cannot be evaluated") { "policy_failed" } else { code };
                assert_eq!(
                    code,
                    if expected == "policy_unusable" { "policy_failed" } else { expected },
                    "{what}: {why}"
                );
                assert!(why.len() < 500, "{what}: {why}");
                assert!(started.elapsed() < 100 * SHORT, "{what}: {:?}", started.elapsed());
            }
        });
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(decided.join().unwrap() > 100);
        outcome.unwrap();
    });
}

#[test]
fn an_abort_is_told_in_short() {
    let text = [b"a\x1b[2Jb\n".to_vec(), vec![b'x'; 60_000], vec![0]].concat();
    let code = [constant(ANSWER as i32), vec![0x10, ABORT], constant(0)].concat();
    let module = Assembly::new().saying(ANSWER, text).with("opa_eval", &code).bytes();
    let (code, why) = Built::with_module(&module).policy(AMPLE).err().map(told).unwrap();
    assert_eq!(code, "policy_unusable");
    assert!(why.contains("a [2Jb x") && why.len() < 400 && !why.contains('\n'), "{why}");
}

#[test]
fn hostile_rego_is_refused_too() {
    for (what, rego, input, budget, expected) in [
        (
            "a huge builtin call",
            "count(numbers.range(1, 20000000)) > input.x",
            r#"{"x": 1}"#.to_owned(),
            SHORT,
            "policy_overrun or policy_failed",
        ),
        (
            "a memory hog",
            "count(numbers.range(1, 20000000)) > input.x",
            r#"{"x": 1}"#.to_owned(),
            AMPLE,
            "policy_failed",
        ),
        (
            "an endless loop",
            "n := numbers.range(1, input.x); count([1 | some a in n; some b in n; some c in n; a + b + c < 0]) == 0",
            r#"{"x": 2000}"#.to_owned(),
            SHORT,
            "policy_overrun",
        ),
        (
            "a deep input",
            "input.x",
            format!(r#"{{"x": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
            AMPLE,
            "policy_failed",
        ),
    ] {
        let built = Built::from_rego(&format!("package t\ndecision := {PERMIT} if {{ input.x; {rego} }}"));
        let policy = built.policy(budget).unwrap();
        let started = std::time::Instant::now();
        let (code, why) = verdict(&policy, &input).unwrap_err();
        assert!(expected.contains(code), "{what}: {code}: {why}");
        assert!(started.elapsed() < 100 * SHORT, "{what}: {:?}", started.elapsed());
        // The next evaluation has an instance of its own.
        assert_eq!(verdict(&policy, "{}").unwrap_err().0, "policy_undefined", "{what}");
    }
}

#[test]
fn answers_too_large_or_too_deep_are_no_decisions() {
    let built = Built::from_rego(
        r#"package t
decision := {"decision": "permit", "reasons": [], "obligations": [{"rule": "R", "do": "redact", "columns": x}]} if {
    input.many
    x := [sum | some n in numbers.range(1, 100000); sum := n * 1000000000]
}
decision := {"decision": "permit", "reasons": [], "obligations": [input.deep]} if input.deep"#,
    );
    let policy = built.policy(AMPLE).unwrap();
    let (code, why) = verdict(&policy, r#"{"many": true}"#).unwrap_err();
    assert_eq!(code, "policy_malformed", "{why}");
    assert!(why.contains("1048576"), "{why}");
    let deep = format!(r#"{{"deep": {}{}}}"#, "[".repeat(500), "]".repeat(500));
    assert_eq!(verdict(&policy, &deep).unwrap_err().0, "policy_malformed");
}
