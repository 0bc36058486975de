-- Indexes for further queries on the tables of layout "archive", each with its price in bytes per event, measured after a load of
-- 60,000 generated events. Loads maintain them, and 'aegis-kills health' reports them when they are invalid.
--
--     psql "$DATABASE_URL" -f indexes.sql                      all of them; or copy those that you need
--
-- CONCURRENTLY lets loads continue meanwhile. If such a statement fails, it leaves an invalid index. 'aegis-kills health' names it with
-- the statement that repairs it.

-- 52 bytes per event. Kills with a weapon, newest first: WHERE main_hand = 'T8_2H_BOW@3' AND role = 'killer' ORDER BY event_id DESC
CREATE INDEX CONCURRENTLY IF NOT EXISTS kill_player_weapon_kills
  ON kill_player (main_hand, event_id) WHERE role = 'killer' AND main_hand IS NOT NULL;

-- 145 bytes per event. Assists of a player: WHERE player_id = '…' AND role IN ('participant', 'group') ORDER BY event_id DESC
CREATE INDEX CONCURRENTLY IF NOT EXISTS kill_player_assists
  ON kill_player (player_id, event_id) WHERE role IN ('participant', 'group');

-- 346 bytes per event. Loot by item: WHERE item = 'T6_BAG'
CREATE INDEX CONCURRENTLY IF NOT EXISTS kill_loot_item ON kill_loot (item, event_id);

-- 19 bytes per event. Players by the beginning of their name, in any case: WHERE lower(name) LIKE 'aeg%' AND role IN ('killer', 'victim')
CREATE INDEX CONCURRENTLY IF NOT EXISTS kill_player_name
  ON kill_player (lower(name) text_pattern_ops, player_id) WHERE role IN ('killer', 'victim');
