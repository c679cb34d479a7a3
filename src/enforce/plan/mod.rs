//! A plan: what one decision's obligations mean for one exchange, in the fixed order in which they are carried out.
//!
//! The order is keep_only and redact, pseudonymise, generalise, k-anonymity, watermark, whatever the policy's order.
//! Obligations of one kind are united towards the safe side: of two `keep_only` the intersection stays; what two
//! `redact` name goes, both; two `k_anonymity` become one with the larger k, all quasi-identifiers, and `deny` if either
//! says so.

mod parameters;

use std::collections::HashSet;
use std::sync::Arc;

use self::parameters::Parameters;
use super::generalise::{Coarsen, Unit};
use super::k_anonymity::Grouping;
use super::pseudonym::RecipientKey;
use super::select::{Selections, Selector};
use super::{CarriedOut, EnforceError, Filter, Format, MAX_CONVEYED, MAX_SELECTORS, PseudonymKeys};
use crate::types::{ExchangeId, Obligation, PartyId};

/// What an exchange adds to its obligations.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who will receive the payload.
    pub recipient: PartyId,
    /// The exchange, for marks.
    pub exchange: ExchangeId,
    /// Where pseudonyms come from; without them, an obligation that demands pseudonyms is refused.
    pub pseudonym_keys: Option<Arc<PseudonymKeys>>,
}

/// The obligations of one decision, understood in full.
#[derive(Debug, Clone)]
pub struct Plan {
    steps: Arc<Steps>,
    conveyed: Option<String>,
    accompanying: Vec<CarriedOut>,
}

/// What changes the payload.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// In the fixed order; an index into this list names a demand.
    pub(super) demands: Vec<Demand>,
    /// Present when a demand asks for pseudonyms.
    pub(super) key: Option<RecipientKey>,
    /// Present when a demand asks for k-anonymity.
    pub(super) grouping: Option<Grouping>,
    /// The visible mark, when a demand asks for one.
    pub(super) mark: Option<String>,
}

/// One obligation that changes the payload.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) rule: String,
    pub(super) action: Action,
    /// As the policy words them.
    pub(super) fields: Vec<String>,
    pub(super) how: String,
    /// The exact names that a `keep_only` keeps.
    pub(super) keeps: HashSet<String>,
    targets: Vec<Target>,
}

/// The kinds of change, in the order in which they are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    KeepOnly,
    Redact,
    Pseudonymise,
    Generalise,
    KAnonymity,
    Watermark,
}

impl Action {
    fn of(word: &str) -> Option<Self> {
        let all =
            [Self::KeepOnly, Self::Redact, Self::Pseudonymise, Self::Generalise, Self::KAnonymity, Self::Watermark];
        all.into_iter().find(|action| action.word() == word)
    }

    /// The policy's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::KeepOnly => "keep_only",
            Self::Redact => "redact",
            Self::Pseudonymise => "pseudonymise_hmac",
            Self::Generalise => "generalise",
            Self::KAnonymity => "k_anonymity",
            Self::Watermark => "watermark",
        }
    }
}

/// Obligations that change nothing here: the recipient is told, and the record shows that it was.
const ACCOMPANYING: &[&str] = &[
    "apply_appi_supplementary_rules",
    "attribute",
    "confirm_specific_category",
    "delete_after_days",
    "document_fallback_scc",
    "log_training_content",
    "no_onward_transfer",
    "notify",
    "notify_gov_access_request",
    "periodic_check_recipient",
    "record_licence",
    "require_purpose",
];

#[derive(Debug)]
struct Target {
    selector: Selector,
    form: Form,
    coarsen: Option<Coarsen>,
}

/// The formats that a target speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Any,
    Json,
    Csv,
}

impl Plan {
    /// Understands every obligation, or refuses.
    ///
    /// # Errors
    /// [`EnforceError::Unsupported`] for an obligation or a parameter that is unknown, of the wrong type, or not built;
    /// [`EnforceError::KeysMissing`] when pseudonyms are demanded and the context has no keys.
    pub fn compile(obligations: &[Obligation], context: &Context) -> Result<Self, EnforceError> {
        let mut steps = Steps::default();
        let mut accompanying: Vec<&Obligation> = Vec::new();
        for obligation in obligations {
            if let Some(action) = Action::of(&obligation.action) {
                let demand = steps.demand(action, obligation, context)?;
                steps.demands.push(demand);
            } else if ACCOMPANYING.contains(&obligation.action.as_str()) {
                parameters::check_accompanying(obligation)?;
                accompanying.push(obligation);
            } else {
                return Err(parameters::unsupported(obligation, "this gateway does not know it"));
            }
        }
        steps.demands.sort_by(|a, b| (a.action, &a.rule, &a.fields).cmp(&(b.action, &b.rule, &b.fields)));
        steps.check()?;
        let (conveyed, accompanying) = convey(accompanying)?;
        Ok(Self { steps: Arc::new(steps), conveyed, accompanying })
    }

    /// Whether nothing changes the payload: it then leaves byte for byte, whatever its content type.
    pub fn is_pass_through(&self) -> bool {
        self.steps.demands.is_empty()
    }

    /// Whether a filter has to see the whole payload before any of it may leave, and so holds up to
    /// [`MAX_GROUPED`](super::MAX_GROUPED) bytes of it.
    pub fn holds_whole_payload(&self) -> bool {
        self.steps.demands.iter().any(|demand| demand.action == Action::KAnonymity)
    }

    /// What the recipient is told, for a `Sekisho-Obligations` header: a compact JSON array of the obligations that
    /// accompany the payload, ASCII only, at most [`MAX_CONVEYED`] bytes. `None` when there are none.
    pub fn conveyed(&self) -> Option<String> {
        self.conveyed.clone()
    }

    /// The obligations that accompany the payload, as the record shows them.
    pub fn accompanying(&self) -> &[CarriedOut] {
        &self.accompanying
    }

    /// Opens a filter for a payload of this `Content-Type` and `Content-Encoding`.
    ///
    /// A plan that changes nothing needs no filter; one is given all the same only for a format it could read.
    ///
    /// # Errors
    /// [`EnforceError::NotPossible`] when the obligations cannot be carried out on this format or encoding.
    pub fn open(&self, content_type: Option<&str>, content_encoding: Option<&str>) -> Result<Filter, EnforceError> {
        let format = Format::of(content_type, content_encoding)?;
        let selections = self.steps.selections(format)?;
        Ok(Filter::new(format, Arc::clone(&self.steps), selections))
    }
}

impl Steps {
    fn demand(&mut self, action: Action, obligation: &Obligation, context: &Context) -> Result<Demand, EnforceError> {
        let mut parameters = Parameters::new(obligation);
        let mut demand = Demand {
            rule: obligation.rule.clone(),
            action,
            fields: Vec::new(),
            how: String::new(),
            keeps: HashSet::new(),
            targets: Vec::new(),
        };
        match action {
            Action::KeepOnly => {
                demand.fields = parameters.required_words("fields")?;
                if demand.fields.iter().any(|field| field.starts_with('/')) {
                    return Err(parameters.refuse("keep_only takes names of fields, not paths"));
                }
                demand.keeps = demand.fields.iter().cloned().collect();
                demand.how = "everything else removed".into();
            }
            Action::Redact => {
                for (key, form) in [("fields", Form::Any), ("json_pointers", Form::Json), ("csv_columns", Form::Csv)] {
                    let words = parameters.words(key)?.unwrap_or_default();
                    demand.aim(&parameters, &words, form)?;
                }
                if demand.targets.is_empty() {
                    return Err(parameters.refuse("it names nothing"));
                }
                demand.how = "removed".into();
            }
            Action::Pseudonymise => {
                let columns = parameters.required_words("columns")?;
                demand.aim(&parameters, &columns, Form::Any)?;
                let rule = || demand.rule.clone();
                let keys = context.pseudonym_keys.as_ref().ok_or_else(|| EnforceError::KeysMissing { rule: rule() })?;
                if parameters.word("key_id")?.is_some_and(|id| id != keys.id()) {
                    return Err(parameters.refuse("it asks for a key that this gateway does not use"));
                }
                let key = keys.recipient(&context.recipient)?;
                demand.how = format!("hmac-sha256 key {}", key.id());
                self.key = Some(key);
            }
            Action::Generalise => demand.coarsen(&mut parameters)?,
            Action::KAnonymity => {
                let quasi = parameters.required_words("quasi_ids")?;
                demand.aim(&parameters, &quasi, Form::Any)?;
                let k = parameters.number("k", 2)?.ok_or_else(|| parameters.refuse("k is missing"))?;
                let deny = match parameters.word("on_fail")?.as_deref() {
                    // The safe reading of silence.
                    None | Some("deny") => true,
                    Some("suppress") => false,
                    Some(_) => return Err(parameters.refuse("on_fail is neither suppress nor deny")),
                };
                demand.how = format!("k={k}, {}", if deny { "deny" } else { "suppress" });
                let before = self.grouping.unwrap_or(Grouping { k, deny });
                self.grouping = Some(Grouping { k: before.k.max(k), deny: before.deny || deny });
            }
            Action::Watermark => {
                if parameters.word("recipient")?.is_some_and(|party| party != context.recipient.as_str()) {
                    return Err(parameters.refuse("it names another recipient"));
                }
                demand.how = format!("visible mark {MARK}");
                self.mark = Some(context.exchange.to_string());
            }
        }
        parameters.finish()?;
        Ok(demand)
    }

    /// Limits that concern all demands together.
    fn check(&self) -> Result<(), EnforceError> {
        let words: usize = self.demands.iter().map(|demand| demand.targets.len() + demand.keeps.len()).sum();
        if words > MAX_SELECTORS
            && let Some(demand) = self.demands.first()
        {
            return Err(EnforceError::Unsupported {
                rule: demand.rule.clone(),
                action: demand.action.word().into(),
                why: format!("the obligations name more than {MAX_SELECTORS} fields"),
            });
        }
        let mut seen: Vec<(&Target, Coarsen)> = Vec::new();
        for demand in &self.demands {
            for target in &demand.targets {
                let Some(coarsen) = target.coarsen else { continue };
                if seen.iter().any(|(other, way)| other.selector == target.selector && *way != coarsen) {
                    return Err(EnforceError::Unsupported {
                        rule: demand.rule.clone(),
                        action: demand.action.word().into(),
                        why: "two rules generalise one field in different ways".into(),
                    });
                }
                seen.push((target, coarsen));
            }
        }
        Ok(())
    }

    /// What the demands select in one format.
    fn selections(&self, format: Format) -> Result<Selections, EnforceError> {
        let mut selections = Selections::default();
        for (index, demand) in self.demands.iter().enumerate() {
            let mut aimed = demand.targets.is_empty();
            for target in demand.targets.iter().filter(|target| target.form.covers(format)) {
                aimed = true;
                if format == Format::Csv && matches!(target.selector, Selector::Pointer(_)) {
                    let why =
                        format!("{} of rule {} names a path, and CSV has none", demand.action.word(), demand.rule);
                    return Err(EnforceError::NotPossible(why));
                }
                let entry = selections.entry(&target.selector).ok_or(EnforceError::Internal("too many selectors"))?;
                match demand.action {
                    Action::Redact => entry.redact.push(index),
                    Action::Pseudonymise => entry.pseudonymise.push(index),
                    Action::Generalise => entry.coarsen.extend(target.coarsen.map(|coarsen| (index, coarsen))),
                    Action::KAnonymity => entry.quasi = true,
                    // Neither has targets.
                    Action::KeepOnly | Action::Watermark => {}
                }
            }
            if !aimed {
                let why = format!("{} of rule {} names nothing for this format", demand.action.word(), demand.rule);
                return Err(EnforceError::NotPossible(why));
            }
        }
        Ok(selections)
    }

    /// The `keep_only` demands with their indices.
    pub(super) fn keepers(&self) -> impl Iterator<Item = (usize, &Demand)> {
        self.demands.iter().enumerate().take_while(|(_, demand)| demand.action == Action::KeepOnly)
    }

    /// Whether a demand speaks of records, so that a record must be an object.
    pub(super) fn by_record(&self) -> bool {
        self.demands
            .iter()
            .any(|demand| matches!(demand.action, Action::KeepOnly | Action::KAnonymity | Action::Watermark))
    }
}

/// The column or member that holds the visible mark.
pub const MARK: &str = "sekisho_mark";

impl Demand {
    /// Adds targets.
    fn aim(&mut self, parameters: &Parameters<'_>, words: &[String], form: Form) -> Result<(), EnforceError> {
        for word in words {
            let selector = match form {
                Form::Any => Selector::parse(word),
                Form::Json => Selector::pointer(word),
                Form::Csv => Selector::name(word),
            };
            let selector = selector.map_err(|why| parameters.refuse(why))?;
            if !self.targets.iter().any(|target| target.selector == selector && target.form == form) {
                self.targets.push(Target { selector, form, coarsen: None });
            }
            self.fields.push(word.clone());
        }
        Ok(())
    }

    fn coarsen(&mut self, parameters: &mut Parameters<'_>) -> Result<(), EnforceError> {
        let unit = match parameters.word("date")?.as_deref() {
            None => None,
            Some("day") => Some(Unit::Day),
            Some("iso-week") => Some(Unit::IsoWeek),
            Some("month") => Some(Unit::Month),
            Some(_) => return Err(parameters.refuse("date is none of day, iso-week and month")),
        };
        let band = parameters.number("age_band", 2)?;
        // Without columns it would be a guess what is a date and what an age, and a wrong guess reveals.
        let columns = parameters.word_map("columns")?.ok_or_else(|| parameters.refuse("columns is missing"))?;
        let mut ways: Vec<String> = Vec::new();
        for (column, kind) in columns {
            let coarsen = match (kind.as_str(), band, unit) {
                ("age", Some(band), _) => Coarsen::Age { band },
                ("date", _, Some(unit)) => Coarsen::Date(unit),
                ("day", _, _) => Coarsen::Day,
                ("age", None, _) => return Err(parameters.refuse("age_band is missing")),
                ("date", _, None) => return Err(parameters.refuse("date is missing")),
                _ => return Err(parameters.refuse("a column is none of age, date and day")),
            };
            let selector = Selector::parse(&column).map_err(|why| parameters.refuse(why))?;
            self.targets.push(Target { selector, form: Form::Any, coarsen: Some(coarsen) });
            self.fields.push(column);
            let way = coarsen.describe();
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        self.how = ways.join(", ");
        Ok(())
    }
}

impl Form {
    fn covers(self, format: Format) -> bool {
        match self {
            Self::Any => true,
            Self::Json => format != Format::Csv,
            Self::Csv => format == Format::Csv,
        }
    }
}

/// The header and the record's lines for what accompanies a payload, in an order of their own.
fn convey(mut obligations: Vec<&Obligation>) -> Result<(Option<String>, Vec<CarriedOut>), EnforceError> {
    let failed = |_| EnforceError::Internal("an obligation could not be written");
    obligations.sort_by_cached_key(|obligation| (obligation.rule.clone(), serde_json::to_string(obligation).ok()));
    obligations.dedup();
    let Some(last) = obligations.last() else { return Ok((None, Vec::new())) };
    let text = ascii(&serde_json::to_string(&obligations).map_err(failed)?);
    if text.len() > MAX_CONVEYED {
        return Err(parameters::unsupported(last, "what the recipient must be told does not fit a header"));
    }
    let accompanying = obligations.iter().map(|obligation| CarriedOut {
        rule: obligation.rule.clone(),
        action: obligation.action.clone(),
        how: "conveyed".into(),
        fields: Vec::new(),
        count: 0,
    });
    Ok((Some(text), accompanying.collect()))
}

/// JSON text with everything beyond ASCII escaped, as surrogate pairs where needed (RFC 8259, section 7).
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // serde_json escapes all control characters but DEL.
        if c.is_ascii() && c != '\u{7f}' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}
