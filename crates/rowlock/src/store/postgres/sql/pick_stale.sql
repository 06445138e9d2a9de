-- pick_stale: locks the items that a sweep would take back and names them, so that a batch which the database refuses
-- can be moved in parts.
--
-- Binds: as in stale
with
:stale
select key::text as key
from stale
where $4::int is not null
