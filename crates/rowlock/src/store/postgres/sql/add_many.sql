-- add_many: moves the keys that COPY wrote into the staging table on, and skips those that exist.
insert into :table (:"key")
select distinct (staged.key):::key_type
from rowlock_staged staged
on conflict do nothing
