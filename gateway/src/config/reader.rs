//! Reading settings out of the tree: every reader notes what is wrong and goes on, so that all mistakes
//! are found in one run. A value that could not be read is `None`, or keeps its default.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::mistakes::{Mistake, Place};
use super::yaml::{Entry, Kind, Node};

/// Looks an environment variable up; handed in so that tests decide what is set.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What all fields of one file share.
pub(super) struct Reader<'a> {
    /// Folder of the file: relative paths start there.
    pub(super) base: &'a Path,
    pub(super) environment: Environment<'a>,
    pub(super) mistakes: RefCell<Vec<Mistake>>,
}

impl Reader<'_> {
    pub(super) fn refuse(&self, place: Place, setting: &str, text: impl Into<String>) {
        let mistake = Mistake { place: Some(place), setting: setting.to_owned(), text: text.into() };
        self.mistakes.borrow_mut().push(mistake);
    }
}

/// One setting: its node, its dotted name, and where mistakes go.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) node: &'a Node,
    pub(super) name: String,
}

impl<'a> Field<'a> {
    /// Notes a mistake at this setting.
    pub(super) fn refuse(&self, text: impl Into<String>) {
        self.reader.refuse(self.node.place, &self.name, text);
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    /// The scalar as it was written.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar { text, .. } => return Some(text),
            Kind::Null => self.refuse("a value is missing"),
            Kind::List(_) => self.refuse("one value was expected, not a list"),
            Kind::Map(_) => self.refuse("one value was expected, not a group of settings"),
        }
        None
    }

    pub(super) fn string(&self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// A text of at least one character.
    pub(super) fn word(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.refuse("must not be empty");
            return None;
        }
        Some(text.to_owned())
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match &self.node.kind {
            Kind::Scalar { text, plain: true } if text == "true" => Some(true),
            Kind::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.refuse("`true` or `false` was expected");
                None
            }
        }
    }

    /// The value whose name is written; all names are listed when it is none of them.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.refuse(format!("`{text}` is none of {}{}", names.join(", "), suggestion(text, &names)));
        }
        found
    }

    /// The items of a list; none for nothing.
    pub(super) fn items(&self) -> Vec<Field<'a>> {
        match &self.node.kind {
            Kind::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Field {
                    reader: self.reader,
                    node,
                    name: format!("{}[{index}]", self.name),
                })
                .collect(),
            Kind::Null => Vec::new(),
            _ => {
                self.refuse("a list was expected, as in [one, two]");
                Vec::new()
            }
        }
    }

    /// A list of texts.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        Some(self.items().iter().filter_map(Field::word).collect())
    }

    /// The members of a mapping whose keys are the user's own: key, its place, the value.
    pub(super) fn entries(&self) -> Vec<(&'a str, Place, Field<'a>)> {
        self.members().iter().map(|entry| (entry.key.as_str(), entry.place, self.below(entry))).collect()
    }

    /// A path, taken from the folder of the file when relative.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.word().map(|text| self.reader.base.join(text))
    }

    /// The path of a file that is there.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        if !path.is_file() {
            self.refuse(format!("there is no file {}", path.display()));
        }
        Some(path)
    }

    /// Reads the settings below this one with `read`; whatever it did not ask for is a mistake.
    pub(super) fn group<T>(&self, read: impl FnOnce(&mut Group<'a>) -> T) -> T {
        let mut group = Group { field: self.clone(), members: self.members(), asked: Vec::new() };
        let value = read(&mut group);
        group.refuse_unknown();
        value
    }

    fn members(&self) -> &'a [Entry] {
        match &self.node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => &[],
            _ => {
                self.refuse("a group of settings was expected, as in {name: value}");
                &[]
            }
        }
    }

    fn below(&self, entry: &'a Entry) -> Field<'a> {
        let name =
            if self.name.is_empty() { entry.key.clone() } else { format!("{}.{}", self.name, entry.key) };
        Field { reader: self.reader, node: &entry.value, name }
    }
}

/// The settings below a field while they are being read.
pub(super) struct Group<'a> {
    pub(super) field: Field<'a>,
    members: &'a [Entry],
    asked: Vec<&'static str>,
}

impl<'a> Group<'a> {
    /// The setting `name`, if it is there.
    pub(super) fn get(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.asked.push(name);
        self.members.iter().find(|entry| entry.key == name).map(|entry| self.field.below(entry))
    }

    /// The setting `name`, whose absence is a mistake.
    pub(super) fn require(&mut self, name: &'static str) -> Option<Field<'a>> {
        let found = self.get(name);
        if found.is_none() {
            self.field.refuse(format!("`{name}` is missing"));
        }
        found
    }

    /// Puts what `read` makes of the setting `name` into `slot`; without the setting the default stays.
    pub(super) fn set<T>(
        &mut self,
        name: &'static str,
        slot: &mut T,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) {
        if let Some(value) = self.get(name).and_then(|field| read(&field)) {
            *slot = value;
        }
    }

    /// Names that are known here and mean nothing to the gateway.
    pub(super) fn ignore(&mut self, names: &[&'static str]) {
        self.asked.extend_from_slice(names);
    }

    fn refuse_unknown(&self) {
        for entry in self.members.iter().filter(|entry| !self.asked.contains(&entry.key.as_str())) {
            let hint = match suggestion(&entry.key, &self.asked) {
                hint if hint.is_empty() => format!("; known here: {}", self.asked.join(", ")),
                hint => hint,
            };
            let text = format!("there is no such setting{hint}");
            self.field.reader.refuse(entry.place, &self.field.below(entry).name, text);
        }
    }
}

/// `; did you mean …?` for the nearest of `known`, or nothing when none is near.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    /// Below this a name has more that differs than what it shares.
    const NEAR: f64 = 0.6;
    known
        .iter()
        .map(|name| {
            (strsim::normalized_damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()), name)
        })
        .filter(|(nearness, _)| *nearness >= NEAR)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}
