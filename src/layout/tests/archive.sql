DO $$ BEGIN
  CREATE TYPE "Al""bion".albion_server AS ENUM ('americas', 'europe', 'asia');
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

DO $$ BEGIN
  CREATE TYPE "Al""bion".kill_role AS ENUM ('killer', 'victim', 'participant', 'group');
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

CREATE TABLE IF NOT EXISTS "Al""bion".kill_event (
  server "Al""bion".albion_server NOT NULL,
  event_id bigint NOT NULL,
  occurred_at timestamptz NOT NULL,
  battle_id bigint,
  fame bigint NOT NULL,
  killer_id text COLLATE "C" NOT NULL,
  victim_id text COLLATE "C" NOT NULL,
  participant_count integer,
  group_size integer,
  kill_area text,
  category text,
  kind text,
  location text,
  version integer,
  gvg_match jsonb,
  loaded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (server, event_id) WITH (fillfactor = 100)
);

CREATE INDEX IF NOT EXISTS kill_event_newest
  ON "Al""bion".kill_event (server, occurred_at) INCLUDE (fame);

CREATE INDEX IF NOT EXISTS kill_event_killer
  ON "Al""bion".kill_event (killer_id, occurred_at);

CREATE INDEX IF NOT EXISTS kill_event_victim
  ON "Al""bion".kill_event (victim_id, occurred_at);

CREATE INDEX IF NOT EXISTS kill_event_battle
  ON "Al""bion".kill_event (battle_id);

CREATE TABLE IF NOT EXISTS "Al""bion".kill_player (
  server "Al""bion".albion_server NOT NULL,
  event_id bigint NOT NULL,
  player_id text COLLATE "C" NOT NULL,
  role "Al""bion".kill_role NOT NULL,
  in_group boolean NOT NULL,
  name text,
  guild_id text COLLATE "C",
  guild_name text,
  alliance_id text COLLATE "C",
  alliance_name text,
  item_power double precision,
  kill_fame bigint,
  death_fame bigint,
  damage_done double precision,
  healing_done double precision,
  main_hand text,
  main_hand_quality smallint,
  off_hand text,
  off_hand_quality smallint,
  head text,
  head_quality smallint,
  armor text,
  armor_quality smallint,
  shoes text,
  shoes_quality smallint,
  bag text,
  bag_quality smallint,
  cape text,
  cape_quality smallint,
  mount text,
  mount_quality smallint,
  potion text,
  potion_quality smallint,
  food text,
  food_quality smallint,
  potion_count integer,
  food_count integer,
  main_hand_soul jsonb,
  PRIMARY KEY (server, event_id, player_id) WITH (fillfactor = 100)
);

CREATE INDEX IF NOT EXISTS kill_player_guild_kills
  ON "Al""bion".kill_player (guild_id, event_id) WHERE role = 'killer';

CREATE INDEX IF NOT EXISTS kill_player_guild_deaths
  ON "Al""bion".kill_player (guild_id, event_id) WHERE role = 'victim' AND guild_id IS NOT NULL;

CREATE INDEX IF NOT EXISTS kill_player_alliance_kills
  ON "Al""bion".kill_player (alliance_id, event_id) WHERE role = 'killer' AND alliance_id IS NOT NULL;

CREATE INDEX IF NOT EXISTS kill_player_alliance_deaths
  ON "Al""bion".kill_player (alliance_id, event_id) WHERE role = 'victim' AND alliance_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS "Al""bion".kill_loot (
  server "Al""bion".albion_server NOT NULL,
  event_id bigint NOT NULL,
  slot smallint NOT NULL,
  item text,
  quality smallint,
  count integer,
  soul jsonb,
  PRIMARY KEY (server, event_id, slot) WITH (fillfactor = 100)
);

