//! The contenders: each runs as a separate process.

mod bare;
mod hold;
mod keys;
mod naive;
mod passes;
mod raw;
mod raw_add;
mod raw_retry;
mod raw_wake;
mod rowlock;
mod sql;
mod sqlite;
mod video;
mod wake;

use anyhow::{Result, bail};

pub(crate) use self::bare::set_up as bare_set_up;
pub(crate) use self::keys::{insert_keys_there, keys_there};
use self::keys::{keys_of_which_some_are_there, new_keys};
pub(crate) use self::naive::set_up as naive_set_up;
pub(crate) use self::passes::RUNS as RUNS_IN_A_STORM;
use self::raw::Trips;
pub(crate) use self::raw_wake::set_up as raw_wake_set_up;
pub(crate) use self::sqlite::{
    fill as sqlite_fill, index_by_hand as sqlite_index_by_hand, succeeded as sqlite_succeeded,
};
use self::video::By;
use crate::protocol::{Line, Task, Work, say, wait_for_dismissal};

/// Does the task under the contender's name, answers, and waits to be dismissed.
pub(crate) async fn contend(contender: &str, task: &Task) -> Result<()> {
    let answer = match (contender, task.work) {
        ("raw", Work::Drain) => raw::drain(task, Trips::Two).await?,
        ("raw-one-trip", Work::Drain) => raw::drain(task, Trips::One).await?,
        ("raw-pipelined", Work::Drain) => raw::drain(task, Trips::Pipelined).await?,
        ("raw-bare", Work::Drain) => bare::drain(task).await?,
        ("naive" | "naive-noindex", Work::Drain) => naive::drain(task).await?,
        ("rowlock", Work::Drain) => rowlock::drain(task).await?,
        ("rowlock-until-done", Work::Drain) => rowlock::drain_until_done(task).await?,
        ("rowlock-best", Work::Drain) => rowlock::drain_in_batches(task).await?,
        ("raw", Work::Small) => raw::small(task, 16).await?,
        ("raw-8", Work::Small) => raw::small(task, 8).await?,
        ("rowlock", Work::Small) => rowlock::small(task).await?,
        ("rowlock-worker", Work::Small) => rowlock::small_by_worker(task).await?,
        ("raw", Work::Add) => raw_add::add(task).await?,
        ("raw-conflict", Work::Add) => raw_add::add_some(task).await?,
        ("rowlock", Work::Add) => rowlock::add(task, new_keys(task.items)).await?,
        ("rowlock-conflict", Work::Add) => rowlock::add(task, keys_of_which_some_are_there(task.items)).await?,
        ("raw", Work::Wake) => raw_wake::wake(task).await?,
        ("rowlock", Work::Wake) => wake::wake(task).await?,
        ("raw", Work::Retry) => raw_retry::retry(task).await?,
        ("rowlock", Work::Retry) => rowlock::retry(task).await?,
        ("raw", Work::Idle) => raw_wake::idle(task).await?,
        ("rowlock", Work::Idle) => hold::idle(task).await?,
        ("rowlock", Work::Alive) => hold::alive(task).await?,
        ("sqlite-raw", Work::Drain) => sqlite::drain_by_hand(task)?,
        ("sqlite-rowlock", Work::Drain) => sqlite::drain(task).await?,
        ("sqlite-rowlock-best", Work::Drain) => sqlite::drain_in_batches(task).await?,
        ("video-bare", Work::Videos) => video::run(task, By::Nothing).await?,
        ("rowlock-video", Work::Videos) => video::run(task, By::Postgres).await?,
        ("rowlock-video-sqlite", Work::Videos) => video::run(task, By::Sqlite).await?,
        (contender, work) => bail!("{contender} does not do {work:?}"),
    };
    say(&Line::Answer(answer))?;
    wait_for_dismissal()
}
