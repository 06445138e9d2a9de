//! Which column says the state, and which words it has.

use super::constraints;
use super::proposal::Word;
use super::words::{Meaning, contains, read, tokens};
use crate::survey::{Database, Histogram, Survey, SurveyColumn, TypeKind};

/// A column whose values say states.
#[derive(Debug, Clone)]
pub(super) struct Carrier<'a> {
    pub(super) column: &'a SurveyColumn,
    /// Its words, in the order of the enum or the CHECK, else the commonest first.
    pub(super) words: Vec<FoundWord>,
    /// What lists the words, if anything does: then there are no others.
    pub(super) list: Option<String>,
    /// The rows in which the column is NULL, and the rows that were looked at.
    pub(super) nulls: i64,
    pub(super) sampled: i64,
    pub(super) is_whole: bool,
    score: i32,
}

/// A word of the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundWord {
    pub(super) word: Word,
    /// What it is read as: the word itself, or what a comment calls the number.
    pub(super) name: String,
    /// The rows of the sample with it; `None` if it was not seen.
    pub(super) rows: Option<i64>,
}

/// Parts of names that say no more than that it is a queue.
const PLAIN_PREFIXES: &str = "task job item queue process processing work row record current message event";

impl Carrier<'_> {
    /// What the column's name says beside "status": `thumbnail` in `thumbnail_status`.
    pub(super) fn prefix(&self) -> Option<String> {
        let tokens = tokens(&self.column.name);
        let prefix = tokens.get(..tokens.len().saturating_sub(1)).unwrap_or_default().join("_");
        let is_plain = prefix.is_empty() || contains(PLAIN_PREFIXES, &prefix);
        (!is_plain).then_some(prefix)
    }

    /// `67 of 200 rows`, or that the sample has none.
    pub(super) fn rows_in_words(&self, rows: Option<i64>) -> String {
        let of = if self.is_whole { "" } else { "sampled " };
        match rows {
            Some(rows) if rows > 0 => format!("{rows} of {} {of}rows", self.sampled),
            Some(_) => format!("rows beside the {} sampled ones", self.sampled),
            None => format!("none of {} {of}rows", self.sampled),
        }
    }
}

/// The other pipelines of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Others {
    /// What the names of their columns begin with.
    pub(super) prefixes: Vec<String>,
    /// Whether a column without such a beginning may be theirs.
    pub(super) may_own_plain_columns: bool,
}

/// The pipelines beside the first.
pub(super) fn others(carriers: &[Carrier<'_>]) -> Others {
    let Some((first, rest)) = carriers.split_first() else { return Others::default() };
    Others {
        prefixes: rest.iter().filter_map(Carrier::prefix).collect(),
        may_own_plain_columns: first.prefix().is_some() && !rest.is_empty(),
    }
}

/// The score of a name that alone says that the column is a state.
const NAMED: i32 = 8;

/// The columns that say states, the likeliest first.
pub(super) fn carriers(survey: &Survey) -> Vec<Carrier<'_>> {
    let mut carriers: Vec<Carrier<'_>> = survey.columns.iter().filter_map(|column| carrier(survey, column)).collect();
    carriers.sort_by_key(|carrier| std::cmp::Reverse(carrier.score));
    carriers
}

fn carrier<'a>(survey: &Survey, column: &'a SurveyColumn) -> Option<Carrier<'a>> {
    let name_score = name_score(&column.name);
    let is_word = column.kind.is_text()
        || column.kind == TypeKind::Enum
        || (column.kind == TypeKind::Other && survey.database == Database::Sqlite);
    let is_number = column.kind.is_integer() && name_score >= NAMED;
    let is_key = survey.primary_key.contains(&column.name);
    if (!is_word && !is_number) || is_key || column.is_generated {
        return None;
    }
    let nothing = Histogram::default();
    let values = column.values.as_ref().unwrap_or(&nothing);
    let (words, list) = if is_number { numbers(column, values) } else { texts(survey, column, values) };
    let meanings: Vec<Meaning> =
        words.iter().filter_map(|word| read(&word.name)).filter(|r| !r.is_by_form).map(|r| r.meaning).collect();
    let distinct = |of: Meaning| i32::from(meanings.contains(&of));
    let classes: i32 =
        [Meaning::Ready, Meaning::Running, Meaning::Succeeded, Meaning::Failed].into_iter().map(distinct).sum();
    let read_rows: i64 = words.iter().filter(|word| read(&word.name).is_some()).filter_map(|word| word.rows).sum();
    // Many words, most of which say nothing, are no states but a text.
    let is_free_text = list.is_none() && values.has_more && 2 * read_rows < values.sampled - values.nulls();
    let is_named = name_score >= NAMED;
    let says_something = if is_named {
        is_number || !meanings.is_empty() || words.is_empty()
    } else {
        classes >= 3 || (name_score > 0 && classes >= 2)
    };
    if is_free_text || !says_something {
        return None;
    }
    Some(Carrier {
        column,
        words,
        list,
        nulls: values.nulls(),
        sampled: values.sampled,
        is_whole: values.is_whole,
        score: name_score + 6 * classes,
    })
}

fn name_score(name: &str) -> i32 {
    let tokens = tokens(name);
    match tokens.last().map(String::as_str) {
        Some("status" | "state") if tokens.len() == 1 => NAMED + 2,
        Some("status" | "state") => NAMED,
        Some("phase" | "stage" | "step" | "progress" | "lifecycle" | "outcome") => 3,
        _ if name.to_lowercase().ends_with("status") || name.to_lowercase().ends_with("state") => NAMED,
        _ => 0,
    }
}

/// The words of a column of texts: those of its enum or CHECK in their order, then what else was seen.
fn texts(survey: &Survey, column: &SurveyColumn, values: &Histogram) -> (Vec<FoundWord>, Option<String>) {
    let (listed, list) = if column.kind == TypeKind::Enum {
        (column.enum_labels.clone(), Some(format!("the enum {}", column.type_name)))
    } else {
        match constraints::listed_words(survey, &column.name) {
            Some((name, words)) => (words, Some(format!("the CHECK {name}"))),
            None => (Vec::new(), None),
        }
    };
    let rows_of = |word: &str| values.rows_with(word);
    let found = |name: String, rows| FoundWord { word: Word::Text(name.clone()), name, rows };
    let mut words: Vec<FoundWord> = Vec::new();
    for word in listed {
        let rows = rows_of(&word);
        if !words.iter().any(|known| known.name == word) {
            words.push(found(word, rows));
        }
    }
    for (value, rows) in values.texts() {
        if !words.iter().any(|known| known.name == value) {
            words.push(found(value.to_owned(), Some(rows)));
        }
    }
    if let Some(default) = column.default_literal().filter(|default| !default.is_empty())
        && !words.iter().any(|known| known.name == default)
    {
        words.push(found(default, None));
    }
    (words, list)
}

/// The numbers of a column, with the names that its comment gives them.
fn numbers(column: &SurveyColumn, values: &Histogram) -> (Vec<FoundWord>, Option<String>) {
    let names = column.comment.as_deref().map(named_numbers).unwrap_or_default();
    let mut words: Vec<FoundWord> = names
        .iter()
        .map(|(number, name)| FoundWord {
            word: Word::Integer(*number),
            name: name.clone(),
            rows: values.rows_with(&number.to_string()),
        })
        .collect();
    for (value, rows) in values.texts() {
        let Ok(number) = value.parse::<i64>() else { continue };
        if !words.iter().any(|known| known.word == Word::Integer(number)) {
            words.push(FoundWord { word: Word::Integer(number), name: value.to_owned(), rows: Some(rows) });
        }
    }
    let list = (!names.is_empty()).then(|| "the comment on the column".to_owned());
    (words, list)
}

/// The names that a comment gives to numbers: `0 = pending, 1: running`, `2 - done` or `PENDING=3`.
fn named_numbers(comment: &str) -> Vec<(i64, String)> {
    let mut named = Vec::new();
    for part in comment.split([',', ';', '\n', '|', '/']) {
        let Some((left, right)) = part.split_once(['=', ':', '-', '→', ')', '(']) else { continue };
        let sides = [left, right].map(|side| side.trim_matches(|c: char| !c.is_alphanumeric() && c != '-' && c != '_'));
        let last_of = |text: &str| text.rsplit(char::is_whitespace).next().unwrap_or_default().parse::<i64>().ok();
        let first_of = |text: &str| text.split(char::is_whitespace).next().unwrap_or_default().parse::<i64>().ok();
        let is_name = |text: &str| text.chars().next().is_some_and(char::is_alphabetic);
        match (last_of(sides[0]), first_of(sides[1])) {
            (Some(number), None) if is_name(sides[1]) => named.push((number, sides[1].to_owned())),
            (None, Some(number)) if is_name(sides[0]) => {
                let name = sides[0].rsplit(char::is_whitespace).next().unwrap_or_default();
                named.push((number, name.to_owned()));
            }
            _ => {}
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_numbers() {
        let named = |pairs: &[(i64, &str)]| pairs.iter().map(|(n, name)| (*n, (*name).to_owned())).collect::<Vec<_>>();
        let expected = named(&[(0, "pending"), (1, "in progress"), (2, "done")]);
        assert_eq!(named_numbers("0 = pending, 1 = in progress, 2 = done"), expected);
        assert_eq!(named_numbers("states: 0: new; 1: working"), named(&[(1, "working")]));
        assert_eq!(named_numbers("PENDING=1\nFAILED=2"), named(&[(1, "PENDING"), (2, "FAILED")]));
        assert_eq!(named_numbers("the state of the job"), named(&[]));
    }
}
