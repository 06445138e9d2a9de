-- create_table: creates the pipeline's table if there is none. The fill factor leaves room for heartbeats in each page.
create table if not exists :table (
  :"key" :key_type primary key,
  :role_columns
) with (fillfactor = 80)
