import { type DataMover, MOVER_ANNOTATIONS } from "@drayage/api";
import { describe, expect, it } from "vitest";
import { MoverRegistry } from "../mover-choice/mover-registry.ts";
import { answerAdmission, readAdmissionReview } from "./admission-review.ts";
import { judge } from "./judge.ts";

const mover: DataMover = {
  metadata: { name: "tar" },
  spec: {
    version: "1.0.0",
    description: "tar",
    module: "/tar.ts",
    capabilities: { kinds: ["persistentvolumeclaims"] },
    parameters: { type: "object", properties: { level: { type: "integer", minimum: 1, description: "How hard" } } },
  },
};
const registry = new MoverRegistry([mover], []);
const marks = (name: string | undefined, parameters?: unknown) => ({
  metadata: {
    annotations: {
      ...(name === undefined ? {} : { [MOVER_ANNOTATIONS.mover]: name }),
      ...(parameters === undefined ? {} : { [MOVER_ANNOTATIONS.parameters]: typeof parameters === "string" ? parameters : JSON.stringify(parameters) }),
    },
  },
});
const policies = (parameters: string) => ({
  metadata: { name: "p" },
  data: { p: `version: v1\nvolumePolicies:\n- conditions: {}\n  action: {type: snapshot, parameters: ${parameters}}\n` },
});
const faultsOf = (groupResource: string, object: object, old?: object): string[] =>
  judge({ groupResource, object, old }, registry).faults.map(({ field, message }) => `${field} | ${message}`);
const warningsOf = (groupResource: string, object: object): readonly string[] => judge({ groupResource, object }, registry).warnings;

const WRONG = `metadata.annotations[${MOVER_ANNOTATIONS.parameters}]`;
const LEVEL = 'parameter "level" must be >= 1 of mover "tar"';

describe("admission", () => {
  it.each<[string, object, string, string]>([
    ["backups.velero.io", { ...marks(undefined, { level: 0 }), spec: { datamover: "tar" } }, WRONG, `: ${LEVEL}`],
    ["backups.velero.io", { ...marks(undefined, "{"), spec: { datamover: "tar" } }, WRONG, ": an object of names and values is wanted, as JSON"],
    [
      "backups.velero.io",
      { spec: { datamover: "tape" } },
      "spec.datamover",
      ' is "tape", and there is no such mover; there is drayage, tar, velero, velero-block, velero-fs',
    ],
    [
      "schedules.velero.io",
      { spec: { template: { datamover: "tape" } } },
      "spec.template.datamover",
      ' is "tape", and there is no such mover; there is drayage, tar, velero, velero-block, velero-fs',
    ],
    ["schedules.velero.io", { ...marks(undefined, { level: 0 }), spec: { template: { datamover: "tar" } } }, WRONG, `: ${LEVEL}`],
    ["datamoverclasses.drayage.io", { metadata: {}, spec: { mover: "tar", parameters: { level: 0 } } }, "spec.parameters", `: ${LEVEL}`],
    ["persistentvolumeclaims", marks("tar", { level: 0 }), WRONG, `: ${LEVEL}`],
    ["storageclasses.storage.k8s.io", marks("tar", { pace: 1 }), WRONG, ': "pace" is not a parameter of mover "tar"'],
    ["volumesnapshotclasses.snapshot.storage.k8s.io", marks("tar", { level: 0 }), WRONG, `: ${LEVEL}`],
    [
      "configmaps",
      policies("{dataMover: tape}"),
      "volumePolicies[0].action.parameters.dataMover",
      ' is "tape", and there is no such mover; there is drayage, tar, velero, velero-block, velero-fs',
    ],
    ["configmaps", policies("{dataMover: tar, dataMoverParameters: {level: 0}}"), "volumePolicies[0].action.parameters.dataMoverParameters", `: ${LEVEL}`],
  ])("refuses what is wrong on %s with the path of the field: %#", (groupResource, object, field, what) => {
    expect(faultsOf(groupResource, object)).toEqual([`${field} | ${field}${what}`]);
  });

  it("refuses a registration whose schema is none", () => {
    expect(faultsOf("datamovers.drayage.io", { spec: { ...mover.spec, parameters: { type: "object", properties: { a: { type: "integer" } } } } })).toEqual([
      'spec.parameters | spec.parameter "a" has no description',
    ]);
  });

  it("only warns of a mover that may come later, of parameters without a mover, and of policies that cannot be read", () => {
    const unknown = ' is "tape", and there is no such mover; there is drayage, tar, velero, velero-block, velero-fs';
    expect(warningsOf("persistentvolumeclaims", marks("tape", { level: 0 }))).toEqual([`metadata.annotations[${MOVER_ANNOTATIONS.mover}]${unknown}`]);
    expect(warningsOf("persistentvolumeclaims", { metadata: { labels: { [MOVER_ANNOTATIONS.mover]: "tape" } } })).toEqual([
      `metadata.labels[${MOVER_ANNOTATIONS.mover}]${unknown}`,
    ]);
    expect(warningsOf("datamoverclasses.drayage.io", { metadata: {}, spec: { mover: "tape" } })).toEqual([`spec.mover${unknown}`]);
    expect(warningsOf("persistentvolumeclaims", marks(undefined, { level: 0 }))).toEqual([
      expect.stringContaining("there is no drayage.io/data-mover beside it"),
    ]);
    expect(warningsOf("configmaps", { metadata: { name: "p" }, data: { p: "volumePolicies: [}" } })).toEqual([expect.stringContaining("it is not YAML")]);
  });

  it("refuses no claim and no class for a mover whose own registration is wrong, but the request that names it", () => {
    const broken: DataMover = { ...mover, spec: { ...mover.spec, parameters: { type: "object", properties: { a: { type: "integer" } } } as never } };
    const judged = (groupResource: string, object: object) => judge({ groupResource, object }, new MoverRegistry([broken], []));
    for (const verdict of [judged("persistentvolumeclaims", marks("tar")), judged("datamoverclasses.drayage.io", { metadata: {}, spec: { mover: "tar" } })])
      expect(verdict).toEqual({ faults: [], warnings: [expect.stringContaining("its registration is wrong")] });
    expect(judged("backups.velero.io", { spec: { datamover: "tar" } }).faults).toMatchObject([{ field: "spec.datamover" }]);
  });

  it("says nothing of what is right, of other kinds, and of ConfigMaps that are no policies", () => {
    for (const [groupResource, object] of [
      ["backups.velero.io", { ...marks(undefined, { level: 2 }), spec: { datamover: "tar" } }],
      ["backups.velero.io", { metadata: {}, spec: {} }],
      ["persistentvolumeclaims", marks("tar", { level: "2" })],
      ["configmaps", { data: { a: "volumePolicies", b: "volumePolicies" } }],
      ["configmaps", {}],
      ["pods", marks("tape", { level: 0 })],
    ] as const)
      expect(judge({ groupResource, object }, registry)).toEqual({ faults: [], warnings: [] });
  });

  it("refuses an update only for what it makes wrong", () => {
    const wrong = marks("tar", { level: 0 });
    expect(faultsOf("persistentvolumeclaims", { ...wrong, status: { phase: "Bound" } }, wrong)).toEqual([]);
    expect(faultsOf("persistentvolumeclaims", marks("tar", { level: 0, pace: 1 }), wrong)).toEqual([
      `${WRONG} | ${WRONG}: "pace" is not a parameter of mover "tar"`,
    ]);
    expect(faultsOf("persistentvolumeclaims", wrong, marks("tar", { level: 1 }))).toHaveLength(1);
  });
});

describe("an AdmissionReview", () => {
  const request = {
    uid: "u-1",
    operation: "CREATE",
    resource: { group: "velero.io", version: "v1", resource: "backups" },
    object: { metadata: { name: "b" }, spec: { datamover: "tape" } },
  };
  const review = (over: object = {}, of: object = {}): string =>
    JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: { ...request, ...over }, ...of });

  it("is answered under its own uid, with the status of an invalid object", () => {
    const question = readAdmissionReview(review());
    if (question === undefined) throw new Error("it was not read");
    expect(answerAdmission(question, registry).response).toMatchObject({
      uid: "u-1",
      allowed: false,
      status: { code: 422, reason: "Invalid", details: { causes: [{ field: "spec.datamover" }] } },
    });
    expect(answerAdmission({ ...question, object: { spec: {} } }, registry).response).toEqual({ uid: "u-1", allowed: true });
  });

  it("of an object that is not of its kind is let through: its schema refuses it", () => {
    for (const object of [{ spec: 1 }, { spec: { template: "x" } }, { metadata: { annotations: 7 } }, { data: 5 }, { metadata: null, spec: null }])
      for (const [group, resource] of [
        ["velero.io", "backups"],
        ["velero.io", "schedules"],
        ["", "configmaps"],
        ["", "persistentvolumeclaims"],
        ["drayage.io", "datamoverclasses"],
      ]) {
        const question = readAdmissionReview(review({ object, resource: { group, version: "v1", resource } }));
        if (question === undefined) throw new Error("it was not read");
        expect(answerAdmission(question, registry).response.allowed).toBe(true);
      }
  });

  it.each([
    ["no JSON", "{"],
    ["a text", '"AdmissionReview"'],
    ["nothing", "null"],
    ["another version", review({}, { apiVersion: "admission.k8s.io/v1beta1" })],
    ["another kind", review({}, { kind: "Pod" })],
    ["no uid", review({ uid: "" })],
    ["a uid without end", review({ uid: "u".repeat(300) })],
    ["no resource", review({ resource: null })],
    ["a deletion", review({ operation: "DELETE", object: null })],
    ["no object", review({ object: [] })],
  ])("that is %s is not read", (_, text) => {
    expect(readAdmissionReview(text)).toBeUndefined();
  });
});
