-- snapshots: what keeps vacuum from removing dead rows right now: old transactions, replication slots, prepared
-- transactions, and replicas that report their snapshots. It reads no table.
select
  'transaction' as kind,
  a.pid::text as name,
  extract(epoch from statement_timestamp() - a.xact_start)::float8 as age,
  coalesce(a.state, '') || coalesce(', application ' || nullif(a.application_name, ''), '') as what
from pg_stat_activity a
where (a.backend_xmin is not null or a.backend_xid is not null)
  and a.pid <> pg_backend_pid()
  and a.backend_type in ('client backend', 'background worker', 'parallel worker')
  and a.datname = current_database()
  and a.xact_start < statement_timestamp() - interval '{old_secs} seconds'
union all
select 'prepared', p.gid, extract(epoch from statement_timestamp() - p.prepared)::float8, 'of ' || p.owner
from pg_prepared_xacts p
where p.database = current_database()
  and p.prepared < statement_timestamp() - interval '{old_secs} seconds'
union all
-- The age of a slot is told in transactions only.
select 'slot', r.slot_name::text, null::float8,
  case when r.active then 'in use' else 'not in use' end || ', ' || age(r.xmin) || ' transactions behind'
from pg_replication_slots r
where r.xmin is not null
  and age(r.xmin) > {old_transactions}
order by 3 desc nulls last
limit 20
