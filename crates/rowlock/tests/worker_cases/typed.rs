//! The typed repository, without a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rowlock::limits::VERB_ATTEMPTS_MAX;
use rowlock::store::{ListParams, Store};
use rowlock::{Error, FencingToken, Lease, Outcome, Record, StageId, Status, Worker};

use super::faulty::{Fate, Faulty, Plan, answered, counted, first_calls};
use super::outages::faulty;
use super::*;

const READY: Status = Status::Ready(StageId::FIRST);

async fn with_items<D: Database>(database: &D, plan: Plan, count: usize) -> Repository<Faulty<D::S>, Item>
where
    Item: Record<D::S>,
{
    let repository = faulty(database, pipeline(&["ONE"]), plan).await;
    let keys: Vec<Key> = (0..count).map(|n| Key::from(format!("item-{n}"))).collect();
    repository.add_many(&keys).await.expect("added");
    repository
}

async fn claim_one<D: Database>(repository: &Repository<Faulty<D::S>, Item>) -> rowlock::Claim<Item>
where
    Item: Record<D::S>,
{
    repository.claim(1).await.expect("claimed").items.pop().expect("there is one")
}

pub(crate) async fn an_outcome_is_written_with_the_users_own_writes<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    database.execute("create table results (id text primary key)").await;
    add::<D>(&repository, 4).await;
    let mut claims = repository.claim(4).await.expect("claimed").items.into_iter();
    let mut next = || claims.next().expect("four were claimed");

    let mut transaction = repository.begin().await.expect("begins");
    D::execute_in(&mut transaction, "insert into results values ('complete')").await.expect("written");
    let settled = next().complete_in(transaction).await.expect("completed");
    assert_eq!(settled.to, Status::Succeeded);

    let mut transaction = repository.begin().await.expect("begins");
    D::execute_in(&mut transaction, "insert into results values ('retry')").await.expect("written");
    let settled = next().retry_in(transaction, "once more").await.expect("retried");
    assert_eq!(settled.to, READY);

    let mut transaction = repository.begin().await.expect("begins");
    D::execute_in(&mut transaction, "insert into results values ('fail')").await.expect("written");
    let settled = next().fail_in(transaction, "never").await.expect("failed");
    assert_eq!(settled.to, Status::Failed);

    take_everything_back::<D>(&repository).await;
    let mut transaction = repository.begin().await.expect("begins");
    D::execute_in(&mut transaction, "insert into results values ('zombie')").await.expect("written");
    let lost = next().complete_in(transaction).await.expect_err("the lease is lost");
    assert!(matches!(lost.error(), Error::LeaseLost { .. }), "{lost}");
    assert!(lost.claim().is_none());

    // Fails if the zombie's row is there, or one of the others is not.
    database.execute("insert into results values ('zombie')").await;
    for written in ["complete", "retry", "fail"] {
        let mut transaction = repository.begin().await.expect("begins");
        let again: &'static str = match written {
            "complete" => "insert into results values ('complete')",
            "retry" => "insert into results values ('retry')",
            _ => "insert into results values ('fail')",
        };
        D::execute_in(&mut transaction, again).await.expect_err("it was committed");
    }
}

pub(crate) async fn a_finish_that_fails_hands_the_claim_back<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let plan = first_calls("finish", &[Fate::Broken]);
    let repository = with_items(database, plan, 1).await;
    let refused = claim_one::<D>(&repository).await.complete().await.expect_err("the first is broken");
    assert!(matches!(refused.error(), Error::Database { .. }), "{refused}");
    let claim = refused.claim().expect("it may still hold");
    assert_eq!(claim.complete().await.expect("completed").to, Status::Succeeded);
}

pub(crate) async fn a_finish_in_a_transaction_that_fails_hands_the_claim_back<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    // The commit never arrived; the row proves it.
    let plan = first_calls("finish_in", &[Fate::NeverArrived]);
    let repository = with_items(database, plan, 1).await;
    let claim = claim_one::<D>(&repository).await;
    let transaction = repository.begin().await.expect("begins");
    let failed = claim.complete_in(transaction).await.expect_err("it was rolled back");
    assert!(!failed.error().may_have_been_applied(), "{failed}");
    let claim = failed.claim().expect("it still holds");
    let transaction = repository.begin().await.expect("begins");
    assert_eq!(claim.complete_in(transaction).await.expect("completed").to, Status::Succeeded);
}

pub(crate) async fn what_cannot_be_proved_is_unknown<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    // No statement is ever answered.
    let plan: Plan = Arc::new(|verb| if verb == "finish" { Fate::NeverArrived } else { Fate::Answered });
    let repository = with_items(database, plan, 1).await;
    assert_unknown(claim_one::<D>(&repository).await.complete().await);
}

pub(crate) async fn a_lost_answer_and_then_a_sweep_is_unknown<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = with_items(database, first_calls("finish", &[Fate::NeverArrived]), 1).await;
    let claim = claim_one::<D>(&repository).await;
    let later = repository.now().await.expect("the time") + chrono::TimeDelta::hours(10);
    let pipeline = repository.pipeline();
    let (stale_after, max_resets) = (pipeline.stale_after(), pipeline.max_resets());
    let sweeping = SweepParams { limit: 9, stale_after, max_resets, now: Some(later) };
    assert_eq!(repository.store().sweep(&sweeping).await.expect("swept").items.len(), 1);
    assert_unknown(claim.complete().await);
}

pub(crate) async fn a_lost_commit_of_a_row_that_is_gone_is_unknown<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = with_items(database, first_calls("finish_in", &[Fate::NeverArrived]), 1).await;
    let claim = claim_one::<D>(&repository).await;
    database.execute("delete from items").await;
    let transaction = repository.begin().await.expect("begins");
    assert_unknown(claim.complete_in(transaction).await);
}

fn assert_unknown(answer: Result<rowlock::Settled, rowlock::FinishError<Item>>) {
    let unknown = answer.expect_err("nobody can know");
    assert!(matches!(unknown.error(), Error::OutcomeUnknown { .. }), "{unknown}");
    assert!(unknown.claim().is_none());
}

pub(crate) async fn an_illegal_move_names_both_states<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 1).await;
    let error = repository.requeue(&keys[0]).await.expect_err("it is not terminal");
    let Error::IllegalMove { key, from, to } = error else { panic!("{error}") };
    assert_eq!((key, from.as_str(), to.as_str()), (keys[0].clone(), "PENDING", "PENDING"));
    repository.set(keys[0].clone(), Status::Succeeded, None).await.expect("set");
    let error = repository.cancel(keys[0].clone()).await.expect_err("it is terminal");
    let Error::IllegalMove { from, to, .. } = error else { panic!("{error}") };
    assert_eq!((from.as_str(), to.as_str()), ("SUCCEEDED", "CANCELLED"));
    let error = repository.cancel("nobody").await.expect_err("there is none");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

pub(crate) async fn a_stage_goes_by_its_id_and_one_of_another_pipeline_is_an_error<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 1).await;
    let longer = pipeline(&["ONE", "TWO"]).build().expect("a valid pipeline");
    let foreign = longer.stage_named("TWO").expect("it has two stages");
    let mut claiming = repository.claim_params(["ONE"], 1).expect("a stage");
    claiming.stages = vec![foreign];
    let limits = claiming.limits;
    let lease = Lease { key: keys[0].clone(), token: FencingToken::draw(), stage: foreign };
    let worker = || Worker::new(repository.clone());
    let handled = || worker().handle(StageId::FIRST, |_, _| async { Ok(()) });
    let refused = [
        repository.set(keys[0].clone(), Status::Ready(foreign), None).await.map(drop),
        repository.list(&ListParams::new(1).status(Status::InProgress(foreign))).await.map(drop),
        repository.preview_with(&claiming).await.map(drop),
        repository.claim_with(claiming).await.map(drop),
        repository.renew_lease(lease.clone()).await.map(drop),
        repository.finish_lease(lease, Outcome::Complete, limits).await.map(drop),
        worker().handle(foreign, |_, _| async { Ok(()) }).run().await.map(drop),
        handled().concurrency(foreign, 1).run().await.map(drop),
        handled().concurrency("TWO", 1).dry_run(1).await.map(drop),
    ];
    for answer in refused {
        assert!(matches!(answer, Err(Error::InvalidArgument { argument: "stage", .. })), "{answer:?}");
    }
    let report = told(soon(handled().concurrency(StageId::FIRST, 1).run_until_idle()).await);
    assert_eq!(report.completed, 1);
}

pub(crate) async fn a_dropped_claim_is_given_back_before_the_next<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = with_items(database, first_calls("claim", &[Fate::Silent]), 5).await;
    let claiming = repository.clone();
    let claim = tokio::spawn(async move { claiming.claim(5).await.map(drop) });
    soon(async {
        while repository.counts_exact().await.expect("counted").count(Status::InProgress(StageId::FIRST)) < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    claim.abort();
    assert!(claim.await.expect_err("aborted").is_cancelled());
    let claims = repository.claim(5).await.expect("claimed");
    assert_eq!(claims.items.len(), 5);
    assert!(claims.items.iter().all(|claim| (claim.retry_count(), claim.reset_count()) == (0, 0)));
}

pub(crate) async fn claims_whose_answers_were_lost_are_given_back_before_the_next<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (claims, looks) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let plan: Plan = Arc::new(move |verb| match verb {
        "claim" if claims.fetch_add(1, Ordering::Relaxed) < 2 => Fate::AnswerLost,
        // The searches within both claims fail, and one between them. The next search finds the rows of the first
        // claim; the one for those of the second fails once more.
        "find_claimed" => match looks.fetch_add(1, Ordering::Relaxed) {
            0 | 1 | 2 | 4 => Fate::Broken,
            _ => Fate::Answered,
        },
        _ => Fate::Answered,
    });
    let repository = with_items(database, plan, 4).await;
    for _ in 0..2 {
        repository.claim(2).await.expect_err("the answer is lost, and so is the look");
    }
    let first = repository.claim(4).await.expect("claimed").items;
    assert_eq!(first.len(), 2, "the rows of the first lost claim");
    let second = repository.claim(4).await.expect("claimed").items;
    assert_eq!(second.len(), 2, "the rows of the second");
    assert!(first.iter().chain(&second).all(|claim| claim.reset_count() == 0));
}

pub(crate) async fn a_claim_that_took_nothing_is_sent_again_under_a_new_token<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = with_items(database, first_calls("claim", &[Fate::NotApplied; 3]), 2).await;
    assert_eq!(repository.claim(2).await.expect("claimed").items.len(), 2);
    let tokens = repository.store().special.tokens.lock().expect("no panic").clone();
    let different: std::collections::HashSet<_> = tokens.iter().collect();
    assert_eq!((tokens.len(), different.len()), (4, 4));
}

pub(crate) async fn an_operators_verb_is_sent_again_only_if_it_was_not_applied<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let fate = Arc::new(std::sync::Mutex::new(Fate::NotApplied));
    let current = Arc::clone(&fate);
    let plan: Plan =
        Arc::new(move |verb| if verb == "set" { *current.lock().expect("no panic") } else { Fate::Answered });
    let (plan, calls) = counted("set", plan);
    let repository = with_items(database, plan, 1).await;
    let set = async || repository.set("item-0", Status::Failed, None).await;
    set().await.expect_err("it never gets through");
    assert_eq!(*calls.borrow(), VERB_ATTEMPTS_MAX as usize);
    *fate.lock().expect("no panic") = Fate::NeverArrived;
    let error = set().await.expect_err("nobody knows");
    assert!(error.may_have_been_applied(), "{error}");
    assert_eq!(*calls.borrow(), VERB_ATTEMPTS_MAX as usize + 1);
}

/// A record that fails to decode for some keys.
#[derive(Debug)]
pub(crate) struct Picky {
    pub(crate) id: String,
}

impl<'r, Row: sqlx::Row> sqlx::FromRow<'r, Row> for Picky
where
    &'static str: sqlx::ColumnIndex<Row>,
    String: sqlx::Decode<'r, Row::Database> + sqlx::Type<Row::Database>,
{
    fn from_row(row: &'r Row) -> Result<Picky, sqlx::Error> {
        let id: String = row.try_get("id")?;
        assert!(id != "panics", "it panics");
        if id == "fails" { Err(sqlx::Error::Decode("it fails".into())) } else { Ok(Picky { id }) }
    }
}

async fn picky<D: Database>(database: &D, plan: Plan) -> Repository<Faulty<D::S>, Picky> {
    let inner = database.store(pipeline(&["ONE"]).build().expect("a valid pipeline")).await;
    let repository: Repository<_, Picky> = Repository::new(Faulty::new(inner, plan));
    repository.add_many(&["a", "fails", "panics", "z"].map(Key::from)).await.expect("added");
    repository
}

fn words(undecodable: &[(Key, String)]) -> Vec<(&str, bool, bool)> {
    let mut words: Vec<_> = undecodable
        .iter()
        .map(|(key, reason)| (key.as_str(), reason.contains("it fails"), reason.contains("it panics")))
        .collect();
    words.sort_unstable();
    words
}

pub(crate) async fn each_claimed_row_is_decoded_by_itself<D: Database>(database: &D)
where
    Picky: Record<D::S>,
{
    // The failed attempts cannot be written at first: the good claims are still returned.
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let plan: Plan = Arc::new(move |verb| match verb {
        "finish" if is_broken.swap(false, Ordering::AcqRel) => Fate::Broken,
        _ => Fate::Answered,
    });
    let repository = picky(database, plan).await;
    let claims = repository.claim(9).await.expect("claimed");
    let mut keys: Vec<&str> = claims.items.iter().map(|claim| claim.id.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "z"]);
    assert_eq!(words(&claims.undecodable), [("fails", true, false), ("panics", false, true)]);
    database.execute("update items set heartbeat_at = null where id in ('fails', 'panics')").await;
    assert_eq!(repository.sweep().await.expect("swept").items.len(), 2);
    let again = repository.claim(9).await.expect("claimed");
    assert_eq!((again.items.len(), again.undecodable.len()), (0, 2));
    for key in ["fails", "panics"] {
        let facts = repository.explain(key).await.expect("read").expect("there");
        assert_eq!((facts.status, facts.retry_count), (Some(READY), 1));
    }
}

pub(crate) async fn a_row_that_does_not_decode_ends_no_page<D: Database>(database: &D)
where
    Picky: Record<D::S>,
{
    let repository = picky(database, answered()).await;
    let page = repository.list(&ListParams::new(3)).await.expect("listed");
    assert_eq!((page.items.len(), page.next), (1, Some(Key::from("panics"))));
    assert_eq!(words(&page.undecodable), [("fails", true, false), ("panics", false, true)]);
    let preview = repository.preview(9).await.expect("previewed");
    assert_eq!((preview.items.len(), preview.undecodable.len()), (2, 2));
    let worker = Worker::new(repository).handle("ONE", |_, _| async { Ok(()) });
    let runs = worker.dry_run(9).await.expect("the dry run ends");
    let failed = runs.iter().filter(|run| run.result.is_err()).count();
    assert_eq!((runs.len(), failed), (4, 2), "{runs:?}");
}
