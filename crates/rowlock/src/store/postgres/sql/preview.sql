-- preview: what a claim would return now. It is the claim's query without its lock clause; it writes and locks nothing.
--
-- Index: that of `pick`, then the key's.
-- Binds: $1 to $9 as in pick
with
:pick
select
  t.*,
  t.:"key"::text as rowlock_key,
  t.:"status" as rowlock_word,
  t.:"claim_token" as rowlock_token
from :table t
where t.:"key" = any (array(select key from chosen where not exhausted))
  :legible
order by :position_of_ready, coalesce(t.:"retry_after", t.:"created_at", '-infinity')
