-- get: one item.
--
-- Index: the key's.
-- Binds: $1 key
select
  t.*,
  t.:"key"::text as rowlock_key,
  t.:"status" as rowlock_word,
  t.:"claim_token" as rowlock_token
from :table t
where t.:"key" = ($1::text):::key_type
