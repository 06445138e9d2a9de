//! The invariants of ARCHITECTURE.md about what is absent, checked on the source text.

use std::path::{Path, PathBuf};

/// Rust files under a folder of `src`, without the tests, each with its text up to its unit tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut folders = vec![root];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the crate") {
            let path = entry.expect("an entry").path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let text = std::fs::read_to_string(&path).expect("a file of the crate");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                sources.push((path, code));
            }
        }
    }
    assert!(!sources.is_empty(), "{folder}");
    sources
}

/// Fails on the first line of code that contains one of these; comments may contain them.
fn assert_absent(folder: &str, absent: &[&str]) {
    for (path, code) in sources(folder) {
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in absent {
                assert!(!code.contains(word), "{}:{}: {word}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_rules_know_no_database_no_clock_and_no_randomness() {
    assert_absent("pipeline", &["sqlx", "tokio", "Utc::now", "Instant::now", "SystemTime", "rand::", "std::fs"]);
}

#[test]
fn no_store_binds_a_time_of_this_machine() {
    assert_absent("store", &["Utc::now", "Local::now", "SystemTime"]);
    assert_absent("worker", &["Utc::now", "Local::now", "SystemTime"]);
}

#[test]
fn stores_make_no_spans() {
    assert_absent("store", &["span!", "_span", ".instrument(", "#[instrument"]);
}

#[test]
fn nothing_is_generic_over_the_drivers_databases() {
    assert_absent("", &["sqlx::Database", "DB: Database"]);
}
