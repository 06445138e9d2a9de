//! The command on a PostgreSQL server.

use super::scenarios;
use crate::database::TestDatabase;

#[tokio::test]
async fn a_folder_goes_through_both_stages_and_a_second_run_adds_nothing() {
    let database = TestDatabase::create().await;
    scenarios::a_folder_end_to_end(&database.url);
}

#[tokio::test]
async fn a_changed_file_is_taken_again() {
    let database = TestDatabase::create().await;
    scenarios::a_changed_file(&database.url);
}

#[tokio::test]
async fn the_database_is_named_first_and_the_table_comes_last() {
    let database = TestDatabase::create().await;
    scenarios::plain_output(&database.url);
}
