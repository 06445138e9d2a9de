-- schema: what `prepare` and `install_trigger` create. The name of an index contains a hash of its text here, as it is
-- rendered: a change of it makes `prepare` build another index.

-- step: own_tables
-- Rowlock's own tables. They hold no item's state.
create table if not exists :rowlock_meta (
  key text primary key,
  value text not null
);
create table if not exists :rowlock_stages (
  pipeline text not null,
  stage text not null,
  paused_at timestamptz not null,
  primary key (pipeline, stage)
);
create table if not exists :rowlock_failures (
  id bigint generated always as identity primary key,
  pipeline text not null,
  item text not null,
  failed_at timestamptz not null,
  word text not null,
  cause text not null,
  holder text,
  error text
);
-- Only as much of the key as fits any index entry: a key may be as long as the table's own index allows.
create index if not exists rowlock_failures_by_item on :rowlock_failures (pipeline, left(item, 200), id);
insert into :rowlock_meta (key, value) values ('schema_version', :schema_version) on conflict do nothing

-- step: table
-- The pipeline's table, if there is none. The fill factor leaves room for heartbeats in each page.
create table if not exists :table (
  :key_definition,
  :role_columns
) with (fillfactor = 80)

-- step: ready_index
-- The queue. One index serves both the claim's order and its due filter: a claim never walks over delayed items, and
-- sorts nothing. It has no further column: a bulk insert shares one created_at, and with a tie-breaker each claim would
-- sort all the ties.
create index if not exists :ready_index
on :table (this.:"status", :this_queue_order)
where :this_is_ready

-- step: running_index
-- The items in progress. It serves the sweep and finds a claim by its token. It does not contain the heartbeat, so that
-- heartbeats stay HOT updates.
create index if not exists :running_index
on :table (this.:"claim_token")
where this.:"status" in (:running_words)

-- step: stopped_index
-- Items that failed, were cancelled or have an unknown word: few rows, counted and listed without reading the table. A
-- success has no entry here: it would be one more write per item.
create index if not exists :stopped_index
on :table (this.:"status", this.:"key")
where coalesce(this.:"status", '') not in (:ready_words, :running_words, :'succeeded'):this_and_not_ignored

-- step: key_index
-- Finds an item by a key of several columns, which the statements compare as one text. Not for a key of one column,
-- which has an index of its own.
create index if not exists :key_index
on :table (this.:"key")

-- step: any_in_progress
-- Whether any row is in progress by what the table says; the library's own column may not be there yet.
select exists (
  select
  from :table t
  where :said_status in (:running_words)
) as found

-- step: any_unstamped
-- The same for rows without a heartbeat.
select exists (
  select
  from :table t
  where :said_status in (:running_words)
    and t.:"heartbeat_at" is null
) as found

-- step: stamp
-- Stamps rows that another program may be working on.
update :table t
set :"heartbeat_at" = statement_timestamp()
where :said_status in (:running_words)
  and t.:"heartbeat_at" is null

-- step: note
-- Notes columns as added by Rowlock. One that is noted already stays with the pipeline that added it.
insert into :rowlock_meta (key, value)
values
  :notes
on conflict (key) do nothing

-- step: trigger
-- Wakes idle workers on an insert. The trigger fires once per statement, and notifies only while a worker has announced
-- that it waits: NOTIFY takes a global lock at commit. It can never make the user's insert fail.
create or replace function :notify_function() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $rowlock$
begin
  if exists (
    select from :qualified_meta where key = :waiting_key and value::timestamptz > clock_timestamp()
  ) then
    perform pg_notify(:channel, '');
  end if;
  return null;
exception when others then
  return null;
end
$rowlock$;
drop trigger if exists :notify_trigger on :table;
create trigger :notify_trigger after insert on :table for each statement execute function :notify_function()
