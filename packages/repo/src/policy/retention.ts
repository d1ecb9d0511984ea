/**
 * Which snapshots of one source are kept, and why (Kopia: snapshot/policy/retention_policy.go). Times are counted from the newest complete snapshot, not from now, so that a source
 * that is not backed up any more keeps what it has. Periods are those of UTC; weeks are ISO weeks.
 *
 * One rule goes beyond Kopia: the newest snapshot without errors is kept whatever the policy says (`last-good`), since newer ones may lack what could not be read.
 */
import type { Snapshot } from "../snapshot/snapshot-manifest.ts";
import type { EffectivePolicy } from "./effective-policy.ts";

export type RetentionPolicy = EffectivePolicy["retention"];

/** Incomplete snapshots after the last complete one are kept while they are younger than this, and these many in any case. */
const INCOMPLETE_AGE_NS = 4n * 3_600_000_000_000n;
const INCOMPLETE_MIN = 3;
/** In the order in which Kopia asks, which matters: see the names of periods. */
const PERIODS = ["latest", "annual", "monthly", "weekly", "daily", "hourly"] as const;
type Period = (typeof PERIODS)[number];
const SHOWN_FIRST: readonly string[] = ["latest", "hourly", "daily", "weekly", "monthly", "annual"];

export const LAST_GOOD = "last-good";

/** Why each snapshot is kept, by its id: `latest-1`, `daily-3`, `incomplete`, `last-good`. Nothing is there for those that may go; pins are not asked. */
export function retentionReasons(snapshots: readonly Snapshot[], retention: RetentionPolicy): ReadonlyMap<string, readonly string[]> {
  const newestFirst = [...snapshots].sort((a, b) => (a.startTimeNs > b.startTimeNs ? -1 : a.startTimeNs < b.startTimeNs ? 1 : 0));
  const reasons = new Map<string, string[]>();
  const keep = (id: string, reason: string): void => void reasons.set(id, [...(reasons.get(id) ?? []), reason]);
  const newestComplete = newestFirst.find((snapshot) => snapshot.incomplete === undefined);
  if (newestComplete !== undefined) keepByPeriod(newestFirst, newestComplete.startTimeNs, retention, keep);
  const newestNs = newestFirst[0]?.startTimeNs ?? 0n;
  for (const [index, snapshot] of newestFirst.entries()) {
    if (snapshot.incomplete === undefined) break;
    if (newestNs - snapshot.startTimeNs >= INCOMPLETE_AGE_NS && index >= INCOMPLETE_MIN) break;
    keep(snapshot.id, "incomplete");
  }
  const good = newestFirst.find((snapshot) => snapshot.incomplete === undefined && snapshot.stats.errorCount === 0 && snapshot.rootEntry !== undefined);
  if (good !== undefined && !reasons.has(good.id)) keep(good.id, LAST_GOOD);
  const rank = (reason: string): number => SHOWN_FIRST.indexOf(reason.split("-")[0] ?? "");
  for (const list of reasons.values()) list.sort((a, b) => rank(a) - rank(b));
  return reasons;
}

function keepByPeriod(newestFirst: readonly Snapshot[], baseNs: bigint, retention: RetentionPolicy, keep: (id: string, reason: string) => void): void {
  const limits: Readonly<Record<Period, number | undefined>> = {
    // Where nothing is to be kept everything is: a policy of zeros is taken for none.
    latest: Object.values(retention).every((count) => (count ?? 0) === 0) ? Number.MAX_SAFE_INTEGER : retention.keepLatest,
    hourly: retention.keepHourly,
    daily: retention.keepDaily,
    weekly: retention.keepWeekly,
    monthly: retention.keepMonthly,
    annual: retention.keepAnnual,
  };
  const taken = new Set<string>();
  const counts: Record<Period, number> = { latest: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, annual: 0 };
  for (const [index, { id, startTimeNs, incomplete }] of newestFirst.entries()) {
    if (incomplete !== undefined) continue;
    for (const period of PERIODS) {
      const limit = limits[period];
      if (limit === undefined || isBefore(startTimeNs, baseNs, period, limit)) continue;
      // One set for all: the fifth week of a year is called as its May is, and in Kopia whichever is met first takes the name.
      const name = nameOf(period, startTimeNs, index);
      if (taken.has(name) || counts[period] >= limit) continue;
      taken.add(name);
      keep(id, `${period}-${++counts[period]}`);
    }
  }
}

const NS_PER_MS = 1_000_000n;
const HOUR_NS = 3_600_000_000_000n;

/** Whether a time lies further back from the base than so many periods. */
function isBefore(timeNs: bigint, baseNs: bigint, period: Period, count: number): boolean {
  switch (period) {
    case "latest":
      return false;
    // Kopia's durations are 64 bits wide and wrap: a policy that keeps 2147483647 of everything, as Velero's does, comes to some time or other here.
    case "hourly":
      return timeNs < baseNs + BigInt.asIntN(64, BigInt(-count) * HOUR_NS);
    case "daily":
      return timeNs < baseNs - BigInt(count) * 24n * HOUR_NS;
    case "weekly":
      return timeNs < baseNs - BigInt(count) * 7n * 24n * HOUR_NS;
    case "monthly":
      return timeNs < monthsBefore(baseNs, count);
    case "annual":
      return timeNs < monthsBefore(baseNs, 12 * count);
  }
}

/** The same day and time of an earlier month; one that the month does not have runs over into the next, as in Go. */
function monthsBefore(ns: bigint, months: number): bigint {
  const date = new Date(Number(floorDivide(ns, NS_PER_MS)));
  const rest = ns - BigInt(date.getTime()) * NS_PER_MS;
  const ms = date.setUTCMonth(date.getUTCMonth() - months);
  // Before all time.
  if (Number.isNaN(ms)) return -(2n ** 63n);
  return BigInt(ms) * NS_PER_MS + rest;
}

function nameOf(period: Period, ns: bigint, index: number): string {
  if (period === "latest") return String(index);
  const date = new Date(Number(floorDivide(ns, NS_PER_MS)));
  const text = date.toISOString();
  if (period === "weekly") return isoWeek(date);
  return text.slice(0, text.indexOf("-", 1) + LENGTH_AFTER_YEAR[period]);
}

const LENGTH_AFTER_YEAR = { annual: 0, monthly: 3, daily: 6, hourly: 9 } as const;
const DAY_MS = 86_400_000;

/** Year and number of the ISO week: the one that the Thursday of the week belongs to. */
function isoWeek(date: Date): string {
  const thursday = new Date(date.getTime() + (3 - ((date.getUTCDay() + 6) % 7)) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const week = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS)) + 1;
  return `${year}-${String(week).padStart(2, "0")}`;
}

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by < 0n ? quotient - 1n : quotient;
}
