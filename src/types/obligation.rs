//! What a policy demands of a payload.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One obligation as the policy states it: `{"rule": "DFFT-P9", "do": "generalise", "date": "iso-week"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligation {
    /// The rule that demands it.
    pub rule: String,
    /// What to do; the vocabulary is `enforce`'s, and a word it does not know denies.
    #[serde(rename = "do")]
    pub action: String,
    /// Everything else that the policy says about it.
    #[serde(flatten)]
    pub parameters: Map<String, Value>,
}
