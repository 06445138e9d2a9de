insert into scan_pages (image, changed, note) select decode(lpad(to_hex(n), 4, '0'), 'hex'),
  now() - n * interval '1 minute', 'page ' || n from generate_series(1, 130) as g(n);
-- Mistake: being read since weeks. 12 rows.
insert into scan_pages (image, state, changed) select '\x00', 1, now() - interval '30 days'
from generate_series(1, 12) as g(n);
insert into scan_pages (image, state, changed) select '\x00', 2, now() - interval '3 days'
from generate_series(1, 90) as g(n);
insert into scan_pages (image, state, changed) select '\x00', 3, now() - interval '3 days'
from generate_series(1, 15) as g(n);
insert into scan_pages (image, state, changed) select '\x00', -1, now() - interval '3 days'
from generate_series(1, 9) as g(n);
