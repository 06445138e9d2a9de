//! Tables of shapes that exist in both databases: what `prepare` makes of them, and what it rejects before anything is
//! changed.

use super::Harness;
use super::adopting::problem;
use super::scene::{Scene, claimed_keys, fetch_and_parse, two_stages};
use crate::pipeline::Status;
use crate::store::{Finished, Outcome, Store};

/// A table whose words are in another table of the team's.
fn with_known_words(words: &[&str]) -> String {
    let values: Vec<String> = words.iter().map(|word| format!("('{word}')")).collect();
    format!(
        "create table known_words (word text primary key);
         insert into known_words values {};
         create table pages (page text primary key, status text not null default 'PENDING' \
         references known_words (word))",
        values.join(", ")
    )
}

async fn drop_tables<H: Harness>(harness: &H) {
    harness.execute("drop table pages; drop table known_words").await.expect("drop tables");
}

/// Each item would be refused, one by one, at every claim.
pub async fn a_foreign_key_without_a_word_is_refused_with_the_words_that_are_missing<H: Harness>(harness: &H) {
    let create = with_known_words(&["PENDING", "FETCH_IN_PROGRESS", "SUCCEEDED", "CANCELLED"]);
    let problem = problem(harness, &create, two_stages()).await;
    for missing in ["\"FETCH_COMPLETE\"", "\"PARSE_IN_PROGRESS\"", "\"FAILED\"", "known_words"] {
        assert!(problem.contains(missing), "{missing}: {problem}");
    }
    assert!(!problem.contains("\"SUCCEEDED\""), "{problem}");
    drop_tables(harness).await;
}

pub async fn a_foreign_key_with_all_the_words_is_a_queue<H: Harness>(harness: &H) {
    let pipeline = two_stages().build().expect("a valid pipeline");
    let words: Vec<&str> =
        pipeline.words().into_iter().filter(|word| *word != pipeline.word(Status::Cancelled)).collect();
    harness.execute(&with_known_words(&words)).await.expect("create tables");
    let scene = Scene::new(harness).await;
    assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new(), "cancel alone is refused");
    let (fetch, _) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    assert_eq!(lease.stage, fetch);
    assert!(matches!(scene.finish(&lease, Outcome::Complete).await, Finished::Applied { .. }));
}

pub async fn a_foreign_key_on_who_claimed_it_is_refused<H: Harness>(harness: &H) {
    let create = "create table known_words (word text primary key);
                  create table pages (page text primary key, status text not null default 'PENDING',
                    claimed_by text references known_words (word))";
    let problem = problem(harness, create, two_stages()).await;
    assert!(problem.contains("ClaimedBy") && problem.contains("known_words"), "{problem}");
    drop_tables(harness).await;
}

/// A claim writes the same value to all of its items.
pub async fn a_column_that_moves_write_alike_and_that_is_unique_is_refused<H: Harness>(harness: &H) {
    let time = harness.time_type();
    for (column, role) in [
        ("status text not null default 'PENDING' unique".to_owned(), "Status"),
        ("status text default 'PENDING', claimed_by text unique".to_owned(), "ClaimedBy"),
        ("status text default 'PENDING', retry_count integer not null default 0 unique".to_owned(), "RetryCount"),
        (format!("status text default 'PENDING', heartbeat_at {time} unique"), "Heartbeat"),
    ] {
        let create = format!("create table pages (page text primary key, {column})");
        let problem = problem(harness, &create, two_stages()).await;
        assert!(problem.contains("unique") && problem.contains(role), "{column}: {problem}");
        harness.execute("drop table pages").await.expect("drop table");
    }
    // Together with another column it is allowed.
    let create =
        "create table pages (page text primary key, site text, status text default 'PENDING', unique (site, status))";
    harness.execute(create).await.expect("create table");
    Scene::new(harness).await;
}

pub async fn a_default_that_is_computed_is_the_ready_word<H: Harness>(harness: &H) {
    let create = "create table pages (page text primary key, status text not null default (upper('pen' || 'ding')))";
    harness.execute(create).await.expect("create table");
    let scene = Scene::new(harness).await;
    assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new());
    scene.insert("a").await;
    assert_eq!(claimed_keys(&scene.claim(9).await), ["a"]);
}

/// `pending` would be in the index of ready items, but is not a word of the pipeline.
pub async fn a_status_whose_comparison_ignores_case_is_refused<H: Harness>(harness: &H) {
    let word_type = harness.text_ignoring_case().await.expect("a type");
    for (role, columns) in [
        ("Status", format!("status {word_type} not null default 'PENDING'")),
        ("ResumeStatus", format!("status text not null default 'PENDING', resume_status {word_type}")),
    ] {
        let create = format!("create table pages (page text primary key, {columns})");
        let problem = problem(harness, &create, two_stages()).await;
        assert!(problem.contains(role) && problem.contains("collation"), "{problem}");
        harness.execute("drop table pages").await.expect("drop table");
    }
}
