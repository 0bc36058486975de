// Fills the layout `aegis` with Prisma: load.js URL DUMP BATCH
//
// Three workers share a client with a pool of up to ten connections, like a service with a worker concurrency of 3. With a BATCH
// of 1, each worker upserts one event after another. With a larger one, it inserts batches of that size with createMany.
// The script runs in the directory with the installed packages and the generated client; see find_prisma in scripts/bench.

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

import { PrismaPg } from "@prisma/adapter-pg";

import { Prisma, PrismaClient } from "./client/index.js";

const WORKERS = 3;
const POOL = { min: 3, max: 10, connectionTimeoutMillis: 30_000, idleTimeoutMillis: 60_000 };

function row(event) {
  const { Killer: killer, Victim: victim } = event;
  return {
    EventId: BigInt(event.EventId),
    TimeStamp: new Date(event.TimeStamp),
    TotalVictimKillFame: event.TotalVictimKillFame,
    battleAlbionId: event.BattleId == null ? null : BigInt(event.BattleId),
    killerId: killer.Id,
    killerName: killer.Name,
    killerGuild: killer.GuildName || null,
    killerAlliance: killer.AllianceName || null,
    killerAvgIP: killer.AverageItemPower ?? 0,
    victimId: victim.Id,
    victimName: victim.Name,
    victimGuild: victim.GuildName || null,
    victimAlliance: victim.AllianceName || null,
    victimAvgIP: victim.AverageItemPower ?? 0,
    killerEquipment: killer.Equipment ?? Prisma.DbNull,
    victimEquipment: victim.Equipment ?? Prisma.DbNull,
  };
}

// All workers share one iterator, so that each line goes to exactly one worker.
async function upsert(prisma, lines) {
  for await (const line of lines) {
    const event = row(JSON.parse(line));
    await prisma.killEvent.upsert({ where: { EventId: event.EventId }, create: event, update: event });
  }
}

async function insert(prisma, lines, batch) {
  let data = [];
  const send = () => prisma.killEvent.createMany({ data, skipDuplicates: true });
  for await (const line of lines) {
    data.push(row(JSON.parse(line)));
    if (data.length === batch) {
      await send();
      data = [];
    }
  }
  if (data.length > 0) {
    await send();
  }
}

const [url, dump, size] = process.argv.slice(2);
const batch = Number(size);
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, ...POOL }) });
const lines = createInterface({ input: createReadStream(dump), crlfDelay: Infinity })[Symbol.asyncIterator]();
const worker = () => (batch > 1 ? insert(prisma, lines, batch) : upsert(prisma, lines));
try {
  await Promise.all(Array.from({ length: WORKERS }, worker));
} finally {
  await prisma.$disconnect();
}
