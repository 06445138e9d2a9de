//! Puts names and predicates into the text of a query.

/// Replaces each `{name}`. What is put in is not read again, so that a column called `{table}` stays a column.
///
/// A brace that encloses no known name stays as it is.
pub(super) fn render(sql: &str, names: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(sql.len() * 2);
    let mut rest = sql;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        text.push_str(before);
        let known = after.find('}').and_then(|end| {
            let name = &after[1..end];
            names.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, end + 1))
        });
        match known {
            Some((value, length)) => {
                text.push_str(value);
                rest = &after[length..];
            }
            None => {
                text.push('{');
                rest = &after[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// A text as a literal that both settings of `standard_conforming_strings` read alike.
pub(super) fn quote_literal(text: &str, is_postgres: bool) -> String {
    let quoted = text.replace('\'', "''");
    if is_postgres && text.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_not_read_again() {
        let sql = render("select {a}, {b} from {c} -- {d}", &[("a", "\"{b}\""), ("b", "2"), ("c", "t")]);
        assert_eq!(sql, "select \"{b}\", 2 from t -- {d}");
    }

    #[test]
    fn a_text_cannot_end_its_quotes() {
        assert_eq!(quote_literal("it's", false), "'it''s'");
        assert_eq!(quote_literal("a\\b", true), "E'a\\\\b'");
    }
}
