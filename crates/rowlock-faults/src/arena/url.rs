//! URLs of the form `postgres://user:password@host:port/database`, as the cluster script prints them.

/// The URL of another database of a server.
pub(super) fn with_database(server: &str, database: &str) -> String {
    let (start, _) = server.rsplit_once('/').unwrap_or((server, ""));
    format!("{start}/{database}")
}

/// The URL with another address instead of the server's.
pub(super) fn with_address(url: &str, address: impl std::fmt::Display) -> String {
    match url.rsplit_once('@').and_then(|(user, rest)| Some((user, rest.split_once('/')?.1))) {
        Some((user, database)) => format!("{user}@{address}/{database}"),
        None => url.to_owned(),
    }
}
