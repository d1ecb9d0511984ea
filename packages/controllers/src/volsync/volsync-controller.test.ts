import { type ReplicationSource, replicationSources } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type Deployment, deployments, persistentVolumeClaims, pods, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { requestOf } from "./apply.ts";
import { specFault } from "./faults.ts";
import { buildMoverPod } from "./mover-pod.ts";
import { SOURCE } from "./replication-kinds.ts";
import { startVolSyncController } from "./volsync-controller.ts";

const NS = "shop";
let clock: VirtualClock;
let client: FakeKubeClient;
let controller: RunningController | undefined;

beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock, statusSubresources: ["replicationsources.volsync.backube"] });
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
});

const sourceOf = (over: Partial<ReplicationSource["spec"]> = {}): ReplicationSource => ({
  apiVersion: "volsync.backube/v1alpha1",
  kind: "ReplicationSource",
  metadata: { namespace: NS, name: "data", uid: "0123456789abcdef", creationTimestamp: "2026-05-01T00:00:00Z" },
  spec: { sourcePVC: "data", trigger: { manual: "one" }, restic: { repository: "restic-config", copyMethod: "Direct" }, ...over },
});

function seedWorld(): void {
  const data = { RESTIC_REPOSITORY: "L3JlcG8=", RESTIC_PASSWORD: "c2VjcmV0" };
  client.seed(secrets, { metadata: { namespace: NS, name: "restic-config" }, data });
  client.seed(persistentVolumeClaims, { metadata: { namespace: NS, name: "data" }, spec: { accessModes: ["ReadWriteOnce"] } });
  client.seed(replicationSources, sourceOf());
}

function start(): void {
  controller = startVolSyncController({ client, clock, random: seededRandom(1), logger: nullLogger, image: "drayage/dray:test", logLevel: "info" });
}

async function pass(): Promise<void> {
  // Its caches are filled first; what a decision writes is another event.
  for (let round = 0; round < 50; round++) {
    await settle();
    await controller?.idle();
  }
}

const volSync = (replicas: number): Deployment =>
  ({
    metadata: { namespace: "volsync-system", name: "volsync", labels: { "app.kubernetes.io/name": "volsync" } },
    spec: { replicas },
  }) as unknown as Deployment;

describe("the controller", () => {
  it("makes a mover that has the repository's Secret as files, no token, and no secret among its arguments", async () => {
    seedWorld();
    start();
    await pass();
    const [pod] = client.all(pods);

    expect(pod?.spec).toMatchObject({
      automountServiceAccountToken: false,
      volumes: expect.arrayContaining([{ name: "repository", secret: { secretName: "restic-config" } }]) as unknown,
    });
    expect(JSON.stringify(pod?.spec.containers)).not.toContain("secret");
    expect(client.peek(replicationSources, { namespace: NS, name: "data" })?.status?.conditions).toMatchObject([{ reason: "SyncInProgress", status: "True" }]);
  });

  it.each([
    ["runs", 1, 0],
    ["is scaled to zero", 0, 1],
  ])("looks whether a VolSync %s", async (_, replicas, movers) => {
    seedWorld();
    client.seed(deployments, volSync(replicas));
    start();
    await pass();
    expect(client.all(pods)).toHaveLength(movers);
    expect(client.peek(replicationSources, { namespace: NS, name: "data" })?.status === undefined).toBe(movers === 0);
  });
});

describe("a mover", () => {
  const podOf = (isPrivileged: boolean) =>
    buildMoverPod({
      ...{ kind: SOURCE, object: sourceOf(), image: "i", logLevel: "info", attempt: 1, tag: "one", isPrivileged, hostName: "node-1" },
      request: requestOf(sourceOf(), Date.parse("2026-05-02T00:00:00Z")),
    }).spec;

  it("keeps to the restricted standard unless its namespace allows more", () => {
    expect(podOf(false)).toMatchObject({ securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } } });
    expect(podOf(false).containers[0]?.securityContext).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } });
    expect(podOf(true).containers[0]?.securityContext).toMatchObject({ runAsUser: 0, capabilities: { add: ["DAC_OVERRIDE", "CHOWN", "FOWNER"] } });
  });

  it.each([
    ["not before the interval has passed since the object was made", undefined, undefined, "2026-05-07T00:00:00Z", false],
    ["after VolSync's seven days", undefined, undefined, "2026-05-08T00:00:01Z", true],
    ["counted from the last time", undefined, "2026-05-08T00:00:00Z", "2026-05-09T00:00:00Z", false],
    ["as often as it is told to", 1, "2026-05-08T00:00:00Z", "2026-05-09T00:00:01Z", true],
  ])("prunes %s", (_, pruneIntervalDays, lastPruned, now, prune) => {
    const restic = { repository: "r", ...(pruneIntervalDays === undefined ? {} : { pruneIntervalDays }) };
    const source: ReplicationSource = { ...sourceOf({ restic }), status: lastPruned === undefined ? {} : { restic: { lastPruned } } };
    expect(requestOf(source, Date.parse(now))).toMatchObject({ prune });
  });
});

it.each<[what: string, over: Partial<ReplicationSource["spec"]>, fault: string]>([
  ["two methods", { rsync: {} }, "only one replication method"],
  ["no Secret", { restic: {} }, "spec.restic.repository is missing"],
  ["no claim", { sourcePVC: "" }, "spec.sourcePVC is missing"],
  ["a time that is an option", { restic: { repository: "r", retain: { within: "--prune" } } }, "a time such as 3d12h is wanted"],
])("says what is wrong with %s", (_, over, fault) => {
  expect(specFault(sourceOf(over))).toContain(fault);
});

it("says of another mover that VolSync is needed", () => {
  const { restic: _, ...spec } = sourceOf().spec;
  expect(specFault({ ...sourceOf(), spec: { ...spec, rsyncTLS: {} } })).toContain("served by VolSync");
});
