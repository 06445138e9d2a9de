-- explain: the facts about one item that decide whether it can be claimed now.
--
-- Index: the key's.
-- Binds: $1 key   $2 now, or null
select
  :shown_key as rowlock_key,
  coalesce($2::timestamptz, statement_timestamp()) as at,
  :shown_word as word,
  t.:"retry_count"::int as retry_count,
  t.:"reset_count"::int as reset_count,
  t.:"retry_after" as retry_after,
  t.:"created_at" as created_at,
  :shown_error as error,
  :shown_holder as holder,
  t.:"claimed_at" as claimed_at,
  t.:"heartbeat_at" as heartbeat_at,
  :shown_resume as resume,
  exists (
    select from :rowlock_stages s where s.pipeline = :'pipeline' and :ready_of_stage = :resume_of_any
  ) as paused,
  :is_wanted as wanted
from :table t
where t.:"key" = ($1::text):::key_type
