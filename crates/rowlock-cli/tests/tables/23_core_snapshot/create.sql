create table core_snapshot (
  id char(32) primary key,
  created_at datetime not null,
  modified_at datetime not null,
  url varchar(200) not null,
  timestamp varchar(32) not null,
  bookmarked_at datetime not null,
  crawl_id char(32) not null,
  parent_snapshot_id char(32),
  title varchar(512),
  downloaded_at datetime,
  depth smallint not null default 0,
  fs_version varchar(10) not null,
  current_step smallint not null default 0,
  retry_at datetime default current_timestamp,
  status varchar(15) not null default 'queued',
  config text not null default '{}',
  notes text not null default ''
);
create index core_snapshot_status on core_snapshot (status);
create index core_snapshot_retry_at on core_snapshot (retry_at);
create index core_snapshot_created_at on core_snapshot (created_at);
create index core_snapshot_crawl on core_snapshot (crawl_id);
