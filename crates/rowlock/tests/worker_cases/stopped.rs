//! Workers are stopped for longer than a lease lives, as by Ctrl-Z, and then continue.

use std::sync::{Arc, Condvar, Mutex};

use rowlock::{Failure, Record, Worker};
use tokio::sync::{mpsc, watch};

use super::faulty::{Fate, Faulty, Plan};
use super::*;

const STALE_AFTER: Duration = Duration::from_secs(3);

/// A gate at which the threads of workers stop, with everything that runs on them.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    stopped: watch::Sender<usize>,
}

impl Gate {
    fn pass(&self) {
        let mut is_shut = self.is_shut.lock().expect("no panic");
        if *is_shut {
            self.stopped.send_modify(|stopped| *stopped += 1);
            while *is_shut {
                is_shut = self.opened.wait(is_shut).expect("no panic");
            }
            self.stopped.send_modify(|stopped| *stopped -= 1);
        }
    }

    /// Stops this many workers for longer than a lease lives.
    async fn stop(&self, workers: usize, meanwhile: impl Future<Output = ()>) {
        *self.is_shut.lock().expect("no panic") = true;
        soon(self.stopped.subscribe().wait_for(|stopped| *stopped == workers)).await.expect("they meet the gate");
        tokio::time::sleep(STALE_AFTER.mul_f64(1.3)).await;
        meanwhile.await;
        *self.is_shut.lock().expect("no panic") = false;
        self.opened.notify_all();
    }

    /// A plan under which workers stop at the gate, and which counts their sweeps.
    fn plan(self: &Arc<Self>, sweeps: &watch::Sender<u32>) -> Plan {
        let (gate, sweeps) = (Arc::clone(self), sweeps.clone());
        Arc::new(move |verb| {
            gate.pass();
            if verb == "sweep" {
                sweeps.send_modify(|swept| *swept += 1);
            }
            Fate::Answered
        })
    }
}

/// One more reset, and an item is `FAILED`.
fn times() -> PipelineBuilder {
    pipeline(&["ONE"]).stale_after(STALE_AFTER).heartbeat_interval(Duration::from_secs(1)).max_resets(1)
}

pub(crate) async fn a_fleet_that_was_stopped_keeps_what_it_holds<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (gate, sweeps) = (Arc::new(Gate::default()), watch::Sender::new(0));
    let plain: Repo<D> = repository(database, times()).await;
    add::<D>(&plain, 4).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let (lost, mut losses) = mpsc::unbounded_channel();
    let go_on = watch::Sender::new(false);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let store = Faulty::new(database.store(times().build().expect("a valid pipeline")).await, gate.plan(&sweeps));
        let (started, lost, go_on) = (started.clone(), lost.clone(), go_on.subscribe());
        let handle = move |context: rowlock::Context<Faulty<D::S>, Item>, _| {
            let (started, lost, mut go_on) = (started.clone(), lost.clone(), go_on.clone());
            async move {
                started.send(()).expect("the test listens");
                tokio::select! {
                    may = go_on.wait_for(|may| *may) => may.map(drop).map_err(Failure::permanent),
                    () = context.cancelled() => {
                        lost.send(()).expect("the test listens");
                        Err(Failure::permanent("its lease was lost"))
                    }
                }
            }
        };
        let worker = Worker::new(Repository::<_, Item>::new(store)).concurrency("ONE", 4).handle("ONE", handle);
        running.spawn(worker.run_until_idle());
    }
    for _ in 0..4 {
        soon(starts.recv()).await.expect("started");
    }
    for _ in 0..2 {
        gate.stop(2, std::future::ready(())).await;
        let (mut sweeps, before) = (sweeps.subscribe(), *sweeps.borrow());
        tokio::select! {
            swept = soon(sweeps.wait_for(|swept| *swept >= before + 2)) => drop(swept.expect("they sweep")),
            _ = losses.recv() => panic!("a worker gave up what nobody had taken"),
        }
    }
    go_on.send_replace(true);
    let mut completed = 0;
    while let Some(report) = soon(running.join_next()).await {
        let report = told(report.expect("no panic"));
        assert_eq!((report.swept, report.lost, report.failed), (0, 0, 0), "{report:?}");
        completed += report.completed;
    }
    assert_eq!(completed, 4);
}

/// Other workers lived meanwhile.
pub(crate) async fn a_worker_that_was_stopped_alone_loses_what_others_took<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (gate, sweeps) = (Arc::new(Gate::default()), watch::Sender::new(0));
    let plain: Repo<D> = repository(database, times().max_resets(5)).await;
    let keys = add::<D>(&plain, 1).await;
    let pipeline = times().max_resets(5).build().expect("a valid pipeline");
    let store = Faulty::new(database.store(pipeline).await, gate.plan(&sweeps));
    let (tell, mut told_of) = mpsc::unbounded_channel();
    let stop = tokio_util::sync::CancellationToken::new();
    let worker = Worker::new(Repository::<_, Item>::new(store))
        .handle("ONE", move |context, _| {
            let tell = tell.clone();
            async move {
                tell.send("started").expect("the test listens");
                context.cancelled().await;
                tell.send("stopped").expect("the test listens");
                Ok(())
            }
        })
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    assert_eq!(soon(told_of.recv()).await, Some("started"));
    let take_over = async {
        let (limit, stale_after, max_resets) = (10, STALE_AFTER, 5);
        let sweeping = SweepParams { limit, stale_after, max_resets, now: None };
        assert_eq!(plain.store().sweep(&sweeping).await.expect("swept").items.len(), 1);
        assert_eq!(claim_and_stop::<D>(&plain, 1).await, keys);
    };
    gate.stop(1, take_over).await;
    assert_eq!(soon(told_of.recv()).await, Some("stopped"));
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.lost, report.completed, report.released), (1, 0, 0), "{report:?}");
    let facts = plain.explain(keys[0].clone()).await.expect("read").expect("there");
    assert_eq!(facts.retry_count, 0, "{facts:?}");
}
