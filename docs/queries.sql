-- Queries of kill boards on the tables of layout "archive". Each uses an index, unless its time covers much of a table.
--
--     psql "$DATABASE_URL" -v server=europe -f queries.sql
--
-- runs the queries for the newest player, guild, alliance, rival guild and battle, and for the week up to the newest kill. Select
-- others with -v player=… -v guild=… -v rival=… -v alliance=… -v battle=… -v since=…, or copy a query and insert your own values.
-- If the tables are in a schema other than "public", run SET search_path = that_schema; first.
--
-- Cost: queries of one player, guild, alliance or battle read only its rows, in 2 to 15 ms here. Queries marked "window" read every
-- event since a time. A window of a million events takes 0.2 to 1 s for the event alone, 5 to 6 s with its killer, 13 to 17 s with
-- killer and victim, 10 s with its loot, and 27 s with the value of the loot.
-- This is five times the processor time of PostgreSQL 15 (least of three runs, one process, all rows in memory, two cores, 2026-11-29)
-- for 200,000 generated events, with 985,000 rows of players and 1.6 million of loot.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?server}
\else
\set server 'americas'
\endif
\if :{?player}
\else
SELECT coalesce((SELECT killer_id FROM kill_event WHERE server = :'server' ORDER BY occurred_at DESC LIMIT 1), '') AS player
\gset
\endif
\if :{?guild}
\else
SELECT coalesce((SELECT p.guild_id FROM kill_event e
                 JOIN kill_player p ON p.server = e.server AND p.event_id = e.event_id AND p.player_id = e.killer_id
                 WHERE e.server = :'server' AND p.guild_id IS NOT NULL ORDER BY e.occurred_at DESC LIMIT 1), '') AS guild
\gset
\endif
\if :{?rival}
\else
SELECT coalesce((SELECT v.guild_id FROM kill_player k
                 JOIN kill_event e ON e.server = k.server AND e.event_id = k.event_id
                 JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
                 WHERE k.server = :'server' AND k.guild_id = :'guild' AND k.role = 'killer' AND v.guild_id IS NOT NULL
                 ORDER BY e.occurred_at DESC LIMIT 1), '') AS rival
\gset
\endif
\if :{?alliance}
\else
SELECT coalesce((SELECT p.alliance_id FROM kill_event e
                 JOIN kill_player p ON p.server = e.server AND p.event_id = e.event_id AND p.player_id = e.killer_id
                 WHERE e.server = :'server' AND p.alliance_id IS NOT NULL ORDER BY e.occurred_at DESC LIMIT 1), '') AS alliance
\gset
\endif
\if :{?battle}
\else
SELECT coalesce((SELECT battle_id FROM kill_event WHERE server = :'server' AND battle_id IS NOT NULL
                 ORDER BY occurred_at DESC LIMIT 1), 0) AS battle
\gset
\endif
-- The value of loot needs your item prices in a table item_price with these columns. Without such a table, that query returns no rows.
SELECT to_regclass('item_price') IS NULL AS without_prices
\gset
\if :without_prices
CREATE TEMP TABLE item_price (item text PRIMARY KEY, silver bigint NOT NULL);
\endif
\if :{?since}
\else
SELECT coalesce((SELECT max(occurred_at) FROM kill_event WHERE server = :'server'), now()) - interval '7 days' AS since
\gset
\endif

-- The limit comes before the joins, because the planner underestimates the rows that the joins return.
\pset title 'Newest kills'
SELECT e.event_id, e.occurred_at, e.fame, k.name AS killer, k.guild_name AS killer_guild, v.name AS victim, v.guild_name AS victim_guild
FROM (SELECT * FROM kill_event WHERE server = :'server' ORDER BY occurred_at DESC LIMIT 50) AS e
JOIN kill_player k ON k.server = e.server AND k.event_id = e.event_id AND k.player_id = e.killer_id
JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
ORDER BY e.occurred_at DESC;

-- Two halves, so that each reads its own index in order. A suicide counts only as a death.
\pset title 'Kills and deaths of a player'
SELECT e.*, k.name AS killer, v.name AS victim
FROM (
  (SELECT server, event_id, occurred_at, fame, killer_id, victim_id, 'kill' AS what FROM kill_event
   WHERE server = :'server' AND killer_id = :'player' AND victim_id <> :'player' ORDER BY occurred_at DESC LIMIT 50)
  UNION ALL
  (SELECT server, event_id, occurred_at, fame, killer_id, victim_id, 'death' FROM kill_event
   WHERE server = :'server' AND victim_id = :'player' ORDER BY occurred_at DESC LIMIT 50)
) AS e
JOIN kill_player k ON k.server = e.server AND k.event_id = e.event_id AND k.player_id = e.killer_id
JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
ORDER BY e.occurred_at DESC
LIMIT 50;

-- The index only contains killers, so the condition role = 'killer' is required.
\pset title 'Kills of a guild'
SELECT e.event_id, e.occurred_at, e.fame, p.name AS killer, p.item_power
FROM kill_player p
JOIN kill_event e ON e.server = p.server AND e.event_id = p.event_id
WHERE p.server = :'server' AND p.guild_id = :'guild' AND p.role = 'killer' AND e.victim_id <> p.player_id
  AND e.occurred_at >= :'since'
ORDER BY e.occurred_at DESC;

-- The second half finds suicides, which have one row with role 'killer'.
\pset title 'Deaths of a guild'
SELECT e.event_id, e.occurred_at, e.fame, p.name AS victim, p.item_power
FROM kill_player p
JOIN kill_event e ON e.server = p.server AND e.event_id = p.event_id
WHERE p.server = :'server' AND p.guild_id = :'guild' AND p.role = 'victim' AND e.occurred_at >= :'since'
UNION ALL
SELECT e.event_id, e.occurred_at, e.fame, p.name, p.item_power
FROM kill_player p
JOIN kill_event e ON e.server = p.server AND e.event_id = p.event_id AND e.victim_id = p.player_id
WHERE p.server = :'server' AND p.guild_id = :'guild' AND p.role = 'killer' AND e.occurred_at >= :'since'
ORDER BY occurred_at DESC;

\pset title 'Kills of an alliance'
SELECT e.event_id, e.occurred_at, e.fame, p.name AS killer, p.item_power
FROM kill_player p
JOIN kill_event e ON e.server = p.server AND e.event_id = p.event_id
WHERE p.server = :'server' AND p.alliance_id = :'alliance' AND p.role = 'killer' AND e.victim_id <> p.player_id
  AND e.occurred_at >= :'since'
ORDER BY e.occurred_at DESC;

\pset title 'Deaths of an alliance'
SELECT e.event_id, e.occurred_at, e.fame, p.name AS victim, p.item_power
FROM kill_player p
JOIN kill_event e ON e.server = p.server AND e.event_id = p.event_id
WHERE p.server = :'server' AND p.alliance_id = :'alliance' AND p.role = 'victim' AND e.occurred_at >= :'since'
UNION ALL
SELECT e.event_id, e.occurred_at, e.fame, p.name, p.item_power
FROM kill_player p
JOIN kill_event e ON e.server = p.server AND e.event_id = p.event_id AND e.victim_id = p.player_id
WHERE p.server = :'server' AND p.alliance_id = :'alliance' AND p.role = 'killer' AND e.occurred_at >= :'since'
ORDER BY occurred_at DESC;

\pset title 'Kills of a battle'
SELECT e.event_id, e.occurred_at, e.fame, k.name AS killer, k.guild_name AS killer_guild, v.name AS victim, v.guild_name AS victim_guild
FROM kill_event e
JOIN kill_player k ON k.server = e.server AND k.event_id = e.event_id AND k.player_id = e.killer_id
JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
WHERE e.server = :'server' AND e.battle_id = :battle
ORDER BY e.occurred_at;

\pset title 'Top fame (window)'
SELECT e.event_id, e.occurred_at, e.fame, k.name AS killer, v.name AS victim
FROM (SELECT * FROM kill_event WHERE server = :'server' AND occurred_at >= :'since' ORDER BY fame DESC LIMIT 20) AS e
JOIN kill_player k ON k.server = e.server AND k.event_id = e.event_id AND k.player_id = e.killer_id
JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
ORDER BY e.fame DESC;

\pset title 'Guild against guild'
SELECT count(*) FILTER (WHERE k.guild_id = :'guild') AS kills, count(*) FILTER (WHERE k.guild_id = :'rival') AS deaths,
       coalesce(sum(e.fame) FILTER (WHERE k.guild_id = :'guild'), 0) AS fame,
       coalesce(sum(e.fame) FILTER (WHERE k.guild_id = :'rival'), 0) AS fame_lost
FROM kill_player k
JOIN kill_event e ON e.server = k.server AND e.event_id = k.event_id
JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
WHERE k.server = :'server' AND k.role = 'killer' AND k.guild_id IN (:'guild', :'rival') AND v.guild_id IN (:'guild', :'rival')
  AND k.guild_id <> v.guild_id AND e.occurred_at >= :'since';

-- Players and guilds change their names, and players their guilds. Feuds and leaderboards show those of the newest kill.
\pset title 'Feuds (window)'
SELECT newest.guild, newest.rival, top.kills, top.deaths
FROM (SELECT least(k.guild_id, v.guild_id) AS guild_id, greatest(k.guild_id, v.guild_id) AS rival_id,
             count(*) FILTER (WHERE k.guild_id < v.guild_id) AS kills, count(*) FILTER (WHERE k.guild_id > v.guild_id) AS deaths,
             max(e.occurred_at) AS newest_at
      FROM kill_event e
      JOIN kill_player k ON k.server = e.server AND k.event_id = e.event_id AND k.player_id = e.killer_id
      JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
      WHERE e.server = :'server' AND e.occurred_at >= :'since' AND k.guild_id <> v.guild_id
      GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 20) AS top
CROSS JOIN LATERAL
  (SELECT CASE WHEN k.guild_id = top.guild_id THEN k.guild_name ELSE v.guild_name END AS guild,
          CASE WHEN k.guild_id = top.guild_id THEN v.guild_name ELSE k.guild_name END AS rival
   FROM kill_event e
   JOIN kill_player k ON k.server = e.server AND k.event_id = e.event_id AND k.player_id = e.killer_id
   JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
   WHERE e.server = :'server' AND e.occurred_at = top.newest_at AND least(k.guild_id, v.guild_id) = top.guild_id
     AND greatest(k.guild_id, v.guild_id) = top.rival_id LIMIT 1) AS newest
ORDER BY top.kills + top.deaths DESC;

\pset title 'Builds (window)'
SELECT p.main_hand, p.head, p.armor, p.shoes, count(*) FILTER (WHERE p.player_id = e.killer_id) AS kills,
       count(*) FILTER (WHERE p.player_id = e.victim_id) AS deaths,
       round(100.0 * count(*) FILTER (WHERE p.player_id = e.killer_id) / count(*), 1) AS win_percent,
       round(avg(p.item_power)) AS item_power
FROM kill_event e
JOIN kill_player p ON p.server = e.server AND p.event_id = e.event_id AND p.player_id IN (e.killer_id, e.victim_id)
WHERE e.server = :'server' AND e.occurred_at >= :'since' AND e.killer_id <> e.victim_id AND p.main_hand IS NOT NULL
GROUP BY p.main_hand, p.head, p.armor, p.shoes
ORDER BY count(*) DESC
LIMIT 20;

\pset title 'Leaderboard of players (window)'
SELECT top.player_id, newest.name, newest.guild_name AS guild, top.kills, top.fame
FROM (SELECT killer_id AS player_id, count(*) AS kills, sum(fame) AS fame FROM kill_event
      WHERE server = :'server' AND occurred_at >= :'since' AND killer_id <> victim_id
      GROUP BY killer_id ORDER BY sum(fame) DESC LIMIT 20) AS top
CROSS JOIN LATERAL
  (SELECT p.name, p.guild_name FROM kill_event e
   JOIN kill_player p ON p.server = e.server AND p.event_id = e.event_id AND p.player_id = e.killer_id
   WHERE e.server = :'server' AND e.killer_id = top.player_id ORDER BY e.occurred_at DESC LIMIT 1) AS newest
ORDER BY top.fame DESC;

\pset title 'Leaderboard of guilds (window)'
SELECT top.guild_id, newest.guild_name AS guild, top.kills, top.fame
FROM (SELECT p.guild_id, count(*) AS kills, sum(e.fame) AS fame, max(e.occurred_at) AS newest_at
      FROM kill_event e
      JOIN kill_player p ON p.server = e.server AND p.event_id = e.event_id AND p.player_id = e.killer_id
      WHERE e.server = :'server' AND e.occurred_at >= :'since' AND e.killer_id <> e.victim_id AND p.guild_id IS NOT NULL
      GROUP BY p.guild_id ORDER BY sum(e.fame) DESC LIMIT 20) AS top
CROSS JOIN LATERAL
  (SELECT p.guild_name FROM kill_event e
   JOIN kill_player p ON p.server = e.server AND p.event_id = e.event_id AND p.player_id = e.killer_id
   WHERE e.server = :'server' AND e.occurred_at = top.newest_at AND p.guild_id = top.guild_id LIMIT 1) AS newest
ORDER BY top.fame DESC;

\pset title 'Kills by hour of the day, UTC (window)'
SELECT extract(hour FROM occurred_at AT TIME ZONE 'UTC')::int AS hour, count(*) AS kills, sum(fame) AS fame
FROM kill_event
WHERE server = :'server' AND occurred_at >= :'since' AND killer_id <> victim_id
GROUP BY 1
ORDER BY 1;

-- One player against one, with at most 100 item power difference.
\pset title 'Fair fights (window)'
SELECT e.event_id, e.occurred_at, e.fame, k.name AS killer, k.item_power, v.name AS victim, v.item_power AS victim_item_power
FROM kill_event e
JOIN kill_player k ON k.server = e.server AND k.event_id = e.event_id AND k.player_id = e.killer_id
JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
WHERE e.server = :'server' AND e.occurred_at >= :'since' AND e.killer_id <> e.victim_id AND e.participant_count <= 1
  AND e.group_size <= 1 AND abs(k.item_power - v.item_power) <= 100
ORDER BY e.occurred_at DESC
LIMIT 50;

\pset title 'Loot by item (window)'
SELECT l.item, sum(l.count) AS items, count(DISTINCT l.event_id) AS events
FROM kill_event e
JOIN kill_loot l ON l.server = e.server AND l.event_id = e.event_id
WHERE e.server = :'server' AND e.occurred_at >= :'since'
GROUP BY l.item
ORDER BY items DESC
LIMIT 20;

\pset title 'Most valuable loot, by your prices (window)'
SELECT e.event_id, e.occurred_at, v.name AS victim, sum(l.count * price.silver) AS silver
FROM kill_event e
JOIN kill_loot l ON l.server = e.server AND l.event_id = e.event_id
JOIN item_price price ON price.item = l.item
JOIN kill_player v ON v.server = e.server AND v.event_id = e.event_id AND v.player_id = e.victim_id
WHERE e.server = :'server' AND e.occurred_at >= :'since'
GROUP BY e.event_id, e.occurred_at, v.name
ORDER BY silver DESC
LIMIT 20;

\pset title 'Kills, deaths and suicides (window)'
SELECT count(*) FILTER (WHERE killer_id <> victim_id) AS kills, count(*) AS deaths, count(*) FILTER (WHERE killer_id = victim_id) AS suicides
FROM kill_event
WHERE server = :'server' AND occurred_at >= :'since';

\pset title
