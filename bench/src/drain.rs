//! The drain: how fast ready items go through a no-op handler.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use rowlock::store::postgres::PostgresStore;
use rowlock::{Repository, Worker};

use crate::measure::{Rates, print_rates};
use crate::raw;
use crate::scene::{Scene, one_stage};

/// How large, how often.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Items that are ready when the clock starts.
    #[arg(long, default_value_t = 100_000)]
    items: i64,
    /// Rounds; contenders take turns in each.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain { items: 100_000, rounds: 5 }
    }
}

impl Drain {
    pub(crate) async fn run(&self, database: &str) -> Result<()> {
        let mut all = vec![
            Rates::new("raw SQL, batch 1,000"),
            Rates::new("raw SQL, batch 100"),
            Rates::new("rowlock, default settings"),
        ];
        for round in 1..=self.rounds {
            for (contender, rates) in all.iter_mut().enumerate() {
                let scene = Scene::new(database, self.items).await?;
                let started = Instant::now();
                match contender {
                    0 => raw::drain(&scene.options, 1_000, 2).await?,
                    1 => raw::drain(&scene.options, 100, 2).await?,
                    _ => self.drain_by_worker(&scene).await?,
                }
                #[expect(clippy::cast_precision_loss, reason = "an item count is far below 2^52")]
                let rate = self.items as f64 / started.elapsed().as_secs_f64();
                scene.verify_and_drop(self.items).await?;
                println!("round {round}: {:<28} {rate:>8.0} items/s", rates.contender);
                rates.rounds.push(rate);
            }
        }
        print_rates(&format!("drain of {} items of one stage, {} rounds", self.items, self.rounds), &all);
        Ok(())
    }

    /// The public worker with nothing set but the handler. The record is the key alone.
    async fn drain_by_worker(&self, scene: &Scene) -> Result<()> {
        let store = PostgresStore::with_options(scene.options.clone(), one_stage()?);
        let repository: Repository<PostgresStore, (String,)> = Repository::new(store);
        Worker::new(repository).handle("WORK", |_, _| async { Ok(()) }).run_until_idle().await?;
        Ok(())
    }
}
