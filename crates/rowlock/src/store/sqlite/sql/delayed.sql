-- delayed: when a retried item is due. Its own delay counts unchanged; the policy's delay, for the count after this
-- failure, gets jitter and is then raised to the floor. A time past the end of the format would be null, which is due
-- at once, so the last time replaces it. A part of finish.
-- Binds: ?2 now  ?4 retry policies, one per stage (delays in seconds, jitter, floor), JSON
coalesce(
  strftime('%Y-%m-%dT%H:%M:%fZ', ?2, printf('%+.3f seconds', coalesce(
    (i.more ->> 'delay_ms') / 1000.0,
    max(
      json_extract(?4, '$[' || (i.more ->> 'stage') || '].floor'),
      json_extract(?4, '$[' || (i.more ->> 'stage') || '].delays[' || (max(min(:retries + 1, :attempts), 1) - 1) || ']')
        * (1 + json_extract(?4, '$[' || (i.more ->> 'stage') || '].jitter') * (random() / 9223372036854775808.0))
    )
  ))),
  '9999-12-31T23:59:59.999Z'
)
