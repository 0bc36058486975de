-- Partitions by time for the tables of layout "archive": ids rise with time, so that ranges of ids are ranges of time, and
-- the keys stay what they are. docs/scaling.md says when it pays.
--
--     aegis-kills schema apply
--     psql "$DATABASE_URL" -v from=1300000000 -f docs/partitions.sql
--     aegis-kills schema apply
--
-- The first time it makes each table a partitioned one, with what is stored as its first partition: nothing is copied, but
-- what is stored is read once, and nobody may load meanwhile. Each time it adds partitions until there is room for events
-- to come; have cron run it. It is all done, or nothing. Variables, each with -v:
--
--     ids     ids in a partition; 20,000,000 are about a month of one game server (default)
--     ahead   empty partitions behind the newest event that is stored (default 3)
--     from    the first id to come, where the tables are empty
--     schema  the PostgreSQL schema (default public)
--
-- An event whose id is behind the last partition is rejected with SQLSTATE 23514. Ids of game servers rise apart from each
-- other, so give each server a schema of its own. Rights are granted on tables: run deploy/role.sql again after the first time.

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
-- Only what is the system's own is found by its bare name: others may have made functions and operators in the schema.
SET LOCAL search_path TO pg_catalog, pg_temp;
SELECT set_config('kills.schema', :'schema', true), set_config('kills.ids', :'ids', true),
       set_config('kills.ahead', :'ahead', true), set_config('kills.from', :'from', true)
\g /dev/null
-- Who loads waits behind this, so it does not wait for long itself.
SET LOCAL lock_timeout = '30s';
LOCK TABLE :"schema".kill_event, :"schema".kill_player, :"schema".kill_loot IN ACCESS EXCLUSIVE MODE;

-- A table of the schema, as SQL has it.
CREATE FUNCTION pg_temp.of_schema(name text) RETURNS text LANGUAGE sql AS
$$ SELECT format('%I.%I', current_setting('kills.schema'), name) $$;

-- What makes one table partitioned: the stored rows are below the bound.
CREATE FUNCTION pg_temp.make_partitioned(name text, bound bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  first regclass := pg_temp.of_schema(name)::regclass;
  whole text := pg_temp.of_schema(name);
  key text;
  index record;
BEGIN
  EXECUTE format('ALTER TABLE %s RENAME TO %I', first, name || '_first');
  SELECT pg_get_constraintdef(oid) INTO STRICT key FROM pg_constraint WHERE conrelid = first AND contype = 'p';
  -- Their names are needed for the indexes of the whole, which take these for their parts.
  FOR index IN SELECT relname::text AS name FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = first LOOP
    EXECUTE format('ALTER INDEX %s RENAME TO %I', pg_temp.of_schema(index.name), index.name || '_first');
  END LOOP;
  EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS)
                  PARTITION BY RANGE (event_id)', whole, first);
  EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s WITH (fillfactor = 100)', whole, name || '_pkey', key);
  EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (MINVALUE) TO (%s)', whole, first, bound);
END $$;

-- The newest stored event, looked up by the key of each game server.
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
  -- Where nothing is stored: what is before the first one to come.
  last bigint := coalesce(newest, nullif(current_setting('kills.from'), '')::bigint - 1);
  bound bigint;
BEGIN
  IF (SELECT relkind = 'r' FROM pg_class WHERE oid = whole) THEN
    IF last IS NULL THEN
      RAISE 'the tables are empty: name the first id to come, as in -v from=1300000000, or load a dump first';
    END IF;
    bound := CASE WHEN newest IS NULL THEN (last + 1) / ids ELSE last / ids + 1 END * ids;
    FOREACH name IN ARRAY tables LOOP
      PERFORM pg_temp.make_partitioned(name, bound);
    END LOOP;
    whole := pg_temp.of_schema('kill_event')::regclass;
  END IF;
  -- Where the last partition ends.
  SELECT max(substring(pg_get_expr(relpartbound, oid) FROM $expression$TO \('(-?\d+)'\)$expression$)::bigint)
  INTO bound FROM pg_class JOIN pg_inherits ON inhrelid = oid WHERE inhparent = whole;
  WHILE bound <= last + ids * current_setting('kills.ahead')::bigint LOOP
    FOREACH name IN ARRAY tables LOOP
      EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)',
                     pg_temp.of_schema(name || '_' || bound), pg_temp.of_schema(name), bound, bound + ids);
    END LOOP;
    RAISE NOTICE 'made partitions for the ids from % to %', bound, bound + ids - 1;
    bound := bound + ids;
  END LOOP;
END $$;
COMMIT;
