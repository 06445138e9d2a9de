create type "Status" as enum (
  'SCRAPE_PENDING', 'SCRAPE_PROCESSING', 'SCRAPE_REJECTED', 'EMBED_PENDING', 'EMBED_PROCESSING', 'EMBED_REJECTED',
  'COMPLETED'
);
create type "DocumentType" as enum ('PDF', 'WEB');
create table document (
  id bigserial primary key,
  doc_id text not null,
  title text,
  type "DocumentType" not null,
  url text,
  content text,
  summary text,
  status "Status" not null,
  thumbnail_url text,
  file_size bigint default 0,
  user_id bigint not null,
  created_at timestamp(3) not null default now(),
  updated_at timestamp(3) not null
);
create index document_updated on document (updated_at);
