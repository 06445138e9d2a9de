//! The database that a URL names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use sqlx::sqlite::SqliteConnectOptions;

use super::arguments::DEFAULT_FILE;
use super::secrets::redacted;

/// A database that can hold the queue.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Postgres(String),
    Sqlite { url: String, file: PathBuf },
}

impl FromStr for Database {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Database> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Database::Postgres(url.to_owned())),
            Some("sqlite") => {
                let options: SqliteConnectOptions =
                    url.parse().with_context(|| format!("--database {}", redacted(url)))?;
                Ok(Database::Sqlite { url: url.to_owned(), file: options.get_filename().to_owned() })
            }
            _ => bail!("--database {}: write postgres://USER@HOST/NAME or sqlite://FILE", redacted(url)),
        }
    }
}

impl fmt::Display for Database {
    /// The URL without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Database::Sqlite { url, .. } | Database::Postgres(url)) = self;
        f.write_str(&redacted(url))
    }
}

/// The database of the arguments. The default file is not opened through a symbolic link: a person who can write to the
/// folder could otherwise choose which of the user's files is written to.
pub(crate) fn named_or_default(named: Option<&str>) -> Result<Database> {
    if let Some(url) = named {
        return url.parse();
    }
    if Path::new(DEFAULT_FILE).is_symlink() {
        bail!("{DEFAULT_FILE} in the present folder is a symbolic link: name the file that is meant by --database");
    }
    format!("sqlite://{DEFAULT_FILE}").parse()
}

/// Rejects a file that cannot be used, with a message that SQLite does not have.
pub(crate) fn check_file(file: &Path, may_be_created: bool) -> Result<()> {
    if file.is_dir() {
        bail!("{} is a folder: name a file, as in sqlite://{}/videos.sqlite", file.display(), file.display());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("{} is in no folder that exists: make it first", file.display());
    }
    if !may_be_created && !file.exists() {
        bail!("there is no database {}: make it with `rowlock-video run PATH`, or name another one", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let shown = |url: &str| url.parse::<Database>().unwrap().to_string();
        assert_eq!(shown("postgres://me:se@cret@host:5432/db?password=secret"), "postgres://me:…@host:5432/db?…");
        assert_eq!(shown("postgresql://host/db"), "postgresql://host/db");
        assert_eq!(shown("sqlite://a/b.sqlite"), "sqlite://a/b.sqlite");
    }

    #[test]
    fn other_databases_are_refused_with_what_to_write() {
        for url in ["mysql://host/db", "videos.sqlite", ""] {
            assert!(url.parse::<Database>().unwrap_err().to_string().contains("sqlite://FILE"), "{url}");
        }
    }
}
