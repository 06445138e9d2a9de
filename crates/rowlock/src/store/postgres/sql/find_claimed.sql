-- find_claimed: the items in progress under a token, after the answer to the claim was lost. It renews their leases and
-- does not merely read them, because the age of the claim is unknown.
--
-- Index: the partial one over the words in progress, on the token.
-- Binds: $1 token   $2 now, or null
with
held as materialized (
  select t.:"key" as key
  from :table t
  where t.:"claim_token" = $1::bigint
    and t.:"status" in (:running_words)
    and t.:"key" is not null
  for no key update skip locked
)
update :table t
set
  :"heartbeat_at" = coalesce($2::timestamptz, statement_timestamp()),
  :"updated_at" = coalesce($2::timestamptz, statement_timestamp())
where t.:"key" = any (array(select key from held))
  and t.:"claim_token" = $1::bigint
  and t.:"status" in (:running_words)
returning
  t.*,
  t.:"key"::text as rowlock_key:and_role_values
