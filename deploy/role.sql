-- Two roles with the fewest privileges: one that loads, and one that reads.
--
--     aegis-kills schema apply                            first, as the owner of the tables, for each layout in use
--     psql "$DATABASE_URL" -f deploy/role.sql             as the owner, with the privilege to create roles
--     psql "$DATABASE_URL" -c '\password kills_loader'    asks for the password and sends only its hash
--     psql "$DATABASE_URL" -c '\password kills_reader'
--
-- Without a password they can log in only where pg_hba.conf requires none. No variable sets the password, because
-- other users can see the command line. The variables and their defaults are:
--
--     psql -v schema=public -v ledger=aegis_kills -v loader=kills_loader -v reader=kills_reader -f deploy/role.sql
--
-- ledger is the schema of the ledger in layout aegis, or the one of --ledger-schema. A ledger next to the tables is found as well.
--
-- -v delete=on also grants the loader DELETE on events, for 'aegis-kills delete'.
--
-- Repeated runs are safe, and revoke other privileges of the two roles on these tables: give the same variables each
-- time, also delete=on. Run the file again after an upgrade and after you have applied another layout. All statements are
-- one transaction. An existing role is used, unless it has an attribute such as CREATEROLE.
--
-- The loader can add events, rewrite events that differ (--on-conflict update), write the ledger, and create temporary
-- tables for comparisons. It cannot create, alter, empty or drop anything, delete an event (unless -v delete=on is
-- given), or read other tables. The reader can run 'verify' and every query. For it, 'health' shows the server and the
-- last run, and exits with 6, because the role cannot load: let monitoring run 'health' as the loader.

\set ON_ERROR_STOP on
\if :{?schema}
\else
    \set schema public
\endif
\if :{?ledger}
\else
    \set ledger aegis_kills
\endif
\if :{?loader}
\else
    \set loader kills_loader
\endif
\if :{?reader}
\else
    \set reader kills_reader
\endif
\if :{?delete}
\else
    \set delete off
\endif

BEGIN;

-- Up to PostgreSQL 14 every role can create functions in the schema public. This path excludes them.
SET LOCAL search_path TO pg_catalog, pg_temp;

-- A DO block cannot read psql's variables, but it can read settings of the transaction.
SELECT set_config('aegis_kills.schema', :'schema', true) AS a,
       set_config('aegis_kills.loader', :'loader', true) AS b,
       set_config('aegis_kills.ledger', :'ledger', true) AS e,
       set_config('aegis_kills.reader', :'reader', true) AS c,
       set_config('aegis_kills.delete', (:'delete'::boolean)::text, true) AS d \gset given_

DO $block$
DECLARE
    in_schema text := current_setting('aegis_kills.schema');
    loader text := current_setting('aegis_kills.loader');
    reader text := current_setting('aegis_kills.reader');
    in_ledger text := current_setting('aegis_kills.ledger');
    may_delete boolean := current_setting('aegis_kills.delete')::boolean;
    who text;
    thing record;
    done integer := 0;
BEGIN
    IF to_regnamespace(quote_ident(in_schema)) IS NULL THEN
        RAISE EXCEPTION 'schema % does not exist', quote_ident(in_schema)
            USING HINT = 'run ''aegis-kills schema apply'' first, or choose the schema with -v schema=NAME';
    END IF;

    IF in_ledger <> 'aegis_kills' AND to_regnamespace(quote_ident(in_ledger)) IS NULL THEN
        RAISE EXCEPTION 'schema % does not exist', quote_ident(in_ledger)
            USING HINT = 'run ''aegis-kills schema apply --ledger-schema NAME'' first, or choose the schema with -v ledger=NAME';
    END IF;

    FOREACH who IN ARRAY ARRAY[loader, reader] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = who) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', who);
        ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = who AND (rolsuper OR rolcreaterole OR rolcreatedb
                                                                    OR rolreplication OR rolbypassrls)) THEN
            RAISE EXCEPTION 'role % has attributes such as CREATEROLE', quote_ident(who)
                USING HINT = 'choose another name with -v loader=NAME or -v reader=NAME';
        END IF;

        -- PUBLIC has both privileges by default. If they were revoked, these roles need them.
        IF NOT has_database_privilege(who, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), who);
        END IF;
        IF who = loader AND NOT has_database_privilege(who, current_database(), 'TEMPORARY') THEN
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), who);
        END IF;
        FOR thing IN SELECT nspname AS name FROM pg_namespace
                     WHERE nspname IN (in_schema, in_ledger) AND NOT has_schema_privilege(who, oid, 'USAGE')
        LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', thing.name, who);
        END LOOP;
    END LOOP;

    FOR thing IN
        SELECT c.relname AS name, n.nspname AS place, wanted.privileges, pg_get_userbyid(c.relowner) AS owner
        FROM (VALUES ('kill_event', 'SELECT, INSERT, UPDATE'),
                     ('kill_player', 'SELECT, INSERT, UPDATE, DELETE'),
                     ('kill_loot', 'SELECT, INSERT, UPDATE, DELETE'),
                     ('KillEvent', 'SELECT, INSERT, UPDATE'),
                     ('kill_load_run', 'SELECT, INSERT, UPDATE'),
                     ('kill_load_segment', 'SELECT, INSERT, UPDATE'),
                     ('kill_load_file', 'SELECT, INSERT, UPDATE')) AS wanted (name, privileges)
        JOIN pg_class c ON c.relname = wanted.name
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p')
          AND (n.nspname = in_schema OR n.nspname = in_ledger AND starts_with(wanted.name, 'kill_load_'))
    LOOP
        IF thing.owner IN (loader, reader) THEN
            RAISE EXCEPTION 'table %.% belongs to %, and an owner has all privileges',
                quote_ident(thing.place), quote_ident(thing.name), quote_ident(thing.owner)
                USING HINT = 'choose another name with -v loader=NAME or -v reader=NAME';
        END IF;
        EXECUTE format('REVOKE ALL ON %I.%I FROM %I, %I', thing.place, thing.name, loader, reader);
        EXECUTE format('GRANT %s ON %I.%I TO %I', thing.privileges, thing.place, thing.name, loader);
        EXECUTE format('GRANT SELECT ON %I.%I TO %I', thing.place, thing.name, reader);
        IF may_delete THEN
            EXECUTE format('GRANT DELETE ON %I.%I TO %I', thing.place, thing.name, loader);
        END IF;
        -- PostgreSQL only warns if a GRANT has no effect.
        IF NOT has_table_privilege(loader, format('%I.%I', thing.place, thing.name), 'INSERT') THEN
            RAISE EXCEPTION 'role % cannot grant privileges on %.%', quote_ident(current_user), quote_ident(thing.place),
                quote_ident(thing.name)
                USING HINT = format('run this as the owner, %I', thing.owner);
        END IF;
        done := done + 1;
    END LOOP;
    IF done = 0 THEN
        RAISE EXCEPTION 'schema % has none of the tables', quote_ident(in_schema)
            USING HINT = 'run ''aegis-kills schema apply'' first, or choose the schema with -v schema=NAME';
    END IF;

    FOR thing IN
        SELECT typname AS name FROM pg_type
        WHERE typname IN ('albion_server', 'kill_role') AND typtype = 'e'
          AND typnamespace = to_regnamespace(quote_ident(in_schema))
    LOOP
        EXECUTE format('GRANT USAGE ON TYPE %I.%I TO %I, %I', in_schema, thing.name, loader, reader);
    END LOOP;

    -- Other privileges come from PUBLIC or another role, which this file does not change.
    FOREACH who IN ARRAY ARRAY[loader, reader] LOOP
        FOR thing IN SELECT nspname AS name FROM pg_namespace
                     WHERE nspname !~ '^pg_' AND has_schema_privilege(who, oid, 'CREATE')
        LOOP
            RAISE WARNING 'role % can create tables in schema %', quote_ident(who), quote_ident(thing.name)
                USING HINT = format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC; -- the default since PostgreSQL 15', thing.name);
        END LOOP;
        FOR thing IN SELECT r.rolname AS name FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
                     WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = who)
        LOOP
            RAISE WARNING 'role % is a member of % and has its privileges', quote_ident(who), quote_ident(thing.name)
                USING HINT = format('REVOKE %I FROM %I', thing.name, who);
        END LOOP;
    END LOOP;
END
$block$;

COMMIT;
