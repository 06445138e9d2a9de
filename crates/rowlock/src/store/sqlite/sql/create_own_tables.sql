-- create_own_tables: creates Rowlock's own tables. They hold no item's state.

-- step: failures
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

-- step: failures_index
create index if not exists rowlock_failures_item
on rowlock_failures (pipeline, item)

-- step: stages
create table if not exists :rowlock_stages (
  pipeline text not null,
  stage text not null,
  paused_at text not null,
  primary key (pipeline, stage)
)

-- step: meta
create table if not exists :rowlock_meta (
  key text not null primary key,
  value text not null
)

-- step: version
insert into :rowlock_meta (key, value)
values ('schema_version', ?1)
on conflict (key) do nothing
