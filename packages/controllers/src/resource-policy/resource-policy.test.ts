import type { PersistentVolume, PersistentVolumeClaim, Pod } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { readResourcePolicies } from "./resource-policies.ts";
import { VolumeChoice } from "./volume-choice.ts";
import { factsOfClaim, matchingPolicy } from "./volume-facts.ts";

const read = (text: string) => readResourcePolicies({ metadata: { name: "p" }, data: { any: text } });
const policies = (conditions: string, type = "skip") => read(`version: v1\nvolumePolicies: [{conditions: ${conditions}, action: {type: ${type}}}]`);

const volume = (spec: Partial<PersistentVolume["spec"]>): PersistentVolume => ({
  metadata: { name: "v" },
  spec: { capacity: { storage: "5Gi" }, storageClassName: "fast", csi: { driver: "d.io", volumeHandle: "h", volumeAttributes: { protocol: "smb" } }, ...spec },
});
const claim: PersistentVolumeClaim = { metadata: { namespace: "n", name: "c", labels: { app: "db", tier: "gold" } }, spec: {}, status: { phase: "Bound" } };
const nfs = (server = "s", path = "/p") => {
  const { csi: _, ...spec } = volume({}).spec;
  return { metadata: {}, spec: { ...spec, nfs: { server, path } } };
};

describe("the conditions of a volume policy", () => {
  it.each<[conditions: string, volume: PersistentVolume, fits: boolean]>([
    ["{}", volume({}), true],
    ['{capacity: "1Gi,5Gi"}', volume({}), true],
    ['{capacity: "5Gi,"}', volume({}), true],
    ['{capacity: ",4Gi"}', volume({}), false],
    ['{capacity: "0,5Gi"}', volume({}), true],
    ['{capacity: "6Gi, 7Gi"}', volume({}), false],
    ["{storageClass: [slow, fast]}", volume({}), true],
    ["{storageClass: [slow]}", volume({}), false],
    ["{csi: {}}", volume({}), true],
    ["{csi: {}}", nfs(), false],
    ["{csi: {driver: d.io}}", volume({}), true],
    ["{csi: {driver: e.io}}", volume({}), false],
    ["{csi: {driver: d.io, volumeAttributes: {protocol: smb}}}", volume({}), true],
    ["{csi: {driver: d.io, volumeAttributes: {protocol: nfs}}}", volume({}), false],
    ["{nfs: {}}", nfs(), true],
    ["{nfs: {}}", volume({}), false],
    ["{nfs: {server: s}}", nfs("t"), false],
    ["{nfs: {server: s, path: /p}}", nfs(), true],
    ["{nfs: {path: /q}}", nfs(), false],
    ["{volumeTypes: [nfs, local]}", nfs(), true],
    ["{volumeTypes: [nfs, local]}", volume({}), false],
    ["{pvcLabels: {app: db}}", volume({}), true],
    ["{pvcLabels: {app: db, tier: iron}}", volume({}), false],
    ["{pvcPhase: [Pending]}", volume({}), false],
    ["{pvcPhase: [Pending, Bound]}", volume({}), true],
    ['{storageClass: [fast], capacity: "1Ti,"}', volume({}), false],
  ])("%s of %j: %s", (conditions, of, fits) => {
    expect(matchingPolicy(policies(conditions), factsOfClaim(claim, of)) !== undefined).toBe(fits);
  });

  it("are tried in their order, and the first that fit decide", () => {
    const two = read(
      "version: v1\nvolumePolicies: [{conditions: {csi: {}}, action: {type: snapshot, parameters: {a: 1}}}, {conditions: {}, action: {type: skip}}]",
    );
    expect(matchingPolicy(two, factsOfClaim(claim, volume({})))?.action).toEqual({ type: "snapshot", parameters: { a: 1 } });
    expect(matchingPolicy(two, factsOfClaim(claim, nfs()))?.action.type).toBe("skip");
  });
});

describe("policies with a mistake", () => {
  it.each([
    ["version: v2", 'version is "v2", only "v1" is known'],
    ["{", "it is not YAML"],
    ["- a", "it is no mapping"],
    ["version: v1\nvolumePolicy: []", "volumePolicy is not known"],
    ["version: v1\nvolumePolicies: {}", "volumePolicies is no list"],
    ["version: v1\nvolumePolicies: [{conditions: {}}]", "volumePolicies[0].action is no mapping"],
    ["version: v1\nvolumePolicies: [{conditions: {}, action: {type: keep}}]", 'volumePolicies[0].action.type is "keep", one of skip, snapshot'],
    ["version: v1\nvolumePolicies: [{conditions: {storageclass: [a]}, action: {type: skip}}]", "volumePolicies[0].conditions.storageclass is not known"],
    ["version: v1\nvolumePolicies: [{conditions: {capacity: 10Gi}, action: {type: skip}}]", 'conditions.capacity is "10Gi", where "least,most" is wanted'],
    ['version: v1\nvolumePolicies: [{conditions: {capacity: "a,b"}, action: {type: skip}}]', 'conditions.capacity has "a"'],
    ['version: v1\nvolumePolicies: [{conditions: {capacity: "2Gi,1Gi"}, action: {type: skip}}]', "its least is more than its most"],
    ["version: v1\nvolumePolicies: [{conditions: {csi: {volumeAttributes: {a: b}}}, action: {type: skip}}]", "has volumeAttributes and no driver"],
    ["version: v1\nvolumePolicies: [{conditions: {volumeTypes: [floppy]}, action: {type: skip}}]", 'has "floppy"'],
    ["version: v1\nvolumePolicies: [{conditions: {pvcLabels: {a: 1}}, action: {type: skip}}]", "conditions.pvcLabels.a is 1, where a text is wanted"],
    ["version: v1\nincludeExcludePolicy: {includedClusterScopedResources: ['*']}", 'has "*", which a policy cannot have'],
    ["version: v1\nincludeExcludePolicy: {includedNamespaceScopedResources: [a], excludedNamespaceScopedResources: [a]}", 'includes and excludes "a"'],
    ["version: v1\na: &a [x]\nb: *a", "it is not YAML"],
  ])("%j: %s", (text, message) => {
    expect(() => read(text)).toThrow(`Cannot use resource policies of ConfigMap "p": `);
    expect(() => read(text)).toThrow(message);
  });

  it("are told by their number of entries", () => {
    expect(() => readResourcePolicies({ metadata: { name: "p" }, data: {} })).toThrow("it has 0 entries");
    expect(() => readResourcePolicies({ metadata: { name: "p" }, data: { a: "", b: "" } })).toThrow("it has 2 entries");
  });
});

describe("how a volume gets into a backup", () => {
  const pod = (annotations: Record<string, string> = {}): Pod => ({
    metadata: { namespace: "n", name: "web", annotations },
    spec: {
      containers: [],
      volumes: [
        { name: "data", persistentVolumeClaim: { claimName: "c" } },
        { name: "cache", emptyDir: {} },
        { name: "host", hostPath: { path: "/" } },
        { name: "config", configMap: { name: "x" } },
      ],
    },
  });
  const readOf = (choice: VolumeChoice, of: Pod): string[] =>
    (of.spec.volumes ?? []).filter((v) => choice.isRead(of, v, v.persistentVolumeClaim === undefined ? undefined : claim, volume({}))).map(({ name }) => name);

  it("is by a snapshot unless a pod has it read, or snapshots are not wanted", () => {
    const plain = new VolumeChoice({ spec: {}, policies: undefined });
    expect(plain.ofClaim(claim, volume({}), [pod()])).toEqual({ by: "snapshot", parameters: {} });
    expect(plain.ofClaim(claim, volume({}), [pod({ "backup.velero.io/backup-volumes": "cache, data" })])).toMatchObject({ by: "fs-backup" });
    expect(new VolumeChoice({ spec: { snapshotVolumes: false }, policies: undefined }).ofClaim(claim, volume({}), [])).toEqual({
      by: "nothing",
      why: "spec.snapshotVolumes is false",
    });
  });

  it("is what the policy says, whatever the pods say", () => {
    const asked = pod({ "backup.velero.io/backup-volumes": "data" });
    expect(new VolumeChoice({ spec: {}, policies: policies("{csi: {}}", "snapshot") }).ofClaim(claim, volume({}), [asked])).toMatchObject({ by: "snapshot" });
    expect(new VolumeChoice({ spec: {}, policies: policies("{csi: {}}", "custom") }).ofClaim(claim, volume({}), [])).toMatchObject({ by: "nothing" });
    const byFiles = new VolumeChoice({ spec: { snapshotVolumes: false }, policies: policies("{csi: {}}", "fs-backup") });
    expect(byFiles.ofClaim(claim, volume({}), [])).toMatchObject({ by: "fs-backup" });
    expect(readOf(byFiles, pod())).toEqual(["data"]);
    expect(readOf(new VolumeChoice({ spec: {}, policies: policies("{csi: {}}", "skip") }), asked)).toEqual([]);
  });

  it("through the file system is opted in to by annotation, or out of where it is the default; what is no data is never read", () => {
    const optIn = new VolumeChoice({ spec: {}, policies: undefined });
    expect(readOf(optIn, pod())).toEqual([]);
    expect(readOf(optIn, pod({ "backup.velero.io/backup-volumes": "data,host,config" }))).toEqual(["data"]);
    const optOut = new VolumeChoice({ spec: { defaultVolumesToFsBackup: true }, policies: undefined });
    expect(readOf(optOut, pod())).toEqual(["data", "cache"]);
    expect(readOf(optOut, pod({ "backup.velero.io/backup-volumes-excludes": "cache" }))).toEqual(["data"]);
    expect(readOf(new VolumeChoice({ spec: { defaultVolumesToFsBackup: true }, policies: undefined, claimsExcluded: true }), pod())).toEqual(["cache"]);
  });
});
