//! Passwords in text that is shown: a line of `rowlock.toml`, a mistake in the arguments, an error.

/// Stands for a password.
const HIDDEN: &str = "…";

/// Names of parameters whose value is a password.
const PASSWORD_PARAMETERS: &[&str] = &["password=", "passwd=", "pwd="];

/// The text with "…" in place of whatever may be a password in it: what is between a colon and the last `@` of a line,
/// and the value of a parameter for a password. It hides too much rather than too little.
pub fn without_passwords(text: &str) -> String {
    text.split_inclusive('\n').map(|line| without_parameters(&without_user_password(line))).collect()
}

/// Whether a URL has a password, in whatever way.
pub fn has_password(url: &str) -> bool {
    without_passwords(url) != url
}

fn without_user_password(line: &str) -> String {
    let scheme = line.find("://").map(|at| at + "://".len());
    let Some(at) = line.rfind('@') else {
        return match scheme {
            Some(start) => without_unfinished_user(line, start),
            None => line.to_owned(),
        };
    };
    let before = &line[..at];
    let start = scheme.filter(|start| *start <= at).unwrap_or_else(|| start_of_word(before));
    match before[start..].find(':') {
        Some(colon) => format!("{}{HIDDEN}{}", &line[..=start + colon], &line[at..]),
        None => line.to_owned(),
    }
}

/// `postgres://me:secret`, whose host is missing; a port is no password.
fn without_unfinished_user(line: &str, start: usize) -> String {
    let end = line[start..].find(ends_word).map_or(line.len(), |end| start + end);
    let Some(colon) = line[start..end].find(':').map(|colon| start + colon + 1) else { return line.to_owned() };
    let port = line[colon..end].split(['/', '?']).next().unwrap_or_default();
    // The colons of an IPv6 address are in brackets.
    if port.chars().all(|c| c.is_ascii_digit()) || line[start..].starts_with('[') {
        return line.to_owned();
    }
    format!("{}{HIDDEN}{}", &line[..colon], &line[end..])
}

fn without_parameters(line: &str) -> String {
    let mut shown = line.to_owned();
    for name in PASSWORD_PARAMETERS {
        let mut from = 0;
        // The same length as the text: only ASCII letters change.
        while let Some(found) = shown.to_ascii_lowercase()[from..].find(name) {
            let value = from + found + name.len();
            let end = shown[value..].find(|c: char| c == '&' || ends_word(c)).map_or(shown.len(), |end| value + end);
            if end > value {
                shown.replace_range(value..end, HIDDEN);
            }
            from = value;
        }
    }
    shown
}

fn start_of_word(text: &str) -> usize {
    text.char_indices().rev().find(|(_, c)| ends_word(*c)).map_or(0, |(at, c)| at + c.len_utf8())
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_url_shows_its_password() {
        for url in [
            "postgres://me:hunter22@host/db",
            "postgres://me:hunter22@host/db?password=hunter22",
            "postgres://host/db?user=me&PASSWORD=hunter22&sslmode=require",
            "postgres:/me:hunter22@host/db",
            "me:hunter22@host/db",
            "postgres://me:hunter22?@host/db",
            "postgres://me:@hunter22@host/db",
            "postgres://me:hunter22",
            "host=h user=me password=hunter22 dbname=x",
            "error: unrecognized subcommand 'postgres://me:hunter22@host/db'",
        ] {
            let shown = without_passwords(url);
            assert!(!shown.contains("hunter22"), "{url}: {shown}");
            assert!(has_password(url), "{url}");
        }
    }

    #[test]
    fn what_is_no_password_is_shown() {
        for text in [
            "postgres://me@host:5432/db?sslmode=require",
            "postgres://host:5432",
            "postgres://[::1]:5432/db",
            "sqlite:///var/lib/queue.sqlite",
            "two lines:\nwrite to me@example.com",
            "password=",
        ] {
            assert_eq!(without_passwords(text), text);
        }
    }
}
