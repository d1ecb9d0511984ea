/**
 * What the cluster around a movement lacks, on a real one: room in a quota, a class, a node for a mover, its image, the node itself. Each is told where users look while it is waited for
 * and at the end, no wait is longer than the time for preparing, nothing is left, and the next backup completes once the fault is gone.
 */
import { type DataDownload, type DataUpload, type VolumeSnapshotClass, volumeSnapshotClasses } from "@drayage/api";
import { CSI_DRIVER_NAME } from "@drayage/embedded/csi-driver";
import { NODE_AGENT_NAME } from "@drayage/install";
import {
  daemonSets,
  type KubeObject,
  nodes,
  type Pod,
  persistentVolumeClaims,
  pods,
  type ResourceType,
  type StorageClass,
  storageClasses,
} from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, inApplication, untilRunning } from "../e2e/sample-application.ts";
import { PROGRAM_IMAGE } from "./images.ts";
import { NODE } from "./machine.ts";
import type { RealCluster } from "./real-cluster.ts";

/** Claims of the application, by what becomes of each. `well` has no fault at all. */
const VOLUMES = {
  classless: { storageClass: "gone" },
  cut: {},
  far: { storageClass: "far" },
  limited: { storageClass: "limited" },
  well: {},
} as const;
type Claim = keyof typeof VOLUMES;
const CLAIMS = Object.keys(VOLUMES).sort() as readonly Claim[];
const PREPARE_TIMEOUT = "--data-mover-prepare-timeout";
/** The class that cuts the snapshots of one claim. */
const FLEETING = "fleeting";

const resourceQuotas: ResourceType<KubeObject & { spec: { hard: Record<string, string> } }> = {
  ...{ group: "", version: "v1", plural: "resourcequotas", kind: "ResourceQuota", namespaced: true },
};

let harness: Harness;
beforeAll(async () => {
  const loadAffinity = [{ storageClass: "far", nodeSelector: { matchLabels: { disk: "fast" } } }];
  harness = await Harness.start({ nodeAgentConfig: { loadConcurrency: { globalConfig: CLAIMS.length }, loadAffinity } });
  for (const name of ["gone", "far", "limited"]) await createClass(name);
  await createSnapshotClass(FLEETING);
  await labelNode("fast");
  await deployApplication(harness, "shop", VOLUMES);
  await deployApplication(harness, "small", { well: {} });
  await harness.client.patch(persistentVolumeClaims, { namespace: "shop", name: "cut" }, "merge", {
    metadata: { annotations: { "velero.io/csi-volumesnapshot-class": FLEETING } },
  });
  await inApplication(harness, "shop", CLAIMS.map((claim) => `head -c 100000 /dev/urandom > /volumes/${claim}/file`).join("; "));
  await inApplication(harness, "small", "head -c 100000 /dev/urandom > /volumes/well/file; sync");
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const ofShop = { includedNamespaces: ["shop"] };
const ofSmall = { includedNamespaces: ["small"] };
type Movement = DataUpload | DataDownload;
const inPhase =
  (phase: string) =>
  ({ status }: Movement): boolean =>
    status?.phase === phase;
const claimOf = ({ spec }: Movement): string => ("sourcePVC" in spec ? spec.sourcePVC : spec.targetVolume.pvc);

async function createClass(name: string): Promise<void> {
  const { provisioner, reclaimPolicy, volumeBindingMode } = await harness.client.get(storageClasses, { name: "drayage-fs" });
  await harness.client.create<StorageClass>(storageClasses, {
    metadata: { name },
    provisioner,
    ...(reclaimPolicy === undefined ? {} : { reclaimPolicy }),
    ...(volumeBindingMode === undefined ? {} : { volumeBindingMode }),
  });
}
async function createSnapshotClass(name: string): Promise<void> {
  const { driver, deletionPolicy } = await harness.client.get(volumeSnapshotClasses, { name: "drayage-snapshots" });
  await harness.client.create<VolumeSnapshotClass>(volumeSnapshotClasses, { metadata: { name }, driver, deletionPolicy });
}
const labelNode = (disk: string): Promise<unknown> => harness.client.patch(nodes, { name: NODE }, "merge", { metadata: { labels: { disk } } });
const setUnschedulable = (unschedulable: boolean): Promise<unknown> => harness.client.patch(nodes, { name: NODE }, "merge", { spec: { unschedulable } });

/** Stops the node-agent, or lets it go on: what happens meanwhile happens between two of its steps. */
async function signalAgent(signal: "SIGSTOP" | "SIGCONT"): Promise<void> {
  for (const pod of await harness.podsOf("node-agent")) for (const pid of harness.cluster.mainProcesses(pod)) process.kill(pid, signal);
}

/** Replaces the node-agent by one with another time for preparing; its own when left out. */
async function setPrepareTimeout(timeout?: string): Promise<void> {
  const key = { namespace: VELERO, name: NODE_AGENT_NAME };
  const [container] = (await harness.client.get(daemonSets, key)).spec.template.spec.containers;
  const others = (container?.args ?? []).filter((arg) => !arg.startsWith(PREPARE_TIMEOUT));
  const value = timeout === undefined ? others : [...others, `${PREPARE_TIMEOUT}=${timeout}`];
  const { metadata } = await harness.client.patch(daemonSets, key, "json", [{ op: "replace", path: "/spec/template/spec/containers/0/args", value }]);
  await harness.until(
    daemonSets,
    key,
    ({ status }) =>
      Number(status?.["observedGeneration"]) >= (metadata.generation ?? 0) && status?.["updatedNumberScheduled"] === 1 && status["numberReady"] === 1,
  );
}

/** Looks at what the command line prints of a movement until all of that is in it, whatever its columns: Events come a moment later than what they tell of. */
async function expectDescribed(movement: Movement, ...wanted: readonly string[]): Promise<void> {
  const noun = "sourcePVC" in movement.spec ? "data-upload" : "data-download";
  const missing = async (): Promise<readonly string[]> => {
    const described = (await harness.dray(noun, "describe", movement.metadata.name ?? "")).replaceAll(/ +/g, " ");
    return wanted.filter((text) => !described.includes(text));
  };
  await expect.poll(missing, { timeout: 60_000, interval: 500 }).toEqual([]);
}

/** How it begins what a movement of a claim waits for; NAME is that of the movement. */
interface Fault {
  readonly make: () => Promise<unknown>;
  readonly heal: () => Promise<unknown>;
  readonly backup: string;
  /** Undefined: nothing is the matter with its restore. */
  readonly restore?: string;
}
const QUOTA = { namespace: VELERO, name: "movers" };
const noVolume = (purpose: string): string => `a volume: storage class "gone" gives no volume for the ${purpose}: storageclass.storage.k8s.io "gone" not found`;
const NO_NODE = "the mover pod to be scheduled: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector";
const NO_ROOM = "room in a quota: ";

const FAULTS: Readonly<Record<Exclude<Claim, "well">, Fault>> = {
  limited: {
    make: () =>
      harness.client.create(resourceQuotas, { metadata: QUOTA, spec: { hard: { "limited.storageclass.storage.k8s.io/persistentvolumeclaims": "0" } } }),
    heal: () => harness.client.delete(resourceQuotas, QUOTA),
    backup: NO_ROOM,
    restore: NO_ROOM,
  },
  classless: {
    make: () => harness.client.delete(storageClasses, { name: "gone" }),
    heal: () => createClass("gone"),
    backup: `${noVolume('backup of "shop/classless"')}. Name a storage class that is there in backupPVC["gone"]`,
    restore: `${noVolume('restore of "copy/classless"')}. Create it, or restore to another one`,
  },
  cut: {
    make: () => harness.client.delete(volumeSnapshotClasses, { name: FLEETING }),
    heal: () => createSnapshotClass(FLEETING),
    backup: `volume snapshot "${VELERO}/NAME" to be ready: Failed to get snapshot class`,
  },
  far: { make: () => labelNode("slow"), heal: () => labelNode("fast"), backup: NO_NODE, restore: NO_NODE },
};
/** How the message of a movement begins that waits for what its claim lacks. */
function waitingOf(movement: Movement): string {
  const { backup, restore } = FAULTS[claimOf(movement) as keyof typeof FAULTS];
  return `waiting for ${"sourcePVC" in movement.spec ? backup : restore}`.replace("NAME", movement.metadata.name ?? "");
}

const FAULTY = Object.keys(FAULTS).sort() as readonly Exclude<Claim, "well">[];
const FAULTY_RESTORES = FAULTY.filter((claim) => FAULTS[claim].restore !== undefined);

describe("faults that come when the snapshots have been cut", () => {
  it("are told in the status and by describe while they last, and hinder no other volume", async () => {
    expect((await harness.backUp("before", ofShop)).status).toMatchObject({ phase: "Completed" });
    await signalAgent("SIGSTOP");
    await harness.startBackup("during", ofShop);
    await harness.uploads("during", CLAIMS.length);
    await harness.startRestore("during", { backupName: "before", namespaceMapping: { shop: "copy" } });
    await harness.downloads("during", CLAIMS.length);
    for (const { make } of Object.values(FAULTS)) await make();
    await signalAgent("SIGCONT");

    for (const claim of FAULTY) {
      const waits = (movement: Movement): boolean => claimOf(movement) === claim && movement.status?.message?.startsWith(waitingOf(movement)) === true;
      const told: Movement[] = [await harness.upload("during", waits)];
      if (FAULTS[claim].restore !== undefined) told.push(await harness.download("during", waits));
      for (const movement of told) {
        expect(movement.status?.phase).toBe("Accepted");
        const waiting = waitingOf(movement);
        await expectDescribed(movement, "Phase: Accepted\n", `Message: ${waiting}`, `Normal Waiting ${waiting}`);
      }
    }
    await harness.uploads("during", CLAIMS.length - FAULTY.length, inPhase("Completed"));
    await harness.downloads("during", CLAIMS.length - FAULTY_RESTORES.length, inPhase("Completed"));
  });

  it("end the wait when the time for preparing is up, counted from when it was accepted, with the reason, and leave nothing", async () => {
    // It has been up for long by the clock of this agent, which has seen nothing of it.
    await setPrepareTimeout("1s");
    const uploads = await harness.uploads("during", FAULTY.length, inPhase("Failed"));
    const downloads = await harness.downloads("during", FAULTY_RESTORES.length, inPhase("Failed"));
    for (const movement of [...uploads, ...downloads]) {
      const because = `timeout on preparing data ${"sourcePVC" in movement.spec ? "upload" : "download"}: it was ${waitingOf(movement)}`;
      expect(movement.status?.message?.slice(0, because.length)).toBe(because);
      await expectDescribed(movement, "Phase: Failed\n", `Message: ${because}`, `Warning Failed ${because}`);
    }
    expect((await harness.endOfBackup("during")).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: FAULTY.length });
    expect((await harness.endOfRestore("during")).status).toMatchObject({ phase: "PartiallyFailed", restoreItemOperationsFailed: FAULTY_RESTORES.length });
    await harness.expectNothingLeft();
  });

  it("are over when they are over: the next backup completes, and so does the next restore", async () => {
    for (const { heal } of Object.values(FAULTS)) await heal();
    await setPrepareTimeout();
    await harness.deleteNamespace("copy");
    expect((await harness.backUp("after", ofShop)).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: CLAIMS.length });
    expect((await harness.restore("after", { backupName: "after", namespaceMapping: { shop: "copy" } })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "copy");
    for (const claim of CLAIMS) expect(await factsOf(harness, "copy", claim), claim).toEqual(await factsOf(harness, "shop", claim));
    await harness.expectNothingLeft();
  });
});

describe("a backup for which", () => {
  it("no VolumeSnapshotClass is there says so, and leaves nothing", async () => {
    const { items } = await harness.client.list(volumeSnapshotClasses);
    for (const { metadata } of items) await harness.client.delete(volumeSnapshotClasses, { name: metadata.name ?? "" });
    try {
      expect((await harness.backUp("uncut", ofShop)).status).toMatchObject({ phase: "PartiallyFailed", errors: CLAIMS.length });
      const errors = JSON.stringify((await harness.resultsOf("backup", "uncut")).errors);
      for (const claim of CLAIMS)
        expect(errors).toContain(`Cannot take a snapshot of claim \\"shop/${claim}\\": there is no VolumeSnapshotClass for driver \\"${CSI_DRIVER_NAME}\\"`);
      await harness.expectNothingLeft();
    } finally {
      // With nothing of what the API server gave them: it would not take that back.
      for (const { metadata, driver, deletionPolicy } of items) {
        const { name, labels = {}, annotations = {} } = metadata;
        const again = { metadata: { ...(name === undefined ? {} : { name }), labels, annotations }, driver, deletionPolicy };
        await harness.client.create<VolumeSnapshotClass>(volumeSnapshotClasses, again);
      }
    }
  });

  it("the image of movers cannot be pulled is told the kubelet's reason at once, leaves nothing, and the next one completes", async () => {
    const cluster = harness.cluster as RealCluster;
    cluster.removeImage(PROGRAM_IMAGE);
    try {
      await harness.startBackup("unpulled", ofSmall);
      const upload = await harness.upload("unpulled", inPhase("Canceled"));
      const because = "mover pod cannot get its image: ImagePullBackOff: ";
      expect(upload.status?.message?.slice(0, because.length)).toBe(because);
      await expectDescribed(upload, "Phase: Canceled\n", `Message: ${because}`, `Warning Canceled ${because}`);
      expect((await harness.endOfBackup("unpulled")).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 1 });
      await harness.expectNothingLeft();
    } finally {
      await cluster.importImages();
    }
    expect((await harness.backUp("pulled", ofSmall)).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 1 });
    await harness.expectNothingLeft();
  });
});

it("a node that is drained in the middle: who took a movement over and what it waits for is told, and when the node is back it completes", async () => {
  await inApplication(harness, "small", "head -c 100000 /dev/urandom > /volumes/well/more; sync");
  const hold = harness.hold(({ method, key }) => method === "PUT" && key.startsWith("kopia/small/p"));
  await harness.startBackup("drained", ofSmall);
  await hold.reached;
  await drain();
  hold.release();
  const waiting = "waiting for the mover pod to be scheduled: 0/1 nodes are available: 1 node(s) were unschedulable";
  const upload = await harness.upload("drained", ({ status }) => status?.message?.startsWith(waiting) === true);
  expect(upload.status?.phase).toBe("Accepted");
  const takenOver = `taken over by node "${NODE}" (1 of at most 3 times): `;
  await expectDescribed(upload, `Message: ${waiting}`, `Warning TakenOver ${takenOver}`, `Normal Waiting ${waiting}`);
  await setUnschedulable(false);
  expect((await harness.endOfBackup("drained")).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 1 });
  await harness.expectNothingLeft();
  expect(await harness.verifyRepository("small")).toBe(["pulled", "drained"].length);
});

/** As kubectl does it: no new pods, and an end to those of the installation that no DaemonSet keeps there. */
async function drain(): Promise<void> {
  await setUnschedulable(true);
  const isKept = ({ metadata }: Pod): boolean => metadata.ownerReferences?.some(({ kind }) => kind === "DaemonSet") === true;
  for (const { metadata } of (await harness.client.list(pods, { namespace: VELERO })).items.filter((pod) => !isKept(pod))) {
    const { name = "" } = metadata;
    const path = `/api/v1/namespaces/${VELERO}/pods/${name}/eviction`;
    await harness.client.request("POST", path, { body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { namespace: VELERO, name } } });
  }
}
