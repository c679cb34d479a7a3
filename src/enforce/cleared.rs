//! The clearance to forward: a permission whose obligations are all understood.

use super::{Context, EnforceError, Plan};
use crate::decide::Permit;

/// A permitted exchange whose obligations this room can carry out. Only this room makes one, and `forward` sends
/// nothing without one.
#[derive(Debug)]
pub struct Cleared {
    permit: Permit,
    plan: Plan,
}

impl Cleared {
    /// Compiles what the policy demands.
    ///
    /// # Errors
    /// [`EnforceError::Unsupported`] or [`EnforceError::KeysMissing`] for an obligation that cannot be carried out.
    pub fn new(permit: Permit, context: &Context) -> Result<Self, EnforceError> {
        let plan = Plan::compile(permit.decision().obligations(), context)?;
        Ok(Self { permit, plan })
    }

    /// The permission behind it.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// How the payload has to change.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
