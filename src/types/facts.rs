//! What is known of a party or a dataset, as policies see it, with its JSON kept ready.

use serde_json::{Map, Value};

use super::PartyId;

/// A JSON object of facts and its text, so that building a policy's input for a request costs a copy and no encoding.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    map: Map<String, Value>,
    json: String,
}

impl Facts {
    /// Takes the facts. Members are in one order, so equal facts have equal text.
    pub fn new(map: Map<String, Value>) -> Self {
        let value = Value::Object(map);
        let json = value.to_string();
        let Value::Object(map) = value else { unreachable!("an object was made a line above") };
        Self { map, json }
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
}
