-- pick_stale: locks the items that a sweep would take back and names them, so that a batch that failed can be tried in
-- parts.
--
-- Binds: as in stale
with
:stale
select named.*
from stale
cross join lateral (
  select
    :place,
    t.:"status"::text as word
  from :table t
  where t.:"key" = stale.key
  limit 1
) named
where $4::int is not null
