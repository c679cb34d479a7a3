//! The builtins that a policy may call.

/// A builtin that is allowed: pure, bounded, the same in every engine that Sekisho runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// Its name in Rego.
    pub name: &'static str,
    /// How many arguments it takes. One more would be where it writes its result, which is refused.
    pub arguments: usize,
    /// Whether it has a value for all arguments of the right kind; a wrong kind is an error in every engine.
    pub total: bool,
    /// Why it is allowed.
    pub why: &'static str,
}

const fn total(name: &'static str, arguments: usize, why: &'static str) -> Builtin {
    Builtin { name, arguments, total: true, why }
}

const fn partial(name: &'static str, arguments: usize, why: &'static str) -> Builtin {
    Builtin { name, arguments, total: false, why }
}

const KIND: &str = "looks at the kind of a value; false for every other kind";
const SET: &str = "set algebra; the result is no larger than its arguments together";
const TEXT: &str = "reads or cuts a text; the result is no longer than its arguments together";
const PICK: &str = "picks out of an array or object; the result is no larger than its arguments together";
const FOLD: &str = "one pass over a collection";

/// Every builtin that a policy may call. Nothing else is: no network, clock, randomness, environment or tokens; nothing
/// that the host computes outside the sandbox of a compiled policy; nothing whose result may dwarf its arguments; nothing
/// on which OPA's own cases show an engine to differ.
pub const BUILTINS: &[Builtin] = &[
    total("abs", 1, "arithmetic on one number"),
    total("and", 2, SET),
    total("array.concat", 2, PICK),
    total("array.reverse", 1, PICK),
    total("array.slice", 3, PICK),
    total("ceil", 1, "arithmetic on one number"),
    total("concat", 2, "joins texts; the result is no longer than its arguments together"),
    total("contains", 2, TEXT),
    total("count", 1, FOLD),
    total("endswith", 2, TEXT),
    total("floor", 1, "arithmetic on one number"),
    total("indexof", 2, TEXT),
    total("intersection", 1, SET),
    total("is_array", 1, KIND),
    total("is_boolean", 1, KIND),
    total("is_null", 1, KIND),
    total("is_number", 1, KIND),
    total("is_object", 1, KIND),
    total("is_set", 1, KIND),
    total("is_string", 1, KIND),
    partial("max", 1, FOLD),
    partial("min", 1, FOLD),
    total("numbers.range", 2, "only between literals that lie close together"),
    total("object.filter", 2, PICK),
    total("object.get", 3, PICK),
    total("object.keys", 1, PICK),
    total("object.remove", 2, PICK),
    total("object.union", 2, PICK),
    total("or", 2, SET),
    total("product", 1, FOLD),
    total("regex.match", 2, "linear in every engine; the pattern is a literal of forms that all engines read alike"),
    total("replace", 3, "bounded by the product of its arguments, within the engine's memory"),
    total("round", 1, "arithmetic on one number"),
    total("set", 0, "the empty set"),
    total("sort", 1, "one sort; all engines order all values alike"),
    total("split", 2, TEXT),
    total("startswith", 2, TEXT),
    total("substring", 3, TEXT),
    total("sum", 1, FOLD),
    total("trim", 2, TEXT),
    total("trim_left", 2, TEXT),
    total("trim_prefix", 2, TEXT),
    total("trim_right", 2, TEXT),
    total("trim_suffix", 2, TEXT),
    total("type_name", 1, KIND),
    total("union", 1, SET),
];

/// The builtin that goes by a name, if it is allowed.
pub(super) fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.binary_search_by(|builtin| builtin.name.cmp(name)).ok().map(|place| &BUILTINS[place])
}

/// What to do without a builtin that is not allowed.
pub(super) fn advice(name: &str) -> &'static str {
    let family = name.split('.').next().unwrap_or(name);
    match (family, name) {
        ("http" | "net", _) => "a policy reaches no network: put what it needs into the bundle's data",
        ("opa", _) => "a policy does not see the gateway's environment",
        ("io", _) => "the gateway verifies tokens: read what it vouches for from the input",
        ("time", _) => "there is no clock in a policy: compare dates as text with input.at (YYYY-MM-DD)",
        ("rand" | "uuid", _) => "equal questions must give equal answers: do without chance",
        ("crypto", _) => "the gateway does cryptography: read what it vouches for from the input",
        ("print" | "trace", _) => "remove it: a policy speaks through its decision",
        (_, "sprintf") => "join texts with concat: a width may blow a text up",
        (_, "json.patch") => "build the object anew, or use object.union and object.remove",
        (_, "lower" | "upper") => "engines differ outside ASCII: compare with the spellings that you mean",
        (_, "to_number" | "format_int") => "engines differ in what they read as a number: keep numbers as numbers",
        ("regex" | "glob", _) => "use regex.match with a literal pattern, startswith, endswith or contains",
        _ => "the allowed builtins are listed by `sekisho policy check --builtins`",
    }
}
