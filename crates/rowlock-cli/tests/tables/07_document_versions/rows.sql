insert into documents (id) select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid
from generate_series(1, 250) as g(n);
-- Embedding ready, the stage before it done: 60 rows.
insert into document_versions (document_id, extraction_status, extraction_attempt_count, extraction_completed_at,
  embedding_status, created_at)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'ready', 1, now() - interval '1 day', 'pending',
  now() - n * interval '1 minute'
from generate_series(1, 60) as g(n);
-- Embedding asked for before the text is there: waits. 15 rows pending, 5 failed in extraction.
insert into document_versions (document_id, extraction_status, embedding_status, extraction_error, created_at)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid,
  case when n <= 75 then 'pending' else 'failed' end, 'pending',
  case when n > 75 then 'not a PDF' end, now() - n * interval '1 minute'
from generate_series(61, 80) as g(n);
-- Mistake: the count is over the limit, because each successful chunk was counted too. 8 rows.
insert into document_versions (document_id, extraction_status, extraction_attempt_count, embedding_status,
  embedding_attempt_count)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'ready', 1, 'pending', 40 + n % 10
from generate_series(81, 88) as g(n);
-- Mistake: embedding in progress since days. 9 rows; without a stamp: 4 rows.
insert into document_versions (document_id, extraction_status, extraction_attempt_count, embedding_status,
  embedding_attempt_count, embedding_started_at)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'ready', 1, 'processing', 1,
  case when n <= 97 then now() - interval '6 days' end
from generate_series(89, 101) as g(n);
-- Extraction: ready 50, stuck with an old stamp 7, without a stamp 3.
insert into document_versions (document_id, extraction_status, extraction_attempt_count, created_at)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'pending', case when n % 2 = 0 then 1 end,
  now() - n * interval '1 minute'
from generate_series(102, 151) as g(n);
insert into document_versions (document_id, extraction_status, extraction_attempt_count, extraction_started_at)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'processing', 1,
  case when n <= 158 then now() - interval '6 days' end
from generate_series(152, 161) as g(n);
-- Both done 60, embedding failed 10.
insert into document_versions (document_id, extraction_status, extraction_attempt_count, embedding_status,
  embedding_error, embedding_completed_at)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'ready', 1,
  case when n <= 221 then 'ready' else 'failed' end,
  case when n > 221 then 'model is gone' end, case when n <= 221 then now() - interval '1 day' end
from generate_series(162, 231) as g(n);
