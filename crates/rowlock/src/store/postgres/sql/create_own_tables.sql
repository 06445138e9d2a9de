-- create_own_tables: creates Rowlock's own tables. They hold no item's state.
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
