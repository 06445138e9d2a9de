//! States: the words of the status column, SQL over the table's columns, or a column of Rowlock's own.

use std::collections::HashMap;

use rowlock::pipeline::{Sign, StatusType, Word};
use toml_edit::{TableLike, Value};

use super::keys::STATE;
use super::problem::{Problem, Span};
use super::reader::{Entry, Reader, a_kind};

/// How a state is written in the file.
const STATE_RULE: &str = "a state is a word of the status column (\"queued\", 7, true, { null = true }), a list of \
                          words, { is = \"SQL\", set = { column = \"SQL\" } }, or { own = true }";

/// A word that a state, or the list of the ignored, claims for itself.
#[derive(Debug)]
pub(super) struct SaidWord {
    word: Word,
    /// "`ready` of stage thumbnail".
    by: String,
    at: Span,
}

impl Reader {
    /// A state. Its words are noted under its name in messages, so that no other state can have them.
    pub(super) fn state(&mut self, entry: &Entry<'_>, by: &str, said: &mut Vec<SaidWord>) -> Option<Sign> {
        if let Some(list) = entry.item.as_array() {
            return self.words(entry, list, by, said).map(Sign::Words);
        }
        if let Some(table) = entry.item.as_table_like() {
            let entries = self.entries(table, &entry.path, STATE);
            return if entries.iter().any(|entry| matches!(entry.key, "is" | "set")) {
                self.sql(entry, &entries)
            } else {
                let sign = self.marked(entry, &entries, table.is_empty())?;
                note_words(&sign, &entry.at, by, said);
                Some(sign)
            };
        }
        let Some(word) = entry.item.as_value().and_then(plain_word) else {
            self.refuse_value(entry, &format!("is {}", a_kind(entry.item.type_name())), STATE_RULE);
            return None;
        };
        let sign = Sign::Words(vec![word]);
        note_words(&sign, &entry.at, by, said);
        Some(sign)
    }

    /// The words of a list.
    pub(super) fn words(
        &mut self,
        entry: &Entry<'_>,
        list: &toml_edit::Array,
        by: &str,
        said: &mut Vec<SaidWord>,
    ) -> Option<Vec<Word>> {
        if list.is_empty() {
            let rule = "a list of words has at least one: all are read, and the first is written";
            self.refuse_value(entry, "is an empty list", rule);
            return None;
        }
        let mut words = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let at = value.span().unwrap_or_else(|| entry.at.clone());
            let path = format!("{}[{index}]", entry.path);
            self.places.insert(path.clone(), at.clone());
            let word = match value {
                Value::InlineTable(table) => self.null_in_list(entry, table, &path, &at),
                value => plain_word(value).or_else(|| {
                    let what = format!("`{}` has {}", entry.key, a_kind(value.type_name()));
                    let rule = "a word is a text in quotes, a whole number, true, false, or { null = true }";
                    self.refuse(at.clone(), what, rule);
                    None
                }),
            };
            let Some(word) = word else { continue };
            said.push(SaidWord { word: word.clone(), by: by.to_owned(), at });
            words.push(word);
        }
        (words.len() == list.len()).then_some(words)
    }

    fn null_in_list(&mut self, entry: &Entry<'_>, table: &dyn TableLike, path: &str, at: &Span) -> Option<Word> {
        let part = Entry { at: at.clone(), path: path.to_owned(), ..entry.clone() };
        let entries = self.entries(table, path, STATE);
        match self.marked(&part, &entries, table.is_empty())? {
            Sign::Words(words) => words.into_iter().next(),
            Sign::Sql { .. } | Sign::Own => {
                let rule = "in a list there are only words: a state that the table cannot say is { own = true } alone";
                self.refuse_value(&part, "has a state of Rowlock's own among its words", rule);
                None
            }
        }
    }

    /// `{ own = true }` or `{ null = true }`.
    fn marked(&mut self, entry: &Entry<'_>, entries: &[Entry<'_>], is_empty: bool) -> Option<Sign> {
        let [mark] = entries else {
            // An unknown key alone was refused already.
            if is_empty || !entries.is_empty() {
                self.refuse_value(entry, "does not say one thing", STATE_RULE);
            }
            return None;
        };
        if mark.key != "own" && mark.key != "null" {
            self.refuse_value(entry, "has SQL among its words", STATE_RULE);
            return None;
        }
        if !self.boolean(mark)? {
            self.refuse_value(mark, "is false", format!("it is true or left out: {STATE_RULE}"));
            return None;
        }
        Some(if mark.key == "own" { Sign::Own } else { Sign::Words(vec![Word::Null]) })
    }

    /// `{ is = "…", set = { … } }`.
    fn sql(&mut self, entry: &Entry<'_>, entries: &[Entry<'_>]) -> Option<Sign> {
        let part = |key: &str| entries.iter().find(|entry| entry.key == key);
        for other in entries.iter().filter(|entry| !matches!(entry.key, "is" | "set")) {
            self.refuse_value(other, "stands beside `is` and `set`", STATE_RULE);
        }
        let (Some(is), Some(set)) = (part("is"), part("set")) else {
            let (has, lacks) = if part("is").is_some() { ("is", "set") } else { ("set", "is") };
            let rule = "a state in SQL says how it is read (`is`, a condition) and how it is written (`set`, the \
                        columns that make the condition true)";
            self.refuse_value(entry, &format!("has `{has}` without `{lacks}`"), rule);
            return None;
        };
        let is = self.text(is, "it is a condition over the table's columns: \"delivered_at is null and not failed\"");
        let set = self.assignments(set);
        let set = set.filter(|set| !set.is_empty()).or_else(|| {
            if part("set").is_some_and(|set| set.item.as_table_like().is_some_and(|set| set.is_empty())) {
                let rule = "it has at least one column: { delivered_at = \"now()\" }";
                self.refuse_value(entry, "has an empty `set`", rule);
            }
            None
        });
        Some(Sign::Sql { is: is?, set: set? })
    }

    /// Columns and the SQL of their values.
    pub(super) fn assignments(&mut self, entry: &Entry<'_>) -> Option<Vec<(String, String)>> {
        let table =
            self.table(entry, "it is a table of columns: { completed_at = \"now()\", tries = \"tries + 1\" }")?;
        let columns = self.all_entries(table, &entry.path);
        let mut assignments = Vec::new();
        for column in &columns {
            let rule = "the value of a column is SQL, in quotes: \"now()\", \"true\", \"tries + 1\", \"'a text'\"";
            if column.key.trim().is_empty() {
                self.refuse(column.at.clone(), "a column has no name", rule);
            } else if let Some(value) = self.text(column, rule) {
                assignments.push((column.key.to_owned(), value));
            }
        }
        (assignments.len() == columns.len()).then_some(assignments)
    }

    /// Refuses a word that is said twice, and words of different types. Returns the type that the words have, unless
    /// the file names it.
    pub(super) fn check_words(&mut self, said: &[SaidWord], named: Option<StatusType>) -> StatusType {
        let mut first: HashMap<&Word, &SaidWord> = HashMap::new();
        for said in said {
            if let Some(other) = first.get(&said.word) {
                let what = if other.by == said.by {
                    format!("{} has the word {} twice", said.by, shown_word(&said.word))
                } else {
                    format!("{} and {} have the same word, {}", other.by, said.by, shown_word(&said.word))
                };
                self.refuse(said.at.clone(), what, "a word says one state, or a row would be in two");
            } else {
                first.insert(&said.word, said);
            }
        }
        let found = said.iter().find_map(|said| type_of(&said.word));
        let status_type = named.or(found).unwrap_or_default();
        for said in said {
            if let Some(found) = type_of(&said.word)
                && !fits(found, status_type)
            {
                let what = format!("{} has the word {}", said.by, shown_word(&said.word));
                self.problems.push(Problem::new(said.at.clone(), what, type_rule(status_type, named.is_some())));
            }
        }
        status_type
    }
}

fn note_words(sign: &Sign, at: &Span, by: &str, said: &mut Vec<SaidWord>) {
    if let Sign::Words(words) = sign {
        said.extend(words.iter().map(|word| SaidWord { word: word.clone(), by: by.to_owned(), at: at.clone() }));
    }
}

/// A word that is written as itself.
fn plain_word(value: &Value) -> Option<Word> {
    match value {
        Value::String(text) => Some(Word::Text(text.value().clone())),
        Value::Integer(number) => Some(Word::Integer(*number.value())),
        Value::Boolean(truth) => Some(Word::Boolean(*truth.value())),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

/// A word as the file has it.
pub(super) fn shown_word(word: &Word) -> String {
    match word {
        Word::Null => "{ null = true }".to_owned(),
        Word::Text(text) => format!("{text:?}"),
        Word::Integer(number) => number.to_string(),
        Word::Boolean(truth) => truth.to_string(),
    }
}

/// The type of column that a word shows, unless every column may hold it.
fn type_of(word: &Word) -> Option<StatusType> {
    match word {
        Word::Null => None,
        Word::Text(_) => Some(StatusType::Text),
        Word::Integer(_) => Some(StatusType::Integer),
        Word::Boolean(_) => Some(StatusType::Boolean),
    }
}

/// Whether a column of this type can hold a word of that type.
fn fits(word: StatusType, column: StatusType) -> bool {
    let is_text = |status_type| matches!(status_type, StatusType::Text | StatusType::Enum | StatusType::Char);
    word == column || (is_text(word) && is_text(column))
}

fn type_rule(column: StatusType, is_named: bool) -> String {
    let words = match column {
        StatusType::Integer => "whole numbers, without quotes",
        StatusType::Boolean => "true and false, without quotes",
        _ => "texts, in quotes",
    };
    let why = if is_named { "by its type in [columns]" } else { "by the first word of this file" };
    format!("the words of one column are of one type: {why} they are {words}")
}
