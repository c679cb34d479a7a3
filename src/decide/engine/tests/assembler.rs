//! Modules in the shape of OPA's, written by hand: what a hostile author would send.

use std::collections::BTreeMap;

/// Where the module's texts lie in its memory.
pub(super) const BUILTINS: u32 = 16;
pub(super) const ENTRYPOINTS: u32 = 8 * 1024;
pub(super) const ANSWER: u32 = 16 * 1024;

/// Functions of ours that the module imports, by index.
pub(super) const ABORT: u8 = 0;
pub(super) const BUILTIN1: u8 = 1;

/// `loop br 0 end`
pub(super) const ENDLESS: &[u8] = &[0x03, 0x40, 0x0c, 0x00, 0x0b];

/// A module in parts. As it is made, it permits everything.
pub(super) struct Assembly {
    /// Exported functions: number of parameters, of results, and code.
    pub functions: BTreeMap<&'static str, (u8, u8, Vec<u8>)>,
    /// Texts in its memory, by address.
    pub texts: BTreeMap<u32, Vec<u8>>,
    /// Pages of memory that it begins with.
    pub pages: u32,
    /// Code that runs when it is instantiated.
    pub start: Option<Vec<u8>>,
    /// Major and minor version of the ABI.
    pub abi: (i32, i32),
    /// Elements of its table.
    pub table: u32,
    /// The module that its functions are imported from.
    pub from: &'static str,
}

impl Assembly {
    pub(super) fn new() -> Self {
        let mut functions = BTreeMap::new();
        for (name, parameters, result) in [
            ("eval", 1, Some(constant(0))),
            ("builtins", 0, Some(constant(BUILTINS as i32))),
            ("entrypoints", 0, Some(constant(ENTRYPOINTS as i32))),
            ("opa_eval", 7, Some(constant(ANSWER as i32))),
            ("opa_eval_ctx_new", 0, Some(constant(0))),
            ("opa_eval_ctx_get_result", 1, Some(constant(0))),
            ("opa_eval_ctx_set_data", 2, None),
            ("opa_eval_ctx_set_entrypoint", 2, None),
            ("opa_eval_ctx_set_input", 2, None),
            ("opa_free", 1, None),
            ("opa_heap_ptr_get", 0, Some(constant(32 * 1024))),
            ("opa_heap_ptr_set", 1, None),
            ("opa_json_parse", 2, Some(constant(0))),
            // Values are the addresses of their texts: local.get 0.
            ("opa_json_dump", 1, Some(vec![0x20, 0x00])),
            // Nothing but the data of an empty document is put there, which fits before the lists.
            ("opa_malloc", 1, Some(constant(0))),
        ] {
            functions.insert(name, (parameters, u8::from(result.is_some()), result.unwrap_or_default()));
        }
        let texts = BTreeMap::from([
            (BUILTINS, b"{}".to_vec()),
            (ENTRYPOINTS, br#"{"t/decision": 0}"#.to_vec()),
            (ANSWER, format!(r#"[{{"result": {}}}]"#, super::PERMIT).into_bytes()),
        ]);
        Self { functions, texts, pages: 2, start: None, abi: (1, 3), table: 1, from: "env" }
    }

    /// With other code in one function.
    pub(super) fn with(mut self, name: &str, code: &[u8]) -> Self {
        self.functions.get_mut(name).unwrap().2 = code.to_vec();
        self
    }

    /// With another text.
    pub(super) fn saying(mut self, at: u32, text: impl Into<Vec<u8>>) -> Self {
        self.texts.insert(at, text.into());
        self
    }

    /// The binary module: sections as in chapter 5.5 of the WebAssembly core specification.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let kind = |parameters: u8, results: u8| {
            let list = |count: u8| [vec![count], vec![0x7f; usize::from(count)]].concat();
            [vec![0x60], list(parameters), list(results)].concat()
        };
        let mut functions: Vec<_> = self.functions.values().cloned().collect();
        functions.extend(self.start.clone().map(|code| (0, 0, code)));
        let mut types = vec![kind(1, 0), kind(3, 1)];
        types.extend(functions.iter().map(|(parameters, results, _)| kind(*parameters, *results)));
        let imports = [
            [name(self.from), name("opa_abort"), vec![0x00, ABORT]].concat(),
            [name(self.from), name("opa_builtin1"), vec![0x00, BUILTIN1]].concat(),
            [name("env"), name("memory"), vec![0x02, 0x00], unsigned(self.pages)].concat(),
        ];
        let mut exports: Vec<Vec<u8>> = self
            .functions
            .keys()
            .enumerate()
            .map(|(place, export)| [name(export), vec![0x00, place as u8 + 2]].concat())
            .collect();
        exports.push([name("opa_wasm_abi_version"), vec![0x03, 0x00]].concat());
        exports.push([name("opa_wasm_abi_minor_version"), vec![0x03, 0x01]].concat());
        let global = |value: i32| [vec![0x7f, 0x00], constant(value), vec![0x0b]].concat();
        let bodies = functions.iter().map(|(_, _, code)| {
            let body = [vec![0x00], code.clone(), vec![0x0b]].concat();
            [unsigned(body.len() as u32), body].concat()
        });
        let texts = self.texts.iter().map(|(at, text)| {
            [vec![0x00], constant(*at as i32), vec![0x0b], unsigned(text.len() as u32), text.clone()].concat()
        });
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        let mut section = |id: u8, content: Vec<u8>| {
            module.push(id);
            module.extend(unsigned(content.len() as u32));
            module.extend(content);
        };
        section(1, list(types));
        section(2, list(imports));
        section(3, list((0..functions.len()).map(|place| vec![place as u8 + 2])));
        section(4, list([[vec![0x70, 0x00], unsigned(self.table)].concat()]));
        section(6, list([global(self.abi.0), global(self.abi.1)]));
        section(7, list(exports));
        if self.start.is_some() {
            section(8, unsigned(functions.len() as u32 + 1));
        }
        section(10, list(bodies));
        section(11, list(texts));
        module
    }
}

/// `i32.const value`
pub(super) fn constant(value: i32) -> Vec<u8> {
    let mut code = vec![0x41];
    let mut rest = value;
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if (rest == 0 && byte & 0x40 == 0) || (rest == -1 && byte & 0x40 != 0) {
            code.push(byte);
            return code;
        }
        code.push(byte | 0x80);
    }
}

fn unsigned(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn name(text: &str) -> Vec<u8> {
    [unsigned(text.len() as u32), text.as_bytes().to_vec()].concat()
}

fn list(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let items: Vec<_> = items.into_iter().collect();
    [unsigned(items.len() as u32), items.concat()].concat()
}
