//! Whether the sources keep what the manifest promises: roots, entrypoint, inputs.

use std::collections::{BTreeMap, BTreeSet};

use super::annotation::Annotation;
use super::language::Uses;
use super::program::{Kind, Program};
use super::{Findings, Place};
use crate::decide::{Bundle, SECTIONS};

pub(super) fn check(
    bundle: &Bundle,
    program: &Program<'_>,
    uses: &BTreeMap<String, Uses>,
    annotations: &[Annotation],
    findings: &mut Findings,
) {
    version(bundle, findings);
    roots(bundle, program, findings);
    entrypoint(bundle, program, annotations, findings);
    inputs(bundle, program, uses, annotations, findings);
}

fn version(bundle: &Bundle, findings: &mut Findings) {
    match bundle.manifest().rego_version {
        Some(1) => {}
        Some(other) => {
            let text = format!("rego_version is {other}: only 1 is taken");
            findings.error("rego_version", Place::manifest(), text);
        }
        // Without a version, other engines may read the sources as an older Rego.
        None => {
            let old = |source: &&crate::decide::BundleFile| {
                !source
                    .text
                    .lines()
                    .any(|line| line.split('#').next().is_some_and(|code| code.trim() == "import rego.v1"))
            };
            for source in bundle.sources().iter().filter(old) {
                let text =
                    "nothing says that this is Rego v1: set rego_version to 1 in the manifest, or import rego.v1";
                findings.error("rego_version", Place::of(source, 1), text);
            }
        }
    }
}

/// Data outside the roots keeps a bundle from being read.
fn roots(bundle: &Bundle, program: &Program<'_>, findings: &mut Findings) {
    let Some(roots) = &bundle.manifest().roots else { return };
    let roots: Vec<_> = roots.iter().map(|root| root.trim_matches('/').replace('/', ".")).collect();
    let within = |path: &str| {
        roots.iter().any(|root| {
            root.is_empty()
                || path.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    for (source, package) in program.sources.iter().zip(program.packages()) {
        if !within(package) {
            let text = format!("package {package} is outside the manifest's roots: move it, or add the root");
            findings.error("outside_roots", source.place(&source.module.package.span), text);
        }
    }
}

fn entrypoint(bundle: &Bundle, program: &Program<'_>, annotations: &[Annotation], findings: &mut Findings) {
    let entrypoint = bundle.entrypoint();
    let name = entrypoint.replace('/', ".");
    let mut files = BTreeSet::new();
    for definition in program.definitions(&name) {
        let source = &program.sources[definition.source];
        files.insert(source.file.path.as_str());
        if definition.kind != Kind::Value {
            let text = format!("the entrypoint {entrypoint} is one value: write it as a rule with :=");
            findings.error("entrypoint", source.place(definition.rule.span()), text);
        }
    }
    match files.len() {
        0 => {
            let text =
                format!("no rule defines the entrypoint {entrypoint}: write the rule, or correct metadata.entrypoint");
            findings.error("entrypoint", Place::manifest(), text);
        }
        1 => {}
        _ => {
            let files: Vec<_> = files.into_iter().collect();
            let text = format!("{entrypoint} is defined in {}: keep it in one file", files.join(" and "));
            findings.error("entrypoint", Place::manifest(), text);
        }
    }
    let marked: Vec<_> = annotations.iter().filter(|annotation| annotation.entrypoint).collect();
    for annotation in marked.iter().skip(1) {
        let place = Place { file: annotation.file.clone(), line: annotation.line };
        findings.error("entrypoint", place, "a second rule is marked as entrypoint: a policy has one");
    }
}

fn inputs(
    bundle: &Bundle,
    program: &Program<'_>,
    uses: &BTreeMap<String, Uses>,
    annotations: &[Annotation],
    findings: &mut Findings,
) {
    let declared = &bundle.manifest().metadata.inputs;
    let (mut read, mut words) = (BTreeSet::new(), BTreeSet::new());
    for uses in uses.values() {
        words.extend(uses.words.iter().map(String::as_str));
        for (path, place) in &uses.inputs {
            let (section, member) = (path[0].as_str(), path.get(1).map(String::as_str));
            read.insert((section, member));
            let known = declared.covers(section, member)
                || (member.is_none() && declared.iter().any(|path| path.split('.').next() == Some(section)));
            let Some((source, line)) = place.filter(|_| !known) else { continue };
            let text = match SECTIONS.contains(&section) {
                true => format!("input.{} is not declared: add it to metadata.inputs of the manifest", path.join(".")),
                false => format!("there is no input.{section}: an input holds {}", SECTIONS.join(", ")),
            };
            findings.error("undeclared_input", Place::of(program.sources[source].file, line), text);
        }
    }
    for path in declared.iter() {
        let used = match path.split_once('.') {
            // A member counts as read where its section is read and something of its name is looked up.
            Some((section, member)) => {
                read.contains(&(section, Some(member))) || (read.contains(&(section, None)) && words.contains(member))
            }
            None => read.iter().any(|(section, _)| *section == path),
        };
        if !used {
            let text =
                format!("{path} is declared as input and never read: remove it, so that more questions are the same");
            findings.warning("unread_input", Place::manifest(), text);
        }
    }
    told(bundle, annotations, findings);
}

/// What the rules' annotations say that they read must be what the manifest declares.
fn told(bundle: &Bundle, annotations: &[Annotation], findings: &mut Findings) {
    let declared: BTreeSet<&str> = bundle.manifest().metadata.inputs.iter().collect();
    let mut union = BTreeSet::new();
    for annotation in annotations {
        for input in &annotation.inputs {
            union.insert(input.as_str());
            if !declared.contains(input.as_str()) {
                let text =
                    format!("custom.inputs names {input}, which the manifest does not declare: correct one of them");
                let place = Place { file: annotation.file.clone(), line: annotation.line };
                findings.error("inputs_disagree", place, text);
            }
        }
    }
    if !union.is_empty() {
        for path in declared.difference(&union) {
            let text = format!("no rule's custom.inputs names {path}, which is declared here: say which rule reads it");
            findings.error("inputs_disagree", Place::manifest(), text);
        }
    }
}
