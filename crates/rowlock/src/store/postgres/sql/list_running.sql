-- list_running: `list` for items in progress. They are few among many, so it uses the partial index.
--
-- Index: the partial one over the words in progress; its predicate is repeated. The result is sorted.
-- Binds: $1 word   $2 the key before the page, or null   $3 limit
select
  t.*,
  t.:"key"::text as rowlock_key,
  t.:"status" as rowlock_word,
  t.:"claim_token" as rowlock_token
from :table t
where t.:"status" in (:running_words)
  and t.:"status" = $1::text
  and t.:"key" >= coalesce(($2::text):::key_type, :key_min)
  and ($2::text is null or t.:"key" <> ($2::text):::key_type)
  :legible
order by t.:"key"
limit $3::bigint
