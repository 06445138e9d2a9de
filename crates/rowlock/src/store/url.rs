//! Database URLs: for which database a URL is meant, and which parts of it may be shown.

use crate::Error;

/// Stands for a part that may be a secret.
const HIDDEN: &str = "…";

/// A URL, or any text in place of one, without anything that may be a secret. If the parts cannot be told apart, for
/// instance because a password has an unescaped `?`, `#`, `/` or `@`, only the scheme is left.
///
/// ```
/// # use rowlock::store::displayable_url;
/// assert_eq!(displayable_url("postgres://me:secret@host/videos"), "postgres://me:…@host/videos");
/// assert_eq!(displayable_url("postgres://me:sec#ret@host/videos"), "postgres://…");
/// ```
pub fn displayable_url(url: &str) -> String {
    let Some((scheme, rest)) = split_scheme(url) else { return HIDDEN.to_owned() };
    let Some(rest) = rest.strip_prefix("//") else { return format!("{scheme}:{HIDDEN}") };
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let (place, query) = match place.find(['?', '#']) {
        Some(at) => (&place[..at], "?…"),
        None => (place, ""),
    };
    let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let is_clear =
        user.is_none_or(|user| !user.contains(['/', '?', '#'])) && is_host(host) && path.chars().all(is_plain);
    if !is_clear {
        return format!("{scheme}://{HIDDEN}");
    }
    let user = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        None => String::new(),
        Some((name, "")) if name.chars().all(is_plain) => format!("{name}@"),
        Some((name, _)) if name.chars().all(is_plain) => format!("{name}:{HIDDEN}@"),
        Some(_) => format!("{HIDDEN}@"),
    };
    format!("{scheme}://{user}{host}{path}{query}")
}

fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '/' | ' ')
}

/// A name or address, with a port if there is one. Any other text after the colon may be a password.
fn is_host(host: &str) -> bool {
    let port = match host.strip_prefix('[') {
        Some(address) => match address.split_once(']') {
            Some((address, port)) if address.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.') => port,
            _ => return false,
        },
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            if !name.chars().all(is_plain) {
                return false;
            }
            port
        }
    };
    port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// The scheme in lower case, and the text after its colon.
pub(super) fn split_scheme(url: &str) -> Option<(String, &str)> {
    /// The length of the longest scheme in use for a database; a longer word is something else.
    const SCHEME_CHARS_MAX: usize = 16;
    let url = url.trim_start();
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.len() <= SCHEME_CHARS_MAX
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The error for a URL that is not one of this database.
pub(super) fn refuse_url(url: &str, rule: &str) -> Error {
    Error::InvalidArgument { argument: "url", value: displayable_url(url), rule: rule.to_owned() }
}

/// The parameters of a PostgreSQL URL that the driver knows.
#[cfg(feature = "postgres")]
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The URL of a PostgreSQL database, with the parameters that its driver knows. The driver itself takes any scheme, and
/// logs the value of an unknown parameter, which may be a password under a mistyped name.
#[cfg(feature = "postgres")]
pub(super) fn postgres_url(url: &str) -> crate::Result<String> {
    const EXPECTED: &str = "a PostgresStore needs postgres://USER:PASSWORD@HOST:PORT/DATABASE";
    match split_scheme(url) {
        Some((scheme, rest)) if matches!(&*scheme, "postgres" | "postgresql") && rest.starts_with("//") => {}
        Some((scheme, _)) if scheme == "sqlite" || scheme == "file" => {
            return Err(refuse_url(url, &format!("{EXPECTED}; a file is opened by SqliteStore")));
        }
        _ => return Err(refuse_url(url, EXPECTED)),
    }
    let url = url.trim();
    if url.contains('#') {
        return Err(unreadable(url));
    }
    let Some((base, query)) = url.split_once('?') else { return Ok(url.to_owned()) };
    let mut known = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        if PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']')) {
            known.push(parameter);
        } else if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !query.contains('@') {
            tracing::warn!(parameter = name, "a parameter of the URL is not known, and ignored");
        } else {
            return Err(unreadable(url));
        }
    }
    Ok(if known.is_empty() { base.to_owned() } else { format!("{base}?{}", known.join("&")) })
}

/// The error for a PostgreSQL URL with a malformed part. The driver's own message may quote that part.
#[cfg(feature = "postgres")]
pub(super) fn unreadable(url: &str) -> Error {
    refuse_url(
        url,
        "it cannot be read as postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETER=VALUE: in a user's name or a \
         password write @ as %40, / as %2F, ? as %3F, # as %23, & as %26",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("postgres://host/db", "postgres://host/db"),
            ("postgres://me@host:5432/db", "postgres://me@host:5432/db"),
            ("postgres://me:secret@[::1]:5432/db?sslmode=require", "postgres://me:…@[::1]:5432/db?…"),
            ("POSTGRES://me:secret@host/db", "postgres://me:…@host/db"),
            ("  postgres://me:secret@host", "postgres://me:…@host"),
            ("sqlite:///var/queue.sqlite?mode=rwc", "sqlite:///var/queue.sqlite?…"),
            ("mysql://me:secret@host/db", "mysql://me:…@host/db"),
        ] {
            assert_eq!(displayable_url(url), shown);
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_shown() {
        for url in [
            "postgres://me:se#secret@host/db",
            "postgres://me:se?secret@host/db",
            "postgres://me:se/secret@host/db",
            "postgres://me:secret",
            "postgres://me:secret/db",
            "postgres://host/db?password=se@secret",
            "postgres://me%3Asecret@host/db",
            "postgres:/me:secret@host/db",
            "postgres:me:secret@host/db",
            "postgres//me:secret@host/db",
            "host=localhost user=me password=secret",
            "secret",
            "",
        ] {
            let shown = displayable_url(url);
            assert!(!shown.contains("secret"), "{url}: {shown}");
        }
    }
}
