-- Partitions the tables of layout "archive" by time: ids grow with time, so ranges of ids are ranges of time, and the keys
-- stay unchanged. docs/scaling.md describes when this is useful.
--
--     aegis-kills schema apply
--     psql "$DATABASE_URL" -v from=1300000000 -f docs/partitions.sql
--     aegis-kills schema apply
--
-- The first run makes each table partitioned, with the stored rows as its first partition. It copies nothing, but reads all
-- stored rows once, and blocks loads meanwhile. Every run adds partitions for future events, so run it from cron. All changes
-- are one transaction. Variables, each with -v:
--
--     ids     ids per partition; 20,000,000 are about a month of one game server (default)
--     ahead   empty partitions after the newest stored event (default 3)
--     from    the first future id, if the tables are empty
--     schema  the PostgreSQL schema (default public)
--
-- An event with an id after the last partition is rejected with SQLSTATE 23514. The ids of game servers grow independently, so
-- use a schema of its own for each server. Privileges belong to tables: run deploy/role.sql again after the first run.

\set ON_ERROR_STOP on
\if :{?ids}
\else
\set ids 20000000
\endif
\if :{?ahead}
\else
\set ahead 3
\endif
\if :{?from}
\else
\set from ''
\endif
\if :{?schema}
\else
\set schema public
\endif

BEGIN;
-- Unqualified names are only found in the system's schema, because others may have created functions and operators in this one.
SET LOCAL search_path TO pg_catalog, pg_temp;
SELECT set_config('kills.schema', :'schema', true), set_config('kills.ids', :'ids', true),
       set_config('kills.ahead', :'ahead', true), set_config('kills.from', :'from', true)
\g /dev/null
-- Loads queue behind this lock request, so the request has a short limit.
SET LOCAL lock_timeout = '30s';
LOCK TABLE :"schema".kill_event, :"schema".kill_player, :"schema".kill_loot IN ACCESS EXCLUSIVE MODE;

-- The quoted name of a table of the schema.
CREATE FUNCTION pg_temp.of_schema(name text) RETURNS text LANGUAGE sql AS
$$ SELECT format('%I.%I', current_setting('kills.schema'), name) $$;

-- Makes one table partitioned. All stored rows are below the bound.
CREATE FUNCTION pg_temp.make_partitioned(name text, bound bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  first regclass := pg_temp.of_schema(name)::regclass;
  whole text := pg_temp.of_schema(name);
  key text;
  index record;
BEGIN
  EXECUTE format('ALTER TABLE %s RENAME TO %I', first, name || '_first');
  SELECT pg_get_constraintdef(oid) INTO STRICT key FROM pg_constraint WHERE conrelid = first AND contype = 'p';
  -- Frees the names for the indexes of the partitioned table, which attach these.
  FOR index IN SELECT relname::text AS name FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = first LOOP
    EXECUTE format('ALTER INDEX %s RENAME TO %I', pg_temp.of_schema(index.name), index.name || '_first');
  END LOOP;
  EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS)
                  PARTITION BY RANGE (event_id)', whole, first);
  EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s WITH (fillfactor = 100)', whole, name || '_pkey', key);
  EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (MINVALUE) TO (%s)', whole, first, bound);
END $$;

-- The newest stored event, found by the key for each game server.
CREATE FUNCTION pg_temp.newest() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  newest bigint;
BEGIN
  EXECUTE format('SELECT max(newest) FROM unnest(enum_range(NULL::%s)) AS one,
                  LATERAL (SELECT max(event_id) AS newest FROM %s WHERE server = one) AS last',
                 pg_temp.of_schema('albion_server'), pg_temp.of_schema('kill_event')) INTO newest;
  RETURN newest;
END $$;

DO $$
DECLARE
  tables text[] := ARRAY['kill_event', 'kill_player', 'kill_loot'];
  name text;
  whole regclass := pg_temp.of_schema('kill_event')::regclass;
  ids bigint := current_setting('kills.ids');
  newest bigint := pg_temp.newest();
  -- If no event is stored, the id before the first future one.
  last bigint := coalesce(newest, nullif(current_setting('kills.from'), '')::bigint - 1);
  bound bigint;
BEGIN
  IF (SELECT relkind = 'r' FROM pg_class WHERE oid = whole) THEN
    IF last IS NULL THEN
      RAISE 'the tables are empty' USING HINT = 'set the first future id, as in -v from=1300000000, or load a dump first';
    END IF;
    bound := CASE WHEN newest IS NULL THEN (last + 1) / ids ELSE last / ids + 1 END * ids;
    FOREACH name IN ARRAY tables LOOP
      PERFORM pg_temp.make_partitioned(name, bound);
    END LOOP;
    whole := pg_temp.of_schema('kill_event')::regclass;
  END IF;
  -- The end of the last partition.
  SELECT max(substring(pg_get_expr(relpartbound, oid) FROM $expression$TO \('(-?\d+)'\)$expression$)::bigint)
  INTO bound FROM pg_class JOIN pg_inherits ON inhrelid = oid WHERE inhparent = whole;
  WHILE bound <= last + ids * current_setting('kills.ahead')::bigint LOOP
    FOREACH name IN ARRAY tables LOOP
      EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)',
                     pg_temp.of_schema(name || '_' || bound), pg_temp.of_schema(name), bound, bound + ids);
    END LOOP;
    RAISE NOTICE 'created partitions for ids % to %', bound, bound + ids - 1;
    bound := bound + ids;
  END LOOP;
END $$;
COMMIT;
