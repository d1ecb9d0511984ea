/** Volumes of drivers that behave as Ceph's do: moved without full copies, with the tokens of encrypted ones, and refused with a reason. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DataUpload, dataUploads, type VolumeSnapshotClass, volumeSnapshotClasses } from "@drayage/api";
import { type CsiProfile, driverNameOf } from "@drayage/embedded/csi-driver";
import { configMaps, type KubeObject, namespaces, persistentVolumeClaims, type ResourceType, type StorageClass, secrets, storageClasses } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { Harness, VELERO } from "./harness.ts";
import { claimOf, deployApplication, factsOf, fillFolder, inApplication, startApplication, untilRunning } from "./sample-application.ts";
import { defineMachines, startMachine } from "./virtual-machine.ts";

const isRoot = process.getuid?.() === 0;
const TOKEN = "ceph-csi-kms-token";
const CONFIG = "ceph-csi-kms-config";
const KEPT = { secretNames: [TOKEN], configMapNames: [CONFIG] };
const nodeAgentConfig = {
  loadConcurrency: { globalConfig: 4 },
  backupPVC: {
    cephfs: { storageClass: "cephfs-shallow", readOnly: true, spcNoRelabeling: true },
    "cephfs-writing": { storageClass: "cephfs-shallow" },
    "rbd-read": { readOnly: true },
    "rbd-encrypted": KEPT,
  },
  restorePVC: KEPT,
};

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1, csiProfiles: ["cephfs", "rbd"], nodeAgentConfig });
  // What an administrator is told to apply.
  const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "ceph.md"), "utf8");
  const [, text = ""] = /```yaml\n(.*?)```/s.exec(page) ?? [];
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS() as KubeObject;
    const type = { group: "rbac.authorization.k8s.io", version: "v1", plural: `${object.kind?.toLowerCase()}s`, kind: object.kind ?? "", namespaced: false };
    await harness.client.create(type, object);
  }
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const ofNamespaces = (...includedNamespaces: string[]) => ({ includedNamespaces });
const counted = (profile: CsiProfile): { readonly fullClones: number; readonly shallowVolumes: number } =>
  JSON.parse(readFileSync(join(harness.cluster.directory, "storage", profile, "ceph.json"), "utf8")) as { fullClones: number; shallowVolumes: number };
const createClass = (profile: CsiProfile, name: string, parameters: Record<string, string> = {}): Promise<StorageClass> =>
  harness.client.create(storageClasses, {
    metadata: { name },
    provisioner: driverNameOf(profile),
    reclaimPolicy: "Delete",
    volumeBindingMode: "Immediate",
    parameters,
  });
const hasFailed = ({ status }: DataUpload): boolean => status?.phase === "Failed";

/** A namespace whose volumes may be encrypted. */
async function createTenant(name: string, token: string): Promise<void> {
  await harness.client.create(namespaces, { metadata: { name } });
  await harness.client.create(secrets, { metadata: { namespace: name, name: TOKEN }, data: { token: Buffer.from(token).toString("base64") } });
  await harness.client.create(configMaps, { metadata: { namespace: name, name: CONFIG }, data: { vaultAddress: "https://vault.example.com" } });
}

describe("data movement", () => {
  it("of CephFS shows snapshots in place, that of RBD clones them; both come back as they were", async () => {
    const volumes = {
      files: { storageClass: "cephfs" },
      store: { storageClass: "rbd", size: "32Mi" },
      ...(isRoot ? { disk: { storageClass: "rbd", mode: "Block" as const, size: "16Mi" } } : {}),
    };
    const machine = {
      files: volumes.files,
      store: volumes.store,
      root: { storageClass: "rbd", ...(isRoot ? { mode: "Block" as const, size: "16Mi" } : { size: "32Mi" }) },
    };
    await defineMachines(harness);
    await deployApplication(harness, "shop", volumes);
    await startMachine(harness, "vms", machine);
    const write = async (device: number, file: string): Promise<void> => {
      for (const [namespace, disk] of [
        ["shop", "disk"],
        ["vms", "root"],
      ] as const) {
        const toDevice = isRoot ? `head -c 1000000 /dev/urandom | dd of=/dev/${disk} bs=1M seek=${device} conv=notrunc status=none; ` : "";
        await inApplication(harness, namespace, `${toDevice}for claim in files store; do head -c 100000 /dev/urandom > /volumes/$claim/${file}; done; sync`);
      }
    };
    for (const namespace of ["shop", "vms"]) for (const claim of ["files", "store"]) await fillFolder(harness, namespace, claim);
    await write(2, "first");
    const all = async (suffix = ""): Promise<string[]> => {
      // A file system of its own has a `lost+found`, which belongs to it and not to what is in it.
      const files = async (namespace: string): Promise<string[]> => [
        await factsOf(harness, `${namespace}${suffix}`, "files"),
        (await factsOf(harness, `${namespace}${suffix}`, "store")).replaceAll(/^.*\.\/lost\+found.*\n/gm, ""),
      ];
      const devices = isRoot ? [await factsOf(harness, `shop${suffix}`, "disk", "Block"), await factsOf(harness, `vms${suffix}`, "root", "Block")] : [];
      return [...(await files("shop")), ...(await files("vms")), ...devices];
    };
    const first = await all();
    expect((await harness.backUp("first", ofNamespaces("shop", "vms"))).status).toMatchObject({ phase: "Completed" });
    expect(counted("cephfs")).toMatchObject({ fullClones: 0, shallowVolumes: 2 });
    await harness.expectNothingLeft();
    await write(9, "second");
    const second = await all();
    expect((await harness.backUp("second", ofNamespaces("shop", "vms"))).status).toMatchObject({ phase: "Completed" });
    for (const { spec, status } of await harness.uploads("second", isRoot ? 6 : 5)) {
      if (!isRoot && spec.sourcePVC === "root") continue;
      expect(status?.incrementalBytes, `${spec.sourceNamespace}/${spec.sourcePVC}`).toBeLessThan((status?.progress?.totalBytes ?? 0) * 0.7);
    }

    for (const namespace of ["shop", "vms"]) await harness.deleteNamespace(namespace);
    const namespaceMapping = { shop: "shop-before", vms: "vms-before" };
    const ends = await Promise.all([harness.restore("second", { backupName: "second" }), harness.restore("first", { backupName: "first", namespaceMapping })]);
    expect(ends.map(({ status }) => status?.phase)).toEqual(["Completed", "Completed"]);
    for (const suffix of ["", "-before"]) {
      await startApplication(harness, `vms${suffix}`, machine);
      await untilRunning(harness, `shop${suffix}`);
    }
    expect(await all()).toEqual(second);
    expect(await all("-before")).toEqual(first);
    await harness.expectNothingLeft();
  });

  it("of CephFS without `readOnly` copies the whole snapshot first, and completes all the same", async () => {
    await createClass("cephfs", "cephfs-copied", { cloneSeconds: "2" });
    await deployApplication(harness, "copied", { files: { storageClass: "cephfs-copied" } });
    await fillFolder(harness, "copied", "files");
    const before = counted("cephfs").fullClones;
    expect((await harness.backUp("copied", ofNamespaces("copied"))).status).toMatchObject({ phase: "Completed" });
    expect(counted("cephfs").fullClones).toBe(before + 1);
    await harness.expectNothingLeft();
  });

  it("of encrypted volumes takes the tokens along, those of one namespace after those of another, and leaves none", async () => {
    for (const [name, token] of [
      ["vault", "s.one"],
      ["safe", "s.two"],
    ] as const) {
      await createTenant(name, token);
      const volumes = { a: { storageClass: "rbd-encrypted", size: "32Mi" }, b: { storageClass: "rbd-encrypted", size: "32Mi" } };
      for (const [claim, volume] of Object.entries(volumes)) await harness.client.create(persistentVolumeClaims, claimOf(name, claim, volume));
      await startApplication(harness, name, volumes);
      await inApplication(harness, name, `echo ${name} > /volumes/a/who; echo ${name} > /volumes/b/who; sync`);
    }
    expect((await harness.backUp("tenants", ofNamespaces("vault", "safe"))).status).toMatchObject({ phase: "Completed" });
    await harness.expectNothingLeft();
    for (const type of [secrets, configMaps] as unknown as ResourceType<KubeObject>[])
      expect((await harness.client.list(type, { namespace: VELERO })).items.map(({ metadata }) => metadata.name)).not.toContain(
        type.kind === "Secret" ? TOKEN : CONFIG,
      );

    await harness.deleteNamespace("vault");
    expect((await harness.restore("vault", { backupName: "tenants", includedNamespaces: ["vault"] })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "vault");
    expect(await inApplication(harness, "vault", "cat /volumes/a/who /volumes/b/who")).toBe("vault\nvault\n");
    await harness.expectNothingLeft();
  });
});

describe("what the storage refuses", () => {
  it("fails the DataUpload with the storage's reason and what to change, which `describe` shows", async () => {
    await createClass("rbd", "rbd-read");
    await createClass("cephfs", "cephfs-writing");
    await deployApplication(harness, "wrong", { store: { storageClass: "rbd-read", size: "32Mi" }, files: { storageClass: "cephfs-writing" } });
    expect((await harness.backUp("wrong", ofNamespaces("wrong"))).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 2 });
    const [files, store] = await harness.uploads("wrong", 2, hasFailed);
    expect(store?.status?.message).toMatch(
      /^storage class "rbd-read" gives no volume for the backup of "wrong\/store": .* access mode ReadOnlyMany is not supported for file systems on RBD.* take readOnly out of backupPVC\["rbd-read"\] of the node-agent's ConfigMap\.$/,
    );
    expect(files?.status?.message).toMatch(
      /^storage class "cephfs-shallow" gives no volume for the backup of "wrong\/files": .* access mode ReadOnlyMany is wanted\. The class shows snapshots, which are only read: set readOnly in backupPVC\["cephfs-writing"\] of the node-agent's ConfigMap\.$/,
    );
    const described = await harness.dray("data-upload", "describe", store?.metadata.name ?? "");
    expect(described).toContain(store?.status?.message);
    await harness.expectNothingLeft();
  });

  it("is said of snapshots too", async () => {
    const object: VolumeSnapshotClass = {
      metadata: { name: "rbd-refused" },
      driver: driverNameOf("rbd"),
      deletionPolicy: "Delete",
      parameters: { fault: "failed" },
    };
    await harness.client.create(volumeSnapshotClasses, object);
    await deployApplication(harness, "uncut", { store: { storageClass: "rbd", size: "32Mi" } });
    const annotations = { "velero.io/csi-volumesnapshot-class": "rbd-refused" };
    await harness.client.patch(persistentVolumeClaims, { namespace: "uncut", name: "store" }, "merge", { metadata: { annotations } });
    expect((await harness.backUp("uncut", { ...ofNamespaces("uncut"), csiSnapshotTimeout: "4s" })).status).toMatchObject({
      phase: "PartiallyFailed",
      errors: 1,
    });
    expect(JSON.stringify(await harness.resultsOf("backup", "uncut"))).toContain("the storage has refused it");
    await harness.expectNothingLeft();
  });

  it("is waited for where it may pass, and named when the time is up; a token that is not there fails at once", async () => {
    await harness.install({ nodeAgentArgs: ["--data-mover-prepare-timeout=15s"] });
    await createClass("cephfs", "cephfs-stuck", { fault: "clone-stuck" });
    await deployApplication(harness, "stuck", { files: { storageClass: "cephfs-stuck" } });
    await harness.startBackup("stuck", ofNamespaces("stuck"));
    // Meanwhile, a tenant whose settings are gone.
    await harness.client.delete(configMaps, { namespace: "safe", name: CONFIG });
    expect((await harness.backUp("unset", ofNamespaces("safe"))).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 2 });
    const [unset] = await harness.uploads("unset", 2, hasFailed);
    expect(unset?.status?.message).toBe(`backupPVC["rbd-encrypted"] names configmaps "safe/${CONFIG}", which is not there`);

    const { status } = await harness.until(dataUploads, { namespace: VELERO, name: (await harness.upload("stuck")).metadata.name ?? "" }, hasFailed);
    expect(status?.message).toMatch(
      /^timeout on preparing data upload: it was waiting for a volume: storage class "cephfs-stuck" gives no volume for the backup of "stuck\/files": .* clone of its source is in progress for \d+ s\. CephFS copies a snapshot in full unless it is only read: set readOnly in backupPVC\["cephfs-stuck"\]/,
    );
    expect((await harness.endOfBackup("stuck")).status).toMatchObject({ phase: "PartiallyFailed" });
    await harness.expectNothingLeft();
  });
});
