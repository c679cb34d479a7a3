//! A stranger's policy in the confined interpreter: whatever it does, it ends in a clear refusal, and we go on.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use sekisho::decide::{Bundle, BundleFile, DecideError, Shadow as _, ShadowAnswer};
use sekisho::shell::confined::{Confined, ConfinedLimits, ConfinedShadow};
use sekisho::shell::trial::{TrialOptions, try_bundle};
use serde_json::{Value, json};

use crate::site::{SEKISHO, sekisho, stderr, stdout};

const PERMIT: &str = r#"{"decision": "permit", "reasons": [], "obligations": []}"#;
const MANIFEST: &str =
    r#"{"revision": "1", "metadata": {"id": "t", "entrypoint": "t/decision", "inputs": ["action", "purpose"]}}"#;
/// Small, so that each test is over soon. The machine may be busy: times to wait are generous, CPU time is not.
const LIMITS: ConfinedLimits = ConfinedLimits {
    memory: 192 * 1024 * 1024,
    cpu: Duration::from_secs(2),
    start: Duration::from_secs(60),
    budget: Duration::from_secs(1),
    answer: Duration::from_secs(60),
    output: 16 * 1024 * 1024,
};

fn bundle(rego: &str) -> Bundle {
    let file = |path: &str, text: &str| BundleFile { path: path.to_owned(), text: text.to_owned() };
    Bundle::from_files(vec![file(".manifest", MANIFEST), file("t.rego", &format!("package t\n{rego}"))]).unwrap()
}

fn permits_if(condition: &str) -> Bundle {
    bundle(&format!("decision := {PERMIT} if {{ {condition} }}"))
}

fn confined(bundle: &Bundle, limits: ConfinedLimits) -> Result<Confined, DecideError> {
    Confined::start(Some(SEKISHO.as_ref()), bundle, limits)
}

/// What became of a policy that was asked one thing: its error, at the start or at the answer.
fn ends(bundle: &Bundle, limits: ConfinedLimits) -> DecideError {
    let started = Instant::now();
    let error = match confined(bundle, limits) {
        Err(error) => error,
        Ok(mut confined) => confined.evaluate(r#"{"action": "use"}"#).and_then(|answer| answer).unwrap_err(),
    };
    assert!(started.elapsed() < limits.start + limits.answer, "the deadlines did not hold: {error}");
    // Whoever asked goes on, and so does a policy beside it.
    let mut other = confined_permit();
    assert_eq!(other.evaluate(r#"{"action": "use"}"#).unwrap().unwrap()["decision"], "permit");
    error
}

fn confined_permit() -> Confined {
    confined(&permits_if("input.action"), LIMITS).unwrap()
}

#[test]
fn a_confined_policy_answers_as_one_that_is_not() {
    let mut confined = confined(&permits_if("to_number(input.action) > 1"), LIMITS).unwrap();
    assert_eq!(confined.evaluate("{\"action\":\r\n \"2\"}").unwrap(), Ok(serde_json::from_str(PERMIT).unwrap()));
    assert_eq!(confined.evaluate(r#"{"action": "1"}"#).unwrap(), Err(DecideError::Undefined));
    let failed = confined.evaluate(r#"{"action": "x"}"#).unwrap().unwrap_err();
    assert_eq!(failed.code(), "policy_failed");
    // A failure is an answer; the next one comes from the same process.
    assert!(confined.evaluate(r#"{"action": "3"}"#).unwrap().is_ok());
}

#[test]
fn source_that_does_not_compile_says_where() {
    let error = confined(&bundle("decision := {"), LIMITS).err().unwrap();
    assert_eq!(error.code(), "policy_unusable");
    assert!(error.to_string().contains("t.rego"), "{error}");
}

#[test]
fn a_parser_that_takes_for_ever_ends_with_its_time() {
    let nested = format!("x := {}{}\ndecision := x", "[".repeat(40), "]".repeat(40));
    let error = ends(&bundle(&nested), LIMITS);
    assert_eq!(error.code(), "bundle_interpreter_died");
    assert!(error.to_string().contains("more than 2 s of CPU time"), "{error}");
    // And by the wall clock, where it would get more CPU time than that.
    let limits = ConfinedLimits { cpu: Duration::from_secs(600), start: Duration::from_millis(500), ..LIMITS };
    let error = ends(&bundle(&nested), limits);
    assert_eq!(error.code(), "bundle_interpreter_died");
    assert!(error.to_string().contains("did not answer within 500 ms"), "{error}");
}

#[test]
fn memory_is_bounded_in_one_call_and_in_many() {
    for condition in [
        "input.action; count(numbers.range(1, 2000000000)) > 0",
        "n := numbers.range(1, 3000); count([s | some a in n; some b in n; s := concat(\"\", [input.action, \"a text of some length\"])]) > 0",
    ] {
        let limits = ConfinedLimits { cpu: Duration::from_secs(60), budget: Duration::from_secs(60), ..LIMITS };
        let error = ends(&permits_if(condition), limits);
        assert_eq!(error.code(), "bundle_interpreter_died", "{error}");
        assert!(error.to_string().contains("more memory than the 192 MiB"), "{error}");
    }
}

#[test]
fn deep_recursion_breaks_the_child_alone() {
    let error = ends(&bundle(&format!("f(x) := f(x + 1)\ndecision := {PERMIT} if f(1)")), LIMITS);
    assert_eq!(error.code(), "bundle_interpreter_died");
    assert!(error.to_string().contains("stack"), "{error}");
}

#[test]
fn an_endless_comprehension_is_stopped_by_the_budget_and_then_by_the_cpu_time() {
    let endless = permits_if(
        "input.action; n := numbers.range(1, 2000); count([1 | some a in n; some b in n; some c in n; a + b + c < 0]) > 0",
    );
    let limits = ConfinedLimits { budget: Duration::from_millis(200), cpu: Duration::from_secs(60), ..LIMITS };
    assert_eq!(ends(&endless, limits), DecideError::Overrun);
    let error = ends(&endless, ConfinedLimits { budget: Duration::from_secs(600), ..LIMITS });
    assert!(error.to_string().contains("more than 2 s of CPU time"), "{error}");
}

#[test]
fn what_comes_back_is_bounded() {
    let long = bundle("decision := {\"x\": concat(\"\", [input.action | some i in numbers.range(1, 100000)])}");
    let mut one = confined(&long, ConfinedLimits { cpu: Duration::from_secs(60), ..LIMITS }).unwrap();
    let text = |length: usize| json!({ "action": "x".repeat(length) }).to_string();
    let answer = one.evaluate(&text(5)).unwrap();
    assert_eq!(answer.map(|document| document["x"].as_str().map(str::len)), Ok(Some(500_000)));
    assert_eq!(one.evaluate(&text(6)).unwrap().unwrap_err().code(), "policy_failed");
    let mut all =
        confined(&long, ConfinedLimits { output: 1_200_000, cpu: Duration::from_secs(60), ..LIMITS }).unwrap();
    assert!(all.evaluate(&text(5)).unwrap().is_ok());
    assert!(all.evaluate(&text(5)).unwrap().is_ok());
    let error = all.evaluate(&text(5)).unwrap_err();
    assert!(error.to_string().contains("1200000 bytes together"), "{error}");
    assert!(all.evaluate(&text(1)).is_err(), "a lost child answers");
}

#[test]
fn a_crash_of_the_interpreter_is_a_failure_however_often() {
    let mut confined = confined(&permits_if("strings.count(\"abc\", input.action) > 0"), LIMITS).unwrap();
    for _ in 0..1000 {
        assert_eq!(confined.evaluate(r#"{"action": ""}"#).unwrap().unwrap_err().code(), "policy_failed");
    }
    assert!(confined.evaluate(r#"{"action": "b"}"#).unwrap().is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_confined_process_has_nothing_and_may_do_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().canonicalize().unwrap().join("secret");
    let _held = std::fs::File::create(&secret).unwrap();
    let confined = confined_permit();
    let of = |file: &str| PathBuf::from(format!("/proc/{}/{file}", confined.id()));
    let environment = std::fs::read_to_string(of("environ")).unwrap();
    assert!(std::env::var_os("PATH").is_some());
    assert!(environment.split_terminator('\0').all(|one| one.starts_with("MIMALLOC_")), "{environment}");
    // What this program opens stays with it; what it was itself started with cannot be told apart from the child's own.
    let open = |process: &str| -> std::collections::BTreeMap<String, PathBuf> {
        let entries = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().map(Result::unwrap);
        let name = |entry: &std::fs::DirEntry| entry.file_name().to_str().unwrap().to_owned();
        entries.filter_map(|entry| Some((name(&entry), std::fs::read_link(entry.path()).ok()?))).collect()
    };
    let (theirs, ours) = (open(&confined.id().to_string()), open("self"));
    for (descriptor, kind) in [("0", "socket:"), ("1", "socket:"), ("2", "pipe:")] {
        assert!(theirs[descriptor].to_str().unwrap().starts_with(kind), "{theirs:?}");
    }
    assert!(theirs.values().all(|link| link != &secret), "{theirs:?}");
    let further = theirs.iter().filter(|(descriptor, _)| descriptor.parse::<u32>().unwrap() > 2);
    for (descriptor, link) in further {
        assert_eq!(ours.get(descriptor), Some(link), "a descriptor that was not there before");
    }
    let limits = std::fs::read_to_string(of("limits")).unwrap();
    for (name, value) in [
        ("Max cpu time", "2"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max open files", "3"),
        ("Max processes", "0"),
        ("Max stack size", "8388608"),
        ("Max data size", "201326592"),
        ("Max address space", "201326592"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line[name.len()..].split_whitespace().next(), Some(value), "{line}");
    }
    let threads = std::fs::read_dir(of("task")).unwrap().count();
    assert_eq!(threads, 1);
    let gone = of("");
    drop(confined);
    assert!(!gone.exists(), "the child outlives its owner");
}

#[test]
fn without_a_process_there_is_no_trial() {
    let missing = Confined::start(Some("/nowhere/sekisho".as_ref()), &permits_if("input.action"), LIMITS);
    assert_eq!(missing.err().map(|error| error.code()), Some("bundle_unconfinable"));
    let another = Confined::start(Some("/bin/false".as_ref()), &permits_if("input.action"), LIMITS).err().unwrap();
    assert_eq!(another.code(), "bundle_interpreter_died");
    assert!(another.to_string().contains("exit code 1"), "{another}");
    let tried = try_bundle(&permits_if("input.action"), &options(10)).unwrap_err();
    assert_eq!(tried.code(), "bundle_untried");
    assert!(tried.to_string().contains("no compiled module"), "{tried}");
}

#[test]
fn a_shadow_that_breaks_is_started_again_and_not_for_ever() {
    let rego = format!(
        "decision := {PERMIT} if input.action == \"use\"\n\
         decision := {PERMIT} if count(numbers.range(1, 2000000000 * input.purpose)) > 0"
    );
    let limits = ConfinedLimits { cpu: Duration::from_secs(60), ..LIMITS };
    let shadow = ConfinedShadow::start(&bundle(&rego), Some(SEKISHO.into()), limits).unwrap();
    let shadow = shadow.patient_for(Duration::from_secs(60));
    let good = || shadow.answer(r#"{"action": "use"}"#);
    let permit = ShadowAnswer::Given(Ok(serde_json::from_str(PERMIT).unwrap()));
    for start in 1..=5 {
        assert_eq!(good(), permit, "start {start}");
        let ShadowAnswer::Missing(why) = shadow.answer(r#"{"purpose": 1}"#) else { panic!("it answered") };
        assert!(why.contains("more memory"), "{why}");
    }
    assert!(matches!(good(), ShadowAnswer::Missing(_)), "a sixth process in a minute");
    // One that is too slow for whoever waits is missing, and not wrong.
    let shadow = ConfinedShadow::start(&permits_if("input.action"), Some(SEKISHO.into()), limits).unwrap();
    assert!(matches!(shadow.patient_for(Duration::ZERO).answer("{}"), ShadowAnswer::Missing(_)));
}

fn options<'a>(inputs: usize) -> TrialOptions<'a> {
    TrialOptions { program: Some(SEKISHO.as_ref()), inputs, ..TrialOptions::default() }
}

/// The module that `opa` makes of a policy directory.
fn module(directory: &std::path::Path, entrypoint: &str) -> Vec<u8> {
    let root = env!("CARGO_MANIFEST_DIR");
    let found = Command::new(format!("{root}/scripts/find-opa.sh")).output().unwrap();
    assert!(found.status.success(), "there is no opa: run scripts/prepare-tests.sh");
    let out = tempfile::tempdir().unwrap();
    let archive = out.path().join("bundle.tar.gz");
    let built = Command::new(stdout(&found).trim())
        .args(["build", "-t", "wasm", "-e", entrypoint, "--ignore", "cases", "-o", archive.to_str().unwrap(), "."])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", stderr(&built));
    let mut files = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap()));
    let entry =
        files.entries().unwrap().map(Result::unwrap).find(|entry| entry.path().unwrap().ends_with("policy.wasm"));
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut entry.unwrap(), &mut bytes).unwrap();
    bytes
}

/// A policy directory with the module of `compiled` beside the source `source`.
fn directory(source: &str, compiled: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".manifest"), MANIFEST).unwrap();
    let write = |rego: &str| {
        let text = format!("package t\nimport rego.v1\ndecision := {PERMIT} if {{ {rego} }}");
        std::fs::write(directory.path().join("t.rego"), text).unwrap();
    };
    write(compiled);
    let module = module(directory.path(), "t/decision");
    write(source);
    std::fs::write(directory.path().join("policy.wasm"), module).unwrap();
    directory
}

#[test]
fn a_module_of_the_same_source_agrees_and_its_verdict_is_remembered() {
    let condition = "input.action == \"transfer\"";
    let directory = directory(condition, condition);
    let bundle = Bundle::read(directory.path()).unwrap();
    let verdicts = tempfile::tempdir().unwrap();
    let options = |inputs| TrialOptions { verdicts: Some(verdicts.path()), ..options(inputs) };
    let report = try_bundle(&bundle, &options(400)).unwrap();
    assert_eq!((report.inputs, report.agreed), (461, 461));
    assert!(report.permitted > 0 && report.undecided > 0);
    assert!(report.engines.contains("regorus 0.") && report.engines.contains("wasmtime "), "{}", report.engines);
    // A second trial needs no process; one of more inputs, or of a module that another compiler made, does.
    let nowhere = |inputs| TrialOptions { program: Some("/nowhere/sekisho".as_ref()), ..options(inputs) };
    assert_eq!(try_bundle(&bundle, &nowhere(400)).unwrap(), report);
    assert_eq!(try_bundle(&bundle, &nowhere(401)).unwrap_err().code(), "bundle_unconfinable");
    let same = self::directory(condition, "input.action == \"use\"");
    let other = Bundle::read(same.path()).unwrap();
    assert_eq!(other.identity(), bundle.identity());
    assert_eq!(try_bundle(&other, &nowhere(400)).unwrap_err().code(), "bundle_unconfinable");
    // The directory does not grow without end.
    for number in 0..70 {
        std::fs::write(verdicts.path().join(format!("old-{number}.json")), "{}").unwrap();
    }
    assert!(try_bundle(&bundle, &options(1)).is_ok());
    assert_eq!(std::fs::read_dir(verdicts.path()).unwrap().count(), 64);
    assert!(try_bundle(&bundle, &options(400)).is_ok());
    // A file that is damaged is no verdict.
    for file in std::fs::read_dir(verdicts.path()).unwrap() {
        std::fs::write(file.unwrap().path(), "{}").unwrap();
    }
    assert_eq!(try_bundle(&bundle, &nowhere(400)).unwrap_err().code(), "bundle_unconfinable");
}

#[test]
fn a_module_of_another_source_is_refused() {
    let directory = directory("input.action == \"transfer\"", "input.action == \"use\"");
    let refused = try_bundle(&Bundle::read(directory.path()).unwrap(), &options(200)).unwrap_err();
    assert_eq!(refused.code(), "bundle_engines_disagree");
    assert!(refused.to_string().contains("build the module from this source"), "{refused}");
    let tried = sekisho(["policy", "try", directory.path().to_str().unwrap(), "--inputs", "200", "--json"]);
    assert_eq!(tried.status.code(), Some(1));
    let report: Value = serde_json::from_str(stdout(&tried)).unwrap();
    assert!(report["disagreements"]["count"].as_u64().unwrap() > 0);
    assert!(stderr(&tried).contains("bundle_engines_disagree"), "{}", stderr(&tried));
}

#[test]
fn source_that_breaks_the_interpreter_refuses_a_harmless_module() {
    let directory = directory("count(numbers.range(1, 2000000000)) > 0", "input.action == \"use\"");
    let refused = try_bundle(&Bundle::read(directory.path()).unwrap(), &options(200)).unwrap_err();
    assert_eq!(refused.code(), "bundle_interpreter_died");
    let tried = sekisho(["policy", "try", directory.path().to_str().unwrap(), "--json"]);
    assert_eq!(tried.status.code(), Some(1), "{}", stderr(&tried));
    assert!(stdout(&tried).contains("more memory"), "{}", stdout(&tried));
}

#[test]
fn the_engines_agree_on_the_reference_policy() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/dfft");
    let copy = tempfile::tempdir().unwrap();
    copy_files(&source, copy.path());
    std::fs::write(copy.path().join("policy.wasm"), module(&source, "dfft/decision")).unwrap();
    let report = try_bundle(&Bundle::read(copy.path()).unwrap(), &options(1000)).unwrap();
    assert_eq!(report.agreed, report.inputs);
    assert_eq!(report.inputs, 1000 + report.examples + report.cases);
    for (count, what) in [(report.permitted, "permits"), (report.reviewed, "reviews"), (report.denied, "denials")] {
        assert!(count > 50, "only {count} {what}: the inputs reach too little of the policy");
    }
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_files(&entry.path(), &place),
            false => drop(std::fs::copy(entry.path(), place).unwrap()),
        }
    }
}

#[test]
fn the_command_tells_what_a_trial_found() {
    let directory = directory("input.action == \"transfer\"", "input.action == \"transfer\"");
    let path = directory.path().to_str().unwrap();
    let tried = sekisho(["policy", "try", path, "--inputs", "50"]);
    assert_eq!(tried.status.code(), Some(0), "{}", stderr(&tried));
    assert!(stdout(&tried).contains("agree on 111 of 111 inputs"), "{}", stdout(&tried));
    let tried = sekisho(["policy", "try", path, "--inputs", "50", "--json"]);
    let report: Value = serde_json::from_str(stdout(&tried)).unwrap();
    assert_eq!((&report["agreed"], &report["policy"]), (&json!(111), &json!("t")));

    std::fs::remove_file(directory.path().join("policy.wasm")).unwrap();
    let untried = sekisho(["policy", "try", path]);
    assert_eq!(untried.status.code(), Some(2));
    assert!(stderr(&untried).contains("no compiled module"), "{}", stderr(&untried));
}
