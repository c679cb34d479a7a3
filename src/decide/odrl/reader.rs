//! Reads an agreement: who with whom, about what, and its rules.

use super::action::Actions;
use super::condition::Condition;
use super::context::Vocabulary;
use super::document::{Content, Node, parse};
use super::finding::{Findings, quote};
use super::rule::{Kind, Rule};
use super::terms::Terms;
use super::uses::Uses;
use super::{MAX_RULES, Registry};
use crate::decide::DecideError;
use crate::types::{DatasetId, Obligation, PartyId, Timestamp};

/// Reads an agreement in ODRL, which goes by the id `agreement` here.
///
/// # Errors
/// [`DecideError::Agreement`] with everything in it that cannot be enforced or read, in the order of lines.
pub fn read(agreement: &str, text: &str, registry: &Registry) -> Result<Terms, DecideError> {
    let document = parse(text).map_err(|finding| DecideError::Agreement(vec![finding]))?;
    let mut reader = Reader::new(agreement, registry);
    let terms = reader.agreement(&document);
    match terms {
        Some(terms) if reader.findings.is_empty() => Ok(terms),
        _ => Err(reader.findings.refusal()),
    }
}

/// Profiles whose words are understood as far as they are in the tables here; what they add is refused word by word.
const PROFILES: [&str; 7] = [
    "odrl:core",
    "cx-policy:profile2405",
    "cx-policy:profile2506",
    "cx-policy:profile2509",
    "dspace:odrl-profile.jsonld",
    "sekisho:profile",
    "http://www.w3.org/ns/tdmrep",
];

/// Members that say something about the document and nothing about the use of data (ODRL Information Model 2.2,
/// section 2.1.4). `dct:isReplacedBy` and `dct:replaces` are not among them: they bear on which document holds.
const METADATA: [&str; 8] = [
    "dct:contributor",
    "dct:created",
    "dct:creator",
    "dct:description",
    "dct:modified",
    "dct:publisher",
    "dct:subject",
    "dct:title",
];

/// An object's members under their short names, each taken once.
pub(super) struct Object<'n> {
    pub(super) line: usize,
    what: &'static str,
    pub(super) entries: Vec<(String, &'n Node)>,
}

impl<'n> Object<'n> {
    pub(super) fn take(&mut self, name: &str) -> Option<&'n Node> {
        let place = self.entries.iter().position(|(known, _)| known == name)?;
        Some(self.entries.remove(place).1)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(known, _)| known == name)
    }
}

/// An agreement as it is read.
pub(super) struct Reader<'r> {
    pub(super) agreement: &'r str,
    pub(super) registry: &'r Registry,
    pub(super) vocabulary: Vocabulary,
    pub(super) findings: Findings,
    /// When it was concluded, where it says so.
    pub(super) concluded: Option<Timestamp>,
    pub(super) constraints: usize,
    assigner: Option<PartyId>,
    assignee: Option<PartyId>,
    rules: usize,
}

impl<'r> Reader<'r> {
    fn new(agreement: &'r str, registry: &'r Registry) -> Self {
        Self {
            agreement,
            registry,
            vocabulary: Vocabulary::default(),
            findings: Findings::default(),
            concluded: None,
            constraints: 0,
            assigner: None,
            assignee: None,
            rules: 0,
        }
    }

    fn agreement(&mut self, document: &Node) -> Option<Terms> {
        let Content::Members(members) = &document.content else {
            self.findings.add(document.line, format!("is {}", document.kind()), "give one agreement as an object");
            return None;
        };
        let context = members.iter().find(|(name, _)| name == "@context").map(|(_, node)| node);
        self.vocabulary = Vocabulary::read(context, &mut self.findings);
        let mut object = self.object(document, "the agreement")?;
        object.take("@context");
        self.kind(&mut object);
        let uid = match object.take("@id") {
            Some(node) => self.text(node),
            None => {
                self.findings.add(object.line, "the agreement has no uid", "add one, such as urn:uuid:...");
                None
            }
        };
        self.profile(object.take("odrl:profile"));
        let prohibition_wins = self.conflict(object.take("odrl:conflict"));
        self.conclusion(&mut object);
        self.parties(&mut object);
        let datasets = object.take("odrl:target").map(|node| self.datasets(node));
        let datasets = datasets.as_deref();
        // Members have no order in JSON, so the numbers of rules follow this one.
        let mut rules = Vec::new();
        for (member, kind) in [("odrl:permission", Kind::Permission), ("odrl:prohibition", Kind::Prohibition)] {
            for node in object.take(member).map(Node::each).unwrap_or_default() {
                rules.extend(self.rule(node, kind, datasets));
            }
        }
        let (mut obligations, mut ends) = (Vec::new(), Vec::new());
        for node in object.take("odrl:obligation").map(Node::each).unwrap_or_default() {
            let number = self.number(node.line);
            self.obligation(node, number, &mut obligations, &mut ends);
        }
        object.entries.retain(|(name, _)| !METADATA.contains(&name.as_str()));
        self.finish(object);
        if !rules.iter().any(|rule: &Rule| rule.kind == Kind::Permission) {
            self.findings.add(document.line, "the agreement permits nothing", "add a permission");
        }
        if !prohibition_wins {
            self.contradictions(&rules);
        }
        for rule in rules.iter_mut().filter(|rule| rule.kind == Kind::Permission && !ends.is_empty()) {
            let mut parts = rule.parts().to_vec();
            parts.extend(ends.iter().cloned());
            rule.condition = Condition::All(parts);
        }
        for (role, party) in [("assigner", &self.assigner), ("assignee", &self.assignee)] {
            if party.is_none() && self.findings.is_empty() {
                self.findings.add(document.line, format!("the agreement has no {role}"), format!("name the {role}"));
            }
        }
        Some(Terms {
            agreement: self.agreement.to_owned(),
            uid: uid?,
            assignee: self.assignee.clone()?,
            rules,
            obligations,
            uses: Uses::default(),
        })
    }

    fn kind(&mut self, object: &mut Object<'_>) {
        let fix =
            "have both sides conclude it, and give what they signed: an odrl:Agreement with assigner and assignee";
        let Some(node) = object.take("@type") else {
            self.findings.add(object.line, "the document has no @type", fix);
            return;
        };
        let kinds: Vec<String> = node.each().into_iter().filter_map(|node| self.name(node, "the type")).collect();
        if kinds != ["odrl:Agreement"] && !kinds.is_empty() {
            self.findings.add(node.line, format!("is of type {} and no odrl:Agreement", kinds.join(", ")), fix);
        }
    }

    fn profile(&mut self, node: Option<&Node>) {
        for node in node.map(Node::each).unwrap_or_default() {
            let Some(text) = self.text(node) else { continue };
            let name = self.vocabulary.expand(&text).unwrap_or_else(|| text.clone());
            if !PROFILES.contains(&name.as_str()) && text != "http://www.w3.org/ns/odrl/2/" {
                let what = format!("the profile {} is not known, so its words may mean anything", quote(&text));
                self.findings.add(node.line, what, format!("use one of {}", PROFILES.join(", ")));
            }
        }
    }

    /// Whether the document says that a prohibition beats a permission. ODRL's default is that a contradiction makes
    /// the whole document void.
    fn conflict(&mut self, node: Option<&Node>) -> bool {
        let Some(node) = node else { return false };
        match self.name(node, "the conflict strategy").as_deref() {
            Some("odrl:prohibit") => true,
            Some("odrl:invalid") | None => false,
            Some(other) => {
                let what = format!("the conflict strategy {other} is not enforced: here a prohibition always wins");
                self.findings.add(node.line, what, "write odrl:prohibit or odrl:invalid");
                false
            }
        }
    }

    fn conclusion(&mut self, object: &mut Object<'_>) {
        for name in ["odrl:timestamp", "dspace:timestamp", "dct:issued"] {
            let Some(node) = object.take(name) else { continue };
            if let Some((first, _)) = self.value(node).and_then(|value| self.span(node.line, &value)) {
                self.concluded = self.concluded.or(Some(first));
            }
        }
    }

    /// Assigner and assignee, of the agreement or of one of its rules: they must be the same two throughout.
    pub(super) fn parties(&mut self, object: &mut Object<'_>) {
        if let Some(node) = object.take("odrl:assigner")
            && let Some(party) = self.party(node)
        {
            if party != *self.registry.us() {
                let what = format!("the assigner is {party}, and we are {}", self.registry.us());
                self.findings.add(node.line, what, "give an agreement about data of ours");
            }
            self.assigner = Some(party);
        }
        if let Some(node) = object.take("odrl:assignee")
            && let Some(party) = self.party(node)
        {
            if party == *self.registry.us() {
                let what = "the assignee is ourselves";
                self.findings.add(node.line, what, "name the partner that may use the data");
            } else if self.assignee.as_ref().is_some_and(|other| *other != party) {
                let what = format!("names a second assignee, {party}");
                self.findings.add(node.line, what, "make an agreement for each partner");
            } else {
                self.assignee = Some(party);
            }
        }
    }

    fn party(&mut self, node: &Node) -> Option<PartyId> {
        let name = self.text(node)?;
        let party = self.registry.find_party(&name).cloned();
        if party.is_none() {
            let what = format!("{} is no party of the registry", quote(&name));
            self.findings.add(node.line, what, "write a party id, or set bpn of that party in the configuration");
        }
        party
    }

    /// The party that a text names, for constraints.
    pub(super) fn party_named(&mut self, line: usize, name: &str) -> Option<String> {
        let party = self.registry.find_party(name).map(ToString::to_string);
        if party.is_none() {
            let what = format!("{} is no party of the registry", quote(name));
            self.findings.add(line, what, "write a party id, or set bpn of that party in the configuration");
        }
        party
    }

    fn datasets(&mut self, node: &Node) -> Vec<DatasetId> {
        let mut datasets = Vec::new();
        if node.each().is_empty() {
            self.findings.add(node.line, "the target names nothing", "name a dataset");
        }
        for node in node.each() {
            let Some(name) = self.text(node) else { continue };
            match self.registry.find_dataset(&name) {
                Some(dataset) if datasets.contains(dataset) => {}
                Some(dataset) => datasets.push(dataset.clone()),
                None => {
                    let what = format!("the target {} is no dataset of ours", quote(&name));
                    self.findings.add(node.line, what, "write the id of a [[dataset]], and no part of one");
                }
            }
        }
        datasets
    }

    /// The number of the next rule.
    fn number(&mut self, line: usize) -> usize {
        self.rules += 1;
        if self.rules == MAX_RULES + 1 {
            let what = format!("has more than {MAX_RULES} rules");
            self.findings.add(line, what, "make several agreements of it");
        }
        self.rules
    }

    fn rule(&mut self, node: &Node, kind: Kind, datasets: Option<&[DatasetId]>) -> Option<Rule> {
        let number = self.number(node.line);
        let what = if kind == Kind::Permission { "the permission" } else { "the prohibition" };
        let mut object = self.object(node, what)?;
        self.declared_as(&mut object, if kind == Kind::Permission { "odrl:Permission" } else { "odrl:Prohibition" });
        self.parties(&mut object);
        let own = object.take("odrl:target").map(|node| self.datasets(node));
        if own.is_none() && datasets.is_none() {
            self.findings.add(object.line, format!("{what} has no target"), "name a dataset");
        }
        let datasets = own.or_else(|| datasets.map(<[DatasetId]>::to_vec)).unwrap_or_default();
        let (names, actions) = self.actions(&mut object, kind);
        let condition = self.conditions(object.take("odrl:constraint"), kind);
        let mut obligations = Vec::new();
        if kind == Kind::Permission {
            for node in object.take("odrl:duty").map(Node::each).unwrap_or_default() {
                self.duty(node, number, &mut obligations);
            }
        } else if names.iter().any(|name| name == "odrl:distribute") {
            // Whether the recipient hands it on we do not see; it is told that it may not.
            obligations.push(self.demand(number, "no_onward_transfer", []));
        }
        self.finish(object);
        Some(Rule { kind, number, line: node.line, names, actions, datasets, condition, obligations })
    }

    fn actions(&mut self, object: &mut Object<'_>, kind: Kind) -> (Vec<String>, Actions) {
        let (mut names, mut actions) = (Vec::new(), Actions::default());
        let Some(node) = object.take("odrl:action") else {
            self.findings.add(object.line, format!("{} has no action", object.what), "add one, such as odrl:use");
            return (names, actions);
        };
        for node in node.each() {
            let Some(name) = self.name(node, "the action") else { continue };
            let known = match kind {
                Kind::Permission => Actions::permitted(&name),
                Kind::Prohibition => Actions::forbidden(&name),
            };
            match known {
                Some(known) => actions.include(known),
                None => {
                    let fix = format!("use one of {}", Actions::known());
                    self.findings.add(node.line, format!("the action {name} is not enforced"), fix);
                }
            }
            names.push(name);
        }
        (names, actions)
    }

    /// Permissions that a prohibition takes back whole, where the document does not say that this is meant.
    fn contradictions(&mut self, rules: &[Rule]) {
        let of = |kind| rules.iter().filter(move |rule| rule.kind == kind);
        for prohibition in of(Kind::Prohibition) {
            let taken = of(Kind::Permission).find(|permission| {
                let same = permission.names.iter().any(|name| prohibition.names.contains(name));
                (same || permission.actions.within(prohibition.actions))
                    && permission.datasets.iter().any(|dataset| prohibition.datasets.contains(dataset))
            });
            if let Some(permission) = taken {
                let forbidden = prohibition.names.join(", ");
                let what = format!("forbids {forbidden}, which is permitted on line {}", permission.line);
                let fix = "remove one of the two, or say that the prohibition wins: \"conflict\": \"prohibit\"";
                self.findings.add(prohibition.line, what, fix);
            }
        }
    }

    /// An obligation of this rule.
    pub(super) fn demand<const N: usize>(
        &self,
        number: usize,
        action: &str,
        parameters: [(&str, serde_json::Value); N],
    ) -> Obligation {
        Obligation {
            rule: super::terms::label(self.agreement, number),
            action: action.to_owned(),
            parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// An object with its members under their short names. What the contexts give no meaning to is a finding.
    pub(super) fn object<'n>(&mut self, node: &'n Node, what: &'static str) -> Option<Object<'n>> {
        let Content::Members(members) = &node.content else {
            self.findings.add(node.line, format!("{what} is {}", node.kind()), "write it as an object");
            return None;
        };
        let mut entries: Vec<(String, &Node)> = Vec::with_capacity(members.len());
        for (name, value) in members {
            match self.vocabulary.member(name) {
                Some(short) if entries.iter().any(|(known, _)| *known == short) => {
                    let told = format!("{what} says {short} twice, under two names");
                    self.findings.add(value.line, told, "remove one of the two");
                }
                Some(short) => entries.push((short, value)),
                None => {
                    let told = format!("{} of {what} means nothing under the contexts given", quote(name));
                    self.findings.add(value.line, told, "remove it, or declare its prefix in @context");
                }
            }
        }
        Some(Object { line: node.line, what, entries })
    }

    /// Checks the `@type` of a part, where it has one; its `@id` says nothing.
    pub(super) fn declared_as(&mut self, object: &mut Object<'_>, expected: &str) {
        object.take("@id");
        let Some(node) = object.take("@type") else { return };
        if let Some(name) = self.name(node, "the type")
            && name != expected
        {
            let what = format!("{} is declared as {name}, which is not enforced", object.what);
            self.findings.add(node.line, what, format!("write {expected}, or leave the type out"));
        }
    }

    /// Everything that was not taken is something that would not be enforced.
    pub(super) fn finish(&mut self, object: Object<'_>) {
        for (name, node) in object.entries {
            let what = format!("{name} of {} is not enforced", object.what);
            self.findings.add(node.line, what, "remove it, or agree on it outside of the agreement that we enforce");
        }
    }

    /// A text, or an object that is nothing but the name of one thing.
    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        if let Content::Text(text) = &node.content {
            return Some(text.clone());
        }
        let mut object = self.object(node, "the name")?;
        let inner = object.take("@id").or_else(|| object.take("@value"));
        if let Some(kind) = object.take("@type") {
            let name = self.name(kind, "the type");
            let plain = ["odrl:Party", "odrl:Asset", "odrl:Action", "xsd:string", "xsd:anyURI"];
            if name.as_deref().is_some_and(|name| !plain.contains(&name)) {
                let what = format!("the type {} is not enforced here", name.unwrap_or_default());
                self.findings.add(kind.line, what, "name one thing by its id alone");
            }
        }
        self.finish(object);
        match inner.map(|node| &node.content) {
            Some(Content::Text(text)) => Some(text.clone()),
            _ => {
                self.findings.add(node.line, "names nothing", "give its id as a text");
                None
            }
        }
    }

    /// A word of a vocabulary in its short form.
    pub(super) fn name(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(node)?;
        let name = self.vocabulary.expand(&text);
        if name.is_none() {
            let told = format!("{what} {} means nothing under the contexts given", quote(&text));
            self.findings.add(node.line, told, "declare its prefix in @context, or correct it");
        }
        name
    }
}
