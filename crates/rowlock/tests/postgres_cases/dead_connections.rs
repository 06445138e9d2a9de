//! Connections that the server ended while they were idle.

use rowlock::conformance::run;
use rowlock::pipeline::Status;
use rowlock::store::ListParams;
use rowlock::{JsonRecord, Key, Repository};

use super::connections::{end_all, until_idle_ones_are_tested, watched};
use super::{pipeline, table_of};
use crate::postgres::PostgresHarness;

/// Each verb has a repository with a single connection, which an administrator ends.
#[test]
fn every_verb_is_sent_over_another_connection_where_its_own_died_while_it_was_idle() {
    /// Without optimisation, this many verbs in one function need more stack than a test has.
    const STACK_BYTES: usize = 32 << 20;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let on_a_large_stack = std::thread::Builder::new().stack_size(STACK_BYTES);
    let test = move || runtime.block_on(async { run(PostgresHarness::new().await, every_verb).await });
    on_a_large_stack.spawn(test).expect("a thread starts").join().expect("no panic");
}

async fn every_verb(harness: &PostgresHarness) {
    table_of(harness, 40).await;
    let stage = pipeline().stage_ids().next().expect("a stage");
    let key = |number: usize| Key::from(format!("page-{number:03}"));
    let mut of_each: Vec<Repository<_, JsonRecord>> = Vec::new();
    for _ in 0..24 {
        let pages = Repository::new(watched(harness));
        pages.now().await.expect("now");
        of_each.push(pages);
    }
    let mut claims = Vec::new();
    for pages in &of_each[..5] {
        claims.append(&mut pages.claim(1).await.expect("claim").items);
    }
    let [renewed, completed, retried, failed, released] = <[_; 5]>::try_from(claims).expect("five");
    end_all(harness).await;
    until_idle_ones_are_tested().await;

    macro_rules! each_passes {
        ($pages:ident: $($verb:expr),* $(,)?) => {
            $(
                let $pages = of_each.pop().expect("one each");
                if let Err(error) = $verb.await {
                    panic!("{}: {error}", stringify!($verb));
                }
            )*
        };
    }
    each_passes!(
        pages: pages.now(),
        pages.add_many(&[Key::from("new")]),
        pages.claim(1),
        pages.sweep(),
        pages.set(key(20), Status::Succeeded, None),
        pages.cancel(key(21)),
        pages.requeue(key(21)),
        pages.requeue_many([key(20)]),
        pages.pause(stage),
        pages.resume(stage),
        pages.get(key(22)),
        pages.list(&ListParams::new(9)),
        pages.preview(3),
        pages.counts_exact(),
        pages.explain(key(22)),
        pages.failures(key(22)),
        pages.held(9),
        pages.inspect(),
        pages.prepare(),
    );
    renewed.renew().await.expect("renew");
    completed.complete().await.expect("complete");
    retried.retry("again").await.expect("retry");
    failed.fail("never").await.expect("fail");
    released.release().await.expect("release");
    assert_eq!(of_each.len(), 5, "those of the claims");
}
