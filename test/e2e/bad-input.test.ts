/** What users get wrong, and what clusters lack: each is answered at once and by name, and costs nothing else. */
import { backupStorageLocations, backups, dataUploads, restores, schedules, volumeSnapshotClasses } from "@drayage/api";
import {
  type GenericObject,
  type KubeObject,
  type PersistentVolume,
  persistentVolumeClaims,
  persistentVolumes,
  type ResourceType,
  secrets,
} from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication } from "./sample-application.ts";
import { wrongFields } from "./wrong-fields.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const ofShop = { includedNamespaces: ["shop"] };

describe("a backup location", () => {
  it("whose bucket is not there is Unavailable and says so, and a backup into it fails validation", async () => {
    await harness.createLocation("elsewhere", { bucket: "nowhere" });
    const { status } = await harness.until(backupStorageLocations, { namespace: VELERO, name: "elsewhere" }, (found) => found.status?.phase !== undefined);
    const reason = "Cannot use s3://nowhere/: NoSuchBucket: The specified bucket does not exist";
    expect(status).toMatchObject({ phase: "Unavailable", message: `BackupStorageLocation "elsewhere" is unavailable: ${reason}` });
    const backup = await harness.backUp("into-nowhere", { ...ofShop, storageLocation: "elsewhere" });
    expect(backup.status).toMatchObject({
      phase: "FailedValidation",
      validationErrors: [`backup storage location "elsewhere" is unavailable: ${reason}`],
    });
  });

  it("whose keys are not there, and then are refused, says so and shows no key", async () => {
    const unavailable = async (wanted: RegExp): Promise<void> => {
      const { status } = await harness.until(
        backupStorageLocations,
        { namespace: VELERO, name: "refused" },
        (found) => found.status?.phase === "Unavailable" && wanted.test(found.status.message ?? ""),
      );
      expect(status?.message).not.toContain("wrong secret");
    };
    await harness.createLocation("refused", { credential: { name: "wrong-keys", key: "cloud" }, validationFrequency: "1s" });
    await unavailable(/is unavailable: Cannot read secret "velero\/wrong-keys": it is not there$/);
    const stringData = { cloud: "[default]\naws_access_key_id = somebody\naws_secret_access_key = wrong secret\n" };
    await harness.client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace: VELERO, name: "wrong-keys" }, stringData });
    await unavailable(/is unavailable: Cannot use s3:\/\/backups\/: InvalidAccessKeyId: /);
  });
});

describe("a request", () => {
  const refusalOf = async (type: ResourceType, spec: object): Promise<string> => {
    const object: GenericObject = { apiVersion: `${type.group}/${type.version}`, kind: type.kind, metadata: { namespace: VELERO, name: "malformed" }, spec };
    try {
      await harness.client.create(type, object);
    } catch (error) {
      expect(error).toMatchObject({ code: "KUBE_INVALID", context: { status: 422 } });
      return error instanceof Error ? error.message : "";
    }
    return "it was accepted";
  };
  const untyped = <T extends KubeObject>(type: ResourceType<T>): ResourceType => type as unknown as ResourceType;

  it.each([
    [untyped(backups), { includedNamespaces: "shop" }, 'spec.includedNamespaces in body must be of type array: "string"'],
    [untyped(backups), { snapshotMoveData: "yes" }, 'spec.snapshotMoveData in body must be of type boolean: "string"'],
    [untyped(restores), { backupName: ["one"] }, 'spec.backupName in body must be of type string: "array"'],
    [
      untyped(dataUploads),
      { snapshotType: "CSI", backupStorageLocation: "default" },
      "spec.operationTimeout: Required value, spec.sourceNamespace: Required value",
    ],
    [untyped(backupStorageLocations), { objectStorage: { bucket: "b" } }, "spec.provider: Required value"],
    [
      untyped(backupStorageLocations),
      { provider: "aws", objectStorage: { bucket: "b" }, accessMode: "Sometimes" },
      'spec.accessMode: Unsupported value: "Sometimes": supported values: "ReadOnly", "ReadWrite"',
    ],
  ])("of $kind that does not fit the schema is refused naming the field: %#", async (type, spec, wanted) => {
    expect(await refusalOf(type, spec)).toContain(wanted);
  });

  it.each([untyped(backups), untyped(restores), untyped(schedules), untyped(backupStorageLocations)])(
    "of $kind with a value of the wrong type in any one field is refused naming the field",
    async (type) => {
      const refusals: string[] = [];
      const fields = wrongFields(type.kind);
      for (const { path, spec } of fields) {
        const message = await refusalOf(type, spec);
        if (!message.includes(path)) refusals.push(`${path}: ${message}`);
      }
      expect(refusals).toEqual([]);
      expect(fields.length).toBeGreaterThan(10);
    },
  );

  it("that fits the schema and makes no sense ends in FailedValidation with every fault named", async () => {
    const { status } = await harness.backUp("senseless", {
      includedNamespaces: ["shop", "*"],
      ttl: "soon",
      csiSnapshotTimeout: "-1s",
      storageLocation: "absent",
      labelSelector: { matchExpressions: [{ key: "a", operator: "Is" }] },
    });
    expect(status?.phase).toBe("FailedValidation");
    expect(status?.validationErrors).toEqual([
      'spec.ttl is "soon", where a duration such as "10m0s" is wanted',
      'spec.csiSnapshotTimeout is "-1s", where a duration such as "10m0s" is wanted',
      expect.stringMatching(/^backup storage location "absent" does not exist; there is default/),
      'spec.labelSelector: Cannot use label selector: operator "Is" of key "a" is none of In, NotIn, Exists, DoesNotExist',
      'spec.includedNamespaces, spec.excludedNamespaces: the list of includes has "*" and other entries, where "*" must stand alone',
    ]);
  });

  it("that names a mover that does not exist is refused with the names that do", async () => {
    const refusal = () => refusalOf(untyped(backups), { datamover: "acme" });
    await expect.poll(refusal).toContain('spec.datamover is "acme", and there is no such mover; there is drayage, velero, velero-block, velero-fs');
  });

  it("to restore what does not exist ends in FailedValidation", async () => {
    const { status } = await harness.restore("of-nothing", { backupName: "absent" });
    expect(status).toEqual({ phase: "FailedValidation", validationErrors: ['backup "absent" does not exist'] });
  });

  it("for a mover that does not exist fails at once with the names of those that do", async () => {
    const metadata = { namespace: VELERO, name: "by-acme" };
    const csiSnapshot = { storageClass: "drayage-fs", volumeSnapshot: "none" };
    const place = { backupStorageLocation: "default", sourceNamespace: "shop", sourcePVC: "files" };
    const spec = { ...place, csiSnapshot, datamover: "acme", operationTimeout: "10m", snapshotType: "CSI" as const };
    await harness.client.create(dataUploads, { apiVersion: "velero.io/v2alpha1", kind: "DataUpload", metadata, spec });
    const { status } = await harness.until(dataUploads, metadata, (found) => found.status?.phase !== undefined);
    expect(status).toMatchObject({
      phase: "Failed",
      message: 'data mover "acme" does not exist: the movers here are "velero", "velero-fs", "velero-block", "drayage"',
    });
    await harness.expectNothingLeft();
  });

  it("that names our own mover is taken like one that names none", async () => {
    expect((await harness.backUp("ours", { ...ofShop, datamover: "drayage" })).status).toMatchObject({ phase: "Completed" });
    await harness.expectNothingLeft();
  });
});

describe("a volume", () => {
  it("without a CSI driver is left out with a reason, and the rest is backed up", async () => {
    const byHand: PersistentVolume = {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: "by-hand" },
      spec: {
        capacity: { storage: "1Mi" },
        accessModes: ["ReadWriteOnce"],
        storageClassName: "manual",
        persistentVolumeReclaimPolicy: "Retain",
        hostPath: { path: "/nowhere" },
      } as PersistentVolume["spec"],
    };
    const claim = { namespace: "shop", name: "by-hand" };
    await harness.client.create(persistentVolumes, byHand);
    await harness.client.create(persistentVolumeClaims, {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: claim,
      spec: { accessModes: ["ReadWriteOnce"], storageClassName: "manual", volumeName: "by-hand", resources: { requests: { storage: "1Mi" } } },
    });
    await harness.until(persistentVolumeClaims, claim, ({ status }) => status?.phase === "Bound");

    expect((await harness.backUp("by-hand", ofShop)).status).toMatchObject({ phase: "Completed", warnings: 1, backupItemOperationsCompleted: 1 });
    const { warnings } = await harness.resultsOf("backup", "by-hand");
    expect(JSON.stringify(warnings)).toContain('Not taking a snapshot of claim \\"shop/by-hand\\": its volume is not provided by a CSI driver');
    const infos = await harness.archive((store) => store.getVolumeInfos("by-hand"));
    expect(infos.find(({ pvcName }) => pvcName === "by-hand")).toMatchObject({ skipped: true, skippedReason: "the volume is not provided by a CSI driver" });
    expect(infos.find(({ pvcName }) => pvcName === "files")).toMatchObject({ skipped: false, result: "succeeded" });

    await harness.client.delete(persistentVolumeClaims, claim);
    await harness.client.delete(persistentVolumes, { name: "by-hand" });
  });

  it("whose driver has no VolumeSnapshotClass fails with what to do about it, and the rest is backed up", async () => {
    const { metadata, ...snapshotClass } = await harness.client.get(volumeSnapshotClasses, { name: "drayage-snapshots" });
    await harness.client.delete(volumeSnapshotClasses, { name: "drayage-snapshots" });
    try {
      const { status } = await harness.backUp("classless", ofShop);
      expect(status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
      expect(status?.progress?.itemsBackedUp).toBeGreaterThan(3);
    } finally {
      const { name, labels = {}, annotations = {} } = metadata;
      await harness.client.create(volumeSnapshotClasses, { ...snapshotClass, metadata: { ...(name === undefined ? {} : { name }), labels, annotations } });
    }
    const { errors } = await harness.resultsOf("backup", "classless");
    expect(JSON.stringify(errors)).toContain(
      'Cannot take a snapshot of claim \\"shop/files\\": there is no VolumeSnapshotClass for driver \\"csi.drayage.io\\". Create a VolumeSnapshotClass with driver: csi.drayage.io.',
    );
    await harness.expectNothingLeft();
  });
});

describe("a restore", () => {
  it("never writes over what is there, and says what it left as it was", async () => {
    expect((await harness.backUp("kept", ofShop)).status).toMatchObject({ phase: "Completed" });
    await inApplication(harness, "shop", "echo newer > /volumes/files/newer; rm /volumes/files/empty");
    const facts = await factsOf(harness, "shop", "files");
    expect((await harness.restore("over", { backupName: "kept" })).status).toMatchObject({ phase: "Completed", warnings: 3 });
    const { warnings } = await harness.resultsOf("restore", "over");
    expect(JSON.stringify(warnings)).toContain('Claim \\"shop/files\\" exists already: its data is left as it is');
    expect(await factsOf(harness, "shop", "files")).toBe(facts);
    await harness.expectNothingLeft();
  });
});
