//! TOML itself, durations, lines that are hard to quote, and passwords.

use std::time::Duration;

use super::super::{duration, load};
use super::{MINIMAL, told, with};

#[test]
fn what_is_no_toml_is_shown_where_it_stops_to_be() {
    let told = told("pipeline = \"videos\"\ntable = videos\n");
    assert!(told.contains("rowlock.toml:2:") && told.contains("    2 | table = videos\n      | "), "{told}");
    let told = super::told(&with("key = \"id\"", ""));
    assert!(told.contains("rowlock.toml:4:1: duplicate key"), "{told}");
    assert!(told.contains("a key is written once"), "{told}");
    for text in ["[", "=", "\"", "a", "[[stage]", "a = \"", "a = {", "é = \"\u{0}", "\r", "\u{feff}\u{feff}", "a = 'ü"]
    {
        let _words = super::told(text);
    }
}

#[test]
fn durations_are_a_whole_number_and_a_unit() {
    for (text, expected) in [
        ("0s", Duration::ZERO),
        ("300ms", Duration::from_millis(300)),
        ("90s", Duration::from_secs(90)),
        ("10m", Duration::from_secs(600)),
        ("2h", Duration::from_secs(7_200)),
        ("7d", Duration::from_secs(604_800)),
    ] {
        assert_eq!(duration(text), Ok(expected));
    }
    for (text, part) in [
        ("", "does not begin with a whole number"),
        ("-5s", "does not begin with a whole number"),
        ("5", "has no unit"),
        ("1.5h", "\".5h\" is none of the units"),
        ("5 s", "\" s\" is none of the units"),
        ("5min", "\"min\" is none of the units"),
        ("99999999999999999999s", "too long"),
        ("18446744073709551615d", "too long"),
    ] {
        let problem = duration(text).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

#[test]
fn carets_stay_below_what_they_mark() {
    let told = told(&with("", "[on]\nclaim = { \"größe\" = \"1\",\t\"é\" = 2 }"));
    assert!(
        told.contains("  12 | claim = { \"größe\" = \"1\", \"é\" = 2 }\n      |                                ^\n"),
        "{told}"
    );
    // A terminal would obey it.
    let told = super::told(&with("whère\u{1b} = 1", ""));
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn a_long_line_is_not_quoted() {
    let told = told(&with(&format!("existing = \"{}\"", "x".repeat(300)), ""));
    assert!(told.contains("rowlock.toml:1:12: ") && !told.contains("    1 | "), "{told}");
}

#[test]
fn many_mistakes_are_counted() {
    let many: String = (0..60).map(|number| format!("zzzzzzzz{number} = 1\n")).collect();
    let told = told(&with(&many, ""));
    assert!(told.starts_with("rowlock.toml has 60 mistakes\n") && told.ends_with("\n\nand 10 more"), "{told}");
}

#[test]
fn a_password_is_refused_and_never_shown() {
    for line in [
        "database = \"postgres://me:hunter22@host/db\"",
        "database = \"postgres://host/db?password=hunter22\"",
        "database = \"postgres://me:hunter22@host/db\" oh",
        "database = postgres://me:hunter22@host/db",
        "datbase = \"postgres://me:hunter22@host/db\"",
        "table = \"postgres://me:hunter22@db.host.example/db\"",
        "existing = \"postgres://me:hunter22@host/db\"",
    ] {
        let told = told(&MINIMAL.replacen("table = \"videos\"", line, 1));
        assert!(!told.contains("hunter22"), "{line}: {told}");
    }
    let told = told(&with("database = \"postgres://me:hunter22@host/db\"", ""));
    assert!(told.contains("`database` has a password") && told.contains("DATABASE_URL"), "{told}");
    assert!(super::told(&with("database = \"mysql://host/db\"", "")).contains("`database` is no URL of a database"));
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("rowlock.toml")).unwrap_err().to_string();
    assert!(missing.contains("rowlock init"), "{missing}");
    let error = load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is a folder"), "{error}");
    let path = folder.path().join("bytes.toml");
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("cannot be read as text"));
    std::fs::write(&path, MINIMAL).unwrap();
    assert_eq!(load(&path).unwrap().pipeline, "videos");
}
