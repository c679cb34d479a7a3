//! People of our own organisation: what a certificate of our own authority lets its holder do.
//!
//! A SPIFFE id says the role: `spiffe://<party>/operator/<name>`, `.../officer/<name>`, `.../regulator/<name>`. An officer
//! may hold offices, such as `export_control`, each in a name of its own: `spiffe://<party>/officer/<office>/<name>`.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Certificate;
use crate::types::{PartyId, Timestamp};

/// What a person may do; part of the certificate's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the gateway.
    Operator,
    /// Approves what a policy holds for review.
    Officer,
    /// Reads records and changes nothing.
    Regulator,
}

impl Role {
    /// The role as it stands in a certificate's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Officer => "officer",
            Self::Regulator => "regulator",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Operator, Self::Officer, Self::Regulator].into_iter().find(|role| role.as_str() == text)
    }
}

/// A person with a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name, as the certificate gives it.
    pub name: String,
    /// The role of the certificate's first name that gives one; names with other roles count for nothing.
    pub role: Role,
    /// The offices that an officer holds.
    pub offices: BTreeSet<String>,
    /// Until when the certificate is good.
    pub expires: Timestamp,
}

impl Person {
    /// Who a client certificate speaks for among the people of `us`; `None` when it gives no role there.
    pub fn of(certificate: &Certificate, us: &PartyId) -> Option<Self> {
        if !certificate.for_client() {
            return None;
        }
        let base = format!("spiffe://{us}/");
        let mut person: Option<Self> = None;
        for name in certificate.names() {
            let Some((role, rest)) = name.strip_prefix(&base).and_then(|rest| rest.split_once('/')) else { continue };
            let Some(role) = Role::parse(role) else { continue };
            let (office, name) = match rest.split_once('/') {
                Some((office, name)) if role == Role::Officer => (Some(office), name),
                Some(_) => continue,
                None => (None, rest),
            };
            if name.is_empty() || name.contains('/') || office.is_some_and(str::is_empty) {
                continue;
            }
            let person = person.get_or_insert_with(|| Self {
                name: name.to_owned(),
                role,
                offices: BTreeSet::new(),
                expires: certificate.validity().1,
            });
            // One person a certificate: an office held under another name is not this person's.
            if person.role == role && person.name == name {
                person.offices.extend(office.map(str::to_owned));
            }
        }
        person
    }
}
