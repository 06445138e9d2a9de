-- detach: how a pipeline is taken back from its table. Each step may be repeated.

-- step: drop_trigger
drop trigger if exists :notify_trigger on :table;
drop function if exists :notify_function()

-- step: drop_columns
-- The columns, and the notes that they are Rowlock's.
alter table :table
  :drop_columns;
delete from :rowlock_meta
where key in (:notes)

-- step: forget
-- The pipeline's rows in Rowlock's own tables, which other pipelines use.
delete from :rowlock_stages where pipeline = :'pipeline';
delete from :rowlock_failures where pipeline = :'pipeline';
delete from :rowlock_meta where key in (:waiting_key, :swept_key)

-- step: drop_own_tables
drop table if exists :rowlock_failures, :rowlock_stages, :rowlock_meta

-- step: has_trigger
-- Binds: $1 the table   $2 the trigger
select exists (
  select
  from pg_trigger
  where tgrelid = to_regclass($1::text)
    and tgname = $2::text
) as found
