-- list: items by status, one page in the order of their keys.
--
-- Index: the key's, read from the page before onwards until the page is full. If few of many items are ready, or none
--        succeeded, that may be the whole index. The verb's deadline applies.
-- Binds: $1 word, or null for all   $2 the key before the page, or null   $3 limit
select
  t.*,
  t.:"key"::text as rowlock_key,
  t.:"status" as rowlock_word,
  t.:"claim_token" as rowlock_token
from :table t
where ($1::text is null or t.:"status" = $1::text)
  and t.:"key" >= coalesce(($2::text):::key_type, :key_min)
  and ($2::text is null or t.:"key" <> ($2::text):::key_type)
  :legible
order by t.:"key"
limit $3::bigint
