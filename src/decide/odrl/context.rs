//! What names mean: the contexts that are known, and full names cut to one short form.
//!
//! A context is a promise about what every other word means, so one that is not known here refuses the document. None is
//! fetched: whoever serves it could change an agreement's meaning after it was signed.

use std::collections::HashMap;

use super::document::{Content, Node};
use super::finding::{Findings, quote};

/// Namespaces, and the prefix under which they go here. Catena-X dates its own.
const NAMESPACES: [(&str, &str); 14] = [
    ("http://www.w3.org/ns/odrl/2/", "odrl"),
    ("https://w3id.org/catenax/policy/", "cx-policy"),
    ("https://w3id.org/catenax/2025/9/policy/", "cx-policy"),
    ("https://w3id.org/edc/v0.0.1/ns/", "edc"),
    ("https://w3id.org/idsa/core/", "ids"),
    ("https://w3id.org/idsa/code/", "idsc"),
    ("https://w3id.org/dspace/2025/1/", "dspace"),
    ("https://w3id.org/dpv#", "dpv"),
    ("https://w3id.org/dpv/ai#", "dpv-ai"),
    ("http://purl.org/dc/terms/", "dct"),
    ("http://www.w3.org/2001/XMLSchema#", "xsd"),
    ("http://www.w3.org/ns/tdmrep#", "tdm"),
    ("urn:sekisho:odrl:", "sekisho"),
    ("urn:sekisho:dfft:", "dfft"),
];

/// Contexts that make ODRL's words plain.
const ODRL_CONTEXTS: [&str; 4] = [
    "http://www.w3.org/ns/odrl.jsonld",
    "https://www.w3.org/ns/odrl.jsonld",
    "https://w3id.org/catenax/2025/9/policy/odrl.jsonld",
    "https://w3id.org/dspace/2025/1/odrl-profile.jsonld",
];
/// The context that makes the words of the Catena-X profile plain.
const CATENA_CONTEXT: &str = "https://w3id.org/catenax/2025/9/policy/context.jsonld";
/// The Catena-X words; all else that is plain is ODRL's.
const CATENA_WORDS: [&str; 30] = [
    "access",
    "AffiliatesBpnl",
    "AffiliatesRegion",
    "BusinessPartnerGroup",
    "BusinessPartnerNumber",
    "ConfidentialInformationMeasures",
    "ConfidentialInformationSharing",
    "ContractReference",
    "ContractTermination",
    "DataFrequency",
    "DataProvisioningEndDate",
    "DataProvisioningEndDurationDays",
    "DataUsageEndDate",
    "DataUsageEndDefinition",
    "DataUsageEndDurationDays",
    "ExclusiveUsage",
    "FrameworkAgreement",
    "JurisdictionLocation",
    "JurisdictionLocationReference",
    "Liability",
    "ManagedLegalEntityBpnl",
    "ManagedLegalEntityRegion",
    "Membership",
    "ParticipationEnd",
    "Precedence",
    "UsagePurpose",
    "UsageRestriction",
    "VersionChanges",
    "Warranty",
    "WarrantyDuration",
];

/// What a document's contexts declare.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    odrl: bool,
    catena: bool,
    prefixes: HashMap<String, &'static str>,
    /// `@vocab`: the namespace of words that nothing else declares.
    default: Option<&'static str>,
}

fn namespace(iri: &str) -> Option<&'static str> {
    NAMESPACES.iter().find(|(known, _)| *known == iri).map(|(_, short)| *short)
}

impl Vocabulary {
    /// Reads `@context`.
    pub(super) fn read(node: Option<&Node>, findings: &mut Findings) -> Self {
        let mut vocabulary = Self::default();
        let Some(node) = node else {
            findings.add(1, "there is no @context, so no word means anything", "add the ODRL context");
            return vocabulary;
        };
        for item in node.each() {
            match &item.content {
                Content::Text(iri) if ODRL_CONTEXTS.contains(&iri.as_str()) => vocabulary.odrl = true,
                Content::Text(iri) if iri == CATENA_CONTEXT => vocabulary.catena = true,
                Content::Members(members) => {
                    for (name, value) in members {
                        vocabulary.declare(name, value, findings);
                    }
                }
                Content::Text(iri) => findings.add(
                    item.line,
                    format!("the context {} is not known, and none is fetched", quote(iri)),
                    format!("use {} or {CATENA_CONTEXT}, or declare prefixes", ODRL_CONTEXTS[0]),
                ),
                _ => findings.add(
                    item.line,
                    format!("a context is {}", item.kind()),
                    "name a known context or declare prefixes in an object",
                ),
            }
        }
        if vocabulary.odrl {
            for short in ["odrl", "xsd", "dct"] {
                vocabulary.prefixes.entry(short.to_owned()).or_insert(short);
            }
        }
        if vocabulary.catena {
            vocabulary.prefixes.entry("cx-policy".to_owned()).or_insert("cx-policy");
        }
        vocabulary
    }

    fn declare(&mut self, name: &str, value: &Node, findings: &mut Findings) {
        let iri = match &value.content {
            Content::Text(iri) => Some(iri.as_str()),
            Content::Members(members) => match &members[..] {
                // The Catena-X documents write prefixes so.
                [(key, Node { content: Content::Text(iri), .. })] if key == "@id" => Some(iri.as_str()),
                _ => None,
            },
            _ => None,
        };
        let Some(short) = iri.and_then(namespace) else {
            let told = iri.map_or_else(|| value.kind().to_owned(), quote);
            findings.add(
                value.line,
                format!("the context declares {} as {told}, which is not a known namespace", quote(name)),
                "declare prefixes of ODRL, Catena-X, IDS, EDC, DPV, Dublin Core, XML Schema or sekisho only",
            );
            return;
        };
        match name {
            "@vocab" => self.default = Some(short),
            name if name.starts_with('@') || name.contains(':') => findings.add(
                value.line,
                format!("the context sets {}, which is not understood", quote(name)),
                "remove it",
            ),
            name => drop(self.prefixes.insert(name.to_owned(), short)),
        }
    }

    /// A name in its short form, such as `odrl:use`; `None` when the contexts give it no meaning that is known here.
    pub(super) fn expand(&self, name: &str) -> Option<String> {
        if let Some(known) = Self::shorten(name) {
            return Some(known);
        }
        if let Some((prefix, word)) = name.split_once(':') {
            return self.prefixes.get(prefix).filter(|_| !word.is_empty()).map(|short| format!("{short}:{word}"));
        }
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain {
            return None;
        }
        let short = if self.catena && CATENA_WORDS.contains(&name) {
            "cx-policy"
        } else if self.odrl {
            "odrl"
        } else {
            self.default?
        };
        Some(format!("{short}:{name}"))
    }

    /// A full IRI in its short form.
    fn shorten(iri: &str) -> Option<String> {
        let (rest, short) = NAMESPACES.iter().find_map(|(known, short)| Some((iri.strip_prefix(known)?, short)))?;
        (!rest.is_empty()).then(|| format!("{short}:{rest}"))
    }

    /// A member's name: a JSON-LD keyword, one of ODRL's two aliases of keywords, or a name in its short form.
    pub(super) fn member(&self, name: &str) -> Option<String> {
        match name {
            "@id" | "@type" | "@context" | "@value" | "@list" => Some(name.to_owned()),
            "uid" if self.odrl => Some("@id".to_owned()),
            "type" if self.odrl => Some("@type".to_owned()),
            _ => self.expand(name).map(|name| match name.as_str() {
                "odrl:uid" => "@id".to_owned(),
                _ => name,
            }),
        }
    }
}
