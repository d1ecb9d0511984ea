/** Movers that come with the installation, and every way to choose one, in one backup: which it was, and why, is what describe shows. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ANNOTATIONS,
  type Backup,
  type BackupSpec,
  backups,
  dataMoverClasses,
  dataMovers,
  MOVER_ANNOTATIONS,
  schedules,
  volumeSnapshotClasses,
} from "@drayage/api";
import { messageOf } from "@drayage/base";
import {
  type ConfigMap,
  configMaps,
  deployments,
  type KubeObject,
  namespaces,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  pods,
  type ResourceType,
  storageClasses,
} from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BUCKET, Harness, KEYS, REGION, VELERO } from "./harness.ts";
import { claimOf, startApplication } from "./sample-application.ts";

const PARAMETERS = { type: "object", properties: { speed: { type: "integer", default: 1, description: "How fast" } } };
const capabilities = { kinds: ["persistentvolumeclaims"], cancel: false, progress: false, block: false, incremental: false };
const described = JSON.stringify({
  name: "installed",
  version: "2.0.0",
  description: "Came with it",
  capabilities,
  parameters: PARAMETERS,
  targets: ["BackupStorageLocation"],
});
/** Says that it has moved something, which is all that is asked of it here. */
const MOVES = `printf '{"snapshotID":"moved","totalBytes":1}' > /dev/termination-log`;
const IMAGE = "example.com/installed:2";
let harness: Harness;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-mover-choice-"));
  const keys = join(folder, "keys");
  writeFileSync(keys, `[default]\naws_access_key_id = ${KEYS.accessKeyId}\naws_secret_access_key = ${KEYS.secretAccessKey}\n`);
  const image = { pattern: IMAGE, entrypoint: ["/bin/sh", "-c", `case "$0" in describe) echo '${described}';; *) ${MOVES};; esac`] };
  harness = await Harness.start({
    nodes: 1,
    imageMap: [image],
    installBy: async (self) => {
      const config = `region=${REGION},s3ForcePathStyle=true,s3Url=${self.store.url}`;
      const store = ["--provider", "aws", "--bucket", BUCKET, "--backup-location-config", config, "--secret-file", keys];
      const more = ["--image", "drayage/dray:e2e", "--recovery-file", join(folder, "recovery"), "--mover", IMAGE, "--wait"];
      expect(await self.dray("install", ...store, ...more)).toContain('Mover "installed" 2.0.0 is registered.\n');
    },
  });
});
afterAll(async () => {
  await harness?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

it("is registered with the installation as its image describes itself", async () => {
  const { spec } = await harness.client.get(dataMovers, { name: "installed" });
  expect(spec).toMatchObject({ version: "2.0.0", image: IMAGE, command: [], parameters: PARAMETERS });
});

it("is chosen by whatever says something first, each volume its own, and describe says why", async () => {
  const { client } = harness;
  const movers = ["by-policy", "by-annotation", "by-label", "by-class", "by-storage-class", "by-snapshot-class"];
  for (const name of movers) {
    const spec = {
      version: "1.0.0",
      description: name,
      image: "busybox",
      command: ["sh", "-c", MOVES],
      capabilities: { kinds: capabilities.kinds },
      parameters: PARAMETERS,
    };
    await client.create(dataMovers, { metadata: { name }, spec });
  }
  const mark = (mover: string, speed: number): Record<string, string> => ({
    [MOVER_ANNOTATIONS.mover]: mover,
    [MOVER_ANNOTATIONS.parameters]: `{"speed":${speed}}`,
  });
  const { metadata: _of, ...storageClass } = await client.get(storageClasses, { name: "drayage-fs" });
  await client.create(storageClasses, { ...storageClass, metadata: { name: "marked", annotations: mark("by-storage-class", 5) } });
  const [plain] = (await client.list(volumeSnapshotClasses)).items;
  if (plain === undefined) throw new Error("the cluster has no VolumeSnapshotClass");
  const { metadata: _was, ...snapshotClass } = plain;
  await client.create(volumeSnapshotClasses, { ...snapshotClass, metadata: { name: "marked", annotations: mark("by-snapshot-class", 6) } });
  const selector = { matchLabels: { tier: "gold" } };
  await client.create(dataMoverClasses, { metadata: { name: "gold" }, spec: { mover: "by-class", parameters: { speed: 4 }, selector } });
  await client.create(dataMoverClasses, { metadata: { name: "rest" }, spec: { mover: "by-class", default: true } });
  const policy = {
    volumePolicies: [
      { conditions: { pvcLabels: { first: "yes" } }, action: { type: "snapshot", parameters: { dataMover: "by-policy", dataMoverParameters: { speed: 1 } } } },
    ],
    version: "v1",
  };
  await client.create(configMaps, { metadata: { namespace: VELERO, name: "volumes" }, data: { policy: JSON.stringify(policy) } });

  await client.create(namespaces, { metadata: { name: "shop" } });
  // Each has what the next ones have too, as far as one object can: what comes first in the order is taken.
  const gold = { tier: "gold" };
  const label = { [MOVER_ANNOTATIONS.mover]: "by-label" };
  const snapshot = { [ANNOTATIONS.volumeSnapshotClass]: "marked" };
  const claims: Record<string, { labels?: Record<string, string>; annotations?: Record<string, string>; storageClass?: string }> = {
    policy: { labels: { first: "yes", ...gold, ...label }, annotations: { ...mark("by-annotation", 2), ...snapshot }, storageClass: "marked" },
    annotation: { labels: { ...gold, ...label }, annotations: { ...mark("by-annotation", 2), ...snapshot }, storageClass: "marked" },
    label: { labels: { ...gold, ...label }, annotations: snapshot, storageClass: "marked" },
    class: { labels: gold, annotations: snapshot, storageClass: "marked" },
    "storage-class": { annotations: snapshot, storageClass: "marked" },
    "snapshot-class": { annotations: snapshot },
    backup: {},
  };
  for (const [name, { labels = {}, annotations = {}, storageClass: className }] of Object.entries(claims)) {
    const claim = claimOf("shop", name, className === undefined ? {} : { storageClass: className });
    await client.create(persistentVolumeClaims, { ...claim, metadata: { ...claim.metadata, labels, annotations } });
  }
  await startApplication(harness, "shop", Object.fromEntries(Object.keys(claims).map((name) => [name, {}])));
  const spec = { includedNamespaces: ["shop"], snapshotMoveData: true, datamover: "installed", resourcePolicy: { kind: "configmap", name: "volumes" } };
  const { status } = await harness.backUp("all", spec);
  expect(status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 7 });
  const uploads = await harness.uploads("all", 7);
  const chosen = uploads.map(({ spec: { sourcePVC, datamover, dataMoverConfig }, metadata }) => [
    sourcePVC,
    `${datamover} ${dataMoverConfig?.["speed"]} ${metadata.annotations?.[MOVER_ANNOTATIONS.reason]}`,
  ]);
  expect(Object.fromEntries(chosen)).toEqual({
    policy: "by-policy 1 a volume policy names it",
    annotation: "by-annotation 2 its annotation names it",
    label: "by-label 1 its label names it",
    class: 'by-class 4 DataMoverClass "gold" fits',
    "storage-class": 'by-storage-class 5 StorageClass "marked" names it',
    "snapshot-class": 'by-snapshot-class 6 VolumeSnapshotClass "marked" names it',
    backup: "installed 1 the backup's spec.datamover",
  });
  const text = await harness.dray("backup", "describe", "all", "--details");
  for (const [, words = ""] of chosen) {
    const [mover, , ...reason] = words.split(" ");
    expect(text).toContain(`Data Mover: ${mover} (${reason.join(" ")})\n`);
  }
  await client.patch(persistentVolumeClaims, { namespace: "shop", name: "backup" }, "merge", { metadata: { labels: { only: "this" } } });
  const alone = { includedNamespaces: ["shop"], snapshotMoveData: true, labelSelector: { matchLabels: { only: "this" } } };
  expect((await harness.backUp("rest", alone)).status).toMatchObject({ phase: "Completed" });
  // The pod that mounts it brings its other claims along.
  const rest = (await harness.uploads("rest", 1)).find(({ spec: { sourcePVC } }) => sourcePVC === "backup");
  expect(rest).toMatchObject({
    spec: { datamover: "by-class" },
    metadata: { annotations: { [MOVER_ANNOTATIONS.reason]: 'DataMoverClass "rest" is the default' } },
  });
});

/** What the API server says against an object; undefined where it takes it. Nothing is stored. */
async function refusalOf<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<string | undefined> {
  try {
    await harness.client.create(type, object, { dryRun: true });
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

const wrongly = (mover: string) => ({ annotations: { [MOVER_ANNOTATIONS.mover]: mover, [MOVER_ANNOTATIONS.parameters]: '{"speed":"soon"}' } });
const backup = (name: string, spec: BackupSpec, metadata: object = {}): Backup => ({ metadata: { namespace: VELERO, name, ...metadata }, spec });
const claim = (name: string, metadata: object): PersistentVolumeClaim => ({
  metadata: { namespace: "shop", name, ...metadata },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
});
const policies = (parameters: string): ConfigMap => ({
  metadata: { namespace: VELERO, name: "policies" },
  data: { policies: `version: v1\nvolumePolicies:\n- conditions: {}\n  action: {type: snapshot, parameters: ${parameters}}\n` },
});

it("is refused at once where its parameters are wrong, whatever they stand on, with the path of the field", async () => {
  const inAnnotation = `metadata.annotations[${MOVER_ANNOTATIONS.parameters}]: parameter "speed" must be integer of mover "installed"`;
  await expect.poll(() => refusalOf(backups, backup("wrong", { datamover: "installed" }, wrongly("")))).toContain(inAnnotation);
  const denied = (name: string, what: string): unknown =>
    expect.stringContaining(`admission webhook "${name}.admission.drayage.io" denied the request: ${what}`);
  expect(await refusalOf(backups, backup("wrong", { datamover: "tape" }))).toEqual(
    denied("backups", 'spec.datamover is "tape", and there is no such mover; there is by-annotation, by-class,'),
  );
  const schedule = { metadata: { namespace: VELERO, name: "wrong", ...wrongly("") }, spec: { schedule: "0 0 * * *", template: { datamover: "installed" } } };
  expect(await refusalOf(schedules, schedule)).toEqual(denied("backups", inAnnotation));
  expect(await refusalOf(persistentVolumeClaims, claim("wrong", wrongly("installed")))).toEqual(denied("claims", inAnnotation));
  const storageClass = { ...(await harness.client.get(storageClasses, { name: "drayage-fs" })), metadata: { name: "wrong", ...wrongly("installed") } };
  expect(await refusalOf(storageClasses, storageClass)).toEqual(denied("storage", inAnnotation));
  const [snapshotClass] = (await harness.client.list(volumeSnapshotClasses)).items;
  expect(await refusalOf(volumeSnapshotClasses, { ...snapshotClass, metadata: { name: "wrong", ...wrongly("installed") } } as never)).toEqual(
    denied("storage", inAnnotation),
  );
  expect(await refusalOf(dataMoverClasses, { metadata: { name: "wrong" }, spec: { mover: "installed", parameters: { pace: 1 } } })).toEqual(
    denied("movers", 'spec.parameters: "pace" is not a parameter of mover "installed"'),
  );
  const { spec } = await harness.client.get(dataMovers, { name: "installed" });
  const mute = { type: "object", properties: { speed: { type: "integer" } } };
  expect(await refusalOf(dataMovers, { metadata: { name: "wrong" }, spec: { ...spec, parameters: mute } })).toEqual(
    denied("movers", 'spec.parameter "speed" has no description'),
  );
  expect(await refusalOf(configMaps, policies("{dataMover: installed, dataMoverParameters: {speed: soon}}"))).toEqual(
    denied("volume-policies", 'volumePolicies[0].action.parameters.dataMoverParameters: parameter "speed" must be integer of mover "installed"'),
  );
  expect(await refusalOf(configMaps, policies("{dataMover: tape}"))).toEqual(
    denied("volume-policies", 'volumePolicies[0].action.parameters.dataMover is "tape", and there is no such mover'),
  );
});

it("is let through where it is right, or where a mover may come later, or where nobody asked for a mover", async () => {
  const marked = (speed: unknown, mover = "installed") => ({
    annotations: { [MOVER_ANNOTATIONS.mover]: mover, [MOVER_ANNOTATIONS.parameters]: JSON.stringify({ speed }) },
  });
  const refusals = [
    await refusalOf(backups, backup("right", { datamover: "installed" }, marked(2))),
    await refusalOf(persistentVolumeClaims, claim("right", marked(2))),
    await refusalOf(persistentVolumeClaims, claim("later", marked("soon", "tape"))),
    await refusalOf(persistentVolumeClaims, claim("restored", { ...wrongly("installed"), labels: { "velero.io/restore-name": "r" } })),
    await refusalOf(dataMoverClasses, { metadata: { name: "later" }, spec: { mover: "tape", parameters: { speed: "soon" } } }),
    await refusalOf(configMaps, policies("{dataMover: installed, dataMoverParameters: {speed: 2}}")),
    await refusalOf(configMaps, { metadata: { namespace: "shop", name: "elsewhere" }, data: policies("{dataMover: tape}").data ?? {} }),
  ];
  expect(refusals).toEqual(refusals.map(() => undefined));
});

it("is refused by the backup itself where no server was there to refuse it before", async () => {
  const { client } = harness;
  const server = { namespace: VELERO, name: "drayage" };
  const scale = (replicas: number) => client.patch(deployments, server, "merge", { spec: { replicas } });
  await scale(0);
  await expect.poll(async () => (await client.list(pods, { namespace: VELERO, labelSelector: "deploy=drayage" })).items.length, { timeout: 60_000 }).toBe(0);
  await client.create(backups, backup("unseen", { datamover: "tape" }));
  await scale(1);
  const { status } = await harness.until(backups, { namespace: VELERO, name: "unseen" }, (found) => found.status?.phase === "FailedValidation");
  expect(status?.validationErrors).toEqual([expect.stringContaining('spec.datamover is "tape", and there is no such mover')]);
});
