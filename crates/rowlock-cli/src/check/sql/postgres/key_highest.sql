-- key_highest: the highest key, from the end of its index.
select max({column})::bigint as highest
from {table}
