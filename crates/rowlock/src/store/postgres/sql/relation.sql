-- relation: the properties of the pipeline's table other than its columns; no row if the table does not exist.
--
-- Cost:  that of reading the catalogue. `parts` are the tables that hold the rows: the table itself, or its partitions.
-- Binds: $1 the table, quoted and qualified as in the statements   $2 the status column
with parts as materialized (
  select c.oid, c.relkind, c.relreplident, c.relnamespace, c.relname
  from pg_class c
  where c.oid = to_regclass($1::text)
     or c.oid in (select relid from pg_partition_tree(to_regclass($1::text)))
),
updates_published as materialized (
  select p.pubname
  from pg_publication p
  join pg_publication_tables t on t.pubname = p.pubname
  join parts on parts.relname = t.tablename
  join pg_namespace n on n.oid = parts.relnamespace and n.nspname = t.schemaname
  where p.pubupdate
)
select
  c.relkind::text as kind,
  (
    select min(i.inhrelid::regclass::text)
    from pg_inherits i
    join pg_class child on child.oid = i.inhrelid
    where i.inhparent = c.oid and not child.relispartition
  ) as child,
  exists (
    select
    from parts
    join pg_partitioned_table p on p.partrelid = parts.oid
    join pg_attribute a on a.attrelid = parts.oid and a.attnum = any (p.partattrs)
    where a.attname = $2::text
  ) as is_partitioned_by_status,
  (select min(oid::regclass::text) from parts where relkind = 'f') as foreign_part,
  case when c.relkind in ('r', 'p') then row_security_active(c.oid) else false end as has_row_security,
  c.reltuples::bigint as rows_about,
  (select min(pubname)::text from updates_published) as publication,
  (
    select min(parts.oid::regclass::text)
    from parts
    where parts.relkind = 'r'
      and exists (select from updates_published)
      and case parts.relreplident
        when 'f' then false
        when 'd' then not exists (select from pg_index i where i.indrelid = parts.oid and i.indisprimary)
        when 'i' then not exists (
          select from pg_index i where i.indrelid = parts.oid and i.indisreplident and i.indisvalid
        )
        else true
      end
  ) as part_without_identity
from pg_class c
where c.oid = to_regclass($1::text)
