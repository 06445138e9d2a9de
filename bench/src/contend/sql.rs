//! The statements that a careful engineer would write by hand over Rowlock's table: its index, its columns written and
//! returned, its fence.

use rowlock::{Pipeline, Stage};

use crate::scene::TABLE;

/// Removes Rowlock's triggers from the table, whatever their names: no contender pays for another's.
pub(crate) const DROP_TRIGGERS: &str = "do $$ declare name text; begin
   for name in select tgname from pg_trigger where tgrelid = 'items'::regclass and not tgisinternal
   loop execute format('drop trigger %I on items', name); end loop;
 end $$";

/// When an item is due: the expression of the index.
const DUE: &str = "coalesce(retry_after, created_at, '-infinity')";

/// The columns that completing a stage writes.
fn next_word(pipeline: &Pipeline, stage: usize) -> &str {
    pipeline.stages().get(stage + 1).map_or("SUCCEEDED", Stage::ready_word)
}

/// The words of the ready index's predicate, in its form.
fn ready_words(pipeline: &Pipeline) -> String {
    let words: Vec<String> = pipeline.stages().iter().map(|stage| format!("'{}'", stage.ready_word())).collect();
    words.join(", ")
}

/// `picked`: the due items of a stage in the order of the queue, locked.
fn picked(pipeline: &Pipeline, stage: usize, limit: u32) -> String {
    let ready = pipeline.stages()[stage].ready_word();
    let words = ready_words(pipeline);
    format!(
        "picked as materialized (
           select id from {TABLE}
           where status = '{ready}' and status in ({words}) and {DUE} <= statement_timestamp()
           order by {DUE}
           limit {limit}
           for update skip locked
         )"
    )
}

/// The update that takes the picked items, with the token as `$1` and the holder as `$2`.
fn take(pipeline: &Pipeline, stage: usize) -> String {
    let stage = &pipeline.stages()[stage];
    let (ready, running) = (stage.ready_word(), stage.running_word());
    format!(
        "update {TABLE}
         set status = '{running}', claim_token = $1, claimed_by = $2, claimed_at = statement_timestamp(),
             heartbeat_at = statement_timestamp(), updated_at = statement_timestamp()
         where id = any (array(select id from picked)) and status = '{ready}'
         returning *"
    )
}

/// Takes a batch. Binds: token, holder.
pub(super) fn claim(pipeline: &Pipeline, stage: usize, limit: u32) -> String {
    format!("with {} {}", picked(pipeline, stage, limit), take(pipeline, stage))
}

/// The keys of the items to end, as the bind of this number. As a join, so that they are hashed: the planner uses the
/// index on the token, under which the batch has one entry, and `id = any (…)` would compare each row with half of the
/// keys.
fn ended(keys: u32) -> String {
    format!("ended as materialized (select unnest(${keys}::text[]) as id)")
}

/// Completes items of one claim, fenced by key, token and word; the server counts how many. Binds: keys, token.
pub(super) fn complete(pipeline: &Pipeline, stage: usize) -> String {
    let running = pipeline.stages()[stage].running_word();
    let next = next_word(pipeline, stage);
    let ended = ended(1);
    format!(
        "with {ended}
         update {TABLE} t
         set status = '{next}', retry_after = null, retry_count = 0, reset_count = 0, updated_at = statement_timestamp()
         from ended
         where t.id = ended.id and claim_token = $2 and status = '{running}'"
    )
}

/// Counts a failure for items of one claim, and delays them. Binds: keys, token, seconds.
pub(super) fn retry(pipeline: &Pipeline, stage: usize) -> String {
    let stage = &pipeline.stages()[stage];
    let (ready, running) = (stage.ready_word(), stage.running_word());
    let ended = ended(1);
    format!(
        "with {ended}
         update {TABLE} t
         set status = '{ready}', retry_count = retry_count + 1, error_message = 'not yet',
             retry_after = statement_timestamp() + make_interval(secs => $3), updated_at = statement_timestamp()
         from ended
         where t.id = ended.id and claim_token = $2 and status = '{running}'"
    )
}

/// Completes the last batch and takes the next, in one statement and one commit. Binds: token, holder, keys of the last
/// batch, its token. The first column counts the completed items; the others are null if nothing was taken.
pub(super) fn complete_and_claim(pipeline: &Pipeline, stage: usize, limit: u32) -> String {
    let running = pipeline.stages()[stage].running_word();
    let next = next_word(pipeline, stage);
    let ended = ended(3);
    format!(
        "with {ended},
         done as (
           update {TABLE} t
           set status = '{next}', retry_after = null, retry_count = 0, reset_count = 0,
               updated_at = statement_timestamp()
           from ended
           where t.id = ended.id and claim_token = $4 and status = '{running}'
           returning t.id
         ),
         {},
         moved as ({})
         select done_count.n, moved.*
         from (select count(*) as n from done) done_count left join moved on true",
        picked(pipeline, stage, limit),
        take(pipeline, stage),
    )
}
