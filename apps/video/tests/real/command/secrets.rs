//! No error, help or log shows a password, however its URL is spelt.

use std::process::Command;

use super::text;

const URLS: &[&str] = &[
    "postgres://me:hunter22@127.0.0.1:1/db",
    "postgres://127.0.0.1:1/db?user=me&password=hunter22",
    "postgres://127.0.0.1:1/db?passwrd=hunter22",
    "postgres://me:hunter22@127.0.0.1:port/db",
    "postgres://me:hunter22@127.0.0.1:1/db?sslmode=hunter22",
    "POSTGRES://me:hunter22@127.0.0.1:1/db",
    " postgres://me:hunter22@127.0.0.1:1/db",
    "postgress://me:hunter22@127.0.0.1:1/db",
    "postgres:me:hunter22@127.0.0.1:1/db",
    "me:hunter22@127.0.0.1:1/db",
    "postgres://me:x?hunter22@127.0.0.1:1/db",
    "postgres://me:x#hunter22@127.0.0.1:1/db",
    "postgres://me:x@hunter22@127.0.0.1:1/db",
    "postgres://me:x/hunter22@127.0.0.1:1/db",
    "mysql://me:hunter22@127.0.0.1/db",
    "host=127.0.0.1 user=me password=hunter22",
];

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlock-video"));
    command.env_remove("ROWLOCK_VIDEO_DATABASE").env("RUST_LOG", "trace");
    command
}

#[test]
fn no_spelling_of_a_url_shows_its_password_on_any_way() {
    for url in URLS {
        let mut by_option = program();
        by_option.args(["status", "--database", url]);
        let mut by_environment = program();
        by_environment.arg("status").env("ROWLOCK_VIDEO_DATABASE", url);
        let mut in_help = program();
        in_help.arg("--help").env("ROWLOCK_VIDEO_DATABASE", url);
        let mut in_the_wrong_place = program();
        in_the_wrong_place.args(["status", url]);
        let mut after_the_wrong_option = program();
        after_the_wrong_option.args(["status", &format!("--databse={url}")]);
        for mut command in [by_option, by_environment, in_help, in_the_wrong_place, after_the_wrong_option] {
            let output = command.output().unwrap();
            let told = text(&output.stdout) + &text(&output.stderr);
            assert!(!told.is_empty() && !told.contains("unter22"), "{command:?}: {told}");
        }
    }
}

#[test]
fn a_refused_connection_is_called_that_once() {
    let output =
        program().args(["status", "--database", "postgres://me@127.0.0.1:1/db"]).env_remove("RUST_LOG").output();
    let told = text(&output.unwrap().stderr);
    assert_eq!(told.matches("refused").count(), 1, "{told}");
    assert!(told.contains("the database postgres://me@127.0.0.1:1/db cannot be used: "), "{told}");
}
