-- detach: how a pipeline is taken back from its table.

-- step: other_indexes
-- The indexes of pipelines in the file, each with its table.
-- Binds: none
select name, tbl_name
from sqlite_schema
where type = 'index'
  and name glob 'rowlock_*_????????'
  and tbl_name not in ('rowlock_failures', 'rowlock_stages', 'rowlock_meta')
order by name

-- step: forget_note
-- Binds: ?1 the note
delete from :rowlock_meta
where key = ?1

-- step: any_rows
-- Whether the pipeline has rows in Rowlock's own tables.
-- Binds: ?1 the pipeline
select exists (select 1 from :rowlock_stages where pipeline = ?1)
    or exists (select 1 from :rowlock_failures where pipeline = ?1)

-- step: forget_stages
-- Binds: ?1 the pipeline
delete from :rowlock_stages
where pipeline = ?1

-- step: forget_failures
-- Binds: ?1 the pipeline
delete from :rowlock_failures
where pipeline = ?1

-- step: drop_failures
drop table if exists :rowlock_failures

-- step: drop_stages
drop table if exists :rowlock_stages

-- step: drop_meta
drop table if exists :rowlock_meta
