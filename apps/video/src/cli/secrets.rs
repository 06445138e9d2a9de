//! Passwords in URLs: never shown, however the URL is spelt.

use std::sync::OnceLock;

use rowlock::store::displayable_url;

/// Parameters of a URL that hold no secret. Any other may be a password under a mistyped name.
const HARMLESS_PARAMETERS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "sslmode",
    "application_name",
    "options",
    "mode",
    "cache",
    "connect_timeout",
];

/// Shorter secrets are not searched for in other texts: they would be found in any.
const SECRET_MIN_CHARS: usize = 4;

static SECRETS: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Remembers the secrets in these texts, including URLs, for [`scrubbed`].
pub(crate) fn remember(texts: impl IntoIterator<Item = String>) {
    let mut secrets: Vec<(String, String)> = texts.into_iter().flat_map(|text| replacements(&text)).collect();
    // The whole before its parts.
    secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    // Remembered once, at the start.
    let _already = SECRETS.set(secrets);
}

/// A text without the remembered secrets.
pub(crate) fn scrubbed(text: &str) -> String {
    let secrets = SECRETS.get().map_or(&[][..], Vec::as_slice);
    secrets.iter().fold(text.to_owned(), |text, (secret, instead)| text.replace(secret, instead))
}

/// The text given as the URL of a database, without anything that may be a secret. The name of a file is not a secret.
pub(crate) fn redacted(given: &str) -> String {
    let place = given.split('?').next().unwrap_or_default();
    let file = if given.contains(':') { place.strip_prefix("sqlite://") } else { Some(place) };
    match file {
        Some(file) if !file.contains(['@', ':', '=']) => place.to_owned(),
        _ => displayable_url(given),
    }
}

/// `host:port/name`, which is not `user:password` with the rest missing.
fn is_address(address: &str) -> bool {
    let host = address.split('/').next().unwrap_or_default();
    let port = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((_, after)) => after.strip_prefix(':'),
        None => host.split_once(':').map(|(_, port)| port),
    };
    port.is_none_or(|port| port.chars().all(|c| c.is_ascii_digit()))
}

/// The secret parts of a text, and their replacements.
fn replacements(text: &str) -> Vec<(String, String)> {
    let mut secrets = Vec::new();
    let mut parameters = text;
    if let Some((_, rest)) = text.split_once("://").or_else(|| text.split_once(':')) {
        let of_user = |user: &str| user.split_once(':').map(|(_, password)| password.to_owned());
        // Up to the last @ and up to the first.
        secrets.extend(rest.rsplit_once('@').and_then(|(user, _)| of_user(user)));
        secrets.extend(rest.split_once('@').and_then(|(user, _)| of_user(user)));
        if !rest.contains('@') && !is_address(rest) {
            secrets.extend(of_user(rest));
        }
        if !text.contains("://") {
            secrets.extend(text.rsplit_once('@').and_then(|(user, _)| of_user(user)));
        }
        parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
    }
    for pair in parameters.split(['&', ' ', '\t', '#', ';']) {
        if let Some((name, value)) = pair.split_once('=')
            && !HARMLESS_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())
        {
            secrets.push(value.trim_matches('\'').to_owned());
        }
    }
    // A parser that cuts at a mark may show the pieces.
    let pieces = secrets.iter().flat_map(|secret| secret.split(['?', '#', '@', '/', '&', '='])).map(str::to_owned);
    let mut all: Vec<String> = pieces.chain(secrets.iter().cloned()).collect();
    let decoded: Vec<String> =
        all.iter().map(|secret| rowlock_video::media::path_from_text(secret).to_string_lossy().into_owned()).collect();
    all.extend(decoded);
    all.retain(|secret| secret.chars().count() >= SECRET_MIN_CHARS);
    let mut replaced: Vec<_> = all.into_iter().map(|secret| (secret, "…".to_owned())).collect();
    if !replaced.is_empty() {
        replaced.push((text.to_owned(), redacted(text)));
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms in which a URL with this password may be written, and mistyped.
    const SPELLINGS: &[&str] = &[
        "postgres://me:hunter22@host/db",
        "postgres://me:hunter22@host/db?password=hunter22",
        "postgres://host/db?user=me&password=hunter22",
        "postgres://host/db?passwrd=hunter22",
        "POSTGRES://me:hunter22@host/db",
        " postgres://me:hunter22@host/db",
        "postgress://me:hunter22@host/db",
        "postgres:/me:hunter22@host/db",
        "postgres:me:hunter22@host/db",
        "me:hunter22@host/db",
        "postgres://me:hunter22?@host/db",
        "postgres://me:hunter22#@host/db",
        "postgres://me:?hunter22@host/db",
        "postgres://me:#hunter22@host/db",
        "postgres://me:@hunter22@host/db",
        "postgres://me:%68unter22@host/db",
        "postgres://me:x/hunter22@host/db",
        "postgres://me:hunter22",
        "mysql://me:hunter22@host/db",
        "host=h user=me password=hunter22",
        "host=h user=me password='hunter22'",
        "postgres://host/db?password=x@hunter22",
        "postgres://me:hunter22@[::1]:5432/db",
        "sqlite://me:hunter22@host/db",
        "sqlite://me:hunter22",
    ];

    #[test]
    fn no_spelling_of_a_url_shows_its_password() {
        for url in SPELLINGS {
            let shown = redacted(url);
            assert!(!shown.contains("unter22"), "{url}: {shown}");
            let secrets = replacements(url);
            for told in [(*url).to_owned(), "bad value: hunter22".to_owned()] {
                let told = secrets.iter().fold(told, |text, (secret, instead)| text.replace(secret, instead));
                assert!(!told.contains("unter22"), "{url}: {told}: {secrets:?}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        assert_eq!(redacted("postgres://me@host:5432/db"), "postgres://me@host:5432/db");
        assert_eq!(redacted("sqlite:///a (1)/100%25.sqlite?mode=ro"), "sqlite:///a (1)/100%25.sqlite");
        assert_eq!(redacted("videos (1).sqlite"), "videos (1).sqlite");
        assert!(replacements("sqlite://videos.sqlite?mode=rwc").is_empty());
        assert!(replacements("/films/a@b.mp4").is_empty());
    }
}
