-- The questions that the tables of layout "archive" have an index for.
--
-- It runs as it is: psql "$DATABASE_URL" -v server=europe -f queries.sql
-- asks for the newest player, guild and battle, and for the week up to the newest kill. Name others in the same way
-- (-v player=… -v guild=… -v battle=… -v since=…), or take a query and put your own values in. A table in another
-- schema than "public" needs SET search_path = that_schema; first.

\set ON_ERROR_STOP on
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
\if :{?battle}
\else
SELECT coalesce((SELECT battle_id FROM kill_event WHERE server = :'server' AND battle_id IS NOT NULL
                 ORDER BY occurred_at DESC LIMIT 1), 0) AS battle
\gset
\endif
\if :{?since}
\else
SELECT coalesce((SELECT max(occurred_at) FROM kill_event WHERE server = :'server'), now()) - interval '7 days' AS since
\gset
\endif

-- The feed: the newest kills of a server.
SELECT event_id, occurred_at, fame, killer_id, victim_id
FROM kill_event
WHERE server = :'server'
ORDER BY occurred_at DESC
LIMIT 50;

-- A player's kills and deaths, newest first. Two halves, so that each reads its own index in order.
(SELECT event_id, occurred_at, fame, 'kill' AS what FROM kill_event
 WHERE server = :'server' AND killer_id = :'player' ORDER BY occurred_at DESC LIMIT 50)
UNION ALL
(SELECT event_id, occurred_at, fame, 'death' AS what FROM kill_event
 WHERE server = :'server' AND victim_id = :'player' ORDER BY occurred_at DESC LIMIT 50)
ORDER BY occurred_at DESC
LIMIT 50;

-- A guild's kills since a time. The index is of killers alone, so role = 'killer' must be there.
SELECT e.event_id, e.occurred_at, e.fame, p.name AS killer, p.item_power
FROM kill_player p
JOIN kill_event e ON e.server = p.server AND e.event_id = p.event_id
WHERE p.server = :'server' AND p.guild_id = :'guild' AND p.role = 'killer' AND e.occurred_at >= :'since'
ORDER BY e.occurred_at DESC;

-- The kills of a battle.
SELECT event_id, occurred_at, fame, killer_id, victim_id
FROM kill_event
WHERE server = :'server' AND battle_id = :battle
ORDER BY occurred_at;

-- The top fame since a time.
SELECT event_id, occurred_at, fame, killer_id, victim_id
FROM kill_event
WHERE server = :'server' AND occurred_at >= :'since'
ORDER BY fame DESC
LIMIT 20;

-- The builds that killed most often since a time.
SELECT p.main_hand, p.head, p.armor, p.shoes, count(*) AS kills, round(avg(p.item_power)) AS item_power
FROM kill_event e
JOIN kill_player p ON p.server = e.server AND p.event_id = e.event_id AND p.player_id = e.killer_id
WHERE e.server = :'server' AND e.occurred_at >= :'since'
GROUP BY p.main_hand, p.head, p.armor, p.shoes
ORDER BY kills DESC
LIMIT 20;

-- The loot: what the victims carried since a time.
SELECT l.item, sum(l.count) AS items, count(DISTINCT l.event_id) AS kills
FROM kill_event e
JOIN kill_loot l ON l.server = e.server AND l.event_id = e.event_id
WHERE e.server = :'server' AND e.occurred_at >= :'since'
GROUP BY l.item
ORDER BY items DESC
LIMIT 20;
