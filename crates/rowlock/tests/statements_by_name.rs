//! A statement is found by its verb's name: `store/<dialect>/sql/<verb>.sql`.

use std::path::Path;

/// Methods of `Store` that are not a verb of one statement: connections, the schema (`schema.sql`), and `finish_in`,
/// which is `complete.sql` or `finish.sql` in the user's transaction. On SQLite each worker sweeps: no `sweep_turn`.
const NO_VERBS: [&str; 11] = [
    "pipeline",
    "fork",
    "read_only",
    "close",
    "prepare",
    "inspect",
    "begin",
    "finish_in",
    "rollback",
    "listen",
    "sweep_turn",
];

/// Methods that a store answers without its database.
const WITHOUT_DATABASE: [&str; 4] = ["claims_side_by_side", "excluded", "refused_stages", "expiry"];

fn verbs() -> Vec<String> {
    let source = include_str!("../src/store/mod.rs");
    let (_, after) = source.split_once("pub trait Store").expect("the trait is there");
    let (body, _) = after.split_once("\n}\n").expect("the trait ends");
    body.lines()
        .filter_map(|line| line.strip_prefix("    fn "))
        .filter_map(|rest| rest.split(['(', '<']).next())
        .filter(|name| !NO_VERBS.contains(name) && !WITHOUT_DATABASE.contains(name))
        .map(str::to_owned)
        .collect()
}

/// A file that is never rendered would be read, reviewed and fixed for nothing.
#[test]
fn each_file_is_used_by_its_name() {
    for dialect in ["postgres", "sqlite"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store").join(dialect);
        let files = |folder: &Path, extension: &str| -> Vec<std::path::PathBuf> {
            let entries = std::fs::read_dir(folder).expect("the folder is there");
            let paths = entries.map(|entry| entry.expect("an entry").path());
            paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
        };
        let sources: String =
            files(&folder, "rs").iter().map(|file| std::fs::read_to_string(file).expect("a source file")).collect();
        let statements = files(&folder.join("sql"), "sql");
        assert!(statements.len() >= 20, "{statements:?}");
        for file in statements {
            let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
            // Included by its path, or named in the list from which the paths are made.
            let names = [format!("sql/{name}.sql\""), format!("    {name},\n"), format!(": \"{name}\"")];
            let is_used = names.iter().any(|name| sources.contains(name));
            assert!(is_used, "{} is used by nothing", file.display());
        }
    }
}

#[test]
fn each_verb_has_its_file_in_each_dialect() {
    let verbs = verbs();
    assert!(verbs.len() >= 20, "{verbs:?}");
    for dialect in ["postgres", "sqlite"] {
        for verb in &verbs {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/{dialect}/sql/{verb}.sql"));
            let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(text.starts_with(&format!("-- {verb}: ")), "{} does not begin with its name", file.display());
        }
    }
}
