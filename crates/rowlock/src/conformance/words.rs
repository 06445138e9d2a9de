//! Words in the status column that the pipeline does not know: reported and left alone.

use super::Harness;
use super::scene::{Scene, Value, at, claimed_keys, keys};
use crate::Key;
use crate::pipeline::{Role, Status};
use crate::store::{CountParams, ListParams, Moved, RequeueParams, SetParams, Store};

/// A user's table whose status may be NULL, with one item for each odd word, and one with a known word.
async fn odd_table<H: Harness>(harness: &H) -> Scene<'_, H> {
    let sql = "create table pages (page text primary key, status text default 'PENDING')";
    harness.execute(sql).await.expect("create table");
    let scene = Scene::new(harness).await;
    scene.insert_all(&["empty", "lower case", "null", "odd", "fine"]).await;
    for (key, word) in [
        ("empty", Value::Text("")),
        ("lower case", Value::Text("pending")),
        ("null", Value::Null),
        ("odd", Value::Text("it's on hold")),
    ] {
        scene.edit(key, &[(Role::Status, word)]).await;
    }
    scene
}

pub async fn an_unknown_word_is_left_alone_by_every_verb<H: Harness>(harness: &H) {
    let scene = odd_table(harness).await;
    let odd = keys(&["empty", "lower case", "null", "odd"]);
    let before: Vec<_> = scene.raw_all().await.into_iter().filter(|item| item.key != "fine").collect();
    assert_eq!(before.len(), odd.len());

    assert_eq!(claimed_keys(&scene.claim(9).await), ["fine"]);
    scene.sweep(at(100_000)).await;
    let illegal: Vec<_> =
        ["", "pending", "", "it's on hold"].into_iter().map(|word| Moved::Illegal { from: word.to_owned() }).collect();
    assert_eq!(scene.store.cancel(&odd, None).await.expect("cancel"), illegal);
    let requeueing = RequeueParams { keys: odd.clone(), stage: None, now: None };
    assert_eq!(scene.store.requeue(&requeueing).await.expect("requeue"), illegal);
    let setting = SetParams { keys: odd, to: Status::Failed, error: Some("no".to_owned()), now: None };
    assert_eq!(scene.store.set(&setting).await.expect("set"), illegal);

    let after: Vec<_> = scene.raw_all().await.into_iter().filter(|item| item.key != "fine").collect();
    assert_eq!(after, before);
}

pub async fn unknown_words_are_counted_and_named<H: Harness>(harness: &H) {
    let scene = odd_table(harness).await;

    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");

    // An empty word and NULL look alike; whether they are one entry or two is left to the store.
    let mut found: Vec<(&str, i64)> = Vec::new();
    for entry in counts.unknown_words() {
        assert!(!entry.at_least);
        match found.iter_mut().find(|(word, _)| *word == entry.word) {
            Some((_, count)) => *count += entry.count,
            None => found.push((&entry.word, entry.count)),
        }
    }
    found.sort_unstable();
    assert_eq!(found, [("", 2), ("it's on hold", 1), ("pending", 1)]);
    assert_eq!(counts.unfinished(), 1, "a word that nobody knows is no work");
}

pub async fn unknown_words_are_shown_as_they_are<H: Harness>(harness: &H) {
    let scene = odd_table(harness).await;
    for (key, word) in [("odd", "it's on hold"), ("null", ""), ("empty", ""), ("lower case", "pending")] {
        let item = scene.store.get(&Key::from(key)).await.expect("get").expect("an item");
        assert_eq!((item.status, item.word.as_str()), (None, word));
        let explanation = scene.store.explain(&Key::from(key), None).await.expect("explain").expect("an item");
        assert_eq!((explanation.status, explanation.word.as_str()), (None, word));
    }
    let page = scene.store.list(&ListParams::new(10)).await.expect("list");
    assert_eq!(page.items.len(), 5);
    assert_eq!(page.items.iter().filter(|item| item.status.is_none()).count(), 4);
}
