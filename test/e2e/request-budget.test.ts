/**
 * What a backup of one volume and its restore ask of the API server, by role, beside what a real Velero asks for the same (bench/history.md): one request more each time, and this fails.
 * How often something is looked at that is not there yet says how quick a machine is; and a lease is renewed for as long as it takes.
 */
import { join } from "node:path";
import { NODE_AGENT_NAME } from "@drayage/install";
import { nodes, pods } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";
import { type AuditedRequest, requestsFromNow } from "./request-counter.ts";
import { deployApplication, inApplication, untilRunning } from "./sample-application.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1, audit: true });
  await deployApplication(harness, "small", { files: { size: "64Mi" } });
  await inApplication(harness, "small", "head -c 4000000 /dev/urandom > /volumes/files/data; sync");
});
afterAll(() => harness?.destroy());

/** Whatever others make ready or take away. */
const AWAITED = /^get (?:persistentvolumeclaims|persistentvolumes|pods|volumesnapshots|volumesnapshotcontents)$/;

/** By role, without what time alone makes more of: each thing that is awaited counts once. */
function counted(requests: readonly AuditedRequest[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  const awaited = new Set<string>();
  for (const { role, what, uri } of requests) {
    if (/ (?:leases|events)$/.test(what) || (AWAITED.test(what) && awaited.has(`${role} ${uri}`))) continue;
    awaited.add(`${role} ${uri}`);
    counts[role] = (counts[role] ?? 0) + 1;
  }
  return counts;
}

async function requestsOf(work: () => Promise<{ readonly status?: { readonly phase?: string } }>): Promise<Readonly<Record<string, number>>> {
  const requests = requestsFromNow(join(harness.cluster.directory, "logs", "audit.jsonl"), VELERO);
  expect((await work()).status).toMatchObject({ phase: "Completed" });
  return counted(requests());
}

/** A backup and a restore. The server's is what was counted when this was written and some more; a real Velero's was 134–147 and 67–71, with what is awaited. */
const SERVER = [90, 56] as const;
/** What the recording of a real Velero has for each of its movements (docs/development/real-cluster.md). */
const NODE_AGENT = 42;
const MOVER = [29, 25] as const;

it.for(["first", "second"])("the %s backup of a volume and its restore ask for no more than a budget", async (name) => {
  const works = [
    () => harness.backUp(name, { includedNamespaces: ["small"], snapshotMoveData: true }),
    () => harness.restore(name, { backupName: name, namespaceMapping: { small: `copy-${name}` } }),
  ];
  for (const [at, work] of works.entries()) {
    const { drayage: server = 0, "node-agent": agent = 0, "drayage-mover": mover = 0 } = await requestsOf(work);
    const what = `${at === 0 ? "backup" : "restore"}: server ${server}, node-agent ${agent}, mover ${mover}`;
    expect(Math.min(server, agent, mover), what).toBeGreaterThan(0);
    expect(server, what).toBeLessThanOrEqual(SERVER[at] ?? 0);
    expect(agent, what).toBeLessThanOrEqual(NODE_AGENT);
    expect(mover, what).toBeLessThanOrEqual(MOVER[at] ?? 0);
  }
  await untilRunning(harness, `copy-${name}`);
});

it("a node of Windows gets none of the pods", async () => {
  await harness.client.create(nodes, {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "windows", labels: { "kubernetes.io/os": "windows", "kubernetes.io/hostname": "windows" } },
  });
  // Another one of Linux is given its pod, by the same look at all nodes.
  await harness.client.create(nodes, {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "linux", labels: { "kubernetes.io/os": "linux", "kubernetes.io/hostname": "linux" } },
  });
  const agents = await harness.seen(pods, { namespace: VELERO, labelSelector: `name=${NODE_AGENT_NAME}` }, (found) => (found.length > 1 ? found : undefined));
  expect(agents).toHaveLength(2);
  expect(JSON.stringify(agents)).not.toContain('"windows"');
  for (const name of ["windows", "linux"]) await harness.client.delete(nodes, { name });
});
