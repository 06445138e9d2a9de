//! The CHECK constraints of a table, parsed from the statement that created it: SQLite's catalogue has them nowhere
//! else.

/// A CHECK, with the words in its expression.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// Its name, or its expression if it has none: this is what SQLite says when it refuses a row.
    pub(super) name: String,
    pub(super) expression: String,
    /// Names and keywords in it, in lower case and without quotes; a text in double quotes may be a name.
    pub(super) words: Vec<String>,
}

/// Every CHECK in a `create table` statement.
pub(super) fn checks(create: &str) -> Vec<Check> {
    let tokens = tokens(create);
    let mut checks = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let opens = tokens.get(index + 1).is_some_and(|next| next.text == "(");
        if token.kind != Kind::Bare || !token.text.eq_ignore_ascii_case("check") || !opens {
            continue;
        }
        let Some(length) = closing(&tokens[index + 1..]) else { continue };
        let inside = &tokens[index + 2..index + 1 + length];
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { continue };
        let expression = create[first.start..last.start + last.text.len()].to_owned();
        let named = index >= 2 && tokens[index - 2].text.eq_ignore_ascii_case("constraint");
        checks.push(Check {
            name: if named { tokens[index - 1].name() } else { expression.clone() },
            words: inside
                .iter()
                .filter(|token| token.kind.may_be_name())
                .map(|token| token.name().to_lowercase())
                .collect(),
            expression,
        });
    }
    checks
}

/// The position of the parenthesis that closes the one at the beginning.
fn closing(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" if depth <= 1 => return Some(index),
            ")" => depth -= 1,
            _ => {}
        }
    }
    None
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An unquoted word.
    Bare,
    /// In `"`, `` ` `` or brackets.
    Quoted,
    Text,
    Sign,
}

impl Kind {
    fn may_be_name(self) -> bool {
        matches!(self, Kind::Bare | Kind::Quoted)
    }
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    start: usize,
    text: &'a str,
}

impl Token<'_> {
    fn name(&self) -> String {
        match self.kind {
            Kind::Quoted => {
                let inner = &self.text[1..self.text.len() - 1];
                let quote = &self.text[..1];
                inner.replace(&quote.repeat(2), quote)
            }
            Kind::Bare | Kind::Text | Kind::Sign => self.text.to_owned(),
        }
    }
}

/// The tokens of a statement, without comments and blanks.
fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = sql[start..].chars().next() {
        let rest = &sql[start..];
        let (kind, length) = if rest.starts_with("--") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, rest.find("*/").map_or(rest.len(), |end| end + 2))
        } else if first.is_whitespace() {
            (None, first.len_utf8())
        } else if let Some(kind) = quotes(first) {
            (Some(kind), quoted_length(rest, if first == '[' { ']' } else { first }))
        } else if is_word(first) {
            (Some(Kind::Bare), rest.find(|c| !is_word(c)).unwrap_or(rest.len()))
        } else {
            (Some(Kind::Sign), first.len_utf8())
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, start, text: &rest[..length] });
        }
        start += length;
    }
    tokens
}

fn quotes(first: char) -> Option<Kind> {
    match first {
        '\'' => Some(Kind::Text),
        '"' | '`' | '[' => Some(Kind::Quoted),
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// The length of a quoted text; two quotes within it count as one quote character.
fn quoted_length(text: &str, close: char) -> usize {
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = rest.next() {
        if c == close && (close == ']' || rest.next_if(|(_, next)| *next == close).is_none()) {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_found_beside_whatever_looks_like_one() {
        let found = checks(
            "create table \"check (a)\" (id text, -- check (b)
             note text default 'check (c)', /* check (d) */
             [Status] text constraint \"kn\"\"own\" CHECK (\"Status\" in ('a', ')', 'it''s (')),
             n integer check(n > (0)))",
        );
        let found: Vec<(&str, &str, &[String])> =
            found.iter().map(|check| (&*check.name, &*check.expression, &*check.words)).collect();
        assert_eq!(
            found,
            [
                ("kn\"own", "\"Status\" in ('a', ')', 'it''s (')", &["status".to_owned(), "in".to_owned()][..]),
                ("n > (0)", "n > (0)", &["n".to_owned(), "0".to_owned()][..]),
            ]
        );
    }

    #[test]
    fn a_statement_that_ends_too_soon_has_no_checks() {
        for create in
            ["create table t (a check (", "create table t (a check (b in ('x", "check", "check (", "check (\""]
        {
            assert_eq!(checks(create), []);
        }
    }
}
