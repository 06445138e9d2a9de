//! The README's first program does what it says.

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

#[test]
fn the_readme_shows_it_as_it_is() {
    assert!(include_str!("../../README.md").contains(include_str!("quick_start.rs")));
}
