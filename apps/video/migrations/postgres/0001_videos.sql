-- The queue: one row a video. A table of this name that a team has already keeps its rows and is completed, here
-- with the application's own columns and by rowlock's `prepare` with whatever the engine lacks.
create table if not exists video_processing (
  video_id text primary key,
  status text not null default 'PENDING',
  retry_count integer not null default 0,
  reset_count integer not null default 0,
  retry_after timestamptz,
  error_message text,
  pc_heartbeat timestamptz,
  claim_token bigint,
  claimed_by text,
  claimed_at timestamptz,
  resume_status text,
  created_at timestamptz not null default statement_timestamp(),
  updated_at timestamptz not null default statement_timestamp()
) with (fillfactor = 80); -- leaves room for heartbeats in the page

alter table video_processing
  add column if not exists path text,
  add column if not exists fingerprint text;

-- What EXTRACTION found out about a video.
create table video_details (
  video_id text primary key references video_processing (video_id) on delete cascade,
  duration_secs double precision,
  width_px integer not null,
  height_px integer not null,
  codec text not null,
  frame_rate double precision,
  has_sound boolean not null,
  frame_count integer not null,
  thumbnail_jpeg bytea not null,
  extraction_secs double precision not null
);

-- What a video shows, for EMBEDDING, which deletes the frames when it has the vector: each is 150 kB.
create table video_frames (
  video_id text not null references video_processing (video_id) on delete cascade,
  frame integer not null,
  rgb24 bytea not null,
  primary key (video_id, frame)
);

-- What EMBEDDING computed: 1280 little-endian floats.
create table video_embeddings (
  video_id text primary key references video_processing (video_id) on delete cascade,
  vector bytea not null,
  embedding_secs double precision not null
);
