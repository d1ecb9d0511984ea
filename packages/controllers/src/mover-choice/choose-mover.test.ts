import { type Backup, type DataMover, type DataMoverClass, MOVER_ANNOTATIONS } from "@drayage/api";
import { describe, expect, it } from "vitest";
import { type ChoiceSubject, chooseMover } from "./choose-mover.ts";
import { MoverRegistry } from "./mover-registry.ts";

const mover = (name: string, kinds: string[] = ["persistentvolumeclaims"]): DataMover => ({
  metadata: { name },
  spec: {
    version: "1.0.0",
    description: name,
    module: `/${name}.ts`,
    capabilities: { kinds },
    parameters: {
      type: "object",
      properties: {
        level: { type: "integer", minimum: 1, default: 3, description: "How hard" },
        format: { type: "string", enum: ["raw", "qcow2"], description: "The file" },
      },
    },
  },
});
const dataMoverClass = (name: string, spec: DataMoverClass["spec"]): DataMoverClass => ({ metadata: { name }, spec });
const movers = [mover("tar"), mover("gold"), mover("policy"), mover("images", ["imagestreams.image.openshift.io"])];
const registry = (...classes: DataMoverClass[]) => new MoverRegistry(movers, classes);
const backup = (spec: Partial<Backup["spec"]> = {}, annotations: Record<string, string> = {}): Backup => ({ metadata: { name: "b", annotations }, spec });
const claim = (over: Partial<ChoiceSubject> = {}): ChoiceSubject => ({
  groupResource: "persistentvolumeclaims",
  namespace: "shop",
  name: "files",
  labels: {},
  annotations: {},
  ...over,
});
const marked = (name: string, mover: string, parameters?: object) => ({
  metadata: {
    name,
    annotations: { [MOVER_ANNOTATIONS.mover]: mover, ...(parameters === undefined ? {} : { [MOVER_ANNOTATIONS.parameters]: JSON.stringify(parameters) }) },
  },
});

describe("chooseMover()", () => {
  const everything = {
    subject: claim({
      policy: { dataMover: "policy" },
      labels: { tier: "gold", [MOVER_ANNOTATIONS.mover]: "tar" },
      storageClass: marked("fast", "tar"),
      snapshotClass: marked("snap", "gold"),
    }),
    registry: registry(
      dataMoverClass("any", { mover: "images", default: true }),
      dataMoverClass("tier", { mover: "gold", selector: { matchLabels: { tier: "gold" } } }),
    ),
    backup: backup({ datamover: "gold" }),
  };

  it("takes what decides first, down to the built-in mover", () => {
    const { subject } = everything;
    const { policy: _policy, ...noPolicy } = subject;
    const noMarks = { ...noPolicy, labels: { tier: "gold" } };
    const noClass = { ...noMarks, labels: {} };
    const { storageClass: _class, ...noStorageClass } = noClass;
    const { snapshotClass: _snapshot, ...bare } = noStorageClass;
    const chosen = (subject: ChoiceSubject, from = everything.backup, among = everything.registry) => {
      const choice = chooseMover(subject, from, among);
      return [choice?.mover, choice?.reason];
    };
    const fallback = registry(dataMoverClass("any", { mover: "tar", default: true }));
    expect([
      chosen(subject),
      chosen(noPolicy),
      chosen(noMarks),
      chosen(noClass),
      chosen(noStorageClass),
      chosen(bare),
      chosen(bare, backup(), fallback),
      chosen(bare, backup(), registry()),
    ]).toEqual([
      ["policy", "a volume policy names it"],
      ["tar", "its label names it"],
      ["gold", 'DataMoverClass "tier" fits'],
      ["tar", 'StorageClass "fast" names it'],
      ["gold", 'VolumeSnapshotClass "snap" names it'],
      ["gold", "the backup's spec.datamover"],
      ["tar", 'DataMoverClass "any" is the default'],
      ["", "it is the default"],
    ]);
  });

  it.each<[what: string, subject: ChoiceSubject, from: Backup, classes: DataMoverClass[]]>([
    ["a policy", claim({ policy: { dataMover: "tar", dataMoverParameters: { format: "vmdk" } } }), backup(), []],
    ["an annotation", claim(marked("files", "tar", { format: "vmdk" }).metadata), backup(), []],
    ["a class", claim(), backup(), [dataMoverClass("c", { mover: "tar", parameters: { format: "vmdk" } })]],
    ["a storage class", claim({ storageClass: marked("fast", "tar", { format: "vmdk" }) }), backup(), []],
    ["a backup", claim(), backup({ datamover: "tar" }, { [MOVER_ANNOTATIONS.parameters]: '{"format":"vmdk"}' }), []],
  ])("checks the parameters of %s against the mover's schema", (_what, subject, from, classes) => {
    expect(() => chooseMover(subject, from, registry(...classes))).toThrow(/with mover "tar": parameter "format" must be equal to one of/);
  });

  it("fills in defaults, and lays the parameters of the place over those of the backup", () => {
    const from = backup({ datamover: "tar" }, { [MOVER_ANNOTATIONS.parameters]: '{"format":"raw"}' });
    expect(chooseMover(claim(), from, registry())?.parameters).toEqual({ level: 3, format: "raw" });
    const annotated = claim(marked("files", "tar", { level: "7" }).metadata);
    expect(chooseMover(annotated, from, registry())?.parameters).toEqual({ level: 7, format: "raw" });
    expect(chooseMover(annotated, backup(), registry())?.parameters).toEqual({ level: 7 });
  });

  it.each<[subject: ChoiceSubject, message: RegExp]>([
    [
      claim({ annotations: { [MOVER_ANNOTATIONS.mover]: "tra" } }),
      /"tra", which the annotation of .* "shop\/files" names: it does not exist; there is drayage, gold, images, policy, tar, velero/,
    ],
    [claim({ annotations: { [MOVER_ANNOTATIONS.mover]: "images" } }), /with mover "images", .*: it moves imagestreams\.image\.openshift\.io/],
    [claim({ annotations: { [MOVER_ANNOTATIONS.mover]: "tar", [MOVER_ANNOTATIONS.parameters]: "{" } }), /is not JSON/],
    [claim({ annotations: { [MOVER_ANNOTATIONS.mover]: "tar", [MOVER_ANNOTATIONS.parameters]: "[]" } }), /an object of names and values/],
  ])("says at once what cannot be (%#)", (subject, message) => {
    expect(() => chooseMover(subject, backup(), registry())).toThrow(message);
  });

  it("moves another resource only when something chooses a mover for it", () => {
    const stream = { ...claim(), groupResource: "imagestreams.image.openshift.io" };
    expect(chooseMover(stream, backup(), registry())).toBeUndefined();
    expect(chooseMover(stream, backup({ datamover: "velero" }), registry())).toBeUndefined();
    expect(chooseMover(stream, backup({ datamover: "images" }), registry())?.mover).toBe("images");
    const all = registry(dataMoverClass("i", { mover: "images", selector: { resources: ["imagestreams.image.openshift.io"] } }));
    expect(chooseMover(stream, backup(), all)?.mover).toBe("images");
    expect(chooseMover(claim(), backup(), all)?.mover).toBe("");
  });

  it("passes by a registration that is of no use, and names it when it is chosen", () => {
    const broken = { ...mover("tar"), spec: { ...mover("tar").spec, parameters: { type: "array" } } };
    expect(() => chooseMover(claim({ labels: { [MOVER_ANNOTATIONS.mover]: "tar" } }), backup(), new MoverRegistry([broken], []))).toThrow(
      /"tar": its registration is wrong: parameters.type is not "object"/,
    );
    expect(chooseMover(claim(), backup(), new MoverRegistry([broken], []))?.mover).toBe("");
  });
});
