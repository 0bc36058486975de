-- Prints one line per table: the number of rows and a hash that does not depend on their order.
--
--     psql --set layout=archive|aegis --set first=ID --file digest.sql
--
-- The load time and events with an id below `first`, which were stored before, do not count. Numbers in documents are
-- compared as double precision, because Python, DuckDB and JavaScript keep no more digits (the loader and psql keep all).

\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION pg_temp.rounded(document jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(document)
        WHEN 'number' THEN to_jsonb(document::float8)
        WHEN 'array' THEN
            (SELECT coalesce(jsonb_agg(pg_temp.rounded(value) ORDER BY place), '[]')
               FROM jsonb_array_elements(document) WITH ORDINALITY AS element(value, place))
        WHEN 'object' THEN
            (SELECT coalesce(jsonb_object_agg(key, pg_temp.rounded(value)), '{}') FROM jsonb_each(document))
        ELSE document
    END
$$;

SELECT :'layout' = 'archive' AS archive \gset
\if :archive
SELECT 'kill_event', count(*), sum(hashtextextended((t.*)::text, 0))
  FROM (SELECT (to_jsonb(kill_event) - 'loaded_at')::text FROM kill_event WHERE event_id >= :first) AS t;

SELECT 'kill_player', count(*), sum(hashtextextended((t.*)::text, 0))
  FROM (SELECT (to_jsonb(kill_player) - 'main_hand_soul')::text, pg_temp.rounded(main_hand_soul)
          FROM kill_player WHERE event_id >= :first) AS t;

SELECT 'kill_loot', count(*), sum(hashtextextended((t.*)::text, 0))
  FROM (SELECT (to_jsonb(kill_loot) - 'soul')::text, pg_temp.rounded(soul)
          FROM kill_loot WHERE event_id >= :first) AS t;
\else
SELECT 'KillEvent', count(*), sum(hashtextextended((t.*)::text, 0))
  FROM (SELECT (to_jsonb("KillEvent") - 'ingestedAt' - 'killerEquipment' - 'victimEquipment')::text,
               pg_temp.rounded("killerEquipment"), pg_temp.rounded("victimEquipment")
          FROM "KillEvent" WHERE "EventId" >= :first) AS t;
\endif
