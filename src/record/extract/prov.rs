//! An exchange as W3C PROV-JSON. Which word of an entry is which term of PROV is told at the top of `record/entry.rs`.

use serde_json::{Map, Value, json};

/// The provenance of one exchange, out of its entries as they stand in the log of `origin`.
pub fn provenance(origin: &str, entries: &[(u64, Value)]) -> Value {
    let of_kind = |kind: &str| entries.iter().map(|(_, entry)| entry).find(|entry| entry["kind"] == kind);
    let nothing = Value::Null;
    let decision = of_kind("decision").unwrap_or(&nothing);
    let outcome = of_kind("outcome").unwrap_or(&nothing);
    let text = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
    let mut document = Document::default();

    let id = text(decision, "exchange").or_else(|| text(outcome, "exchange")).unwrap_or_default();
    let exchange = format!("sekisho:exchange/{id}");
    let mut about = Map::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            about.insert(name.to_owned(), value.into());
        }
    };
    add("prov:startTime", text(decision, "at"));
    add("prov:endTime", text(outcome, "at"));
    for word in ["direction", "purpose", "action", "decision", "code"] {
        add(&format!("sekisho:{word}"), text(decision, word));
    }
    add("sekisho:ended", text(outcome, "ended"));
    add("sekisho:log", Some(origin.to_owned()));
    let places: Vec<_> = entries.iter().map(|(index, _)| *index).collect();
    about.insert("sekisho:entries".into(), json!(places));
    document.put("activity", &exchange, about.into());

    let dataset = text(decision, "dataset").map(|dataset| format!("sekisho:dataset/{dataset}"));
    if let Some(dataset) = &dataset {
        document.put("entity", dataset, json!({ "prov:type": "sekisho:Dataset" }));
        document.relate("used", json!({ "prov:activity": exchange, "prov:entity": dataset }));
    }
    let payload =
        |name: &str| text(outcome, name).map(|digest| format!("sekisho:payload/{}", digest.replace(':', "-")));
    let (before, after) = (payload("digest_before"), payload("digest_after"));
    for (name, bytes) in [(&before, "bytes_in"), (&after, "bytes_out")] {
        if let Some(name) = name {
            document.put("entity", name, json!({ "prov:type": "sekisho:Payload", "sekisho:bytes": outcome[bytes] }));
        }
    }
    if let Some(before) = &before {
        document.relate("used", json!({ "prov:activity": exchange, "prov:entity": before }));
        if let Some(dataset) = &dataset {
            document.relate("wasDerivedFrom", json!({ "prov:generatedEntity": before, "prov:usedEntity": dataset }));
        }
    }
    if let Some(after) = &after {
        document.relate("wasGeneratedBy", json!({ "prov:entity": after, "prov:activity": exchange }));
        if let Some(before) = before.filter(|before| before != after) {
            document.relate("wasDerivedFrom", json!({ "prov:generatedEntity": after, "prov:usedEntity": before }));
        }
    }

    let plan_type = json!({ "$": "prov:Plan", "type": "prov:QUALIFIED_NAME" });
    let policy = text(&decision["policy"], "digest").map(|digest| {
        let name = format!("sekisho:policy/{}", digest.replace(':', "-"));
        let (id, revision) = (&decision["policy"]["id"], &decision["policy"]["revision"]);
        document.put(
            "entity",
            &name,
            json!({ "prov:type": plan_type, "prov:label": id, "sekisho:revision": revision }),
        );
        name
    });
    if let Some(agreement) = text(decision, "agreement") {
        let name = format!("sekisho:agreement/{agreement}");
        document.put("entity", &name, json!({ "prov:type": plan_type }));
        document.relate("used", json!({ "prov:activity": exchange, "prov:entity": name }));
    }
    for side in ["provider", "consumer"] {
        let Some(party) = text(decision, side) else { continue };
        let name = format!("sekisho:party/{party}");
        let kind = json!({ "$": "prov:Organization", "type": "prov:QUALIFIED_NAME" });
        document.put("agent", &name, json!({ "prov:type": kind }));
        let mut association = json!({ "prov:activity": exchange, "prov:agent": name, "prov:role": side });
        // The plan is the policy of who keeps this log.
        let ours = (decision["direction"] == "export") == (side == "provider");
        if let Some(policy) = policy.as_ref().filter(|_| ours) {
            association["prov:plan"] = policy.as_str().into();
        }
        document.relate("wasAssociatedWith", association);
        if side == "provider"
            && let Some(dataset) = &dataset
        {
            document.relate("wasAttributedTo", json!({ "prov:entity": dataset, "prov:agent": name }));
        }
        if side == "consumer"
            && let Some(subject) = text(&decision["pass"], "subject")
        {
            // A commitment: it names nobody, and nobody can be named by it once its salt is gone.
            let person = format!("sekisho:subject/{}", subject.replace(':', "-"));
            document.put("agent", &person, json!({}));
            document.relate("actedOnBehalfOf", json!({ "prov:delegate": person, "prov:responsible": name }));
        }
    }
    for receipt in entries.iter().map(|(_, entry)| entry).filter(|entry| entry["kind"] == "receipt") {
        let name = format!("sekisho:receipt/{id}");
        document.put("entity", &name, json!({ "prov:type": "sekisho:Receipt", "sekisho:at": receipt["at"] }));
        if let Some(party) = text(receipt, "party") {
            let agent = format!("sekisho:party/{party}");
            document.relate("wasAttributedTo", json!({ "prov:entity": name, "prov:agent": agent }));
        }
        if let Some(after) = &after {
            document.relate("wasDerivedFrom", json!({ "prov:generatedEntity": name, "prov:usedEntity": after }));
        }
    }
    document.finish()
}

/// A document that is being written.
#[derive(Default)]
struct Document {
    sections: Map<String, Value>,
    relations: usize,
}

impl Document {
    fn put(&mut self, section: &str, name: &str, about: Value) {
        let section = self.sections.entry(section).or_insert_with(|| json!({}));
        section[name] = about;
    }

    fn relate(&mut self, kind: &str, relation: Value) {
        self.relations += 1;
        let name = format!("_:r{}", self.relations);
        self.put(kind, &name, relation);
    }

    fn finish(mut self) -> Value {
        let prefixes = json!({ "prov": "http://www.w3.org/ns/prov#", "sekisho": "urn:sekisho:" });
        self.sections.insert("prefix".into(), prefixes);
        self.sections.into()
    }
}
