//! Keys in another spelling than the table's: other letter case where the comparison ignores it, zeros before an
//! integer. And keys that no row can have.

use super::Harness;
use super::scene::{Scene, Value, at, claimed_keys, keys, retry, two_stages};
use crate::pipeline::{KeyType, Role, Status};
use crate::store::{
    Finish, FinishParams, Finished, LeaseState, ListParams, Moved, Outcome, RequeueParams, SetParams, Store,
};
use crate::{Error, JsonRecord, Key, Lease, Repository, StageId};

/// A table whose key ignores case.
async fn ignoring_case<H: Harness>(harness: &H) -> Scene<'_, H> {
    let key_type = harness.text_ignoring_case().await.expect("a type for the key");
    harness.execute(&format!("create table pages (page {key_type} primary key)")).await.expect("create table");
    Scene::new(harness).await
}

fn moved_to(word: &str, answers: &[Moved], scene: &Scene<'_, impl Harness>) {
    let to = scene.pipeline().status(word).expect("a word of the pipeline");
    assert!(answers.iter().all(|moved| *moved == Moved::Applied { to }), "{answers:?}");
}

pub async fn an_operators_verb_answers_what_it_did_whatever_the_spelling<H: Harness>(harness: &H) {
    let scene = ignoring_case(harness).await;
    scene.insert_all(&["Page-A", "page-b"]).await;

    let cancelled = scene.store.cancel(&keys(&["page-a", "PAGE-B"]), Some(at(1))).await.expect("cancel");
    moved_to("CANCELLED", &cancelled, &scene);
    let requeueing = RequeueParams { keys: keys(&["PAGE-a", "page-B"]), stage: None, now: Some(at(2)) };
    moved_to("PENDING", &scene.store.requeue(&requeueing).await.expect("requeue"), &scene);
    let setting = SetParams { keys: keys(&["PAGE-A"]), to: Status::Failed, error: None, now: Some(at(3)) };
    moved_to("FAILED", &scene.store.set(&setting).await.expect("set"), &scene);

    let rows = scene.raw_all().await;
    let found: Vec<_> = rows.iter().map(|row| (row.key.as_str(), row.status.as_deref())).collect();
    assert_eq!(found, [("Page-A", Some("FAILED")), ("page-b", Some("PENDING"))]);
}

pub async fn two_spellings_of_one_item_are_answered_alike<H: Harness>(harness: &H) {
    let scene = ignoring_case(harness).await;
    scene.insert_all(&["a", "b"]).await;

    let asked = keys(&["A", "missing", "b", "a", "B", "A"]);
    let answers = scene.store.cancel(&asked, Some(at(1))).await.expect("cancel");

    let cancelled = Moved::Applied { to: Status::Cancelled };
    let expected = [&cancelled, &Moved::NotFound, &cancelled, &cancelled, &cancelled, &cancelled];
    assert_eq!(answers.iter().collect::<Vec<_>>(), expected);
    let again = scene.store.cancel(&keys(&["B", "b"]), Some(at(2))).await.expect("cancel");
    assert_eq!(again, vec![Moved::Illegal { from: "CANCELLED".to_owned() }; 2]);
}

pub async fn a_refused_row_in_another_spelling_is_answered_as_refused<H: Harness>(harness: &H) {
    let scene = ignoring_case(harness).await;
    scene.insert_all(&["good", "bad", "better"]).await;
    let refusal = super::Refusal { table: &scene.table(), when: "old.page = 'bad'", how: super::Refusing::Loudly };
    harness.refuse_updates(&refusal).await.expect("a trigger");

    let answers = scene.store.cancel(&keys(&["BETTER", "BAD", "Good"]), Some(at(1))).await.expect("cancel");

    let cancelled = Moved::Applied { to: Status::Cancelled };
    assert_eq!((&answers[0], &answers[2]), (&cancelled, &cancelled));
    assert!(
        matches!(&answers[1], Moved::Refused { reason } if reason.contains(super::Refusing::REASON)),
        "{answers:?}"
    );
}

pub async fn reading_verbs_find_an_item_and_its_failures_in_any_spelling<H: Harness>(harness: &H) {
    let scene = ignoring_case(harness).await;
    let lease = scene.insert_and_lease("Page-A").await;
    scene.finish(&lease, retry("broken")).await;

    for spelling in ["Page-A", "page-a", "PAGE-A"] {
        let key = Key::from(spelling);
        assert_eq!(scene.store.get(&key).await.expect("get").expect("an item").key, lease.key);
        assert_eq!(scene.store.explain(&key, None).await.expect("explain").expect("an item").key, lease.key);
        assert_eq!(scene.failures(spelling).await.len(), 1, "{spelling}");
    }
    let after = ListParams { after: Some(Key::from("PAGE-A")), limit: 9, status: None };
    assert!(scene.store.list(&after).await.expect("list").items.is_empty());
}

/// The spelling of the key changes while a worker holds the item.
pub async fn a_lease_holds_when_its_key_gets_another_spelling<H: Harness>(harness: &H) {
    let scene = ignoring_case(harness).await;
    scene.insert_all(&["a", "b"]).await;
    let batch = scene.claim(2).await;
    assert_eq!(claimed_keys(&batch), ["a", "b"]);
    let leases: Vec<Lease> = batch.leases().cloned().collect();
    scene.execute("update pages set page = 'A' where page = 'a'").await;

    assert_eq!(scene.store.renew(&leases, Some(at(1))).await.expect("renew"), vec![LeaseState::Held; 2]);
    assert_eq!(scene.store.read_leases(&leases).await.expect("read_leases"), vec![LeaseState::Held; 2]);
    let items = leases.iter().map(|lease| Finish { lease: lease.clone(), outcome: retry("broken") }).collect();
    let finishing = FinishParams { items, limits: super::scene::limits(scene.pipeline()), now: Some(at(2)) };
    let finished = scene.store.finish(&finishing).await.expect("finish");
    let ready = Finished::Applied { to: Status::Ready(StageId::FIRST) };
    assert_eq!(finished, [ready.clone(), ready]);
    assert_eq!(scene.failures("A").await.len(), 1);
    assert_eq!(scene.failures("a").await.len(), 1);
}

/// Enough items that a store may find them in another way.
pub async fn many_completions_in_another_spelling_are_answered_as_they_were_written<H: Harness>(harness: &H) {
    const MANY: usize = 200;
    let scene = ignoring_case(harness).await;
    let names: Vec<String> = (0..MANY).map(|number| format!("page-{number:03}")).collect();
    scene.insert_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let batch = scene.claim(200).await;
    assert_eq!(batch.claimed.len(), MANY);
    scene.execute("update pages set page = upper(page) where substr(page, 8, 1) = '7'").await;
    scene.edit("page-003", &[(Role::ClaimToken, Value::Number(1))]).await;

    let repository: Repository<_, JsonRecord> = Repository::new(scene.store.clone());
    let items: Vec<Finish> =
        batch.leases().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Complete }).collect();
    let limits = super::scene::limits(scene.pipeline());
    let answers =
        repository.dispatch().finish(FinishParams { items: items.clone(), limits, now: None }).await.expect("finish");

    for (item, answer) in items.iter().zip(answers) {
        match item.lease.key.as_str() {
            // If answers could not be told apart, nothing proves that this lease was lost.
            "page-003" => assert!(matches!(answer, Finished::LeaseLost | Finished::Unknown), "{answer:?}"),
            key => assert!(matches!(answer, Finished::Applied { .. }), "{key}: {answer:?}"),
        }
    }
}

pub async fn an_integer_key_is_found_however_it_is_written<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().key_type(KeyType::Int)).await;
    scene.store.add_many(&keys(&["7", "-8"])).await.expect("add_many");
    let lease = scene.claim(9).await.claimed.remove(0).lease;
    scene.finish(&lease, retry("broken")).await;

    let answers = scene.store.cancel(&keys(&["007", "+7", " -8", "7"]), Some(at(5))).await.expect("cancel");

    moved_to("CANCELLED", &answers, &scene);
    for spelling in ["7", "007", "+7"] {
        let key = Key::from(spelling);
        assert_eq!(scene.store.get(&key).await.expect("get").expect("an item").key, Key::from("7"));
        assert!(scene.store.explain(&key, None).await.expect("explain").is_some());
        assert_eq!(scene.failures(spelling).await.len(), usize::from(lease.key.as_str() == "7"));
    }
}

/// Texts that cannot be a row's key, for a column of integers and for one of text.
fn impossible(key_type: KeyType) -> Vec<Key> {
    let texts: &[&str] = match key_type {
        KeyType::Int | KeyType::BigInt => &["seven", "", "7.5", "99999999999999999999", "7\0"],
        KeyType::Uuid | KeyType::Text => &["a\0b", "\0"],
    };
    keys(texts)
}

pub async fn a_key_that_no_row_can_have_gets_an_answer_of_its_own<H: Harness>(harness: &H) {
    for (key_type, there, table) in [(KeyType::BigInt, "7", "numbered"), (KeyType::Text, "a", "named")] {
        let scene = Scene::with(harness, two_stages().table(table).key_type(key_type)).await;
        scene.store.add_many(&keys(&[there])).await.expect("add_many");
        let mut asked = impossible(key_type);
        asked.insert(1, Key::from(there));
        let setting = SetParams { keys: asked.clone(), to: Status::Failed, error: None, now: Some(at(3)) };
        let requeueing = RequeueParams { keys: asked.clone(), stage: None, now: Some(at(2)) };

        for answers in [
            scene.store.cancel(&asked, Some(at(1))).await.expect("cancel"),
            scene.store.requeue(&requeueing).await.expect("requeue"),
            scene.store.set(&setting).await.expect("set"),
        ] {
            for (key, answer) in asked.iter().zip(answers) {
                match answer {
                    Moved::Applied { .. } => assert_eq!(key.as_str(), there),
                    Moved::Invalid { reason } => assert!(key.as_str() != there && !reason.is_empty()),
                    other => panic!("{key}: {other:?}"),
                }
            }
        }
        for key in impossible(key_type) {
            assert!(scene.store.get(&key).await.expect("get").is_none(), "{key}");
            assert!(scene.store.explain(&key, None).await.expect("explain").is_none(), "{key}");
            assert!(scene.store.failures(&key).await.expect("failures").is_empty(), "{key}");
            let repository: Repository<_, JsonRecord> = Repository::new(scene.store.clone());
            let error = repository.cancel(key.clone()).await.expect_err("no such key");
            assert!(matches!(error, Error::InvalidArgument { argument: "key", .. }), "{error}");
        }
    }
}

pub async fn keys_that_no_row_can_have_are_named_and_the_others_added<H: Harness>(harness: &H) {
    for (key_type, there, table) in [(KeyType::BigInt, "7", "numbered"), (KeyType::Text, "a", "named")] {
        let scene = Scene::with(harness, two_stages().table(table).key_type(key_type)).await;
        let mut asked = impossible(key_type);
        asked.insert(1, Key::from(there));

        let added = scene.store.add_many(&asked).await.expect("add_many");
        assert_eq!(added.added, 1);
        let refused: Vec<&Key> = added.refused.iter().map(|(key, _)| key).collect();
        assert_eq!(refused, impossible(key_type).iter().collect::<Vec<_>>());
        assert!(added.refused.iter().all(|(_, reason)| !reason.is_empty()));
        assert_eq!(scene.raw_all().await.len(), 1);

        let again = scene.store.add_many(&asked).await.expect("add_many");
        assert_eq!((again.added, again.refused.len()), (0, impossible(key_type).len()));
    }
}
