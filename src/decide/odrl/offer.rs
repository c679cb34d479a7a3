//! Writes what a dataset is offered for as an `odrl:Offer`, in words that an agreement made from it is read back from.

use serde_json::{Value, json};

use crate::types::{DatasetId, PartyId, Purpose, Tag};

/// What an offer is made of.
#[derive(Debug)]
pub struct Offer<'a> {
    /// Ourselves.
    pub us: &'a PartyId,
    /// The dataset.
    pub dataset: &'a DatasetId,
    /// Its title, for people.
    pub title: Option<&'a str>,
    /// What it is offered for: a permission for each.
    pub purposes: &'a [Purpose],
    /// Its tags, some of which forbid.
    pub tags: &'a [Tag],
    /// Its licence, which may demand that the creator is named.
    pub licence: &'a str,
    /// Whom to attribute.
    pub creator: Option<&'a str>,
    /// Whether the policy in force looks at the recipient's membership, and so demands an active one.
    pub membership: bool,
    /// The framework agreement that the recipient must have accepted, if the policy in force looks at it.
    pub framework: Option<&'a str>,
}

/// The offer as JSON-LD.
pub fn offer(offer: &Offer<'_>) -> Value {
    let duties = duties(offer);
    let permissions = offer.purposes.iter().map(|purpose| {
        let mut constraints = vec![constraint("purpose", purpose.as_str())];
        if offer.membership {
            constraints.push(constraint("cx-policy:Membership", "active"));
        }
        if let Some(framework) = offer.framework {
            constraints.push(constraint("cx-policy:FrameworkAgreement", framework));
        }
        let mut permission = json!({ "action": "use", "constraint": constraints });
        if !duties.is_empty() {
            permission["duty"] = json!(duties);
        }
        permission
    });
    let mut document = json!({
        "@context": [
            "http://www.w3.org/ns/odrl.jsonld",
            {
                "cx-policy": "https://w3id.org/catenax/policy/",
                "dfft": "urn:sekisho:dfft:",
                "dpv": "https://w3id.org/dpv#",
                "dpv-ai": "https://w3id.org/dpv/ai#",
                "sekisho": "urn:sekisho:odrl:",
                "tdm": "http://www.w3.org/ns/tdmrep#",
            },
        ],
        "@type": "Offer",
        "uid": format!("urn:sekisho:offer:{}:{}", offer.us, offer.dataset),
        "profile": "sekisho:profile",
        "conflict": "prohibit",
        "assigner": format!("urn:sekisho:party:{}", offer.us),
        "target": format!("urn:sekisho:dataset:{}:{}", offer.us, offer.dataset),
        "permission": permissions.collect::<Vec<_>>(),
    });
    let prohibitions: Vec<Value> =
        forbidden(offer.tags).into_iter().map(|action| json!({ "action": action })).collect();
    if !prohibitions.is_empty() {
        document["prohibition"] = json!(prohibitions);
    }
    if let Some(title) = offer.title {
        document["dct:title"] = json!(title);
    }
    document
}

fn constraint(operand: &str, value: &str) -> Value {
    json!({ "leftOperand": operand, "operator": "eq", "rightOperand": value })
}

/// What is demanded of every copy, whoever gets it.
fn duties(offer: &Offer<'_>) -> Vec<Value> {
    let mut duties = Vec::new();
    if offer.licence.starts_with("CC-BY") {
        let mut attribute = json!({
            "action": "attribute",
            "attributedParty": format!("urn:sekisho:party:{}", offer.us),
        });
        if let Some(creator) = offer.creator {
            attribute["dct:creator"] = json!(creator);
        }
        duties.push(attribute);
    }
    if is_confidential(offer.tags) {
        duties.push(json!({ "action": "watermark" }));
    }
    duties
}

/// What the tags take from `use`.
fn forbidden(tags: &[Tag]) -> Vec<&'static str> {
    let tagged = |words: &[&str]| tags.iter().any(|tag| words.contains(&tag.as_str()));
    let mut forbidden = Vec::new();
    if tagged(&["ip:no-derivatives"]) {
        forbidden.push("derive");
    }
    // Whoever reserves mining gives it by an agreement of its own.
    if tagged(&["ip:tdm-reserved"]) {
        forbidden.push("tdm:mine");
    }
    if is_confidential(tags) || tagged(&["security:tlp-amber", "security:tlp-amber-strict", "security:tlp-red"]) {
        forbidden.push("distribute");
    }
    forbidden
}

fn is_confidential(tags: &[Tag]) -> bool {
    tags.iter().any(|tag| matches!(tag.as_str(), "ip:trade-secret" | "ip:limited-provision"))
}
