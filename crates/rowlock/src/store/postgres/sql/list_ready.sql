-- list_ready: `list` for items that are ready, which may be few among many: by the partial index then.
--
-- Index: the partial one over the ready words, its predicate repeated, or the key's: the planner has the choice.
-- Binds: $1 word   $2 the key before the page, or null   $3 limit
select
  t.*,
  t.:"key"::text as rowlock_key,
  t.:"status" as rowlock_word,
  t.:"claim_token" as rowlock_token
from :table t
where t.:"status" in (:ready_words)
  and t.:"status" = $1::text
  and t.:"key" is not null
  and ($2::text is null or t.:"key" > ($2::text):::key_type)
order by t.:"key"
limit $3::bigint
