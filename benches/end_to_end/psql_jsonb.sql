-- Loads a part of a dump into the layout "archive" with SQL alone. The lines from standard input go into a staging
-- table with one jsonb column, from which one statement per table inserts the rows:
--
--     head -n 1000 dump.ndjson | psql --file psql_jsonb.sql
--
-- Tuning: the staging table is unlogged and does not compress, each document is expanded once (jsonb_to_record), and
-- the records of a player are sorted within their event, in memory.

\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE TEMP TABLE staging (doc jsonb);
ALTER TABLE staging ALTER doc SET STORAGE EXTERNAL;

-- No JSON text contains the quote or the delimiter, so lines are copied unchanged.
\copy staging FROM pstdin WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

INSERT INTO kill_event (server, event_id, occurred_at, battle_id, fame, killer_id, victim_id, participant_count,
    group_size, kill_area, category, kind, location, version, gvg_match)
SELECT 'europe', d."EventId",
       -- Truncate, because PostgreSQL would round.
       (left(rtrim(d."TimeStamp", 'Z'), 26) || 'Z')::timestamptz,
       d."BattleId", d."TotalVictimKillFame", d."Killer" ->> 'Id', d."Victim" ->> 'Id',
       d."numberOfParticipants", d."groupMemberCount", nullif(d."KillArea", ''), nullif(d."Category", ''),
       nullif(d."Type", ''), nullif(d."Location", ''), d."Version", nullif(d."GvGMatch", 'null')
  FROM staging,
       jsonb_to_record(doc) AS d("EventId" bigint, "TimeStamp" text, "BattleId" bigint, "TotalVictimKillFame" bigint,
           "Killer" jsonb, "Victim" jsonb, "numberOfParticipants" int, "groupMemberCount" int, "KillArea" text,
           "Category" text, "Type" text, "Location" text, "Version" int, "GvGMatch" jsonb)
ON CONFLICT DO NOTHING;

INSERT INTO kill_player (server, event_id, player_id, role, in_group, name, guild_id, guild_name, alliance_id,
    alliance_name, item_power, kill_fame, death_fame, damage_done, healing_done, main_hand, main_hand_quality,
    off_hand, off_hand_quality, head, head_quality, armor, armor_quality, shoes, shoes_quality, bag, bag_quality,
    cape, cape_quality, mount, mount_quality, potion, potion_quality, food, food_quality, potion_count, food_count,
    main_hand_soul)
SELECT 'europe', event_id, p."Id", role::kill_role, in_group,
       nullif(p."Name", ''), nullif(p."GuildId", ''), nullif(p."GuildName", ''), nullif(p."AllianceId", ''),
       nullif(p."AllianceName", ''),
       CASE WHEN role = 'group' THEN nullif(p."AverageItemPower", 0) ELSE p."AverageItemPower" END,
       CASE WHEN role = 'participant' THEN coalesce(share, p."KillFame") ELSE p."KillFame" END,
       p."DeathFame", damage_done, healing_done,
       nullif(e."MainHand" ->> 'Type', ''), (e."MainHand" ->> 'Quality')::smallint,
       nullif(e."OffHand" ->> 'Type', ''), (e."OffHand" ->> 'Quality')::smallint,
       nullif(e."Head" ->> 'Type', ''), (e."Head" ->> 'Quality')::smallint,
       nullif(e."Armor" ->> 'Type', ''), (e."Armor" ->> 'Quality')::smallint,
       nullif(e."Shoes" ->> 'Type', ''), (e."Shoes" ->> 'Quality')::smallint,
       nullif(e."Bag" ->> 'Type', ''), (e."Bag" ->> 'Quality')::smallint,
       nullif(e."Cape" ->> 'Type', ''), (e."Cape" ->> 'Quality')::smallint,
       nullif(e."Mount" ->> 'Type', ''), (e."Mount" ->> 'Quality')::smallint,
       nullif(e."Potion" ->> 'Type', ''), (e."Potion" ->> 'Quality')::smallint,
       nullif(e."Food" ->> 'Type', ''), (e."Food" ->> 'Quality')::smallint,
       (e."Potion" ->> 'Count')::int, (e."Food" ->> 'Count')::int, nullif(e."MainHand" -> 'LegendarySoul', 'null')
  FROM staging,
       jsonb_to_record(doc) AS d("EventId" bigint, "Killer" jsonb, "Victim" jsonb, "Participants" jsonb,
           "GroupMembers" jsonb),
       LATERAL (
           SELECT d."EventId" AS event_id,
                  (array_agg(record ORDER BY source, place))[1] AS record,
                  (ARRAY['killer', 'victim', 'participant', 'group'])[min(source)] AS role,
                  bool_or(source = 4) AS in_group,
                  (array_agg((record ->> 'KillFame')::bigint ORDER BY place) FILTER (WHERE source = 4))[1] AS share,
                  (array_agg((record ->> 'DamageDone')::float8 ORDER BY place) FILTER (WHERE source = 3))[1]
                      AS damage_done,
                  (array_agg((record ->> 'SupportHealingDone')::float8 ORDER BY place) FILTER (WHERE source = 3))[1]
                      AS healing_done
             FROM (SELECT 1 AS source, 0 AS place, d."Killer" AS record
                   UNION ALL SELECT 2, 0, d."Victim"
                   UNION ALL SELECT 3, ordinality, value FROM jsonb_array_elements(d."Participants") WITH ORDINALITY
                   UNION ALL SELECT 4, ordinality, value FROM jsonb_array_elements(d."GroupMembers") WITH ORDINALITY
                  ) AS records
            GROUP BY record ->> 'Id'
       ) AS player,
       jsonb_to_record(record) AS p("Id" text, "Name" text, "GuildId" text, "GuildName" text, "AllianceId" text,
           "AllianceName" text, "AverageItemPower" float8, "KillFame" bigint, "DeathFame" bigint, "Equipment" jsonb),
       jsonb_to_record(p."Equipment") AS e("MainHand" jsonb, "OffHand" jsonb, "Head" jsonb, "Armor" jsonb,
           "Shoes" jsonb, "Bag" jsonb, "Cape" jsonb, "Mount" jsonb, "Potion" jsonb, "Food" jsonb)
ON CONFLICT DO NOTHING;

INSERT INTO kill_loot (server, event_id, slot, item, quality, count, soul)
SELECT 'europe', d."EventId", ordinality - 1, nullif(i."Type", ''), i."Quality", i."Count",
       nullif(i."LegendarySoul", 'null')
  FROM staging,
       jsonb_to_record(doc) AS d("EventId" bigint, "Victim" jsonb),
       jsonb_array_elements(d."Victim" -> 'Inventory') WITH ORDINALITY AS slot,
       jsonb_to_record(value) AS i("Type" text, "Quality" smallint, "Count" int, "LegendarySoul" jsonb)
 WHERE value <> 'null'
ON CONFLICT DO NOTHING;
