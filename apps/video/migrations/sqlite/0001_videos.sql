-- The queue: one row a video. A table of this name that exists keeps its rows; rowlock's `prepare` adds what the
-- engine lacks.
create table if not exists video_processing (
  video_id text not null primary key,
  path text,
  fingerprint text,
  status text not null default 'PENDING',
  retry_count integer not null default 0,
  reset_count integer not null default 0,
  retry_after text,
  error_message text,
  pc_heartbeat text,
  claim_token integer,
  claimed_by text,
  claimed_at text,
  resume_status text,
  created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  updated_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- What EXTRACTION found out about a video.
create table video_details (
  video_id text not null primary key references video_processing (video_id) on delete cascade,
  duration_secs real,
  width_px integer not null,
  height_px integer not null,
  codec text not null,
  frame_rate real,
  has_sound boolean not null,
  frame_count integer not null,
  thumbnail_jpeg blob not null,
  extraction_secs real not null
);

-- What a video shows, for EMBEDDING, which deletes the frames when it has the vector: each is 150 kB.
create table video_frames (
  video_id text not null references video_processing (video_id) on delete cascade,
  frame integer not null,
  rgb24 blob not null,
  primary key (video_id, frame)
);

-- What EMBEDDING computed: 1280 little-endian floats.
create table video_embeddings (
  video_id text not null primary key references video_processing (video_id) on delete cascade,
  vector blob not null,
  embedding_secs real not null
);
