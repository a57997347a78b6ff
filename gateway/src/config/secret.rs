//! Secrets by reference: `{file: PATH}`, `{env: NAME}`, and the same inside a text as `${file:PATH}` and
//! `${env:NAME}`. A text of a secret never shows in a mistake.

use std::collections::BTreeMap;
use std::fs;

use super::reader::Field;
use super::value::Secret;

/// Larger than any key or certificate chain.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Whether a setting may hold its text itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Allowed,
    Refused,
}

impl Field<'_> {
    /// The secret that this setting refers to.
    pub(super) fn secret(&self, plain: Plain) -> Option<Secret> {
        if self.is_map() {
            return self.reference().map(Secret::new);
        }
        let text = self.text()?;
        let (value, references) = self.expand(text)?;
        if references == 0 && plain == Plain::Refused {
            self.refuse("a secret stands in a file or in the environment: write {file: PATH} or {env: NAME}");
            return None;
        }
        Some(Secret::new(value))
    }

    /// A mapping of the user's own keys to secrets; `plain` decides by key.
    pub(super) fn secrets(&self, plain: impl Fn(&str) -> Plain) -> BTreeMap<String, Secret> {
        self.entries()
            .into_iter()
            .filter_map(|(key, _, field)| Some((key.to_owned(), field.secret(plain(key))?)))
            .collect()
    }

    fn reference(&self) -> Option<String> {
        let (file, env) = self.group(|group| (group.get("file"), group.get("env")));
        match (file, env) {
            (Some(file), None) => file.read_file(file.text()?),
            (None, Some(env)) => env.read_environment(env.text()?),
            _ => {
                self.refuse("exactly one of `file` and `env` was expected");
                None
            }
        }
    }

    /// `text` with its references resolved, and how many there were. `$${` is a literal `${`.
    fn expand(&self, text: &str) -> Option<(String, usize)> {
        let (mut value, mut rest, mut references) = (String::new(), text, 0);
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                value.push_str(&rest[..start]);
                value.push('{');
                rest = &rest[start + 2..];
                continue;
            }
            value.push_str(&rest[..start]);
            let Some((reference, after)) = rest[start + 2..].split_once('}') else {
                self.refuse("`${` without its `}`; write `$${` for the two characters themselves");
                return None;
            };
            value.push_str(&match reference.split_once(':') {
                Some(("env", name)) => self.read_environment(name)?,
                Some(("file", path)) => self.read_file(path)?,
                _ => {
                    self.refuse(
                        "`${…}` is read as ${env:NAME} or ${file:PATH}; write `$${` for the characters",
                    );
                    return None;
                }
            });
            references += 1;
            rest = after;
        }
        value.push_str(rest);
        Some((value, references))
    }

    fn read_environment(&self, name: &str) -> Option<String> {
        let value = (self.reader.environment)(name);
        if value.is_none() {
            self.refuse(format!("the environment variable {name} is not set"));
        }
        value
    }

    /// The file's text without the line end that editors leave.
    fn read_file(&self, path: &str) -> Option<String> {
        let path = self.reader.base.join(path);
        let small = fs::metadata(&path).map(|found| found.is_file() && found.len() <= FILE_BYTES_MAX);
        match small.and_then(|small| if small { fs::read_to_string(&path).map(Some) } else { Ok(None) }) {
            Ok(Some(text)) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Ok(None) => {
                self.refuse(format!("{} is no file of at most 64 KiB", path.display()));
                None
            }
            Err(error) => {
                self.refuse(format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }
}
