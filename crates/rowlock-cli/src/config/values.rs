//! The syntax of the values that are texts in the file: durations, and the names of tables.

use std::time::Duration;

use rowlock::TableName;

/// How a duration is written.
pub(super) const DURATION_RULE: &str =
    "a duration is a whole number and a unit, in quotes: \"300ms\", \"90s\", \"10m\", \"2h\" or \"7d\"";

/// A duration as the file and the arguments have it: a whole number and one of the units ms, s, m, h, d.
///
/// ```
/// use std::time::Duration;
///
/// use rowlock_cli::config::duration;
///
/// assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
/// assert!(duration("90").is_err());
/// ```
///
/// # Errors
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    if number.is_empty() {
        return Err("it does not begin with a whole number".to_owned());
    }
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err("it has no unit".to_owned()),
        unit => return Err(format!("{unit:?} is none of the units ms, s, m, h and d")),
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    ms.map(Duration::from_millis).ok_or_else(|| "it is too long".to_owned())
}

/// How a table is named.
pub(super) const TABLE_RULE: &str = "write \"table\" or \"schema.table\", in the database's own letter case; a name \
                                     that has a dot itself is put in double quotes: '\"odd.name\"'";

/// Rowlock's own tables.
const OWN_TABLES: &[&str] = &["rowlock_meta", "rowlock_stages", "rowlock_failures"];

/// A table's name as the file and the arguments have it. A dot splits off the schema, unless it is in double quotes.
///
/// ```
/// use rowlock_cli::config::table_name;
///
/// assert_eq!(table_name("media.videos").unwrap().schema(), Some("media"));
/// assert_eq!(table_name("\"odd.name\"").unwrap().name(), "odd.name");
/// ```
///
/// # Errors
/// What is wrong with the text.
pub fn table_name(text: &str) -> Result<TableName, String> {
    let mut parts = parts_of_name(text)?;
    let (Some(name), schema, None) = (parts.pop(), parts.pop(), parts.pop()) else {
        return Err("it has more than one dot".to_owned());
    };
    if OWN_TABLES.contains(&name.as_str()) {
        return Err(format!("{name} is a table of Rowlock's own"));
    }
    if name.starts_with("sqlite_") || matches!(schema.as_deref(), Some("pg_catalog" | "information_schema")) {
        return Err("it is a table of the database's own".to_owned());
    }
    Ok(match schema {
        Some(schema) => TableName::in_schema(schema, name),
        None => TableName::new(name),
    })
}

/// The parts between the dots, without their quotes. A doubled quote within quotes stands for itself, as in SQL.
fn parts_of_name(text: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = end_of_quotes(quoted).ok_or("its quotes do not end")?;
            part = quoted[..end].replace("\"\"", "\"");
            rest = &quoted[end + 1..];
            if !rest.is_empty() && !rest.starts_with('.') {
                return Err("after the quotes there is neither a dot nor the end".to_owned());
            }
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = rest[..end].to_owned();
            rest = &rest[end..];
            if part.contains('"') {
                return Err("a part has a quote in its middle".to_owned());
            }
            if part.trim() != part {
                return Err("a part begins or ends with a blank".to_owned());
            }
        }
        if part.is_empty() {
            return Err("a part is empty".to_owned());
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None => return Ok(parts),
        }
    }
}

/// Where the quotes end: at the first quote that is not doubled.
fn end_of_quotes(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        if !text[quote + 1..].starts_with('"') {
            return Some(quote);
        }
        from = quote + 2;
    }
}
