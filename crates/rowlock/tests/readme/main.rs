//! The first programs, the README's and the one of docs/your-table.md for PostgreSQL, do what they say.

mod quick_start {
    include!("quick_start.rs");

    #[test]
    fn the_quick_start_runs_where_there_is_nothing_yet() {
        let folder = tempfile::tempdir().expect("a folder");
        std::env::set_current_dir(folder.path()).expect("goes there");
        main().expect("runs");
        assert!(folder.path().join("videos.sqlite").exists());
        main().expect("runs again: its items are there already");
    }
}

mod quick_start_postgres {
    include!("quick_start_postgres.rs");

    use std::process::Command;

    use sqlx::AssertSqlSafe;

    const IS_PROGRAM: &str = "ROWLOCK_QUICK_START_IS_PROGRAM";

    /// Not a test: the program, which is to find in its environment a database that only it uses.
    #[test]
    #[ignore = "the other test starts it as a process of its own"]
    fn program() {
        if std::env::var_os(IS_PROGRAM).is_some() {
            main().expect("runs");
        }
    }

    #[tokio::test]
    async fn the_quick_start_runs_where_there_is_nothing_yet() {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names no server: run the tests by `make test`");
        let mut admin = PgConnection::connect(&url).await.expect("the server of DATABASE_URL answers");
        let name = format!("rowlock_quick_start_{}", std::process::id());
        admin.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await.expect("dropped");
        admin.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("created");
        let separator = if url.contains('?') { '&' } else { '?' };
        let run = || {
            let program = Command::new(std::env::current_exe().expect("a test has a file"))
                .args(["--exact", "quick_start_postgres::program", "--ignored", "--nocapture"])
                .env("DATABASE_URL", format!("{url}{separator}dbname={name}"))
                .env(IS_PROGRAM, "yes")
                .output()
                .expect("the process starts");
            let printed = String::from_utf8_lossy(&program.stdout).into_owned();
            assert!(program.status.success(), "{printed}{}", String::from_utf8_lossy(&program.stderr));
            printed
        };
        let printed = run();
        assert!(printed.contains("4 stages completed, 0 items failed"), "{printed}");
        let printed = run();
        assert!(printed.contains("0 stages completed, 0 items failed"), "its items are there already: {printed}");
        admin.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await.expect("dropped");
    }
}

#[test]
fn the_readme_shows_it_as_it_is() {
    assert!(include_str!("../../README.md").contains(include_str!("quick_start.rs")));
}

#[test]
fn the_docs_show_the_one_for_postgresql_as_it_is() {
    assert!(include_str!("../../../../docs/your-table.md").contains(include_str!("quick_start_postgres.rs")));
}
