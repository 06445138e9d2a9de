//! Reads just enough of SQL to see what a constraint, an index or a trigger is about.

/// A part of a statement. Comments and blanks are none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A key word, a number, or a name without quotes, in lower case.
    Word(String),
    /// A name in quotes.
    Name(String),
    /// A literal text.
    Text(String),
    /// Anything else.
    Symbol(char),
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(found) if found == word)
    }

    fn is_symbol(&self, symbol: char) -> bool {
        *self == Token::Symbol(symbol)
    }

    fn is_name(&self, name: &str) -> bool {
        match self {
            Token::Word(found) => found.eq_ignore_ascii_case(name),
            Token::Name(found) => found == name,
            Token::Text(_) | Token::Symbol(_) => false,
        }
    }

    fn as_name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Name(name) => Some(name),
            Token::Text(_) | Token::Symbol(_) => None,
        }
    }
}

/// Whether an expression mentions a column.
pub(super) fn mentions(sql: &str, column: &str) -> bool {
    sql == column || tokens(sql).iter().any(|token| token.is_name(column))
}

/// Whether an expression is a column and nothing else, but for its order.
pub(super) fn is_column(sql: &str, column: &str) -> bool {
    // The name itself, which may contain blanks.
    if sql == column {
        return true;
    }
    let tokens = tokens(sql);
    let order = |token: &Token| ["asc", "desc", "nulls", "first", "last"].iter().any(|word| token.is_word(word));
    tokens.first().is_some_and(|token| token.is_name(column)) && tokens[1..].iter().all(order)
}

/// Whether a text mentions a key word or a function.
pub(super) fn has_word(sql: &str, word: &str) -> bool {
    tokens(sql).iter().any(|token| token.is_word(word))
}

/// Whether the predicate of an index holds the rows with this word in a column, a text or a number; `None` is NULL.
///
/// It looks at each comparison alone: in `a = 'x' and b = 'y'` the word `x` is none of `b`'s.
pub(super) fn holds_word(predicate: &str, column: &str, word: Option<&str>) -> bool {
    let is_word = |token: &Token| match (token, word) {
        (Token::Text(found) | Token::Word(found), Some(word)) => found == word,
        // Rowlock's own indexes compare a `case` over the states with the states' names.
        (Token::Text(found), None) => found == "NULL",
        (Token::Word(found), None) => found == "null",
        (Token::Name(_) | Token::Symbol(_), _) => false,
    };
    comparisons(&tokens(predicate)).into_iter().any(|comparison| {
        let said = behind_case(comparison);
        comparison.iter().any(|token| token.is_name(column)) && said.iter().any(is_word) && !excludes(said)
    })
}

/// What stands between `and` and `or`. A `case` stays whole.
fn comparisons(tokens: &[Token]) -> Vec<&[Token]> {
    let mut found = Vec::new();
    let (mut start, mut cases) = (0, 0_usize);
    for (index, token) in tokens.iter().enumerate() {
        if token.is_word("case") {
            cases += 1;
        } else if token.is_word("end") {
            cases = cases.saturating_sub(1);
        } else if cases == 0 && (token.is_word("and") || token.is_word("or")) {
            found.push(&tokens[start..index]);
            start = index + 1;
        }
    }
    found.push(&tokens[start..]);
    found
}

/// What a `case` is compared with; the comparison itself if there is no `case`.
fn behind_case(comparison: &[Token]) -> &[Token] {
    let end = comparison.iter().rposition(|token| token.is_word("end"));
    let behind = end.map_or(comparison, |end| &comparison[end + 1..]);
    if behind.iter().any(|token| !token.is_symbol(')')) { behind } else { comparison }
}

/// Whether a comparison says which words it leaves out, and not which it holds.
fn excludes(comparison: &[Token]) -> bool {
    let is_unequal = |two: &[Token]| {
        (two[0].is_symbol('<') && two[1].is_symbol('>')) || (two[0].is_symbol('!') && two[1].is_symbol('='))
    };
    comparison.windows(2).any(is_unequal) || comparison.iter().any(|token| token.is_word("not"))
}

/// The words that a CHECK lists, if it compares a column with a list.
pub(super) fn words_of_check(definition: &str) -> Option<Vec<String>> {
    let tokens = tokens(definition);
    let (start, end) = list_of(&tokens)?;
    let words = tokens[start..end].iter().filter_map(|token| match token {
        Token::Text(text) => Some(text.clone()),
        Token::Word(_) | Token::Name(_) | Token::Symbol(_) => None,
    });
    Some(words.collect())
}

/// Whether a CHECK compares with a list that contains NULL: it is then never false, and so accepts anything.
pub(super) fn lists_null(definition: &str) -> bool {
    let tokens = tokens(definition);
    list_of(&tokens).is_some_and(|(start, end)| tokens[start..end].iter().any(|token| token.is_word("null")))
}

/// The bounds of the list in `x in (…)` or `x = any (array[…])`, as PostgreSQL writes the same.
fn list_of(tokens: &[Token]) -> Option<(usize, usize)> {
    for index in 1..tokens.len() {
        let opens = if tokens[index].is_symbol('(') {
            let negated = index >= 2 && tokens[index - 2].is_word("not");
            tokens[index - 1].is_word("in") && !negated
        } else {
            let before = &tokens[index.saturating_sub(5)..index];
            tokens[index].is_symbol('[')
                && tokens[index - 1].is_word("array")
                && before.iter().any(|token| token.is_word("any"))
        };
        if opens && !tokens.get(index + 1).is_some_and(|token| token.is_word("select")) {
            let close = if tokens[index].is_symbol('(') { ')' } else { ']' };
            let open = if close == ')' { '(' } else { '[' };
            let mut depth = 0_usize;
            for (offset, token) in tokens[index..].iter().enumerate() {
                if token.is_symbol(open) {
                    depth += 1;
                } else if token.is_symbol(close) {
                    depth -= 1;
                }
                if depth == 0 {
                    return Some((index + 1, index + offset));
                }
            }
        }
    }
    None
}

/// The columns of the row, or of the table, that a trigger sets.
pub(super) fn assigned_columns(source: &str, table: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut columns = Vec::new();
    for index in 0..tokens.len() {
        columns.extend(assigned_to_new(&tokens, index));
        if tokens[index].is_word("update") {
            columns.extend(assigned_by_update(&tokens[index + 1..], table));
        }
    }
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Whether what a trigger does depends on a condition.
pub(super) fn is_conditional(source: &str) -> bool {
    tokens(source).iter().any(|token| token.is_word("if") || token.is_word("case") || token.is_word("when"))
}

/// Whether a trigger can end the statement with an error: `raise exception`, `raise 'text'`, `raise(abort, …)`.
pub(super) fn raises_error(source: &str) -> bool {
    let tokens = tokens(source);
    tokens.windows(3).any(|three| {
        let ends = |token: &Token| ["abort", "fail", "rollback"].iter().any(|word| token.is_word(word));
        three[0].is_word("raise")
            && (three[1].is_word("exception")
                || matches!(three[1], Token::Text(_))
                || (three[1].is_symbol('(') && ends(&three[2])))
    })
}

/// `new.column := …`, `new.column = …` as a statement, and `into new.column`.
fn assigned_to_new(tokens: &[Token], index: usize) -> Option<String> {
    let [new, dot, column, rest @ ..] = &tokens[index..] else { return None };
    if !new.is_word("new") || !dot.is_symbol('.') {
        return None;
    }
    let begins_statement = index.checked_sub(1).map(|before| &tokens[before]).is_none_or(|before| {
        before.is_symbol(';') || ["begin", "then", "else", "loop"].iter().any(|word| before.is_word(word))
    });
    let follows_into = index.checked_sub(1).is_some_and(|before| tokens[before].is_word("into"));
    let is_assigned = match rest {
        [colon, equal, ..] if colon.is_symbol(':') && equal.is_symbol('=') => true,
        [equal, ..] if equal.is_symbol('=') => begins_statement,
        _ => follows_into,
    };
    if is_assigned { column.as_name().map(str::to_owned) } else { None }
}

/// `update table set column = …, column = …`, from behind `update` on.
fn assigned_by_update(tokens: &[Token], table: &str) -> Vec<String> {
    let Some(set) = tokens.iter().take(8).position(|token| token.is_word("set")) else { return Vec::new() };
    let (before, is_other_update) = (&tokens[..set], tokens[..set].iter().any(|token| token.is_word("update")));
    if is_other_update || !before.iter().any(|token| token.is_name(table)) {
        return Vec::new();
    }
    let mut columns = Vec::new();
    let (mut depth, mut expects_column) = (0_usize, true);
    for token in &tokens[set + 1..] {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            Token::Symbol(',') if depth == 0 => expects_column = true,
            Token::Symbol(';') => break,
            Token::Word(word) if depth == 0 && ["where", "from", "returning"].contains(&word.as_str()) => break,
            _ if expects_column => {
                columns.extend(token.as_name().map(str::to_owned));
                expects_column = false;
            }
            _ => {}
        }
    }
    columns
}

fn tokens(sql: &str) -> Vec<Token> {
    let characters: Vec<char> = sql.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let character = characters[at];
        let next = characters.get(at + 1).copied();
        match character {
            '-' if next == Some('-') => at = position(&characters, at, |c| c == '\n'),
            '/' if next == Some('*') => {
                let inside = &characters[at + 2..];
                let end = inside.windows(2).position(|two| two == ['*', '/']);
                at = end.map_or(characters.len(), |end| at + 2 + end + 2);
            }
            '\'' => {
                let (text, end) = quoted(&characters, at, '\'');
                tokens.push(Token::Text(text));
                at = end;
            }
            '"' | '`' => {
                let (name, end) = quoted(&characters, at, character);
                tokens.push(Token::Name(name));
                at = end;
            }
            _ if is_of_word(character) => {
                let end = position(&characters, at, |c| !is_of_word(c));
                tokens.push(Token::Word(characters[at..end].iter().collect::<String>().to_lowercase()));
                at = end;
            }
            _ => {
                if !character.is_whitespace() {
                    tokens.push(Token::Symbol(character));
                }
                at += 1;
            }
        }
    }
    tokens
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

/// From `at` on, the first place where it holds; the end if it holds nowhere.
fn position(characters: &[char], at: usize, holds: impl Fn(char) -> bool) -> usize {
    characters[at..].iter().position(|character| holds(*character)).map_or(characters.len(), |offset| at + offset)
}

/// What stands between quotes, and where the text goes on behind them. A doubled quote is one of the text.
fn quoted(characters: &[char], at: usize, quote: char) -> (String, usize) {
    let mut text = String::new();
    let mut at = at + 1;
    while let Some(character) = characters.get(at) {
        if *character == quote {
            if characters.get(at + 1) != Some(&quote) {
                return (text, at + 1);
            }
            at += 1;
        }
        text.push(*character);
        at += 1;
    }
    (text, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_null_is_seen_in_both_spellings() {
        assert!(lists_null("check (state in ('a', null, 'b'))"));
        assert!(lists_null("CHECK ((state = ANY (ARRAY['a'::text, NULL::text])))"));
        let casts = "CHECK (((state)::text = ANY ((ARRAY[NULL::varchar, 'a'::character varying])::text[])))";
        assert!(lists_null(casts));
        assert!(!lists_null("check (state in ('a', 'null') or state is null)"));
        assert!(!lists_null("check (state not in ('a', null))"));
        assert!(!lists_null("CHECK ((attempts >= 0))"));
    }

    #[test]
    fn the_words_of_a_check_are_its_literals() {
        let words = words_of_check("CHECK ((s = ANY (ARRAY['it''s'::text, 'b'::text])))");
        assert_eq!(words, Some(vec!["it's".to_owned(), "b".to_owned()]));
        assert_eq!(words_of_check("check (length(s) > 1)"), None);
    }

    #[test]
    fn a_trigger_that_sets_a_column_is_seen() {
        let set = |source: &str| assigned_columns(source, "jobs");
        assert_eq!(set("begin new.updated_at := now(); return new; end"), ["updated_at"]);
        assert_eq!(set("begin NEW.updated_at = now(); return new; end"), ["updated_at"]);
        assert_eq!(set("begin new.\"updatedAt\" := now(); return new; end"), ["updatedAt"]);
        assert_eq!(set("begin select now() into new.at; return new; end"), ["at"]);
        let update = "update jobs set a = max(1, 2), b = 3 where id = new.id";
        assert_eq!(set(&format!("create trigger u after update on jobs begin {update}; end")), ["a", "b"]);
    }

    #[test]
    fn a_comparison_a_comment_and_another_table_set_nothing() {
        let set = |source: &str| assigned_columns(source, "jobs");
        assert!(set("begin if new.a = old.a then return null; end if; return new; end").is_empty());
        assert!(set("begin -- new.a := 1;\n return new; /* new.b := 2; */ end").is_empty());
        assert!(set("begin update log set n = n + 1; return new; end").is_empty());
        assert!(set("begin raise notice 'new.a := 1'; return new; end").is_empty());
    }

    #[test]
    fn an_error_is_told_from_a_notice() {
        assert!(raises_error("begin raise exception 'no'; end"));
        assert!(raises_error("begin select raise(abort, 'no'); end"));
        assert!(!raises_error("begin raise notice 'yes'; exception when others then return null; end"));
    }

    #[test]
    fn the_predicate_of_an_index_holds_a_word_of_its_column_only() {
        let holds = |predicate: &str, word| holds_word(predicate, "status", word);
        assert!(holds("status = 'queued'::text", Some("queued")));
        assert!(holds("((status)::text = ANY (ARRAY['queued'::text, 'late'::text])) and n > 1", Some("late")));
        assert!(holds("status = 1", Some("1")));
        assert!(holds("kind = 'a' and status is null", None));
        assert!(!holds("other = 'queued'::text and status = 'ready'::text", Some("queued")));
        assert!(!holds("status is not null", None));
        assert!(!holds("status <> ALL (ARRAY['queued'::text])", Some("queued")));
        assert!(!holds("status not in ('queued') and kind = 'a'", Some("queued")));
        assert!(holds("status = 'queued' and kind <> 'a'", Some("queued")));
    }

    #[test]
    fn a_case_over_the_states_is_read_by_what_it_is_compared_with() {
        let case = "CASE WHEN status = 'a'::text OR status IS NULL THEN 'a'::text WHEN status = 'b'::text THEN \
                    COALESCE(own, 'b'::text) ELSE status END";
        let holds = |rest: &str, word| holds_word(&format!("{case} {rest}"), "status", word);
        assert!(holds("= 'a'::text AND other = 'b'::text", Some("a")));
        assert!(!holds("= 'a'::text AND other = 'b'::text", Some("b")));
        assert!(holds("= 'NULL'::text", None));
        let stopped = format!("COALESCE({case}, ''::text) <> ALL (ARRAY['a'::text, 'b'::text])");
        assert!(!holds_word(&stopped, "status", Some("a")));
    }

    #[test]
    fn a_column_is_told_from_an_expression_over_it() {
        assert!(is_column("\"createdAt\"", "createdAt"));
        assert!(is_column("created_at DESC", "created_at"));
        assert!(!is_column("coalesce(a, b)", "a"));
        assert!(mentions("coalesce(retry_after, created_at)", "created_at"));
        assert!(!mentions("coalesce(retry_after, created_at)", "created"));
    }
}
