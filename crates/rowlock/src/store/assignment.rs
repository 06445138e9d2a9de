//! Assignments of a statement, found in its text, so that the lens can replace them.

/// Stands before an assignment to the column of a role, with the role's number after it and [`END`] after that. No
/// statement has this character: quoted words may hold anything, but a control character is written in no file.
pub(super) const BEGIN: char = '\u{1}';
/// Ends the number of a role.
pub(super) const END: char = '\u{2}';

/// Replaces each marked assignment. `write` gets the role's number and the SQL of its value.
pub(super) fn replace(sql: &str, write: impl Fn(usize, &str) -> String) -> String {
    let mut replaced = String::with_capacity(sql.len() * 2);
    let mut rest = sql;
    while let Some(begin) = rest.find(BEGIN) {
        replaced.push_str(&rest[..begin]);
        let marked = &rest[begin + BEGIN.len_utf8()..];
        let (number, after) = marked.split_once(END).expect("a marked assignment has a number");
        let value = after.strip_prefix(" = ").expect("an assignment has a value");
        let length = length_of_value(value);
        let role = number.parse().expect("the number of a role");
        replaced.push_str(&write(role, value[..length].trim_end()));
        let blanks = value[..length].len() - value[..length].trim_end().len();
        rest = &value[length - blanks..];
    }
    replaced.push_str(rest);
    replaced
}

/// The length of a value: to the comma, the parenthesis or the clause after it.
fn length_of_value(sql: &str) -> usize {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, character) in sql.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') if depth > 0 => depth -= 1,
            (None, ')' | ',' | ';') if depth == 0 => return at,
            (None, '\n' | ' ') if depth == 0 && begins_clause(&sql[at + 1..]) => return at,
            (None, _) => {}
        }
    }
    sql.len()
}

fn begins_clause(sql: &str) -> bool {
    let word = sql.trim_start_matches([' ', '\n']).split(|c: char| !c.is_ascii_alphabetic()).next();
    matches!(word, Some("from" | "where" | "returning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_at_the_comma_or_the_clause_after_it() {
        let sql = "update t set \u{1}0\u{2} = case when f(a, ')') then 'b, c' end,\n  x = 1,\n  \u{1}3\u{2} = null\n\
                   from i where \u{1}1\u{2} = 2";
        let replaced = replace(sql, |role, value| format!("<{role}: {value}>"));
        assert_eq!(
            replaced,
            "update t set <0: case when f(a, ')') then 'b, c' end>,\n  x = 1,\n  <3: null>\nfrom i where <1: 2>"
        );
    }

    #[test]
    fn a_value_in_a_cte_ends_at_its_parenthesis() {
        assert_eq!(
            replace("(update t set \u{1}2\u{2} = (1 + 2))", |_, value| value.to_owned()),
            "(update t set (1 + 2))"
        );
    }
}
