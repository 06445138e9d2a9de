-- attach: what `attach` and `detach` ask of the server's catalogue. A table or an index that is a bind is quoted and
-- qualified as in the statements. The pattern of names is that of `schema.sql`'s indexes.

-- step: rows_about
-- About how many rows the table and its partitions have; 0 if that is not known.
-- Binds: $1 the table
select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as rows_about
from pg_class c
where c.relkind = 'r'
  and (c.oid = to_regclass($1::text) or c.oid in (select relid from pg_partition_tree(to_regclass($1::text))))

-- step: owner
-- Who may change the table, and whether this role may.
-- Binds: $1 the table
select pg_get_userbyid(c.relowner)::text as owner, pg_has_role(c.relowner, 'usage') as is_own
from pg_class c
where c.oid = to_regclass($1::text)

-- step: unleased
-- Rows in progress under no lease of Rowlock's, counted no further than the limit.
-- Binds: $1 limit
select count(*) as row_count
from (
  select
  from :table t
  where :said_status in (:running_words):and_unleased
  limit $1::bigint
) counted

-- step: leaves
-- The tables that hold the rows of a partitioned table; a row of nulls if it has none yet, and no row if it is not
-- partitioned.
-- Binds: $1 the table
select c.oid::regclass::text as leaf, n.nspname::text as schema, c.oid::text as number
from pg_class parent
left join lateral (
  select leaf.oid, leaf.relnamespace
  from pg_partition_tree(parent.oid) t
  join pg_class leaf on leaf.oid = t.relid
  where leaf.relkind = 'r'
) c on true
left join pg_namespace n on n.oid = c.relnamespace
where parent.oid = to_regclass($1::text)
  and parent.relkind = 'p'
order by c.oid

-- step: heaps
-- The tables that hold the rows, each with its number of pages.
-- Binds: $1 the table
select
  c.oid::regclass::text as name,
  (pg_relation_size(c.oid) / current_setting('block_size')::bigint)::bigint as pages
from pg_class c
where c.relkind = 'r'
  and (c.oid = to_regclass($1::text) or c.oid in (select relid from pg_partition_tree(to_regclass($1::text))))
order by c.oid

-- step: index_state
-- Whether an index was built to its end, and whether it is part of a partitioned one; no row if there is no such index.
-- Binds: $1 the index
select i.indisvalid as valid, c.relispartition as is_part
from pg_index i
join pg_class c on c.oid = i.indexrelid
where i.indexrelid = to_regclass($1::text)

-- step: remains
-- Indexes of the table, and of its partitions, that were not built to their end and whose definition is not that of
-- today.
-- Binds: $1 the table   $2 the names of today's indexes
select c.oid::regclass::text as name, c.relkind = 'I' as is_partitioned
from pg_index i
join pg_class c on c.oid = i.indexrelid
where not i.indisvalid
  and not c.relispartition
  and c.relname ~ '^rowlock_(ready|running|stopped|key)_index_[0-9a-f]{16}(_[0-9]+)?$'
  and not exists (select from unnest($2::text[]) as today (name) where starts_with(c.relname::text, today.name))
  and (
    i.indrelid = to_regclass($1::text)
    or i.indrelid in (select relid from pg_partition_tree(to_regclass($1::text)))
  )
order by c.relname

-- step: stamp_block
-- Stamps the rows of some pages that another program may be working on. A row that moved to another page meanwhile is
-- found by the next pass.
-- Index: none: the pages themselves.
-- Binds: $1 the first place   $2 the place after the last
update :table t
set :"heartbeat_at" = statement_timestamp()
where t.ctid >= $1::text::tid
  and t.ctid < $2::text::tid
  and :said_status in (:running_words)
  and t.:"heartbeat_at" is null

-- step: indexes
-- The indexes of pipelines, whole ones and not those of partitions: of this table, and of every table that shares its
-- own tables of Rowlock.
-- Binds: $1 the table   $2 rowlock_meta
select
  c.relname::text as bare_name,
  c.oid::regclass::text as name,
  c.relkind = 'I' as is_partitioned,
  i.indrelid = to_regclass($1::text) as is_of_table,
  i.indrelid::regclass::text as on_table
from pg_index i
join pg_class c on c.oid = i.indexrelid
where c.relname ~ '^rowlock_(ready|running|stopped|key)_index_[0-9a-f]{16}$'
  and not c.relispartition
  and (
    i.indrelid = to_regclass($1::text)
    or c.relnamespace = (select m.relnamespace from pg_class m where m.oid = to_regclass($2::text))
  )
order by c.relname

-- step: noted
-- Which of these columns are noted as added for the pipeline.
-- Binds: $1 the notes   $2 the pipeline
select key
from :rowlock_meta
where key = any ($1::text[])
  and value = $2::text
