//! A folder of `*.cedar` files to policies that can be evaluated: parsed, named, validated, sliced.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;
use sha2::{Digest, Sha256};

use super::analysis::{self, Shape};
use super::book::{Book, Rule};
use super::mistake::{Mistake, PolicyError};
use super::schema;

/// Largest file taken, and most policies of a folder: far above what people write by hand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const POLICIES_MAX: usize = 10_000;
/// Longest id; ids stand in every audit record.
const ID_BYTES_MAX: usize = 128;

/// Reads and checks all files of `directory`, in the order of their names.
pub(super) fn load(directory: &Path) -> Result<Book, PolicyError> {
    let files = files(directory).map_err(|mistake| PolicyError { mistakes: vec![mistake] })?;
    let mut loader = Loader::new().map_err(|mistake| PolicyError { mistakes: vec![mistake] })?;
    for file in &files {
        loader.read(file);
    }
    if loader.mistakes.is_empty() && loader.rules.is_empty() {
        let message = "no policy is in it, so everything would be denied; write one, or leave `policies` out";
        loader.mistakes.push(Mistake::of_file(directory, message));
    }
    loader.finish()
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Mistake> {
    let unreadable = |error: std::io::Error| Mistake::of_file(directory, format!("cannot be read: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

struct Loader {
    plain: Validator,
    /// For policies that look at arguments, by what they look at: making one costs more than using it.
    widened: HashMap<String, Validator>,
    rules: Vec<Rule>,
    /// Where each id was given.
    ids: HashMap<PolicyId, PathBuf>,
    digest: Sha256,
    mistakes: Vec<Mistake>,
}

/// A file being read.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn mistake(&self, offset: Option<usize>, message: impl Into<String>) -> Mistake {
        Mistake::at(self.file, self.text, offset, message)
    }

    /// A mistake that Cedar found, with its advice.
    fn diagnosed(&self, prefix: &str, diagnostic: &dyn Diagnostic, or_at: Option<usize>) -> Mistake {
        let offset = diagnostic.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        let advice = diagnostic.help().map(|help| format!("; {help}")).unwrap_or_default();
        self.mistake(offset.or(or_at), format!("{prefix}{diagnostic}{advice}"))
    }
}

impl Loader {
    fn new() -> Result<Self, Mistake> {
        let schema = schema::with_arguments(&Shape::default())
            .map_err(|error| Mistake::of_file(Path::new("kamf.cedarschema"), error))?;
        Ok(Self {
            plain: Validator::new(schema),
            widened: HashMap::new(),
            rules: Vec::new(),
            ids: HashMap::new(),
            digest: Sha256::new(),
            mistakes: Vec::new(),
        })
    }

    fn read(&mut self, file: &Path) {
        let text = match read_text(file) {
            Ok(text) => text,
            Err(message) => return self.mistakes.push(Mistake::of_file(file, message)),
        };
        self.digest.update(text.len().to_le_bytes());
        self.digest.update(&text);
        let source = Source { file, text: &text };
        let set: PolicySet = match text.parse() {
            Ok(set) => set,
            Err(errors) => {
                return self.mistakes.extend(errors.iter().map(|error| source.diagnosed("", error, None)));
            }
        };
        let templates = set.templates().map(|template| {
            let id = template.annotation("id").unwrap_or("without @id").to_owned();
            source
                .mistake(None, format!("policy `{id}` has a slot (`?…`); name the caller or a group instead"))
        });
        self.mistakes.extend(templates);
        let mut policies: Vec<(Option<usize>, &Policy)> =
            set.policies().map(|policy| (offset(policy), policy)).collect();
        policies.sort_unstable_by_key(|(offset, _)| *offset);
        for (offset, policy) in policies {
            match self.rule(&source, offset, policy) {
                Ok(rule) if self.rules.len() < POLICIES_MAX => self.rules.push(rule),
                Ok(_) => {
                    let message = format!("there are more than {POLICIES_MAX} policies");
                    return self.mistakes.push(Mistake::of_file(file, message));
                }
                Err(mistakes) => self.mistakes.extend(mistakes),
            }
        }
    }

    fn rule(
        &mut self,
        source: &Source<'_>,
        at: Option<usize>,
        policy: &Policy,
    ) -> Result<Rule, Vec<Mistake>> {
        let one = |message: String| vec![source.mistake(at, message)];
        let id = policy.annotation("id").unwrap_or_default();
        if id.is_empty()
            || id.len() > ID_BYTES_MAX
            || id.contains(|c: char| !c.is_ascii_graphic() || c == ',')
        {
            return Err(one(format!(
                "every policy needs an id: write @id(\"…\") before it, up to {ID_BYTES_MAX} visible ASCII characters without comma"
            )));
        }
        let policy = policy.new_id(PolicyId::new(id));
        if let Some(first) = self.ids.insert(policy.id().clone(), source.file.to_owned()) {
            return Err(one(format!("the id `{id}` is taken by another policy, in {}", first.display())));
        }
        let prefix = format!("policy `{id}`: ");
        let parsed = policy.to_pst().map_err(|error| one(format!("{prefix}{error}")))?;
        let arguments =
            analysis::arguments(parsed.body().clauses()).map_err(|why| one(format!("{prefix}{why}")))?;
        let validator = self.validator(&arguments).map_err(|error| one(format!("{prefix}{error}")))?;
        validate(validator, source, at, &prefix, &policy)?;
        Ok(Rule {
            forbids: policy.effect() == Effect::Forbid,
            message: policy.annotation("message").filter(|text| !text.is_empty()).map(Into::into),
            policy,
            arguments,
        })
    }

    fn validator(&mut self, arguments: &Shape) -> Result<&Validator, String> {
        if arguments.is_empty() {
            return Ok(&self.plain);
        }
        match self.widened.entry(arguments.to_string()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Validator::new(schema::with_arguments(arguments)?))),
        }
    }

    fn finish(self) -> Result<Book, PolicyError> {
        if !self.mistakes.is_empty() {
            return Err(PolicyError { mistakes: self.mistakes });
        }
        let version = self.digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Book::new(self.rules, self.plain.schema(), version))
    }
}

fn read_text(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))
}

/// Where the policy begins in its file.
fn offset(policy: &Policy) -> Option<usize> {
    policy.as_ref().loc().map(|loc| loc.start())
}

/// Cedar's strict validation. A policy that can never apply is a mistake too: it is most often a tool
/// named where a server is meant, or the other way round.
fn validate(
    validator: &Validator,
    source: &Source<'_>,
    at: Option<usize>,
    prefix: &str,
    policy: &Policy,
) -> Result<(), Vec<Mistake>> {
    let set = PolicySet::from_policies([policy.clone()])
        .map_err(|error| vec![source.mistake(at, format!("{prefix}{error}"))])?;
    let result = validator.validate(&set, ValidationMode::Strict);
    let mut mistakes: Vec<Mistake> =
        result.validation_errors().map(|error| source.diagnosed(prefix, error, at)).collect();
    for warning in result.validation_warnings() {
        let told = source.diagnosed(prefix, warning, at);
        match warning {
            ValidationWarning::ImpossiblePolicy(_) if mistakes.is_empty() => mistakes.push(told),
            ValidationWarning::ImpossiblePolicy(_) => {}
            _ => tracing::warn!("{told}"),
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}
