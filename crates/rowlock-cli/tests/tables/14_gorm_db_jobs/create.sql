create table gorm_db_jobs (
  id bigserial primary key,
  created_at timestamptz,
  updated_at timestamptz,
  deleted_at timestamptz,
  repo text,
  state text,
  rev text,
  retry_count bigint,
  retry_after timestamptz
);
create index gorm_db_jobs_enqueued on gorm_db_jobs (state) where state = 'enqueued';
create index gorm_db_jobs_failed on gorm_db_jobs (state, retry_after desc) where state like 'failed%';
