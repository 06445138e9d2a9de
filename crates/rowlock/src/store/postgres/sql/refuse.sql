-- refuse: fails an item that the database does not let move in any other way.
--
-- Forms:     `refuse` finds it by its key and token. `refuse_held` (`by_token`) by the token under which it is in
--            progress. `refuse_place` (`by_place`) by its place, in the transaction that has it locked.
-- Guarantee: the token is cleared, unless the holder asks to keep it, as its own finish would.
-- Index:     the key's; the one on the token.
-- Binds:     $1 place or key   $2 token, or null   $3 now, or null   $4 keep the token   $5 the reason
with
moved as (
  update :table t
  set
    :"status" = :'failed',
    :"error_message" = left($5::text, :error_chars_max),
    :"retry_after" = null,
    :"resume_status" = :resume_of_any,
    :"claim_token" = case when $4::bool then t.:"claim_token" end,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  where
    \if :by_place
    -- A bad row may break every other way to find it: see claim.sql.
    t.ctid = any (array(select split_part(place, ' ', 2)::tid from unnest(array[$1::text]) as given (place)))
    and concat(t.tableoid, ' ', t.ctid) = any (array[$1::text])
    \elif :by_token
    -- Not by the key: one that is out of range of the pipeline's key type cannot be looked up as one.
    t.:"claim_token" = $2::bigint and t.:"status" in (:running_words) and t.:"key"::text = $1::text
    \else
    t.:"key" = ($1::text):::key_type
    \endif
    and ($2::bigint is null or t.:"claim_token" = $2::bigint)
  returning
    t.:"key"::text as item, :running_of_stopped as was, t.:"resume_status" as resume, t.:"claimed_by" as holder,
    t.:"error_message" as error, t.:"status" = :'failed' as is_failed
),
failed as (
  select
    item, case when $2::bigint is null then resume else coalesce(was, resume) end as word, 'refused' as cause, holder,
    error
  from moved
),
:log_failures
select coalesce(is_failed, false) as is_failed
from moved
