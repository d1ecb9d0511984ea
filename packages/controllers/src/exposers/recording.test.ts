/**
 * Our intermediate objects beside those of a real Velero 1.18.3, field by field (test/fixtures/velero-1.18.3/data-movement.json). What differs on purpose is listed here with its reason,
 * and nowhere else.
 */
import { readFileSync } from "node:fs";
import {
  backupStorageLocations,
  type DataDownload,
  type DataUpload,
  dataDownloads,
  dataUploads,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { formatKey, type KubeObject, nodes, type PersistentVolumeClaim, persistentVolumeClaims, type ResourceType, secrets } from "@drayage/kube";
import { type FakeCall, FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { dataMoverClaims } from "../data-movement/data-movers.ts";
import { startNodeAgent } from "../data-movement/node-agent.ts";
import { SimulatedStorage } from "../testing/simulated-storage.ts";

interface Recorded<T> {
  readonly object: T;
  readonly stages: readonly { readonly labels?: Record<string, string>; readonly finalizers?: string[] | null; readonly status?: Record<string, unknown> }[];
  readonly requests: readonly { readonly verb: string; readonly uri: string; readonly request?: unknown }[];
}
interface RecordedUpload extends Recorded<DataUpload> {
  readonly snapshot: VolumeSnapshot;
  readonly content: VolumeSnapshotContent;
  readonly claim: PersistentVolumeClaim;
}
interface RecordedDownload extends Recorded<DataDownload> {
  readonly target: PersistentVolumeClaim;
  readonly volume: string;
}
type Mode = "filesystem" | "block";

const recording = JSON.parse(readFileSync(new URL("../../../../test/fixtures/velero-1.18.3/data-movement.json", import.meta.url), "utf8")) as {
  readonly uploads: Record<Mode, RecordedUpload>;
  readonly downloads: Record<Mode, RecordedDownload>;
};

interface Loose {
  [field: string]: unknown;
}
interface Request {
  readonly verb: string;
  readonly what: string;
  readonly body?: Loose;
}

/** What the node-agent wrote, and the stages its object went through. */
async function play<T extends DataUpload | DataDownload>(type: ResourceType<T>, object: T, seed: (client: FakeKubeClient, storage: SimulatedStorage) => void) {
  const clock = new VirtualClock(Date.parse("2026-11-21T04:10:12Z"));
  const client = new FakeKubeClient({ clock });
  const storage = new SimulatedStorage(client, { nodeName: "node1" });
  client.seed(backupStorageLocations, { metadata: { namespace: "velero", name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  client.seed(secrets, { metadata: { namespace: "velero", name: "velero-repo-credentials" }, data: { "repository-password": "c2VjcmV0" } });
  client.seed(nodes, { metadata: { name: "node1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
  seed(client, storage);
  const stages: Loose[] = [];
  client.react(type, (_before, after) => {
    if (after !== undefined) stages.push({ labels: after.metadata.labels, finalizers: after.metadata.finalizers, status: after.status });
  });
  client.seed(type, object);
  const { stop } = await startNodeAgent({
    client,
    clock,
    random: seededRandom(1),
    logger: memoryLogger(),
    namespace: "velero",
    nodeName: "node1",
    claims: dataMoverClaims({ mode: "standalone" }),
    pod: { image: "localhost/velero:1", serviceAccount: "velero" },
    config: {},
  });
  for (let step = 0; step < 200 && client.peek(type, { namespace: "velero", name: object.metadata.name ?? "" })?.status?.phase !== "Completed"; step++) {
    await clock.advance(500);
    await settle();
  }
  await clock.advance(5_000);
  await stop();
  return { requests: client.calls.filter(({ verb }) => ["create", "patch", "delete"].includes(verb)).map(ofCall), stages };
}

const ofCall = ({ verb, resource, namespace, name, body }: FakeCall): Request => ({
  verb,
  what: `${resource} ${formatKey({ namespace, name: name ?? "" })}`,
  ...(body === undefined ? {} : { body: body as Loose }),
});

/** A request of the audit log in the same form. */
function ofAudit({ verb, uri, request }: Recorded<unknown>["requests"][number]): Request {
  const match = /^\/apis?\/(?:([^/]+)\/)?v\d[^/]*\/(?:namespaces\/([^/]+)\/)?([^/]+)(?:\/([^/]+))?$/.exec(uri);
  const [, group = "", namespace, plural = "", name] = match ?? [];
  const named = name ?? (request as KubeObject | undefined)?.metadata.name ?? "";
  return {
    verb,
    what: `${group === "" ? plural : `${plural}.${group}`} ${formatKey({ namespace, name: named })}`,
    ...(request === undefined ? {} : { body: request as Loose }),
  };
}

const at = (object: unknown, ...path: string[]): Loose => path.reduce<Loose>((value, key) => (value[key] ?? {}) as Loose, object as Loose);
const find = (requests: readonly Request[], verb: string, what: RegExp): Loose =>
  requests.find((request) => request.verb === verb && what.test(request.what))?.body ?? {};
const without = (object: Loose, ...keys: string[]): Loose => Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));

/** Differences in pods, with the reason of each. */
function expectSamePod(ours: Loose, theirs: Loose, uid: string): void {
  expect(at(ours, "metadata")).toEqual(at(theirs, "metadata"));
  const [our, their] = [at(ours, "spec"), at(theirs, "spec")];
  const [container, theirContainer] = [at(our, "containers", "0"), at(their, "containers", "0")];
  // Defaults that the API server fills in, and the old name of serviceAccountName.
  const defaulted = ["schedulerName", "enableServiceLinks", "dnsPolicy", "serviceAccount"];
  expect(without(our, "containers", "volumes")).toEqual(without(their, "containers", "volumes", ...defaulted));
  // IfNotPresent instead of Never: a node without the image may get it. `resources` is a default.
  expect(container["imagePullPolicy"]).toBe("IfNotPresent");
  const free = ["env", "volumeMounts", "imagePullPolicy", "resources"];
  expect(without(container, ...free)).toEqual(without(theirContainer, ...free));
  // Host folders are not mounted: a mover reads its volume through its claim alone. One Secret of its own takes the place of the installation's credentials.
  const volumes = (their["volumes"] as Loose[]).filter(({ hostPath, secret }) => hostPath === undefined && secret === undefined);
  expect((our["volumes"] as Loose[]).filter(({ secret }) => secret === undefined)).toEqual(volumes);
  expect((our["volumes"] as Loose[]).filter(({ secret }) => secret !== undefined).map(({ secret }) => at(secret, "secretName"))).toHaveLength(1);
  const mounts = (list: unknown): unknown[] => ((list ?? []) as Loose[]).filter(({ name }) => name === uid || name === "scratch");
  expect(mounts(container["volumeMounts"])).toEqual(mounts(theirContainer["volumeMounts"]));
  // Credentials of providers that are not there are not named.
  const names = ((container["env"] ?? []) as { name: string }[]).map(({ name }) => name);
  expect(names).toEqual(["NODE_NAME", "VELERO_NAMESPACE", "VELERO_SCRATCH_DIR", "AWS_SHARED_CREDENTIALS_FILE", "DRAYAGE_MOVER_SECRET_PATH", "DRAYAGE_POD_UID"]);
}

const OUR_ANNOTATIONS = /^drayage\.io\//;
/** Our annotations are how a restart finds the rest of its way. */
function foreignAnnotations(object: Loose): Loose {
  const { annotations, ...metadata } = at(object, "metadata");
  const kept = Object.entries((annotations ?? {}) as Loose).filter(([key]) => !OUR_ANNOTATIONS.test(key));
  return { ...metadata, ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }) };
}

/** Names and counts that no two runs share. */
const volatile = ["acceptedTimestamp", "startTimestamp", "completionTimestamp", "snapshotID", "progress", "incrementalBytes"];
/** Whatever is written while it is new: Velero gives it its finalizer by a write of its own, ours with the claim. */
const phasesOf = (stages: readonly { readonly status?: unknown }[]): unknown[] =>
  stages.map(({ status }) => (status as { phase?: string } | undefined)?.phase ?? "New").filter((phase, index, all) => index === 0 || phase !== all[index - 1]);

/** As external-snapshotter gives them, each by a request of its own, to what is bound. */
const FINALIZERS: Readonly<Record<string, readonly string[]>> = {
  "/^volumesnapshots/": ["volumesnapshot-as-source-protection", "volumesnapshot-bound-protection"].map((name) => `snapshot.storage.kubernetes.io/${name}`),
  "/^volumesnapshotcontents/": ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"],
};

describe.each<Mode>(["filesystem", "block"])("a DataUpload of a %s volume, beside Velero's", (mode) => {
  const recorded = recording.uploads[mode];
  const { name = "", uid = "" } = recorded.object.metadata;
  const theirs = recorded.requests.map(ofAudit);
  const run = () =>
    play(dataUploads, recorded.object, (client, storage) => {
      storage.snapshots.add(recorded.content.status?.snapshotHandle ?? "");
      client.seed(volumeSnapshotContents, recorded.content);
      // Their finalizers are the snapshot controller's, which is simulated.
      client.seed(volumeSnapshots, { ...recorded.snapshot, metadata: { ...recorded.snapshot.metadata, finalizers: [] } });
      client.mutate(volumeSnapshotContents, { name: recorded.content.metadata.name ?? "" }, ({ metadata }) => delete metadata.finalizers);
      client.seed(persistentVolumeClaims, recorded.claim);
    });

  it("makes the same requests in the same order", async () => {
    const { requests } = await run();
    // The repository is asked for by the agent, not by the mover, whose account may not; the Secret is the mover's own, and Velero tells no Events. The source snapshot is not deleted twice.
    const ours = requests.map(({ verb, what }) => `${verb} ${what}`).filter((text) => !/ (secrets|backuprepositories|events)/.test(text));
    const wanted = theirs.map(({ verb, what }) => `${verb} ${what}`);
    // The content comes before its VolumeSnapshot, and the source goes when the volume is being made: both leave the snapshot controller less to do while it is waited for.
    const [snapshot, content, kept, source, sourceContent, claim, pod, ...rest] = wanted.slice(0, -1);
    expect(ours).toEqual([content, snapshot, kept, claim, source, sourceContent, pod, ...rest]);
    expect(wanted.at(-1)).toBe(
      `delete volumesnapshots.snapshot.storage.k8s.io ${formatKey({ namespace: "notes", name: recorded.snapshot.metadata.name ?? "" })}`,
    );
  });

  it("makes the same snapshot, content and claim, with the finalizers that the snapshot controller gives them", async () => {
    const { requests } = await run();
    for (const what of [/^volumesnapshots/, /^volumesnapshotcontents/, /^persistentvolumeclaims/]) {
      const [our, their] = [find(requests, "create", what), find(theirs, "create", what)];
      const { finalizers, ...metadata } = foreignAnnotations(our);
      expect(metadata).toEqual(at(their, "metadata"));
      expect(finalizers).toEqual(FINALIZERS[String(what)]);
      expect(without(at(our, "spec"), "volumeSnapshotRef")).toEqual(without(at(their, "spec"), "volumeSnapshotRef"));
      // The VolumeSnapshot is not there yet.
      expect(at(our, "spec", "volumeSnapshotRef")).toEqual(without(at(their, "spec", "volumeSnapshotRef"), "uid", "resourceVersion"));
    }
    expect(find(requests, "patch", /^volumesnapshotcontents/)).toEqual(find(theirs, "patch", /^volumesnapshotcontents/));
  });

  it("makes the same pod, but for what is listed", async () => {
    const { requests } = await run();
    expectSamePod(find(requests, "create", /^pods/), find(theirs, "create", /^pods/), uid);
  });

  it("shows the same phases, labels, finalizers and final status", async () => {
    const { stages } = await run();
    expect(phasesOf(stages)).toEqual(phasesOf(recorded.stages));
    const accepted = (list: readonly Loose[]): Loose => list.find(({ status }) => (at(status, "phase") as unknown) === "Accepted") ?? {};
    const ours = accepted(stages);
    const their = accepted(recorded.stages as unknown as Loose[]);
    expect([ours["labels"], ours["finalizers"]]).toEqual([their["labels"], their["finalizers"]]);
    const [last, theirLast] = [stages.at(-1), recorded.stages.at(-1)];
    expect(last?.["labels"]).toEqual(theirLast?.labels);
    expect(without(at(last, "status"), ...volatile)).toEqual(without(at(theirLast, "status"), ...volatile));
    expect(
      Object.keys(at(last, "status"))
        .filter((key) => key !== "incrementalBytes")
        .sort(),
    ).toEqual(
      Object.keys(at(theirLast, "status"))
        .filter((key) => key !== "incrementalBytes")
        .sort(),
    );
    expect(name).not.toBe("");
  });
});

/** Theirs names the volume in the claim, then the claim in the volume without its UID; ours leaves the claim to Kubernetes' binder, which else may keep it for up to 15 s (rebind-volume.ts). */
function withoutNamingInClaim(requests: readonly Request[]): Request[] {
  return requests.filter(({ verb, what }) => !(verb === "patch" && what.startsWith("persistentvolumeclaims ")));
}

describe.each<Mode>(["filesystem", "block"])("a DataDownload of a %s volume, beside Velero's", (mode) => {
  const recorded = recording.downloads[mode];
  const { uid = "" } = recorded.object.metadata;
  const theirs = recorded.requests.map(ofAudit);
  const run = () => play(dataDownloads, recorded.object, (client) => void client.seed(persistentVolumeClaims, recorded.target));

  it("makes the same requests, the claim before its pod", async () => {
    const { requests } = await run();
    // The simulated provisioner gives other names to volumes.
    const text = ({ verb, what }: Request): string => `${verb} ${what.replace(/^persistentvolumes .*/, "persistentvolumes V")}`;
    const ours = requests.map(text).filter((line) => !/ (secrets|backuprepositories|events)/.test(line));
    // A pod whose claim is not there yet cannot be scheduled, so the claim comes first; and what is gone is not deleted again.
    const [pod, claim, ...rest] = withoutNamingInClaim(theirs).map(text);
    expect(ours).toEqual([claim, pod, ...rest.slice(0, -1)]);
  });

  it("makes the same claim and pod, but for what is listed", async () => {
    const { requests } = await run();
    const [our, their] = [find(requests, "create", /^persistentvolumeclaims/), find(theirs, "create", /^persistentvolumeclaims/)];
    expect(at(our, "metadata")).toEqual(at(their, "metadata"));
    expect(at(our, "spec")).toEqual(at(their, "spec"));
    expectSamePod(find(requests, "create", /^pods/), find(theirs, "create", /^pods/), uid);
  });

  it("hands the volume over with the same patches, but for the claim, which is named by its UID", async () => {
    const { requests } = await run();
    const patches = (list: readonly Request[]): unknown[] => list.filter(({ verb }) => verb === "patch").map(({ body }) => body);
    const renamed = JSON.parse(JSON.stringify(patches(requests)).replaceAll(/pvc-\d+(?=")/g, recorded.volume)) as Loose[];
    const { uid: claimUid, namespace, name } = recorded.target.metadata;
    const claimRef = { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name, uid: claimUid, resourceVersion: null };
    const wanted = patches(withoutNamingInClaim(theirs)).map((body) =>
      at(body, "spec")["claimRef"] === undefined ? body : { ...(body as Loose), spec: { claimRef } },
    );
    expect(renamed).toEqual(wanted);
  });

  it("shows the same phases and final status", async () => {
    const { stages } = await run();
    expect(phasesOf(stages)).toEqual(phasesOf(recorded.stages));
    const [last, theirLast] = [stages.at(-1), recorded.stages.at(-1)];
    expect(without(at(last, "status"), ...volatile)).toEqual(without(at(theirLast, "status"), ...volatile));
    expect([last?.["labels"], last?.["finalizers"] ?? null]).toEqual([theirLast?.labels, theirLast?.finalizers ?? null]);
  });
});
