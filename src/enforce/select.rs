//! Which parts of a payload an obligation names: by a bare name at any depth, or by a path.
//!
//! Names that protect (redact, pseudonymise, generalise, k-anonymity) match without regard to case, since a reader at
//! the other end may not regard it either: `Name` does not slip past a rule about `name`. `keep_only` matches exactly,
//! which is the safe side there.

use std::borrow::Cow;
use std::collections::HashMap;

use super::generalise::Coarsen;

/// What one word of an obligation selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    /// A column, or a member at any depth; folded.
    Name(String),
    /// A JSON pointer (RFC 6901) in which `*` stands for any one step.
    Pointer(Vec<Step>),
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Any element of an array, any member of an object.
    Any,
    /// A member of this folded name, or the element of this index.
    Named {
        /// Folded.
        name: String,
        /// When the name is an array index (RFC 6901, section 4).
        index: Option<u64>,
    },
}

impl Selector {
    /// Reads a path when the word starts with `/`, a bare name otherwise.
    pub(super) fn parse(word: &str) -> Result<Self, &'static str> {
        if word.starts_with('/') { Self::pointer(word) } else { Self::name(word) }
    }

    /// Reads a bare name.
    pub(super) fn name(word: &str) -> Result<Self, &'static str> {
        if word.is_empty() { Err("a name is empty") } else { Ok(Self::Name(fold(word).into_owned())) }
    }

    /// Reads a path.
    pub(super) fn pointer(word: &str) -> Result<Self, &'static str> {
        let steps = word.strip_prefix('/').ok_or("a JSON pointer does not start with '/'")?;
        steps.split('/').map(Step::parse).collect::<Result<_, _>>().map(Self::Pointer)
    }
}

impl Step {
    fn parse(token: &str) -> Result<Self, &'static str> {
        if token == "*" {
            return Ok(Self::Any);
        }
        // Every '~' is an escape: "~0" is '~' and "~1" is '/' (RFC 6901, section 3).
        if token.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err("a JSON pointer holds a '~' that is not '~0' or '~1'");
        }
        let name = token.replace("~1", "/").replace("~0", "~");
        let index = (name == "0" || !name.starts_with('0')) && name.bytes().all(|b| b.is_ascii_digit());
        let index = if index { name.parse().ok() } else { None };
        Ok(Self::Named { name: fold(&name).into_owned(), index })
    }

    fn takes_name(&self, folded: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named { name, .. } => name == folded,
        }
    }

    fn takes_index(&self, at: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Named { index, .. } => *index == Some(at),
        }
    }
}

/// Folds case: ASCII as it is expected, everything else through upper case, so that `ſ` meets `s` and `K` (the Kelvin
/// sign) meets `k`.
pub(super) fn fold(name: &str) -> Cow<'_, str> {
    if !name.is_ascii() {
        Cow::Owned(name.to_uppercase().to_lowercase())
    } else if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// What happens to the values that one selector selects. Numbers are indices of demands, for the tally.
#[derive(Debug, Clone, Default)]
pub(super) struct Selected {
    /// Demands that remove it.
    pub(super) redact: Vec<usize>,
    /// Demands that replace it by a pseudonym.
    pub(super) pseudonymise: Vec<usize>,
    /// Demands that make it coarser.
    pub(super) coarsen: Vec<(usize, Coarsen)>,
    /// Whether records are grouped by it.
    pub(super) quasi: bool,
}

impl Selected {
    /// Whether values are replaced.
    pub(super) fn changes(&self) -> bool {
        !self.pseudonymise.is_empty() || !self.coarsen.is_empty()
    }
}

/// An index into [`Selections`].
pub(super) type SelectionId = u16;

/// All selectors that apply to one format, merged by what they select.
#[derive(Debug, Default)]
pub(super) struct Selections {
    names: HashMap<String, SelectionId>,
    pointers: Vec<(Vec<Step>, SelectionId)>,
    list: Vec<Selected>,
}

impl Selections {
    /// The entry of a selector, made when it is new. `None` when there are more than [`SelectionId`] can count.
    pub(super) fn entry(&mut self, selector: &Selector) -> Option<&mut Selected> {
        let known = match selector {
            Selector::Name(name) => self.names.get(name).copied(),
            Selector::Pointer(steps) => self.pointers.iter().find(|(known, _)| known == steps).map(|(_, id)| *id),
        };
        let id = match known {
            Some(id) => id,
            None => {
                let id = SelectionId::try_from(self.list.len()).ok()?;
                self.list.push(Selected::default());
                match selector {
                    Selector::Name(name) => {
                        self.names.insert(name.clone(), id);
                    }
                    Selector::Pointer(steps) => self.pointers.push((steps.clone(), id)),
                }
                id
            }
        };
        self.list.get_mut(usize::from(id))
    }

    /// The entry behind an id that this value gave out.
    pub(super) fn get(&self, id: SelectionId) -> &Selected {
        &self.list[usize::from(id)]
    }

    /// The id under which a folded name is selected.
    pub(super) fn by_name(&self, folded: &str) -> Option<SelectionId> {
        self.names.get(folded).copied()
    }

    /// Folded names with their ids.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, SelectionId)> {
        self.names.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// How many paths there are; they are numbered from 0.
    pub(super) fn paths(&self) -> usize {
        self.pointers.len()
    }

    /// What path `path` says of a value that is its step number `step`, reached by `way`.
    pub(super) fn step(&self, path: u16, step: usize, way: Way<'_>) -> PathStep {
        let (steps, id) = &self.pointers[usize::from(path)];
        let takes = steps.get(step).is_some_and(|step| match way {
            Way::Name(folded) => step.takes_name(folded),
            Way::Index(index) => step.takes_index(index),
        });
        match takes {
            false => PathStep::Leaves,
            true if step + 1 == steps.len() => PathStep::Selects(*id),
            true => PathStep::Follows,
        }
    }
}

/// How a value is reached from what holds it.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// As the member of this folded name.
    Name(&'a str),
    /// As the element of this index.
    Index(u64),
}

/// Where a path stands at a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    /// It leads elsewhere.
    Leaves,
    /// It leads into the value.
    Follows,
    /// It ends here.
    Selects(SelectionId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_names_or_paths() {
        assert_eq!(Selector::parse("Name"), Ok(Selector::Name("name".into())));
        let named = |name: &str, index| Step::Named { name: name.into(), index };
        let path = vec![Step::Any, named("a/b~", None), named("12", Some(12)), named("012", None), named("", None)];
        assert_eq!(Selector::parse("/*/a~1b~0/12/012/"), Ok(Selector::Pointer(path)));
        assert!(Selector::parse("").is_err());
        assert!(Selector::parse("/a~2").is_err());
        assert!(Selector::parse("/a~").is_err());
        assert!(Selector::pointer("a").is_err());
    }

    #[test]
    fn case_does_not_hide_a_name() {
        for (one, other) in [("Name", "nAME"), ("\u{212a}ey", "key"), ("\u{17f}ecret", "SECRET"), ("Größe", "GRÖSSE")]
        {
            assert_eq!(fold(one), fold(other), "{one} and {other}");
        }
        assert_ne!(fold("name"), fold("names"));
    }

    #[test]
    fn a_path_selects_only_where_it_ends() {
        let mut selections = Selections::default();
        selections.entry(&Selector::parse("/*/name").unwrap()).unwrap().redact.push(0);
        assert_eq!(selections.step(0, 0, Way::Index(7)), PathStep::Follows);
        assert_eq!(selections.step(0, 1, Way::Name("name")), PathStep::Selects(0));
        assert_eq!(selections.step(0, 1, Way::Name("other")), PathStep::Leaves);
        assert_eq!(selections.step(0, 2, Way::Name("name")), PathStep::Leaves);
    }
}
