create table bookmarks (
  "id" text primary key,
  "createdAt" integer not null,
  "lastSavedAt" integer,
  "modifiedAt" integer,
  "title" text,
  "archived" integer not null default 0,
  "favourited" integer not null default 0,
  "userId" text not null,
  "taggingStatus" text default 'pending',
  "summarizationStatus" text default 'pending',
  "embeddingStatus" text default 'pending',
  "summary" text,
  "note" text,
  "type" text not null,
  "source" text
);
