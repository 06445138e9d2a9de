-- schema: what `prepare` creates.

-- step: create_table
-- The pipeline's table, where there is none.
create table :table (
  :key_definition,
  :"status" text not null default :'first_ready',
  :"retry_count" integer not null default 0,
  :"reset_count" integer not null default 0,
  :"retry_after" text,
  :"error_message" text,
  :"heartbeat_at" text,
  :"claim_token" integer,
  :"claimed_by" text,
  :"claimed_at" text,
  :"resume_status" text,
  :"created_at" text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  :"updated_at" text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)

-- step: add_status
-- This step and those that follow add the columns that a table of the user's lacks. SQLite allows no default that calls
-- a function here: an item that is inserted without `created_at` has none, and is older than all that have one.
alter table :table add column :"status" text not null default :'first_ready'

-- step: add_retry_count
alter table :table add column :"retry_count" integer not null default 0

-- step: add_reset_count
alter table :table add column :"reset_count" integer not null default 0

-- step: add_retry_after
alter table :table add column :"retry_after" text

-- step: add_error_message
alter table :table add column :"error_message" text

-- step: add_heartbeat_at
alter table :table add column :"heartbeat_at" text

-- step: add_claim_token
alter table :table add column :"claim_token" integer

-- step: add_claimed_by
alter table :table add column :"claimed_by" text

-- step: add_claimed_at
alter table :table add column :"claimed_at" text

-- step: add_resume_status
alter table :table add column :"resume_status" text

-- step: add_created_at
alter table :table add column :"created_at" text

-- step: add_updated_at
alter table :table add column :"updated_at" text

-- step: add_own_state
-- For states that the table cannot say.
alter table :table add column :own_state text

-- step: write_existing
-- Writes the rows that the table already had when its status was added.
-- Binds: ?1 the word for them
update :table as t
set :"status" = ?1

-- step: stamp_in_progress
-- Another program may be working on the items in progress: they become stale after one `stale_after`, not at once.
-- Index: the one over the words in progress.
-- Binds: ?1 now
update :table as t
set :"heartbeat_at" = ?1
where t.:"status" in (:running_words)
  and t.:"heartbeat_at" is null

-- step: create_ready_index
-- An item is in one of the three indexes until it succeeds, then in none. Their names end in a hash of their
-- definition, so that a pipeline whose words change gets new ones. This one is for the claim: each stage's queue, in
-- order.
create index if not exists :ready_index
on :bare_table (this.:"status", :this_queue_order)
where :this_is_ready

-- step: create_running_index
-- For the sweep, for the search for a lost claim, and for who holds what.
create index if not exists :running_index
on :bare_table (this.:"claim_token")
where this.:"status" in (:running_words)

-- step: create_stopped_index
-- For counting and listing items that failed, were cancelled or have an unknown word, without reading the table. A
-- success has no entry here: it would be one more write per item.
create index if not exists :stopped_index
on :bare_table (this.:"status", this.:"key")
where coalesce(this.:"status", '') not in (:ready_words, :running_words, :'succeeded'):this_and_not_ignored

-- step: create_key_index
-- Finds an item by a key of several columns, which the statements compare as one text. Not for a key of one column,
-- which has an index of its own.
create index if not exists :key_index
on :bare_table (this.:"key")

-- step: create_failures
-- This step and those that follow make Rowlock's own tables. They hold no item's state.
create table if not exists :rowlock_failures (
  id integer primary key autoincrement,
  pipeline text not null,
  item text not null,
  failed_at text not null,
  word text not null,
  cause text not null,
  holder text,
  error text not null
)

-- step: create_failures_index
create index if not exists rowlock_failures_item
on rowlock_failures (pipeline, item)

-- step: create_stages
create table if not exists :rowlock_stages (
  pipeline text not null,
  stage text not null,
  paused_at text not null,
  primary key (pipeline, stage)
)

-- step: create_meta
create table if not exists :rowlock_meta (
  key text not null primary key,
  value text not null
)

-- step: write_version
insert into :rowlock_meta (key, value)
values ('schema_version', ?1)
on conflict (key) do nothing
