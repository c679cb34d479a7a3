//! Constructs, names and builtins.

use serde_json::json;

use super::{errors, errors_with};

#[test]
fn negation_over_what_may_be_undefined_is_refused() {
    for refused in [
        "x if not input.role in {1}",
        "x if not startswith(input.role, \"a\")",
        "x if not input.role == 1",
        "x if not input.a.b > 1",
        "x if not count(input.a) == 0",
        "x if not {1}[input.role]",
        "x if not f(input.role)\nf(y) if y == 1",
        "x if not max([1 | true]) == 1",
        "x if not y == 1\ny := 1 if input.a",
        "x if { some y in input.a; not y.b == 1 }",
    ] {
        assert_eq!(errors(refused), [(2, "negation")], "{refused}");
    }
    for accepted in [
        "x if not input.role",
        "x if not y\ny if input.role in {1}",
        "x if { some y in input.a; not y in {1} }",
        "x if { y := input.a; not y == 1 }",
        "x if not y == 1\ndefault y := 0\ny := 1 if input.a",
        "x if not y == 1\ny := 1 if { input.a } else := 2",
        "x if not 1 in y\ny contains 1 if input.a",
        "x if not f(y(1))\nf(z) if z == 1\ny(z) := z if { input.a == z } else := 2",
        "x if not count({1 | input.a}) == 0",
        "x if { some y in input.a; not input.b[y] }",
    ] {
        assert_eq!(errors(accepted), [], "{accepted}");
    }
}

#[test]
fn what_data_provides_is_certain_and_what_it_does_not_is_told() {
    let data = json!({ "facts": { "banned": ["a"], "limits": { "2": 1 }, "list": [1] } });
    assert_eq!(errors_with("x if { y := input.a; not y in data.facts.banned }", &data), []);
    assert_eq!(errors_with("import data.facts\nx if { y := input.a; not y in facts.banned }", &data), []);
    assert_eq!(errors_with("x if data.facts.missing", &data), [(2, "unknown_data")]);
    assert_eq!(errors_with("x if data.facts.limits[2]", &data), [(2, "data_index")]);
    assert_eq!(errors_with("x if data.facts.list[0]", &data), []);
}

#[test]
fn builtins_off_the_list_are_refused() {
    for call in [
        "http.send({\"url\": \"x\"})",
        "opa.runtime()",
        "io.jwt.decode(\"x\")",
        "time.now_ns()",
        "rand.intn(\"x\", 2)",
        "uuid.rfc4122(\"x\")",
        "sprintf(\"%99999d\", [1])",
        "json.patch({}, [])",
        "lower(\"A\")",
        "no.such(1)",
    ] {
        assert_eq!(errors(&format!("x := {call}")), [(2, "builtin")], "{call}");
    }
    assert_eq!(errors("x := numbers.range(1, 1000)"), []);
    assert_eq!(errors("x := numbers.range(1, 1002)"), [(2, "range")]);
    assert_eq!(errors("x := numbers.range(1, input.n)"), [(2, "range")]);
    assert_eq!(errors("x if count(input.a, 1)"), [(2, "output_argument")]);
    assert_eq!(errors("x if count()"), [(2, "arguments")]);
    assert_eq!(errors("count := 1"), [(2, "shadowed")]);
}

#[test]
fn patterns_are_of_forms_that_all_engines_read_alike() {
    for pattern in ["^[0-9]{4}-[A-Z]+$", "a|b", "(ab)*c", "[a-z.]", "a\\\\.b"] {
        assert_eq!(errors(&format!("x if regex.match(\"{pattern}\", input.a)")), [], "{pattern}");
    }
    for pattern in ["\\\\d", "(?i)a", "a.c", "[[:alpha:]]", "a{101}", "(a{20}){20}", "é", "[^a]"] {
        assert_eq!(errors(&format!("x if regex.match(\"{pattern}\", input.a)")), [(2, "pattern")], "{pattern}");
    }
    assert_eq!(errors("x if regex.match(input.p, input.a)"), [(2, "pattern")]);
}

#[test]
fn orders_that_engines_do_not_share_are_refused() {
    for refused in [
        "x := [y | some y in {1, 2}]",
        "x := [y | some y in input.a]",
        "x := [input.a[i] | input.a[i]]",
        "x := concat(\",\", {\"a\", \"b\"})",
        "x := concat(\",\", input.a)",
    ] {
        assert!(errors(refused).iter().all(|error| *error == (2, "order")) && !errors(refused).is_empty(), "{refused}");
    }
    for accepted in [
        "x := sort([y | some y in {1, 2}])",
        "x := [y | some y in sort({1, 2})]",
        "x := count([y | some y in input.a])",
        "x if 1 in [y | some y in input.a]",
        "x := [y | is_array(input.a); some y in input.a]",
        "x := concat(\",\", sort({\"a\", \"b\"}))",
        "x := concat(\",\", y)\ny := split(input.a, \" \")",
    ] {
        assert_eq!(errors(accepted), [], "{accepted}");
    }
}

#[test]
fn constructs_that_are_not_understood_are_refused() {
    for (module, code) in [
        ("x if y with input.a as 1\ny if input.a", "with"),
        ("x if input", "whole_input"),
        ("x if some_name", "unknown_name"),
        ("x if some_function(1)", "builtin"),
        ("x if data.p.f(1)", "unknown_function"),
        ("x := 1e4", "number"),
        ("x := 1234567890123456", "number"),
        ("default x := [y | some y in [1]]", "default_value"),
        ("f([a, b]) := a + b", "argument_pattern"),
        ("p[q].r contains s if { some q in [1]; s := 1 }", "rule_name"),
        ("x if x", "recursion"),
        ("x if y\ny if { count(x) == 1 }", "recursion"),
        ("x if {", "syntax"),
    ] {
        let found = errors(module);
        assert!(found.iter().any(|(_, found)| *found == code), "{module}: {found:?}");
    }
}
