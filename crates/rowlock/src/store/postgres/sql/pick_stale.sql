-- pick_stale: locks the items that a sweep would take back, by the scan of sweep.sql, and names them as pick_locked.sql
-- does, so that a batch that failed can be tried in parts.
--
-- Binds: as in sweep.sql
with
:stale
select named.*
from stale
cross join lateral (
  select
    concat(t.tableoid, ' ', t.ctid) as place,
    case when getdatabaseencoding() <> 'SQL_ASCII' then t.:"key"::text end as key,
    case when getdatabaseencoding() = 'SQL_ASCII' then convert_to(t.:"key"::text, 'SQL_ASCII') end as key_bytes,
    t.:"status"::text as word
  from :table t
  where t.:"key" = stale.key
  limit 1
) named
where $4::int is not null
