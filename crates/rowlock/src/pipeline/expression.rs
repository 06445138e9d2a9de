//! SQL that a user writes into a pipeline: conditions and values over the table's columns.
//!
//! Such a text becomes part of larger statements. So it must end where it seems to, and each column that it names gets
//! the alias of the table there: another relation of the statement may have a column of the same name.

/// Words that are no columns unless they are quoted.
const KEYWORDS: [&str; 46] = [
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "both",
    "case",
    "cast",
    "collate",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "desc",
    "distinct",
    "else",
    "end",
    "escape",
    "false",
    "for",
    "from",
    "glob",
    "ilike",
    "in",
    "is",
    "isnull",
    "leading",
    "like",
    "localtime",
    "localtimestamp",
    "not",
    "notnull",
    "null",
    "or",
    "regexp",
    "row",
    "session_user",
    "similar",
    "some",
    "then",
    "trailing",
    "true",
    "when",
    "user",
];

/// Words that continue the name of a type.
const TYPE_WORDS: [&str; 6] = ["precision", "time", "varying", "with", "without", "zone"];

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A name without quotes, or a keyword.
    Word(&'a str),
    /// A name in double quotes, with them.
    Quoted(&'a str),
    /// A string, with its quotes.
    Text(&'a str),
    Number(&'a str),
    Blank(&'a str),
    /// An operator, a parenthesis, a comma; `::` is one.
    Symbol(&'a str),
}

impl<'a> Token<'a> {
    fn as_str(self) -> &'a str {
        match self {
            Token::Word(text)
            | Token::Quoted(text)
            | Token::Text(text)
            | Token::Number(text)
            | Token::Blank(text)
            | Token::Symbol(text) => text,
        }
    }

    fn is_word(self, word: &str) -> bool {
        matches!(self, Token::Word(found) if found.eq_ignore_ascii_case(word))
    }
}

/// Why a text cannot be part of a statement.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn check(sql: &str) -> Result<(), String> {
    if sql.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if sql.contains(['\0', '\u{1}', '\u{2}']) {
        return Err("must not contain a NUL, or a control character".to_owned());
    }
    let mut depth = 0_usize;
    for token in tokens(sql)? {
        match token {
            Token::Symbol("(" | "[") => depth += 1,
            Token::Symbol(")" | "]") => {
                depth = depth.checked_sub(1).ok_or("closes a parenthesis that it did not open")?;
            }
            Token::Symbol(";") => return Err("must be one expression, without a semicolon".to_owned()),
            Token::Symbol("?" | "$" | ":" | "@" | "\\") => {
                return Err(format!("must not contain {:?}: it has no parameters", token.as_str()));
            }
            Token::Symbol("--" | "/*") => return Err("must not contain a comment".to_owned()),
            Token::Word(word) if word.eq_ignore_ascii_case("select") => {
                return Err("must not contain a query: only the row's own columns can be asked".to_owned());
            }
            Token::Word(_)
            | Token::Quoted(_)
            | Token::Text(_)
            | Token::Number(_)
            | Token::Blank(_)
            | Token::Symbol(_) => {}
        }
    }
    if depth > 0 { Err("opens a parenthesis that it does not close".to_owned()) } else { Ok(()) }
}

/// Whether the text is one number or one string.
pub(crate) fn is_literal(sql: &str) -> bool {
    match tokens(sql).as_deref() {
        Ok([Token::Number(_)]) | Ok([Token::Text(_)]) => true,
        Ok([Token::Symbol("-"), Token::Number(_)]) => true,
        Ok(_) | Err(_) => false,
    }
}

/// The text with the alias before each column. The text must have passed [`check`].
pub(crate) fn qualify(sql: &str, alias: &str) -> String {
    let Ok(tokens) = tokens(sql) else { return sql.to_owned() };
    let mut qualified = String::with_capacity(sql.len() * 2);
    for (at, token) in tokens.iter().enumerate() {
        if is_column(&tokens, at) {
            qualified.push_str(alias);
            qualified.push('.');
        }
        qualified.push_str(token.as_str());
    }
    qualified
}

fn is_column(tokens: &[Token<'_>], at: usize) -> bool {
    let is_quoted = match tokens[at] {
        Token::Word(word) if KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)) => return false,
        Token::Word(_) => false,
        Token::Quoted(_) => true,
        Token::Text(_) | Token::Number(_) | Token::Blank(_) | Token::Symbol(_) => return false,
    };
    let (before, after) = (neighbour(tokens[..at].iter().rev()), neighbour(tokens[at + 1..].iter()));
    match (before, after) {
        // A part of a longer name, a type, a collation, a function.
        (Some(Token::Symbol("." | "::")), _) | (_, Some(Token::Symbol("." | "("))) => false,
        // A type before its literal: `interval '1 day'`.
        (_, Some(Token::Text(_))) if !is_quoted => false,
        (Some(before), _) if before.is_word("as") || before.is_word("collate") => false,
        _ if is_quoted => true,
        (before, after) => !is_phrase(tokens, at, before, after),
    }
}

/// Whether a word is part of a phrase: `at time zone`, `nulls last`, `extract(epoch from …)`, `timestamp with time
/// zone`.
fn is_phrase(tokens: &[Token<'_>], at: usize, before: Option<Token<'_>>, after: Option<Token<'_>>) -> bool {
    let word = tokens[at];
    let is_before = |word: &str| before.is_some_and(|before| before.is_word(word));
    let is_after = |word: &str| after.is_some_and(|after| after.is_word(word));
    let is_field = || {
        let mut earlier = tokens[..at].iter().rev().filter(|token| !matches!(token, Token::Blank(_)));
        earlier.next() == Some(&Token::Symbol("(")) && earlier.next().is_some_and(|name| name.is_word("extract"))
    };
    (word.is_word("at") && is_after("time"))
        || (word.is_word("time") && (is_before("at") || is_after("zone")))
        || (word.is_word("zone") && is_before("time"))
        || (word.is_word("nulls") && (is_after("first") || is_after("last")))
        || ((word.is_word("first") || word.is_word("last")) && is_before("nulls"))
        || (word.is_word("unknown") && (is_before("is") || is_before("not")))
        || (word.is_word("to") && is_before("similar"))
        || (is_after("from") && is_field())
        || continues_type(tokens, at)
}

/// Whether a word continues the name of a type, which began after `::` or `as`.
fn continues_type(tokens: &[Token<'_>], at: usize) -> bool {
    if !TYPE_WORDS.iter().any(|word| tokens[at].is_word(word)) {
        return false;
    }
    let mut earlier = tokens[..at].iter().rev().filter(|token| !matches!(token, Token::Blank(_)));
    while let Some(Token::Word(_)) = earlier.next() {
        if let Some(begin) = earlier.clone().next()
            && (*begin == Token::Symbol("::") || begin.is_word("as"))
        {
            return true;
        }
    }
    false
}

/// The nearest token that is not blank.
fn neighbour<'t, 's: 't>(mut tokens: impl Iterator<Item = &'t Token<'s>>) -> Option<Token<'s>> {
    tokens.find(|token| !matches!(token, Token::Blank(_))).copied()
}

fn tokens<'s>(sql: &'s str) -> Result<Vec<Token<'s>>, String> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (length, token): (usize, fn(&'s str) -> Token<'s>) = match first {
            '\'' => (quoted(rest, '\'').ok_or("has a string without an end")?, Token::Text),
            'e' | 'E' if rest[1..].starts_with('\'') => {
                return Err("must not contain a string with backslashes for escapes, E'…'".to_owned());
            }
            '"' => (quoted(rest, '"').ok_or("has a quoted name without an end")?, Token::Quoted),
            _ if first.is_whitespace() => (run(rest, char::is_whitespace), Token::Blank),
            '0'..='9' => (run(rest, |c| c.is_ascii_alphanumeric() || c == '.'), Token::Number),
            _ if is_name_start(first) => (run(rest, |c| is_name_start(c) || c.is_ascii_digit()), Token::Word),
            _ => (symbol(rest), Token::Symbol),
        };
        let (text, later) = rest.split_at(length);
        tokens.push(token(text));
        rest = later;
    }
    Ok(tokens)
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The length of a symbol: of two characters where the two together mean something else than each alone.
fn symbol(text: &str) -> usize {
    let pairs = ["::", "--", "/*", "->", "<=", ">=", "<>", "||", "@>", "<@"];
    match pairs.iter().find(|pair| text.starts_with(*pair)) {
        Some(pair) => pair.len(),
        None => text.chars().next().map_or(0, char::len_utf8),
    }
}

/// The length of a text in quotes, in which a doubled quote is one of its characters.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + quote.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_gets_the_alias() {
        for (sql, qualified) in [
            ("deleted_at is null and not failed", "t.deleted_at is null and not t.failed"),
            ("\"deletedAt\" is null", "t.\"deletedAt\" is null"),
            ("status in ('a', 'is it')", "t.status in ('a', 'is it')"),
            ("now()", "now()"),
            ("coalesce(attempts, 0) + 1", "coalesce(t.attempts, 0) + 1"),
            ("at + interval '1 day'", "t.at + interval '1 day'"),
            ("created at time zone 'UTC'", "t.created at time zone 'UTC'"),
            ("extract(epoch from due)", "extract(epoch from t.due)"),
            ("substring(name from 2 for 3)", "substring(t.name from 2 for 3)"),
            ("cast(n as bigint) > 1", "cast(t.n as bigint) > 1"),
            ("due::timestamp without time zone", "t.due::timestamp without time zone"),
            ("'queued'::public.job_status", "'queued'::public.job_status"),
            ("name collate \"C\" = 'x'", "t.name collate \"C\" = 'x'"),
            ("priority desc nulls last", "t.priority desc nulls last"),
            ("case when kind = 1 then prio else null end", "case when t.kind = 1 then t.prio else null end"),
            ("data ->> 'state' = 'it''s'", "t.data ->> 'state' = 'it''s'"),
            ("a is distinct from b", "t.a is distinct from t.b"),
            ("1.5e3 < cost", "1.5e3 < t.cost"),
            ("first = 1 or last = 2", "t.first = 1 or t.last = 2"),
            ("größe > 1", "t.größe > 1"),
        ] {
            assert_eq!(check(sql), Ok(()), "{sql}");
            assert_eq!(qualify(sql, "t"), qualified);
        }
    }

    #[test]
    fn a_text_ends_where_it_seems_to() {
        for (sql, rule) in [
            ("", "must not be empty"),
            ("a = 'b", "has a string without an end"),
            ("\"a = 1", "has a quoted name without an end"),
            ("(a = 1", "opens a parenthesis that it does not close"),
            ("a = 1) or (true", "closes a parenthesis that it did not open"),
            ("a = 1; drop table t", "must be one expression, without a semicolon"),
            ("a = 1 -- and", "must not contain a comment"),
            ("a = 1 /* and", "must not contain a comment"),
            ("a = $1", "must not contain \"$\": it has no parameters"),
            ("a = :name", "must not contain \":\": it has no parameters"),
            ("exists (select 1)", "must not contain a query: only the row's own columns can be asked"),
            ("a = '\0'", "must not contain a NUL, or a control character"),
            ("a = E'it\\'s'", "must not contain a string with backslashes for escapes, E'…'"),
        ] {
            assert_eq!(check(sql), Err(rule.to_owned()), "{sql:?}");
        }
    }
}
