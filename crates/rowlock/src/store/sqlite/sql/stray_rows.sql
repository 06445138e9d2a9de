-- stray_rows: rows in progress without a lease of Rowlock's, counted no further than the limit. (`counts.sql` counts
-- the words that no worker takes up.)
-- Index: the one over the words in progress.
-- Binds: ?1 limit
select count(*)
from (select 1 from :table as t where t.:"status" in (:running_words) and t.:"claim_token" is null limit ?1)
