insert into documents (collection_ids, owner_id, type, metadata, title, created_at)
select array[gen_random_uuid()], gen_random_uuid(), 'pdf', '{"a": 1}', 'report ' || n, now() - n * interval '1 minute'
from generate_series(1, 80) as g(n);
-- Mistake: in progress by one of seven words, without any lease, since weeks. 21 rows, 3 for each word.
insert into documents (collection_ids, type, title, ingestion_status, created_at, updated_at)
select array[gen_random_uuid()], 'pdf', 'stuck ' || n,
  (array['parsing', 'extracting', 'chunking', 'embedding', 'augmenting', 'storing', 'enriching'])[1 + n % 7],
  now() - interval '20 days', now() - interval '20 days'
from generate_series(1, 21) as g(n);
-- Ingested: the graph waits for 40 rows, is built for 50, failed for 5.
-- Mistake: it is in progress without a lease for 6.
insert into documents (collection_ids, type, title, summary, ingestion_status, extraction_status,
  ingestion_attempt_number, total_tokens, updated_at)
select array[gen_random_uuid()], 'pdf', 'done ' || n, 'few', 'success',
  case when n <= 40 then 'pending' when n <= 70 then 'success' when n <= 90 then 'enriched' when n <= 95 then 'failed'
  else 'processing' end, 1, 100 + n, now() - interval '9 days'
from generate_series(1, 101) as g(n);
insert into documents (collection_ids, type, title, ingestion_status) select array[gen_random_uuid()], 'pdf',
  'bad ' || n, 'failed' from generate_series(1, 12) as g(n);
-- Mistake: the status may be null. 8 rows.
insert into documents (type, title, ingestion_status) select 'pdf', 'null ' || n, null
from generate_series(1, 8) as g(n);
-- Mistake: words of an older version. 5 rows.
insert into documents (type, title, ingestion_status) select 'pdf', 'old ' || n, 'completed'
from generate_series(1, 5) as g(n);
