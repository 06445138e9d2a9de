//! A table that gains and loses columns between the calls of stores that have worked on it.

use super::Harness;
use super::scene::{Scene, at, fail, keys, limits};
use crate::limits::VERB_ATTEMPTS_MAX;
use crate::pipeline::Status;
use crate::store::{Finish, Finished, ListParams, Store};
use crate::{Key, Result};

/// Changes to the user's own columns, each with the columns that the table has afterwards.
const CHANGES: &[(&str, &[&str])] = &[
    ("add column title text default 'a title'", &["title"]),
    ("add column body text default 'a body'", &["title", "body"]),
    ("add column author text default 'an author'", &["title", "body", "author"]),
    ("drop column title", &["body", "author"]),
    ("rename column body to author_of_body", &["author_of_body", "author"]),
    ("drop column author", &["author_of_body"]),
];

/// The value of all rows in a column.
fn value_of(column: &str) -> &'static str {
    match column {
        "title" => "a title",
        "author" => "an author",
        _ => "a body",
    }
}

/// A verb may report that a statement was outdated and had no effect: then it is sent again, as a repository does.
async fn sent<T>(verb: impl AsyncFn() -> Result<T>) -> T {
    for _ in 0..VERB_ATTEMPTS_MAX {
        match verb().await {
            Err(error) if error.is_transient() && !error.may_have_been_applied() => {}
            answer => return answer.expect("nobody is in the way"),
        }
    }
    panic!("it is outdated each time");
}

/// Every verb that returns whole rows, on an item of this key; each row has these columns.
async fn every_row<H: Harness>(scene: &Scene<'_, H>, key: &str, columns: &[&str]) {
    let is_whole = |row: &<H::Store as Store>::Row, verb: &str| {
        for column in columns {
            assert_eq!(scene.harness.text(row, column).as_deref(), Some(value_of(column)), "{verb}: {column}");
        }
        assert_eq!(scene.harness.text(row, "page").as_deref(), Some(key), "{verb}");
    };
    let store = &scene.store;
    is_whole(&sent(async || store.preview(&scene.claiming(1)).await).await[0].row, "preview");
    let claimed = sent(async || store.claim(&scene.claiming(1)).await).await.claimed.remove(0);
    is_whole(&claimed.row, "claim");
    let lease = claimed.lease;
    is_whole(&sent(async || store.find_claimed(lease.token).await).await[0].row, "find_claimed");
    for status in [None, Some(Status::InProgress(lease.stage))] {
        let listing = ListParams { status, ..ListParams::new(1) };
        is_whole(&sent(async || store.list(&listing).await).await.items[0].row, "list");
    }
    let explanation = sent(async || store.explain(&Key::from(key), Some(at(1))).await).await.expect("an item");
    assert_eq!((explanation.key.as_str(), explanation.status), (key, Some(Status::InProgress(lease.stage))));
    let transaction = store.begin().await.expect("begin");
    let finish = Finish { lease, outcome: fail("no") };
    let finished = store.finish_in(transaction, &finish, limits(scene.pipeline())).await.expect("finish_in");
    assert_eq!(finished, Finished::Applied { to: Status::Failed });
    is_whole(&sent(async || store.get(&Key::from(key)).await).await.expect("an item").row, "get");
    let listing = ListParams::new(1).status(Status::Failed);
    is_whole(&sent(async || store.list(&listing).await).await.items[0].row, "list");
    scene.delete(key).await;
}

pub async fn columns_that_come_and_go_between_calls_are_read_as_they_are<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    // Twice, so that the driver has prepared each statement.
    for key in ["before", "again"] {
        scene.store.add_many(&keys(&[key])).await.expect("add_many");
        every_row(&scene, key, &[]).await;
    }
    for (number, (change, columns)) in CHANGES.iter().enumerate() {
        scene.execute(&format!("alter table {} {change}", scene.table())).await;
        let key = format!("after-{number}");
        scene.store.add_many(&keys(&[&key])).await.expect("add_many");
        every_row(&scene, &key, columns).await;
    }
}
