-- Mistake: each finished row moves to another partition, and a fence by place or by key is lost on the way.
insert into tickets (id) select n from generate_series(1, 200) as g(n);
insert into tickets (id, status) select n, 'closed' from generate_series(201, 300) as g(n);
