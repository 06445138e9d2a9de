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
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
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

/// The paths of the `use` lines of a file, without those of its tests.
fn uses(code: &str) -> Vec<String> {
    let code = code.split("mod tests {").next().unwrap_or_default();
    let (mut uses, mut text) = (Vec::new(), String::new());
    for line in code.lines().map(str::trim) {
        let visibilities = ["pub(crate) ", "pub(super) ", "pub "];
        let bare = visibilities.iter().find_map(|visibility| line.strip_prefix(*visibility)).unwrap_or(line);
        let path = bare.strip_prefix("use ");
        if path.is_none() && text.is_empty() {
            continue;
        }
        text.push_str(path.unwrap_or(line));
        if text.ends_with(';') {
            uses.push(std::mem::take(&mut text));
        }
    }
    uses
}

/// The first segments of a path, which may begin with a list.
fn heads(path: &str) -> Vec<&str> {
    let list = path.trim_end_matches(';').trim_start_matches('{').trim_end_matches('}');
    let items: Vec<&str> = if path.starts_with('{') { list.split(',').collect() } else { vec![list] };
    let heads = items.into_iter().map(|item| item.split("::").next().unwrap_or_default().trim());
    heads.filter(|head| !head.is_empty()).collect()
}

/// A change of one of two files that import each other cannot be understood without the other.
fn assert_no_cycle(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    // The name of a module as seen from the folder, which has an empty one itself.
    let name = |path: &Path| {
        let path = path.strip_prefix(&root).expect("a file of the folder").with_extension("");
        let name = path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "::");
        name.strip_suffix("mod").map(|folder| folder.trim_end_matches("::").to_owned()).unwrap_or(name)
    };
    let files: Vec<(String, String)> = sources(folder).iter().map(|(path, code)| (name(path), code.clone())).collect();
    let join = |base: &str, head: &str| if base.is_empty() { head.to_owned() } else { format!("{base}::{head}") };
    let from_the_crate = format!("crate::{folder}::");
    let imports = |(file, code): &(String, String)| {
        let parent = file.rsplit_once("::").map_or("", |(parent, _)| parent).to_owned();
        let mut imports = Vec::new();
        for path in uses(code) {
            let own = path.strip_prefix("self::").unwrap_or(&path);
            let (base, rest) = match (path.strip_prefix("super::"), path.strip_prefix(&from_the_crate)) {
                (Some(rest), _) => (parent.as_str(), rest),
                (None, Some(rest)) => ("", rest),
                (None, None) => (file.as_str(), own),
            };
            for head in heads(rest) {
                let module = join(base, head);
                if files.iter().any(|(other, _)| *other == module) {
                    imports.push(module);
                } else if base != file {
                    imports.push(base.to_owned());
                }
            }
        }
        (file.clone(), imports)
    };
    let mut left: Vec<(String, Vec<String>)> = files.iter().map(imports).collect();
    while !left.is_empty() {
        let names: Vec<String> = left.iter().map(|(file, _)| file.clone()).collect();
        left.retain(|(_, imports)| imports.iter().any(|import| names.contains(import)));
        assert!(left.len() < names.len(), "these files import each other, or one that does: {left:#?}");
    }
}

#[test]
fn no_two_files_of_the_worker_import_each_other() {
    assert_no_cycle("worker");
}

#[test]
fn no_two_files_of_the_store_import_each_other() {
    assert_no_cycle("store");
}
