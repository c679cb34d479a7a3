//! Every limit at its boundary.

use std::os::unix::fs::PermissionsExt as _;

use super::assembler::{ANSWER, Assembly, constant};
use super::*;
use crate::decide::EngineOptions;

#[test]
fn memory_ends_at_its_cap() {
    // memory.grow by `pages`, and a trap where it is refused: as OPA's allocator does.
    let growing = |pages: i32| {
        let code = [
            constant(pages),
            vec![0x40, 0x00],
            constant(-1),
            // i32.eq, if, unreachable, end
            vec![0x46, 0x04, 0x40, 0x00, 0x0b],
            constant(ANSWER as i32),
        ];
        Built::with_module(&Assembly::new().with("opa_eval", &code.concat()).bytes()).policy(AMPLE).map_err(told)
    };
    // 1024 pages are the 64 MiB, and the module begins with two. Compiling evaluates once, on an empty input.
    assert!(growing(1022).is_ok());
    let (code, why) = growing(1023).err().unwrap();
    assert_eq!(code, "policy_unusable");
    assert!(why.contains("more than 64 MiB of memory"), "{why}");
    let (code, why) =
        Built::with_module(&Assembly { pages: 1025, ..Assembly::new() }.bytes()).policy(AMPLE).err().map(told).unwrap();
    assert_eq!(code, "bundle_module_refused");
    assert!(why.contains("more than 64 MiB of memory"), "{why}");
}

#[test]
fn tables_end_at_their_cap() {
    let with_table = |table| Built::with_module(&Assembly { table, ..Assembly::new() }.bytes()).policy(AMPLE);
    assert!(with_table(65_536).is_ok());
    let (code, why) = with_table(65_537).err().map(told).unwrap();
    assert_eq!(code, "bundle_module_refused");
    assert!(why.contains("65536 functions"), "{why}");
}

#[test]
fn inputs_end_at_their_cap() {
    let policy = Built::with_module(&Assembly::new().bytes()).policy(AMPLE).unwrap();
    let input = |size: usize| format!("{{\"x\": \"{}\"}}", "x".repeat(size - 9));
    assert_eq!(input(1024).len(), 1024);
    assert_eq!(verdict(&policy, &input(1024 * 1024)), Ok(Verdict::Permit));
    let (code, why) = verdict(&policy, &input(1024 * 1024 + 1)).unwrap_err();
    assert_eq!(code, "policy_failed");
    assert!(why.contains("1048577"), "{why}");
}

#[test]
fn answers_end_at_their_cap() {
    let answering = |size: usize| {
        let mut text = format!(r#"[{{"result": {PERMIT}"#).into_bytes();
        text.resize(size - 2, b' ');
        text.extend(b"}]");
        // The input goes behind the answer.
        let module = Assembly::new().saying(ANSWER, text).with("opa_heap_ptr_get", &constant(40 * 65_536));
        let module = Assembly { pages: 41, ..module };
        let policy = Built::with_module(&module.bytes()).policy(AMPLE).unwrap();
        verdict(&policy, "{}").map_err(|(code, _)| code)
    };
    assert_eq!(answering(1024 * 1024), Ok(Verdict::Permit));
    assert_eq!(answering(1024 * 1024 + 1), Err("policy_malformed"));
}

#[test]
fn modules_end_at_their_cap() {
    let mut module = Assembly::new().bytes();
    // A custom section named "x" that fills what is left: its id, its size in four bytes, the name's size, the name.
    let sized = |module: &mut Vec<u8>, size: usize| {
        let content = size - module.len() - 5;
        module.push(0);
        let mut size = content as u32;
        for last in [false, false, false, true] {
            module.push((size & 0x7f) as u8 | if last { 0 } else { 0x80 });
            size >>= 7;
        }
        module.extend([1, b'x']);
        module.resize(module.len() + content - 2, 0);
    };
    sized(&mut module, 4 * 1024 * 1024);
    assert_eq!(module.len(), 4 * 1024 * 1024);
    assert!(Built::with_module(&module).policy(AMPLE).is_ok());
    module.push(0);
    let refused = Built::with_module(&module).policy(AMPLE).err().map(told).unwrap();
    assert_eq!(refused.0, "policy_unusable");
    assert!(refused.1.contains("more than 4194304 bytes"), "{}", refused.1);
}

#[test]
fn machine_code_is_kept_in_a_directory_of_this_user_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let bundle = Built::with_module(&Assembly::new().bytes()).bundle();
    let kept = |directory: &str| {
        let options = EngineOptions { budget: AMPLE, code_cache: Some(scratch.path().join(directory)) };
        Policy::compile_with(&bundle, &options).map_err(told).and_then(|policy| verdict(&policy, "{}"))
    };
    let files = |directory: &str| {
        let mut open = vec![scratch.path().join(directory)];
        let mut files = 0;
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() { open.push(entry.path()) } else { files += 1 }
            }
        }
        files
    };
    assert_eq!(kept("own"), Ok(Verdict::Permit));
    assert_eq!(std::fs::metadata(scratch.path().join("own")).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(files("own") > 0, "nothing was kept");
    assert_eq!(kept("own"), Ok(Verdict::Permit));
    std::fs::create_dir(scratch.path().join("open")).unwrap();
    std::fs::set_permissions(scratch.path().join("open"), std::fs::Permissions::from_mode(0o770)).unwrap();
    let (code, why) = kept("open").unwrap_err();
    assert_eq!(code, "policy_unusable");
    assert!(why.contains("chmod 700"), "{why}");
}
