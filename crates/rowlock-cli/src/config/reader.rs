//! Reads values of the expected types, notes where each is, and collects what is wrong with them.

use std::collections::BTreeMap;
use std::time::Duration;

use toml_edit::{Item, TableLike, Value};

use super::keys::{Keys, listed, meant, nearest};
use super::problem::{Problem, Span};
use super::values;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
    /// Where the value of each key is, by its path: `stage[0].ready`.
    pub(super) places: BTreeMap<String, Span>,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry<'a> {
    pub(super) path: String,
    /// The last part of the path.
    pub(super) key: &'a str,
    pub(super) at: Span,
    pub(super) item: &'a Item,
}

impl Reader {
    pub(super) fn refuse(&mut self, at: Span, what: impl Into<String>, rule: impl Into<String>) {
        self.problems.push(Problem::new(at, what, rule));
    }

    /// The value is not as the key needs it.
    pub(super) fn refuse_value(&mut self, entry: &Entry<'_>, what: &str, rule: impl Into<String>) {
        self.refuse(entry.at.clone(), format!("`{}` {what}", entry.key), rule);
    }

    fn refuse_type(&mut self, entry: &Entry<'_>, rule: &str) {
        self.refuse_value(entry, &format!("is {}", a_kind(entry.item.type_name())), rule);
    }

    /// The entries of a table, by its known keys; refuses the others.
    pub(super) fn entries<'a>(&mut self, table: &'a dyn TableLike, path: &str, keys: Keys) -> Vec<Entry<'a>> {
        let mut entries = self.all_entries(table, path);
        entries.retain(|entry| {
            if keys.known.contains(&entry.key) {
                return true;
            }
            let key_at = table.key(entry.key).and_then(toml_edit::Key::span).unwrap_or_else(|| entry.at.clone());
            let rule = format!("it has {}", listed(keys.known));
            let problem = Problem::new(key_at, format!("{} has no key `{}`", keys.place, entry.key), rule);
            self.problems.push(problem.suggest(meant(entry.key, keys)));
            false
        });
        entries
    }

    /// The entries of a table whose keys are names of the user's.
    pub(super) fn all_entries<'a>(&mut self, table: &'a dyn TableLike, path: &str) -> Vec<Entry<'a>> {
        let mut entries = Vec::new();
        for (key, item) in table.iter() {
            let key_at = || table.key(key).and_then(toml_edit::Key::span);
            let at = match item {
                // The span of a table is its header, which may be far from where the key of a message is.
                Item::Value(value) => value.span().or_else(key_at),
                Item::Table(_) | Item::ArrayOfTables(_) | Item::None => key_at().or_else(|| item.span()),
            };
            let at = at.unwrap_or_default();
            let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            self.places.insert(path.clone(), at.clone());
            entries.push(Entry { path, key, at, item });
        }
        entries
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, entry: &Entry<'_>, rule: &str) -> Option<String> {
        let Some(Value::String(text)) = entry.item.as_value() else {
            self.refuse_type(entry, rule);
            return None;
        };
        self.filled(entry, text.value(), rule)
    }

    /// Refuses a text that is empty, or that no database can store.
    pub(super) fn filled(&mut self, entry: &Entry<'_>, text: &str, rule: &str) -> Option<String> {
        if text.trim().is_empty() {
            self.refuse_value(entry, "is empty", rule);
            return None;
        }
        if text.contains('\0') {
            self.refuse_value(entry, "contains a NUL", "no database can store it in a name or a text");
            return None;
        }
        Some(text.to_owned())
    }

    /// One of these words.
    pub(super) fn one_of<T: Copy>(&mut self, entry: &Entry<'_>, choices: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&'static str> = choices.iter().map(|(name, _)| *name).collect();
        let rule = format!("it is one of \"{}\"", names.join("\", \""));
        let text = self.text(entry, &rule)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        let suggestion = nearest(&text, &names).map(|near| format!("did you mean \"{near}\"?"));
        let problem = Problem::new(entry.at.clone(), format!("`{}` is {text:?}", entry.key), rule);
        self.problems.push(problem.suggest(suggestion));
        None
    }

    pub(super) fn boolean(&mut self, entry: &Entry<'_>) -> Option<bool> {
        let truth = entry.item.as_bool();
        if truth.is_none() {
            self.refuse_type(entry, "it is true or false, without quotes");
        }
        truth
    }

    /// A whole number from 1 on.
    pub(super) fn count(&mut self, entry: &Entry<'_>) -> Option<u32> {
        const RULE: &str = "it is a whole number from 1 on, without quotes: the number of attempts, not of repeats";
        let Some(number) = entry.item.as_integer() else {
            self.refuse_type(entry, RULE);
            return None;
        };
        let count = i32::try_from(number).ok().and_then(|count| u32::try_from(count).ok()).filter(|count| *count >= 1);
        if count.is_none() {
            self.refuse_value(entry, &format!("is {number}"), RULE);
        }
        count
    }

    /// A share from 0 to 1.
    pub(super) fn share(&mut self, entry: &Entry<'_>) -> Option<f64> {
        const RULE: &str = "it is a number from 0 to 1: 0.25 is a quarter";
        let whole = || entry.item.as_integer().and_then(|number| u8::try_from(number).ok()).map(f64::from);
        let number = entry.item.as_float().or_else(whole);
        let Some(number) = number else {
            self.refuse_type(entry, RULE);
            return None;
        };
        if !(0.0..=1.0).contains(&number) {
            self.refuse_value(entry, &format!("is {number}"), RULE);
            return None;
        }
        Some(number)
    }

    pub(super) fn duration(&mut self, entry: &Entry<'_>) -> Option<Duration> {
        match entry.item.as_value() {
            Some(value) => self.duration_of(entry, value),
            None => {
                self.refuse_type(entry, values::DURATION_RULE);
                None
            }
        }
    }

    /// A duration that is a value of a list.
    pub(super) fn duration_of(&mut self, entry: &Entry<'_>, value: &Value) -> Option<Duration> {
        let at = value.span().unwrap_or_else(|| entry.at.clone());
        let what = match value {
            Value::String(text) => match values::duration(text.value()) {
                Ok(duration) => return Some(duration),
                Err(problem) => format!("`{}` is {:?}: {problem}", entry.key, text.value()),
            },
            Value::Integer(number) => format!("`{}` is {}, without a unit", entry.key, number.value()),
            _ => format!("`{}` is {}", entry.key, a_kind(value.type_name())),
        };
        self.refuse(at, what, values::DURATION_RULE);
        None
    }

    /// A table, in whichever of TOML's two forms.
    pub(super) fn table<'a>(&mut self, entry: &Entry<'a>, rule: &str) -> Option<&'a dyn TableLike> {
        let table = entry.item.as_table_like();
        if table.is_none() {
            self.refuse_type(entry, rule);
        }
        table
    }

    /// Texts: one, or a list with at least one, none of them twice.
    pub(super) fn texts(&mut self, entry: &Entry<'_>, rule: &str) -> Option<Vec<String>> {
        let Some(list) = entry.item.as_array() else { return Some(vec![self.text(entry, rule)?]) };
        if list.is_empty() {
            self.refuse_value(entry, "is an empty list", rule);
            return None;
        }
        let mut texts: Vec<String> = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let at = value.span().unwrap_or_else(|| entry.at.clone());
            self.places.insert(format!("{}[{index}]", entry.path), at.clone());
            let part = Entry { at, ..entry.clone() };
            let Some(text) = value.as_str() else {
                self.refuse_value(&part, &format!("has {}", a_kind(value.type_name())), rule);
                continue;
            };
            let Some(text) = self.filled(&part, text, rule) else { continue };
            if texts.contains(&text) {
                self.refuse_value(&part, &format!("has {text:?} twice"), "once is enough");
                continue;
            }
            texts.push(text);
        }
        (texts.len() == list.len()).then_some(texts)
    }
}

/// TOML's name for a kind of value, with its article.
pub(super) fn a_kind(name: &str) -> String {
    match name {
        "string" => "a text in quotes".to_owned(),
        "array" => "a list".to_owned(),
        "integer" | "inline table" | "array of tables" => format!("an {name}"),
        name => format!("a {name}"),
    }
}
