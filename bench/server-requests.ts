/**
 * What a server asks of the API server beside many objects: `node bench/server-requests.ts [backups] [schedules]` prints a table for bench/results.md.
 * The API server is the embedded one, in this process; the server is a process of its own.
 */
import { countServerRequests } from "../test/e2e/server-requests.ts";

const [backups = 1_000, schedules = 100] = process.argv.slice(2).map(Number);
const idleMs = 10_000;
const { kinds, starting, idle, readyMs, peakMiB } = await countServerRequests({ backups, schedules, idleMs });
const rows = [...kinds].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([kind, { listPages, watches }]) => `| ${kind} | ${listPages} | ${watches} |`);
process.stdout.write(
  [
    `${backups} Backups, ${schedules} Schedules: answers after ${(readyMs / 1_000).toFixed(1)} s, ${starting} requests until it answered twice, ${idle} in the ${idleMs / 1_000} s after that, ${Math.round(peakMiB)} MiB at most`,
    "",
    "| kind | pages listed | watches |",
    "|---|---|---|",
    ...rows,
    "",
  ].join("\n"),
);
