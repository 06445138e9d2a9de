//! The CHECK constraints of a SQLite table, read from the statement that created it: the catalogue has them nowhere
//! else.

use super::{CheckConstraint, SurveyColumn};

/// The CHECKs of a `create table` statement. A text in double quotes that is a column's name counts as that column, as
/// it does for SQLite.
pub(super) fn checks(statement: &str, columns: &[SurveyColumn]) -> Vec<CheckConstraint> {
    let tokens = tokens(statement);
    let mut checks = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let opens = tokens.get(index + 1).is_some_and(|next| next.text == "(");
        if token.kind != TokenKind::Bare || !token.text.eq_ignore_ascii_case("check") || !opens {
            continue;
        }
        let Some(length) = closing(&tokens[index + 1..]) else { continue };
        let inside = &tokens[index + 2..index + 1 + length];
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { continue };
        let expression = &statement[first.start..last.start + last.text.len()];
        let is_named = index >= 2 && tokens[index - 2].text.eq_ignore_ascii_case("constraint");
        let reads = |column: &&SurveyColumn| {
            inside.iter().any(|token| token.kind.may_be_name() && token.name().eq_ignore_ascii_case(&column.name))
        };
        checks.push(CheckConstraint {
            name: if is_named { tokens[index - 1].name() } else { expression.to_owned() },
            definition: format!("CHECK ({expression})"),
            columns: columns.iter().filter(reads).map(|column| column.name.clone()).collect(),
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
enum TokenKind {
    /// An unquoted word.
    Bare,
    /// In `"`, `` ` `` or brackets.
    Quoted,
    Text,
    Sign,
}

impl TokenKind {
    fn may_be_name(self) -> bool {
        matches!(self, TokenKind::Bare | TokenKind::Quoted)
    }
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: TokenKind,
    start: usize,
    text: &'a str,
}

impl Token<'_> {
    fn name(&self) -> String {
        match self.kind {
            TokenKind::Quoted if self.text.len() >= 2 => {
                let quote = &self.text[..1];
                self.text[1..self.text.len() - 1].replace(&quote.repeat(2), quote)
            }
            TokenKind::Quoted | TokenKind::Bare | TokenKind::Text | TokenKind::Sign => self.text.to_owned(),
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
        } else if matches!(first, '\'' | '"' | '`' | '[') {
            let kind = if first == '\'' { TokenKind::Text } else { TokenKind::Quoted };
            (Some(kind), quoted_length(rest, if first == '[' { ']' } else { first }))
        } else if is_word(first) {
            (Some(TokenKind::Bare), rest.find(|c| !is_word(c)).unwrap_or(rest.len()))
        } else {
            (Some(TokenKind::Sign), first.len_utf8())
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, start, text: &rest[..length] });
        }
        start += length;
    }
    tokens
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
    use super::super::TypeKind;
    use super::*;

    #[test]
    fn checks_are_found_with_the_columns_that_they_read() {
        let columns = ["Status", "n", "note"].map(|name| SurveyColumn::new(name, "text", TypeKind::Text));
        let found = checks(
            "create table \"check (a)\" (id text, -- check (b)
             note text default 'check (c)', /* check (d) */
             [Status] text constraint \"kn\"\"own\" CHECK (\"status\" in ('a', ')', 'n')),
             n integer check(n > (0) or status = 'x'))",
            &columns,
        );
        let found: Vec<(&str, &str, Vec<&str>)> = found
            .iter()
            .map(|check| (&*check.name, &*check.definition, check.columns.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            found,
            [
                ("kn\"own", "CHECK (\"status\" in ('a', ')', 'n'))", vec!["Status"]),
                ("n > (0) or status = 'x'", "CHECK (n > (0) or status = 'x')", vec!["Status", "n"]),
            ]
        );
    }

    #[test]
    fn a_statement_that_ends_too_soon_has_no_checks() {
        for end in ["(a check (", "(a check (b in ('x", "(check", "(check (", "(check (\""] {
            assert_eq!(checks(&format!("create table t {end}"), &[]), []);
        }
    }
}
