/**
 * What a DataUpload costs the API server: a number that stays the same with more nodes, each of whose agents sees every DataUpload. Figures of 500 on 50 nodes: bench/data-uploads.ts; beside a
 * real Velero, which asks 45 to 51 times for a backup and 48 to 50 times for a restore: bench/real-cluster.ts.
 */
import { expect, it } from "vitest";
import { moveManyUploads } from "../testing/many-uploads.ts";

/** Requests of all node-agents together for one DataUpload whose waits are short, watches aside: one more each time, and this fails. */
const BUDGET = 39.5;
const BUDGET_ALONE = 35.5;

it("a DataUpload costs no more requests among ten nodes than a budget, and hardly more than on one", async () => {
  const one = await moveManyUploads({ uploads: 2, nodes: 1 });
  const many = await moveManyUploads({ uploads: 20, nodes: 10 });
  expect([one.completed, many.completed]).toEqual([2, 20]);
  expect(one.all / 2).toBeLessThanOrEqual(BUDGET_ALONE);
  expect(many.all / 20).toBeLessThanOrEqual(BUDGET);
  // Each change of phase, the end before it is cleaned up, and few lost races.
  expect((many.requests.get("replace datauploads.velero.io") ?? 0) / 20).toBeLessThanOrEqual(6.5);
});
