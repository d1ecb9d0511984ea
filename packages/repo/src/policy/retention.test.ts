import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyStats, type Snapshot } from "../snapshot/snapshot-manifest.ts";
import { memoryRepository } from "../testing/memory-repository.ts";
import { executeExpiry, planExpiry } from "./expire-snapshots.ts";
import { emptyPolicy } from "./policy-document.ts";
import { PolicyStore } from "./policy-store.ts";
import { type RetentionPolicy, retentionReasons } from "./retention.ts";

const source = { userName: "u", host: "h", path: "/p" };
const none: RetentionPolicy = { keepLatest: 0, keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepAnnual: 0 };
const rootEntry = { name: "p", type: "directory" as const, mode: 0o755, size: 0, mtimeNs: 0n, uid: 0, gid: 0, objectId: "k00" as never };

function at(time: string, changes: Partial<Snapshot> = {}): Snapshot {
  const startTimeNs = BigInt(Date.parse(`${time}Z`)) * 1_000_000n;
  return { id: time, source, description: "", startTimeNs, endTimeNs: startTimeNs, stats: emptyStats, rootEntry, tags: {}, pins: [], ...changes };
}

const reasonsOf = (snapshots: readonly Snapshot[], retention: Partial<RetentionPolicy>): Record<string, readonly string[]> =>
  Object.fromEntries(retentionReasons(snapshots, { ...none, ...retention }));

describe("retention", () => {
  it("counts from the newest complete snapshot, each period's newest", () => {
    const days = ["2026-03-01T08:00", "2026-03-01T20:00", "2026-03-02T08:00", "2026-03-03T08:00", "2026-03-03T09:00"].map((time) => at(time));
    expect(reasonsOf(days, { keepLatest: 1, keepDaily: 2 })).toEqual({ "2026-03-03T09:00": ["latest-1", "daily-1"], "2026-03-02T08:00": ["daily-2"] });
  });

  it("leaves out what is older than so many periods, though there were fewer", () => {
    const snapshots = [at("2026-03-10T12:00"), at("2026-03-08T13:00"), at("2026-03-08T11:00"), at("2026-01-01T00:00")];
    expect(Object.keys(reasonsOf(snapshots, { keepHourly: 47 }))).toEqual(["2026-03-10T12:00", "2026-03-08T13:00"]);
  });

  it("weeks are ISO weeks, and a month that has no such day runs over as Go's does", () => {
    // 2027-01-03 is of the 53rd week of 2026.
    expect(Object.keys(reasonsOf([at("2027-01-04T00:00"), at("2027-01-03T00:00"), at("2026-12-31T00:00")], { keepWeekly: 5 }))).toEqual([
      "2027-01-04T00:00",
      "2027-01-03T00:00",
    ]);
    // A month before March 31 is "February 31": March 3.
    expect(Object.keys(reasonsOf([at("2026-03-31T00:00"), at("2026-02-28T00:00")], { keepMonthly: 1 }))).toEqual(["2026-03-31T00:00"]);
  });

  it("a policy of zeros keeps everything", () => {
    expect(Object.keys(reasonsOf([at("2026-03-10T12:00"), at("2020-03-10T12:00")], {}))).toHaveLength(2);
  });

  it("incomplete ones stay while they are new or few, and only after the last complete one", () => {
    const checkpoint = (time: string): Snapshot => at(time, { incomplete: "checkpoint" });
    const times = ["2026-03-10T12:00", "2026-03-10T11:00", "2026-03-10T10:00", "2026-03-10T09:00", "2026-03-10T07:00"];
    const kept = reasonsOf([...times.map(checkpoint), at("2026-03-09T00:00"), checkpoint("2026-03-08T00:00")], { keepLatest: 9 });
    expect(Object.keys(kept).sort()).toEqual(["2026-03-09T00:00", "2026-03-10T09:00", "2026-03-10T10:00", "2026-03-10T11:00", "2026-03-10T12:00"]);
  });

  it("the newest one without errors is kept when newer ones have some", () => {
    const failed = (time: string): Snapshot => at(time, { stats: { ...emptyStats, errorCount: 1 } });
    expect(reasonsOf([failed("2026-03-12T00:00"), failed("2026-03-11T00:00"), at("2026-03-10T00:00"), at("2026-03-09T00:00")], { keepLatest: 1 })).toEqual({
      "2026-03-12T00:00": ["latest-1"],
      "2026-03-10T00:00": ["last-good"],
    });
  });

  it("Velero's policy, which keeps 2147483647 of everything, keeps everything", () => {
    const all = Object.fromEntries(Object.keys(none).map((name) => [name, 2147483647])) as unknown as RetentionPolicy;
    const snapshots = ["2026-03-10T12:00", "2026-03-10T11:59", "1999-01-01T00:00", "1965-01-01T00:00"].map((time) => at(time));
    expect(retentionReasons(snapshots, all).size).toBe(4);
  });

  it("whatever the policy and the history, the newest without errors stays, and no period keeps more than it may", () => {
    const limit = fc.nat({ max: 4 });
    const policy = fc.record({ keepLatest: limit, keepHourly: limit, keepDaily: limit, keepWeekly: limit, keepMonthly: limit, keepAnnual: limit });
    const history = fc.uniqueArray(fc.record({ hours: fc.nat({ max: 30_000 }), errors: fc.boolean(), open: fc.boolean() }), {
      maxLength: 25,
      selector: ({ hours }) => hours,
    });
    fc.assert(
      fc.property(policy, history, (retention, moments) => {
        const snapshots = moments.map(({ hours, errors, open }) =>
          at(new Date(Date.UTC(2024, 0, 1) + hours * 3_600_000).toISOString().slice(0, 19), {
            stats: { ...emptyStats, errorCount: errors ? 1 : 0 },
            ...(open ? { incomplete: "checkpoint" } : {}),
          }),
        );
        const reasons = retentionReasons(snapshots, retention);
        const good = snapshots
          .filter((snapshot) => snapshot.incomplete === undefined && snapshot.stats.errorCount === 0)
          .sort((a, b) => Number(b.startTimeNs - a.startTimeNs))[0];
        if (good !== undefined) expect(reasons.has(good.id)).toBe(true);
        const given = [...reasons.values()].flat();
        const isSet = Object.values(retention).some((count) => count > 0);
        if (isSet) expect(given.filter((reason) => reason.startsWith("daily-")).length).toBeLessThanOrEqual(retention.keepDaily);
      }),
      { seed: 6, numRuns: 500 },
    );
  });
});

describe("expiring", () => {
  it("deletes what the policy of each source does not keep, but nothing that is pinned", async () => {
    const { repository } = memoryRepository();
    await new PolicyStore(repository.manifests).set(source, { ...emptyPolicy, noParent: true, retention: { keepLatest: 1 } });
    const save = (time: string, changes: Partial<Snapshot> = {}): Promise<string> => repository.snapshots.save(at(time, changes));
    const old = await save("2026-03-01T00:00");
    const pinned = await save("2026-03-02T00:00", { pins: ["audit"] });
    const newest = await save("2026-03-03T00:00");
    const other = await save("2026-03-01T00:00", { source: { ...source, path: "/other" } });
    const plan = await planExpiry(repository, undefined);
    expect(plan.decisions.filter(({ reasons }) => reasons.length === 0).map(({ snapshot }) => snapshot.id)).toEqual([old]);
    expect(plan.decisions.find(({ snapshot }) => snapshot.id === pinned)?.reasons).toEqual(["pin:audit"]);
    // Somebody else was faster: still fine.
    await repository.snapshots.delete(old);
    expect((await executeExpiry(repository, plan)).map(({ id }) => id)).toEqual([old]);
    expect((await repository.snapshots.list()).snapshots.map(({ id }) => id).sort()).toEqual([pinned, newest, other].sort());
  });
});
