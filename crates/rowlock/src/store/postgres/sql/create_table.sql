-- create_table: the pipeline's table, where there is none. The fill factor leaves room for heartbeats in the page.
create table if not exists :table (
  :"key" :key_type primary key,
  :role_columns
) with (fillfactor = 80)
