//! How items go through a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use rowlock::{Failure, Handled, Outcome, Record, StageId, Status, Worker};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;

pub(crate) async fn two_stages_are_run_until_idle<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, 300).await;
    let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (in_first, in_second) = (Arc::clone(&first), Arc::clone(&second));
    let worker = Worker::new(repository.clone())
        .handle("ONE", move |_, claim| {
            let first = Arc::clone(&in_first);
            async move {
                assert_eq!(claim.status, "ONE_IN_PROGRESS");
                first.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        })
        .handle("TWO", move |_, claim| {
            let second = Arc::clone(&in_second);
            async move {
                assert_eq!(claim.status, "TWO_IN_PROGRESS");
                second.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)), (300, 300));
    assert_eq!((report.completed, report.retried, report.lost, report.errors), (600, 0, 0, 0), "{report:?}");
    assert!(report.remaining.is_empty());
    assert_eq!(count::<D>(&repository, Status::Succeeded).await, 300);
}

pub(crate) async fn an_empty_table_is_idle<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let worker = Worker::new(repository).handle("ONE", |_, _| async { Ok(()) });
    assert_eq!(told(soon(worker.run_until_idle()).await).completed, 0);
}

pub(crate) async fn a_batch_handler_gives_each_item_its_outcome<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 100).await;
    let largest = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&largest);
    let worker = Worker::new(repository.clone()).concurrency("ONE", 1).handle_batch("ONE", 8, move |_, claims| {
        seen.fetch_max(claims.len(), Ordering::Relaxed);
        async move {
            let outcome = |key: &Key| match key.as_str() {
                "item-00003" => Err(Failure::permanent("three is not for us")),
                "item-00004" => Ok(Handled::With(Outcome::Fail { error: "nor is four".to_owned() })),
                _ => Ok(().into()),
            };
            claims.iter().map(|claim| outcome(claim.key())).collect()
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.failed), (98, 2));
    assert_eq!(largest.load(Ordering::Relaxed), 8);
    assert_eq!(error_of::<D>(&repository, &keys[3]).await, "three is not for us");
    assert_eq!(error_of::<D>(&repository, &keys[4]).await, "nor is four");
}

pub(crate) async fn a_batch_handler_with_a_wrong_count_fails_each_item<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    let keys = add::<D>(&repository, 3).await;
    let worker = Worker::new(repository.clone()).handle_batch("ONE", 3, |_, _| async { vec![Ok(())] });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.failed), (0, 3));
    assert!(error_of::<D>(&repository, &keys[0]).await.contains("returned 1 results for 3 items"));
}

pub(crate) async fn a_handler_completes_in_its_own_transaction<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    database.execute("create table results (id text)").await;
    add::<D>(&repository, 5).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |ctx, claim| async move {
        let mut transaction = ctx.begin().await?;
        D::execute_in(&mut transaction, "insert into results values ('one')").await?;
        Ok(claim.complete_in(transaction).await?)
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.lost, report.retried), (5, 0, 0));
    assert_eq!(count::<D>(&repository, Status::Succeeded).await, 5);
}

/// State that the handlers share.
struct Shared {
    factor: usize,
    sum: Arc<AtomicUsize>,
}

/// A handler that is a plain function, with `anyhow` errors.
async fn add_up<S: rowlock::Store>(
    context: rowlock::Context<S, Item, Shared>,
    claim: rowlock::Claim<Item>,
) -> Result<(), Failure> {
    let number = claim.id.rsplit('-').next().context("a key without a number")?;
    let number: usize = number.parse().with_context(|| format!("the number of {:?}", claim.id))?;
    let Shared { factor, sum } = context.state();
    sum.fetch_add(factor * number, Ordering::Relaxed);
    Ok(())
}

pub(crate) async fn handlers_are_plain_functions_with_state_and_errors_of_anyhow<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    repository.add_many(["item-1", "item-2", "item-3", "item-x"]).await.expect("added");
    let sum = Arc::new(AtomicUsize::new(0));
    let shared = Shared { factor: 10, sum: Arc::clone(&sum) };
    let worker = Worker::new(repository.clone()).with_state(shared).handle("ONE", add_up);
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.failed, sum.load(Ordering::Relaxed)), (3, 1, 60), "{report:?}");
    let error = error_of::<D>(&repository, &Key::from("item-x")).await;
    assert!(error.contains("the number of \"item-x\": invalid digit"), "{error}");
}

/// Notes where it is dropped: on a thread of which name, and whether on a runtime.
struct Witness(tokio::sync::mpsc::UnboundedSender<(Option<String>, bool)>);

impl Drop for Witness {
    fn drop(&mut self) {
        let thread = std::thread::current().name().map(str::to_owned);
        let _unheard = self.0.send((thread, tokio::runtime::Handle::try_current().is_ok()));
    }
}

pub(crate) async fn state_and_handlers_are_dropped_on_the_users_runtime<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    for _ in 0..10 {
        let (sender, mut dropped) = tokio::sync::mpsc::unbounded_channel();
        let (state, captured) = (Witness(sender.clone()), Witness(sender));
        let worker = Worker::new(repository.clone()).with_state(state).handle("ONE", move |_, _| {
            let _captured = &captured;
            async { Ok(()) }
        });
        told(soon(worker.run_until_idle()).await);
        for _ in 0..2 {
            let (thread, is_on_runtime) = soon(dropped.recv()).await.expect("both are dropped");
            assert!(is_on_runtime && thread.as_deref() != Some("rowlock"), "{thread:?}");
        }
    }
}

pub(crate) async fn a_handler_finishes_by_its_claim<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    add::<D>(&repository, 2).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, claim| async move {
        let settled = match claim.key().as_str() {
            "item-00000" => claim.complete().await?,
            _ => claim.fail("not this one").await?,
        };
        Ok(settled)
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.failed, report.lost), (1, 1, 0));
}

pub(crate) async fn no_handler_runs_on_the_workers_own_thread<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 20).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async {
        // The name of the thread that claims, renews and finishes.
        assert_ne!(std::thread::current().name(), Some("rowlock"));
        Ok(())
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.panicked), (20, 0), "{report:?}");
}

pub(crate) async fn slow_handlers_hoard_nothing<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 50).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let worker = Worker::new(repository.clone()).concurrency("ONE", 3).handle("ONE", move |_, _| {
        let (started, gate) = (started.clone(), Arc::clone(&gate));
        async move {
            started.send(()).expect("the test listens");
            gate.acquire().await.expect("never closed").forget();
            Ok(())
        }
    });
    let running = tokio::spawn(worker.run_until_idle());
    for _ in 0..3 {
        soon(starts.recv()).await.expect("a handler starts");
    }
    assert_eq!(count::<D>(&repository, Status::InProgress(StageId::FIRST)).await, 3);
    go.add_permits(50);
    assert_eq!(told(soon(running).await.expect("no panic")).completed, 50);
}

pub(crate) async fn an_undecodable_row_harms_only_itself<D: Database>(database: &D)
where
    Item: Record<D::S>,
    Noted: Record<D::S>,
{
    let pipeline = pipeline(&["ONE"]).max_retries(1).build().expect("a valid pipeline");
    let repository: Repository<D::S, Noted> = Repository::new(database.store(pipeline).await);
    database.execute("alter table items add column note text").await;
    let keys: Vec<Key> = ["a", "b", "c"].map(Key::from).to_vec();
    repository.add_many(&keys).await.expect("added");
    database.execute("update items set note = case when id = 'b' then 'bad' else 'good' end").await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.undecodable, report.failed), (2, 1, 1));
    let error = repository.explain("b").await.expect("read").expect("there").error.expect("an error");
    assert!(error.contains("does not decode"), "{error}");
}

/// A record whose `note` must not be `bad`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Noted {
    #[sqlx(try_from = "String")]
    #[expect(dead_code, reason = "only decoded")]
    note: Note,
}

#[derive(Debug)]
pub(crate) struct Note;

impl TryFrom<String> for Note {
    type Error = std::io::Error;

    fn try_from(text: String) -> Result<Note, std::io::Error> {
        if text == "bad" { Err(std::io::Error::other("a bad note")) } else { Ok(Note) }
    }
}

pub(crate) async fn a_dry_run_is_refused_every_write_by_the_database<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    database.execute("create table results (id text)").await;
    let keys = add::<D>(&repository, 4).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |ctx, claim| async move {
        assert!(ctx.is_dry_run());
        match claim.key().as_str() {
            "item-00000" => Ok(Handled::from(())),
            "item-00001" => {
                let mut transaction = ctx.begin().await?;
                D::execute_in(&mut transaction, "insert into results values ('one')").await?;
                Ok(claim.complete_in(transaction).await?.into())
            }
            "item-00002" => {
                let transaction = ctx.begin().await?;
                Ok(claim.complete_in(transaction).await?.into())
            }
            _ => {
                let refused = ctx.repository().cancel(claim.key().clone()).await.expect_err("it may only read");
                assert!(refused.is_read_only(), "{refused}");
                Err(refused.into())
            }
        }
    });
    let results = soon(worker.dry_run(10)).await.expect("the dry run ends");
    assert_eq!(results.iter().map(|run| run.key.clone()).collect::<std::collections::BTreeSet<_>>().len(), 4);
    let result = |key: &Key| results.iter().find(|run| run.key == *key).map(|run| run.result.clone()).expect("there");
    assert_eq!(result(&keys[0]), Ok(Handled::With(Outcome::Complete)));
    let refusal = result(&keys[1]).expect_err("the database refuses");
    let words = refusal.message().to_lowercase();
    assert!(words.contains("read-only") || words.contains("readonly"), "{refusal:?}");
    assert!(matches!(result(&keys[2]), Ok(Handled::Settled(settled)) if settled.to == Status::Succeeded));
    assert!(result(&keys[3]).is_err());
    assert_eq!(count::<D>(&repository, Status::Ready(StageId::FIRST)).await, 4);
}

pub(crate) async fn by_default_a_worker_passes_through_the_word_between_two_stages<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    const ITEMS: i64 = 500;
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    database.note_moves().await;
    add::<D>(&repository, 500).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.handle("TWO", |_, _| async { Ok(()) }).run_until_idle()).await);
    assert_eq!((report.completed, report.lost, report.errors), (1_000, 0, 0), "{report:?}");
    let moves = database.moves().await;
    let out_of_one: Vec<_> =
        moves.iter().filter(|(was, became, _)| was == "ONE_IN_PROGRESS" && became != "PENDING").collect();
    let into_two: Vec<_> = moves.iter().filter(|(_, became, _)| became == "TWO_IN_PROGRESS").collect();
    let [one, between, two] = ["ONE_IN_PROGRESS", "ONE_COMPLETE", "TWO_IN_PROGRESS"].map(str::to_owned);
    assert_eq!(out_of_one, [&(one, between.clone(), ITEMS)], "{moves:?}");
    assert_eq!(into_two, [&(between, two, ITEMS)], "{moves:?}");
}

/// The earlier stage never runs dry, and the items that come from it keep the later one busy: what waits for the later
/// stage is claimed nevertheless.
pub(crate) async fn what_waits_for_the_next_stage_has_its_turn<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    has_its_turn(
        database,
        "update items set status = 'ONE_COMPLETE', created_at = '2000-01-01 00:00:00+00' where id = 'item-39999'",
    )
    .await;
}

pub(crate) async fn a_suspect_of_the_next_stage_has_its_turn<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let last = "update items set status = 'ONE_COMPLETE', reset_count = 2, created_at = '2000-01-01 00:00:00+00' \
                where id = 'item-39999'";
    has_its_turn(database, last).await;
}

/// While the worker is busy, the last of many items is put into another state. It must be handled in stage TWO before
/// the others are.
async fn has_its_turn<D: Database>(database: &D, last: &str)
where
    Item: Record<D::S>,
{
    const MANY: usize = 40_000;
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, MANY).await;
    let (stop, runs) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (in_full_swing, mut is_in_full_swing) = watch::channel(false);
    // However fast the drain is, its last item is still to come then.
    let (let_finish, may_finish) = watch::channel(false);
    let (ran, stopped) = (Arc::clone(&runs), stop.clone());
    let worker = Worker::new(repository.clone())
        .concurrency("ONE", 8)
        .handle("ONE", move |_, _| {
            let turn = ran.fetch_add(1, Ordering::AcqRel);
            in_full_swing.send_replace(turn >= MANY / 10);
            let mut may_finish = may_finish.clone();
            async move {
                if turn >= MANY / 10 {
                    may_finish.wait_for(|may| *may).await.expect("the test says so");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            }
        })
        .concurrency("TWO", 4)
        .handle("TWO", move |_, claim| {
            if claim.id == "item-39999" {
                stopped.cancel();
            }
            async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(())
            }
        })
        .shutdown_on(stop);
    let running = tokio::spawn(worker.run());
    soon(is_in_full_swing.wait_for(|is| *is)).await.expect("it works");
    database.execute(last).await;
    let_finish.send_replace(true);
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.lost, report.unknown, report.retried), (0, 0, 0), "{report:?}");
    let turn = runs.load(Ordering::Acquire);
    assert!(turn < MANY / 2, "it was kept waiting until {turn} others had run");
}
