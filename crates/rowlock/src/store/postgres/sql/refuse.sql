-- refuse: fails an item that the database would not let be moved otherwise.
--
-- Guarantee: matched by key, by the word that it had, and by the token if a holder asks; the token stays then.
-- Index:     the key's.
-- Binds:     $1 key   $2 word, or null for any   $3 now, or null   $4 token of the holder, or null   $5 the reason
with
moved as (
  update :table t
  set
    :"status" = :'failed',
    :"error_message" = left($5::text, :error_chars_max),
    :"retry_after" = null,
    :"resume_status" = :resume_of_any,
    :"claim_token" = case when $4::bigint is null then null else t.:"claim_token" end,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  where t.:"key" = ($1::text):::key_type
    and ($2::text is null or t.:"status" = $2::text)
    and ($4::bigint is null or t.:"claim_token" = $4::bigint)
  returning t.:"key"::text as item, coalesce($2::text, t.:"resume_status") as word, t.:"claimed_by" as holder, t.:"error_message" as error
),
failed as (
  select item, word, 'refused' as cause, holder, error
  from moved
),
:log_failures
select item
from moved
