//! What the table's constraints and triggers say of a column.

use crate::survey::{CheckConstraint, Survey, TriggerInfo};

/// The words that a CHECK on this column alone allows, with the constraint's name; `None` if no CHECK lists them.
pub(super) fn listed_words(survey: &Survey, column: &str) -> Option<(String, Vec<String>)> {
    let mut of_column = survey.checks.iter().filter(|check| check.columns == [column]);
    of_column.find_map(|check| words_of(check).map(|words| (check.name.clone(), words)))
}

/// The CHECKs that tie this column to others, so that writing it alone may be refused.
pub(super) fn tying<'a>(survey: &'a Survey, column: &str) -> Vec<&'a CheckConstraint> {
    let ties = |check: &&CheckConstraint| check.columns.len() > 1 && check.columns.iter().any(|name| name == column);
    survey.checks.iter().filter(ties).collect()
}

/// The CHECKs on this column alone.
pub(super) fn limiting<'a>(survey: &'a Survey, column: &str) -> Vec<&'a CheckConstraint> {
    survey.checks.iter().filter(|check| check.columns == [column]).collect()
}

/// The trigger that sets this column at each update of a row.
pub(super) fn setting<'a>(survey: &'a Survey, column: &str) -> Option<&'a TriggerInfo> {
    let sets = |trigger: &&TriggerInfo| {
        let source = trigger.source.as_deref().unwrap_or_default().to_lowercase();
        trigger.when.contains("update") && assigns(&source, &column.to_lowercase())
    };
    survey.triggers.iter().find(sets)
}

/// Whether a trigger's source assigns the column: `new.updated_at := …`, or `set updated_at = …`.
fn assigns(source: &str, column: &str) -> bool {
    let plain: String = source.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let targets = [format!("new.{column}:="), format!("new.{column}="), format!("set{column}="), format!(",{column}=")];
    targets.iter().any(|target| plain.contains(target.as_str()))
}

/// The texts in a CHECK that allows a list of them and says nothing else. One that has NULL in its list allows
/// everything, because a comparison with NULL refuses nothing.
fn words_of(check: &CheckConstraint) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut around = String::new();
    let mut characters = check.definition.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\'' {
            around.push(character.to_ascii_lowercase());
            continue;
        }
        let mut word = String::new();
        while let Some(character) = characters.next() {
            if character == '\'' && characters.next_if_eq(&'\'').is_none() {
                break;
            }
            word.push(character);
        }
        words.push(word);
        around.push('?');
    }
    let has = |part: &str| around.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == part);
    let is_list = has("in") || around.contains("= any") || around.contains("= ?");
    let says_more = ["not", "like", "and", "length", "null", "between"].into_iter().any(has)
        || ["<", ">", "~"].into_iter().any(|sign| around.contains(sign));
    (is_list && !says_more && !words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(definition: &str) -> Option<Vec<String>> {
        words_of(&CheckConstraint { definition: definition.to_owned(), ..CheckConstraint::default() })
    }

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_check_lists_words_as_either_database_shows_it() {
        let postgres = "CHECK ((status = ANY (ARRAY['a'::text, 'it''s'::text])))";
        assert_eq!(words(postgres), list(&["a", "it's"]));
        let varchar = "CHECK (((state)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))";
        assert_eq!(words(varchar), list(&["a", "b"]));
        assert_eq!(words("CHECK (status in ('FRESH','DONE'))"), list(&["FRESH", "DONE"]));
        assert_eq!(words("CHECK (status = 'a' or status = 'b')"), list(&["a", "b"]));
    }

    #[test]
    fn a_check_that_says_more_or_accepts_anything_lists_no_words() {
        for definition in [
            "CHECK (status in ('a', null))",
            "CHECK (status <> 'a')",
            "CHECK (status not in ('a'))",
            "CHECK (length(status) < 5)",
            "CHECK (n > 0)",
        ] {
            assert_eq!(words(definition), None, "{definition}");
        }
    }

    #[test]
    fn a_trigger_that_sets_a_column_is_found() {
        assert!(assigns("begin new.updated_at := now(); return new; end", "updated_at"));
        assert!(assigns("begin update t set \"updated_at\" = datetime('now') where id = new.id; end", "updated_at"));
        assert!(!assigns("begin if new.updated_at is null then return null; end if; end", "updated_at"));
    }
}
