create table uploads (
  upload integer primary key autoincrement,
  path text not null,
  is_processed boolean not null default false,
  processing_started_at datetime,
  processed_at datetime,
  uploaded_at datetime not null default current_timestamp
);
