-- finish: ends leases, each with its own outcome, in any mixture.
--
-- Guarantee: every row is matched by key, token and its stage's word in progress; a row that does not match is not
--            written. This one statement counts, decides and moves. The token stays, so that a lost answer can be
--            settled. The error of an item that reaches its limit is composed beforehand: `spent_error`.
-- Index:     the key's, one lookup per item.
-- Binds:     ?1 items (key, token, word, move, stage, error, spent_error, delay_ms, due), JSON  ?2 now  ?3 max_retries
--            ?4 retry policies, one per stage (delays in seconds, jitter, floor), JSON
with i as materialized (:items)
update :table as t
set
  :"status" = case
    when i.move = 'complete' then :next_of_running
    when i.move = 'fail' or (i.move = 'retry' and :retries + 1 >= ?3) then :'failed'
    else :ready_of_running
  end,
  :"retry_count" = case i.move
    when 'retry' then :retries + 1
    when 'complete' then iif(:budget_is_per_stage, 0, t.:"retry_count")
    else t.:"retry_count"
  end,
  :"reset_count" = iif(i.move = 'complete' and :budget_is_per_stage, 0, t.:"reset_count"),
  :"retry_after" = case
    -- Its own delay counts unchanged; the policy's delay, for the count after this failure, gets jitter and is then
    -- raised to the floor. A time past the end of the format would be null, which is due at once, so the last time
    -- replaces it.
    when i.move = 'retry' and :retries + 1 < ?3 then coalesce(
      strftime('%Y-%m-%dT%H:%M:%fZ', ?2, printf('%+.3f seconds', coalesce(
        (i.more ->> 'delay_ms') / 1000.0,
        max(
          json_extract(?4, '$[' || (i.more ->> 'stage') || '].floor'),
          json_extract(
            ?4, '$[' || (i.more ->> 'stage') || '].delays[' || (max(min(:retries + 1, :attempts), 1) - 1) || ']'
          ) * (1 + json_extract(?4, '$[' || (i.more ->> 'stage') || '].jitter') * (random() / 9223372036854775808.0))
        )
      ))),
      '9999-12-31T23:59:59.999Z'
    )
    when i.move = 'snooze' then i.more ->> 'due'
    when i.move = 'release' then t.:"retry_after"
  end,
  :"error_message" = case
    when i.move = 'retry' and :retries + 1 >= ?3 then i.more ->> 'spent_error'
    when i.move in ('retry', 'fail') then i.more ->> 'error'
    when i.move = 'complete' and t.:"status" = :'last_running' then :error_after_success
    else t.:"error_message"
  end,
  :"resume_status" = iif(
    i.move = 'fail' or (i.move = 'retry' and :retries + 1 >= ?3),
    :ready_of_running,
    t.:"resume_status"
  ),
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"claim_token" = i.token
  and t.:"status" = i.word
:returning
