//! What is known of a party or a dataset, as policies see it, with its JSON kept ready.

use std::sync::{PoisonError, RwLock};

use serde_json::{Map, Value};

use super::PartyId;

/// Narrowed texts kept: a party is recipient here and sender there, for the policies in force and for those that they have
/// just replaced.
const NARROWED: usize = 4;

/// A JSON object of facts and its text, so that building a policy's input for a request costs a copy and no encoding.
#[derive(Debug)]
pub struct Facts {
    map: Map<String, Value>,
    json: String,
    /// Texts of a part of the members, by the number of whoever asked for that part; the latest last.
    narrowed: RwLock<Vec<(u64, Box<str>)>>,
}

impl Facts {
    /// Takes the facts. Members are in one order, so equal facts have equal text.
    pub fn new(map: Map<String, Value>) -> Self {
        let value = Value::Object(map);
        let json = value.to_string();
        let Value::Object(map) = value else { unreachable!("an object was made a line above") };
        Self { map, json, narrowed: RwLock::default() }
    }

    /// The facts about a party. Its `party` is always its id, whatever the facts say.
    pub fn about(party: &PartyId, mut map: Map<String, Value>) -> Self {
        map.insert("party".to_owned(), party.as_str().into());
        Self::new(map)
    }

    /// The facts by name.
    pub fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// The same as JSON text.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Appends the JSON text of the members that `keep` keeps.
    ///
    /// The text is remembered under `number`, so one number must always stand for one choice of members. Facts live long
    /// and policies change rarely: all but the first call with a number is a copy.
    pub fn append_narrowed(&self, text: &mut Vec<u8>, number: u64, keep: impl Fn(&str) -> bool) {
        if let Some((_, kept)) =
            self.narrowed.read().unwrap_or_else(PoisonError::into_inner).iter().find(|(of, _)| *of == number)
        {
            text.extend_from_slice(kept.as_bytes());
            return;
        }
        let members = self.map.iter().filter(|(name, _)| keep(name));
        let members: Map<String, Value> = members.map(|(name, fact)| (name.clone(), fact.clone())).collect();
        let kept = Value::Object(members).to_string();
        text.extend_from_slice(kept.as_bytes());
        let mut narrowed = self.narrowed.write().unwrap_or_else(PoisonError::into_inner);
        // Another request may have been as quick.
        if narrowed.iter().all(|(of, _)| *of != number) {
            if narrowed.len() == NARROWED {
                narrowed.remove(0);
            }
            narrowed.push((number, kept.into_boxed_str()));
        }
    }
}

impl Clone for Facts {
    /// The facts; what was narrowed is found anew.
    fn clone(&self) -> Self {
        Self { map: self.map.clone(), json: self.json.clone(), narrowed: RwLock::default() }
    }
}

impl PartialEq for Facts {
    /// Whether the facts are the same, whoever asked for which part of them.
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn narrowed(facts: &Facts, number: u64, keep: impl Fn(&str) -> bool) -> String {
        let mut text = b">".to_vec();
        facts.append_narrowed(&mut text, number, keep);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_part_is_remembered_by_its_number_and_only_the_latest_are() {
        let facts = Facts::new(json!({ "a": [1], "b": "\"", "c": null }).as_object().unwrap().clone());
        for number in 0..6 {
            assert_eq!(narrowed(&facts, number, |name| name != "b"), r#">{"a":[1],"c":null}"#);
            assert_eq!(narrowed(&facts, number, |_| panic!("asked twice")), r#">{"a":[1],"c":null}"#);
            assert!(facts.narrowed.read().unwrap().len() <= NARROWED);
        }
        assert_eq!(narrowed(&facts, 2, |_| panic!("forgotten")), r#">{"a":[1],"c":null}"#);
        assert_eq!(narrowed(&facts, 0, |name| name == "b"), r#">{"b":"\""}"#);
        assert_eq!(narrowed(&facts, 9, |_| false), ">{}");
        assert_eq!(facts, facts.clone());
    }
}
