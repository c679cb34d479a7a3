//! Reads an obligation's parameters; what is unknown or of the wrong type refuses the obligation.

use serde_json::Value;

use crate::enforce::EnforceError;
use crate::types::Obligation;

/// The largest number that a parameter may hold.
const MAX_NUMBER: u64 = 1_000_000;

/// The refusal of one obligation.
pub(super) fn unsupported(obligation: &Obligation, why: &str) -> EnforceError {
    EnforceError::Unsupported { rule: obligation.rule.clone(), action: obligation.action.clone(), why: why.into() }
}

/// The parameters of one obligation, and which of them were asked for.
pub(super) struct Parameters<'a> {
    obligation: &'a Obligation,
    known: Vec<&'static str>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(obligation: &'a Obligation) -> Self {
        Self { obligation, known: Vec::new() }
    }

    /// The refusal of this obligation.
    pub(super) fn refuse(&self, why: &str) -> EnforceError {
        unsupported(self.obligation, why)
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.obligation.parameters.get(key)
    }

    /// A non-empty list of non-empty words, when it is there.
    pub(super) fn words(&mut self, key: &'static str) -> Result<Option<Vec<String>>, EnforceError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let word = |value: &Value| value.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
        let words = value.as_array().and_then(|values| values.iter().map(word).collect::<Option<Vec<_>>>());
        match words.filter(|words| !words.is_empty()) {
            Some(words) => Ok(Some(words)),
            None => Err(self.refuse(&format!("{key} is not a list of names"))),
        }
    }

    /// A list of words that must be there.
    pub(super) fn required_words(&mut self, key: &'static str) -> Result<Vec<String>, EnforceError> {
        self.words(key)?.ok_or_else(|| self.refuse(&format!("{key} is missing")))
    }

    /// One word, when it is there.
    pub(super) fn word(&mut self, key: &'static str) -> Result<Option<String>, EnforceError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(word)) => Ok(Some(word.clone())),
            Some(_) => Err(self.refuse(&format!("{key} is not a word"))),
        }
    }

    /// A whole number from `least`, when it is there.
    pub(super) fn number(&mut self, key: &'static str, least: u64) -> Result<Option<u32>, EnforceError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_u64().filter(|number| (least..=MAX_NUMBER).contains(number));
        match number.and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.refuse(&format!("{key} is not a whole number from {least} to {MAX_NUMBER}"))),
        }
    }

    /// A non-empty object of words, when it is there.
    pub(super) fn word_map(&mut self, key: &'static str) -> Result<Option<Vec<(String, String)>>, EnforceError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let pair = |(name, value): (&String, &Value)| value.as_str().map(|word| (name.clone(), word.to_owned()));
        let pairs = value.as_object().and_then(|map| map.iter().map(pair).collect::<Option<Vec<_>>>());
        match pairs.filter(|pairs| !pairs.is_empty()) {
            Some(pairs) => Ok(Some(pairs)),
            None => Err(self.refuse(&format!("{key} is not an object of words"))),
        }
    }

    /// Refuses what was not asked for: a parameter that nobody read may have been the important one.
    pub(super) fn finish(self) -> Result<(), EnforceError> {
        match self.obligation.parameters.keys().find(|key| !self.known.contains(&key.as_str())) {
            Some(key) => Err(self.refuse(&format!("parameter {key:?} is unknown"))),
            None => Ok(()),
        }
    }
}

/// An obligation that is conveyed may say what it likes, in words, numbers and lists of them: the recipient reads it.
pub(super) fn check_accompanying(obligation: &Obligation) -> Result<(), EnforceError> {
    let plain = |value: &Value| !matches!(value, Value::Object(_) | Value::Array(_));
    let readable = obligation.parameters.values().all(|value| match value {
        Value::Array(values) => values.iter().all(plain),
        value => plain(value),
    });
    if !readable {
        return Err(unsupported(obligation, "a parameter is nested"));
    }
    if obligation.action == "delete_after_days" && obligation.parameters.get("days").and_then(Value::as_u64).is_none() {
        return Err(unsupported(obligation, "days is not a whole number"));
    }
    Ok(())
}
