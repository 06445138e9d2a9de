insert into measurements (code, value, made) select 'n' || n, n / 7.0, now() - n * interval '1 minute'
from generate_series(1, 115) as g(n);
-- Mistake: new at the limit. 7 rows.
insert into measurements (code, tries) select 'l' || n, 5 + n from generate_series(1, 7) as g(n);
-- Mistake: busy since days, 12 rows; without a stamp, 6 rows.
insert into measurements (code, step, begun) select 'b' || n, 'busy',
  case when n <= 12 then now() - interval '7 days' end from generate_series(1, 18) as g(n);
insert into measurements (code, step, value, begun) select 'g' || n, 'good', 'NaN', now() - interval '7 days'
from generate_series(1, 90) as g(n);
insert into measurements (code, step, reason) select 'x' || n, 'bad', 'sensor broken'
from generate_series(1, 20) as g(n);
insert into measurements (code, step) select 'o' || n, 'off' from generate_series(1, 10) as g(n);
