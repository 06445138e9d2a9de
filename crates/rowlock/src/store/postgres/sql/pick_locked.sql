-- pick_locked: locks the items that a claim would take and names them, so that a batch which the database refuses can
-- be moved in parts.
--
-- Binds: $1 to $9 as in pick
with
:pick
select key::text as key, (select count(*) from picked) as picked
from chosen
order by n
