DO $$ BEGIN
IF to_regclass('"Al""bi''on"."KillEvent"') IS NULL THEN

CREATE TABLE "Al""bi'on"."KillEvent" (
  "EventId" bigint NOT NULL,
  "TimeStamp" timestamp(3) NOT NULL,
  "TotalVictimKillFame" integer NOT NULL,
  "battleAlbionId" bigint,
  "killerId" varchar(64) NOT NULL,
  "killerName" varchar(48) NOT NULL,
  "killerGuild" varchar(64),
  "killerAlliance" varchar(16),
  "killerAvgIP" double precision NOT NULL,
  "victimId" varchar(64) NOT NULL,
  "victimName" varchar(48) NOT NULL,
  "victimGuild" varchar(64),
  "victimAlliance" varchar(16),
  "victimAvgIP" double precision NOT NULL,
  "killerEquipment" jsonb,
  "victimEquipment" jsonb,
  "ingestedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY ("EventId")
);

CREATE INDEX "KillEvent_TimeStamp_idx"
  ON "Al""bi'on"."KillEvent" ("TimeStamp");

CREATE INDEX "KillEvent_battleAlbionId_idx"
  ON "Al""bi'on"."KillEvent" ("battleAlbionId");

CREATE INDEX "KillEvent_killerAlliance_idx"
  ON "Al""bi'on"."KillEvent" ("killerAlliance");

CREATE INDEX "KillEvent_victimAlliance_idx"
  ON "Al""bi'on"."KillEvent" ("victimAlliance");

CREATE INDEX "KillEvent_killerId_idx"
  ON "Al""bi'on"."KillEvent" ("killerId");

CREATE INDEX "KillEvent_victimId_idx"
  ON "Al""bi'on"."KillEvent" ("victimId");

END IF;
END $$;

