-- continue_items: moves items that are held under one token in one stage on to the next stage, under a new lease: the
-- work of `complete_plain` and `claim_plain`, which take several steps.
--
-- Guarantee: every row is matched by key, token and word in progress. A row that does not match is not written, nor is
--            one that a claim of the next stage would not take as an ordinary item (`:may_continue`). One write
--            transaction: a step for each token, then `find` of find_claimed.sql for the whole rows as they are now.
--            Not `returning`: a trigger may change a row after the update.
-- Binds:     ?1 keys, JSON  ?2 now  ?3 token  ?4 word in progress  ?5 the next word in progress  ?6 new token
--            ?7 holder  ?8 max_retries  ?9 max_resets  ?10 the next stage's name

-- step: few
-- Index: that of complete_plain's `few`.
update :table as t
set
  :continued
where t.:"key" in (select value from json_each(?1))
  and t.:"claim_token" = ?3
  and +t.:"status" = ?4
  and :may_continue

-- step: many
-- Index: that of complete_plain's `many`.
update :table as t indexed by :running_index
set
  :continued
where t.:"claim_token" = ?3
  and t.:"status" in (:running_words)
  and +t.:"key" in (select value from json_each(?1))
  and +t.:"status" = ?4
  and :may_continue
