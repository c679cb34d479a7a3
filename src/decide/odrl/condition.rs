//! Conditions as they are weighed: typed, without allocation, and in three values.
//!
//! What is not known (a partner without a recorded country) makes a condition unknown. A permission needs true, and a
//! prohibition is escaped only by false, so that not knowing never helps the recipient (strong Kleene logic).

use std::fmt;

use serde_json::{Map, Value};

use super::purposes;
use crate::types::{PartyId, Timestamp};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    Purpose,
    /// The recipient's country, ISO 3166-1 alpha-2, as we vetted it.
    Country,
    Recipient,
    Membership,
    Framework,
}

/// How a request's values must relate to the listed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// At least one listed value is among them.
    Any,
    /// Every listed value is.
    All,
    /// None is.
    None,
}

/// How two points of an order relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition on one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// All of them; of none: always.
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// Exactly one of them.
    One(Vec<Condition>),
    Among {
        operand: Operand,
        quantifier: Quantifier,
        values: Vec<String>,
    },
    /// The time, against a span with both ends in it: a date is a day long, a time has no length.
    Time {
        order: Order,
        first: Timestamp,
        last: Timestamp,
        written: String,
    },
    /// How many uses there will have been, this one included.
    Count {
        order: Order,
        limit: u64,
    },
}

/// What conditions are held against.
pub(super) struct Situation<'a> {
    pub(super) purpose: &'a str,
    pub(super) recipient: &'a PartyId,
    pub(super) facts: &'a Map<String, Value>,
    pub(super) now: Timestamp,
    /// Uses so far.
    pub(super) uses: u64,
}

impl Situation<'_> {
    fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Further framework agreements that a partner accepted, beside the one in `framework`.
    fn frameworks(&self) -> impl Iterator<Item = &str> {
        let more = self.facts.get("frameworks").and_then(Value::as_array).into_iter().flatten();
        self.fact("framework").into_iter().chain(more.filter_map(Value::as_str))
    }

    fn knows(&self, operand: Operand) -> bool {
        match operand {
            Operand::Purpose => purposes::is_known(self.purpose),
            Operand::Recipient => true,
            Operand::Country => self.fact("country").is_some(),
            Operand::Membership => self.fact("membership").is_some(),
            Operand::Framework => self.frameworks().next().is_some(),
        }
    }

    fn has(&self, operand: Operand, value: &str) -> bool {
        match operand {
            Operand::Purpose => self.purpose == value,
            Operand::Recipient => self.recipient.as_str() == value,
            Operand::Country => self.fact("country") == Some(value),
            Operand::Membership => self.fact("membership") == Some(value),
            Operand::Framework => self.frameworks().any(|framework| framework == value),
        }
    }
}

impl Condition {
    /// Whether it holds; `None` when what it needs is not known.
    pub(super) fn holds(&self, situation: &Situation<'_>) -> Option<bool> {
        match self {
            Self::All(parts) => fold(parts, situation, false),
            Self::Any(parts) => fold(parts, situation, true),
            Self::One(parts) => {
                let (mut held, mut unknown) = (0, 0);
                for part in parts {
                    match part.holds(situation) {
                        Some(true) => held += 1,
                        Some(false) => {}
                        None => unknown += 1,
                    }
                }
                match (held, unknown) {
                    (2.., _) => Some(false),
                    (held, 0) => Some(held == 1),
                    _ => None,
                }
            }
            Self::Among { operand, quantifier, values } => {
                let has = |value: &String| situation.has(*operand, value);
                // A purpose of no vocabulary that we know may lie within any other, unless it is named itself.
                let named = *operand == Operand::Purpose && values.iter().any(has);
                (named || situation.knows(*operand)).then(|| match quantifier {
                    Quantifier::Any => values.iter().any(has),
                    Quantifier::All => values.iter().all(has),
                    Quantifier::None => !values.iter().any(has),
                })
            }
            Self::Time { order, first, last, .. } => {
                let now = situation.now;
                Some(match order {
                    Order::Equal => *first <= now && now <= *last,
                    Order::NotEqual => now < *first || *last < now,
                    Order::Less => now < *first,
                    Order::LessOrEqual => now <= *last,
                    Order::Greater => *last < now,
                    Order::GreaterOrEqual => *first <= now,
                })
            }
            Self::Count { order, limit } => {
                let uses = situation.uses.saturating_add(1);
                Some(match order {
                    Order::Equal => uses == *limit,
                    Order::NotEqual => uses != *limit,
                    Order::Less => uses < *limit,
                    Order::LessOrEqual => uses <= *limit,
                    Order::Greater => uses > *limit,
                    Order::GreaterOrEqual => uses >= *limit,
                })
            }
        }
    }

    /// Whether it depends on how many uses there were.
    pub(super) fn counts(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) | Self::One(parts) => parts.iter().any(Self::counts),
            Self::Count { .. } => true,
            Self::Among { .. } | Self::Time { .. } => false,
        }
    }

    /// Whether nothing is asked.
    pub(super) fn is_always(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }
}

/// `and` (which a false settles) or `or` (which a true settles).
fn fold(parts: &[Condition], situation: &Situation<'_>, settles: bool) -> Option<bool> {
    let mut outcome = Some(!settles);
    for part in parts {
        match part.holds(situation) {
            Some(held) if held == settles => return Some(settles),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

impl fmt::Display for Condition {
    /// In words that go on from "only when".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) if parts.is_empty() => f.write_str("always"),
            Self::All(parts) => list(f, parts, " and "),
            Self::Any(parts) => list(f, parts, " or "),
            Self::One(parts) => {
                f.write_str("exactly one of these holds: ")?;
                list(f, parts, "; ")
            }
            Self::Among { operand, quantifier, values } => {
                let subject = match operand {
                    Operand::Purpose => "the purpose",
                    Operand::Country => "the recipient's country",
                    Operand::Recipient => "the recipient",
                    Operand::Membership => "the recipient's membership",
                    Operand::Framework => "a framework agreement that the recipient accepted",
                };
                let listed = |word: &str| values.join(&format!(" {word} "));
                match quantifier {
                    Quantifier::Any => write!(f, "{subject} is {}", listed("or")),
                    Quantifier::All => write!(f, "{subject} is {}", listed("and also")),
                    Quantifier::None if *operand == Operand::Framework => {
                        write!(f, "the recipient did not accept {}", listed("or"))
                    }
                    Quantifier::None => write!(f, "{subject} is not {}", listed("or")),
                }
            }
            Self::Time { order, written, .. } => match order {
                Order::Equal => write!(f, "the time is {written}"),
                Order::NotEqual => write!(f, "the time is not {written}"),
                Order::Less => write!(f, "it is before {written}"),
                Order::LessOrEqual => write!(f, "it is not after {written}"),
                Order::Greater => write!(f, "it is after {written}"),
                Order::GreaterOrEqual => write!(f, "it is not before {written}"),
            },
            Self::Count { order, limit } => {
                let bound = match order {
                    Order::Equal => "exactly",
                    Order::NotEqual => "other than",
                    Order::Less => "fewer than",
                    Order::LessOrEqual => "at most",
                    Order::Greater => "more than",
                    Order::GreaterOrEqual => "at least",
                };
                write!(f, "the uses, this one included, are {bound} {limit}")
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, parts: &[Condition], between: &str) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            f.write_str(between)?;
        }
        match part {
            Condition::All(inner) | Condition::Any(inner) if inner.len() > 1 => write!(f, "({part})")?,
            Condition::One(_) => write!(f, "({part})")?,
            _ => write!(f, "{part}")?,
        }
    }
    Ok(())
}
