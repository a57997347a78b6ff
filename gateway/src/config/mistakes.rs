//! What is wrong with a configuration: all of it at once, each with its place.

use std::fmt;
use std::path::PathBuf;

/// A place in the file, both counted from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// One mistake. Its text never contains a value that may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// The setting, dotted: `public.tls.key`; empty for the file as a whole.
    pub setting: String,
    /// What was wrong, and how to mend it.
    pub text: String,
}

/// Everything that is wrong with one configuration file, in the order of the file.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Mistakes {
    pub file: PathBuf,
    pub list: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn new(file: PathBuf, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| mistake.place);
        Self { file, list }
    }

    /// The mistake that ends the reading before there is a place in the file.
    pub(super) fn whole(file: PathBuf, text: String) -> Self {
        Self { file, list: vec![Mistake { place: None, setting: String::new(), text }] }
    }
}

impl fmt::Display for Mistakes {
    /// One line a mistake: `file:line:column: setting: text`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.file.display())?;
            if let Some(place) = mistake.place {
                write!(f, "{}:{}:", place.line, place.column)?;
            }
            if !mistake.setting.is_empty() {
                write!(f, " {}:", mistake.setting)?;
            }
            write!(f, " {}", mistake.text)?;
        }
        Ok(())
    }
}
