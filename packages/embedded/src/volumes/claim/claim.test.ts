import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { decideClaim, type ObservedClaim } from "./claim.ts";

const claim = (fields: { readonly spec?: object; readonly annotations?: Record<string, string>; readonly status?: object } = {}): PersistentVolumeClaim => ({
  metadata: { name: "files", namespace: "app", uid: "u1", finalizers: ["kubernetes.io/pvc-protection"], annotations: fields.annotations ?? {} },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } }, storageClassName: "fast", ...fields.spec },
  status: { phase: "Pending", ...fields.status },
});

const volume = (spec: Partial<PersistentVolume["spec"]> = {}, name = "v"): PersistentVolume => ({
  metadata: { name },
  spec: { capacity: { storage: "1Gi" }, accessModes: ["ReadWriteOnce"], storageClassName: "fast", ...spec },
  status: { phase: "Available" },
});

const fast: StorageClass = { metadata: { name: "fast" }, provisioner: "csi.drayage.io" };
const observed = (o: Partial<ObservedClaim>): ObservedClaim => ({ claim: claim(), volumes: [], classes: [fast], usedBy: [], waitedForBy: [], nowMs: 0, ...o });

/** What is done to what, in a word each. */
const outline = (o: Partial<ObservedClaim>): string[] =>
  decideClaim(observed(o)).steps.map((step) => (step.do === "event" ? `event ${step.reason}` : `${step.do} ${step.type.plural} ${step.object.metadata.name}`));

describe("decideClaim", () => {
  it("binds in the order volume, its phase, claim, its phase", () => {
    expect(outline({ volumes: [volume()] })).toEqual([
      "replace persistentvolumes v",
      "replaceStatus persistentvolumes v",
      "replace persistentvolumeclaims files",
      "replaceStatus persistentvolumeclaims files",
    ]);
  });

  it("goes on with a binding that stopped after the volume", () => {
    const claimRef = { namespace: "app", name: "files", uid: "u1" };
    const half = { ...volume({ claimRef }), status: { phase: "Bound" as const } };
    expect(outline({ volumes: [half] })).toEqual(["replace persistentvolumeclaims files", "replaceStatus persistentvolumeclaims files"]);
  });

  it("does nothing when both are bound to each other", () => {
    const bound = claim({
      annotations: { "pv.kubernetes.io/bind-completed": "yes" },
      spec: { volumeName: "v" },
      status: { phase: "Bound", accessModes: ["ReadWriteOnce"], capacity: { storage: "1Gi" } },
    });
    const claimRef = { namespace: "app", name: "files", uid: "u1" };
    expect(outline({ claim: bound, volumes: [{ ...volume({ claimRef }), status: { phase: "Bound" } }] })).toEqual([]);
  });

  it.each([
    ["another claim's UID", { claimRef: { namespace: "app", name: "files", uid: "u0" } }, "ClaimMisbound"],
    ["another claim", { claimRef: { namespace: "app", name: "other", uid: "u2" } }, "ClaimMisbound"],
  ])("loses a bound claim whose volume has %s, after a second look", (_what, spec, reason) => {
    const bound = claim({ annotations: { "pv.kubernetes.io/bind-completed": "yes" }, spec: { volumeName: "v" }, status: { phase: "Bound" } });
    expect(outline({ claim: bound, volumes: [volume(spec)] })).toEqual(["replaceStatus persistentvolumeclaims files", `event ${reason}`]);
    expect(decideClaim(observed({ claim: bound, volumes: [volume(spec)] })).irreversible).toBe(true);
  });

  it("is not loud about a loss that is known", () => {
    const lost = claim({ annotations: { "pv.kubernetes.io/bind-completed": "yes" }, spec: { volumeName: "v" }, status: { phase: "Lost" } });
    expect(outline({ claim: lost })).toEqual([]);
  });

  it.each([
    ["too small", { capacity: { storage: "1023Mi" } }],
    ["of another class", { storageClassName: "slow" }],
    ["of another mode", { volumeMode: "Block" as const }],
    ["without the access mode", { accessModes: ["ReadOnlyMany"] }],
    ["claimed by somebody", { claimRef: { namespace: "app", name: "other" } }],
  ])("does not bind a volume that is %s", (_what, spec) => {
    expect(outline({ volumes: [volume(spec)] })).toEqual(["replace persistentvolumeclaims files", "event ExternalProvisioning"]);
  });

  it("binds a volume that is reserved for it whatever its class, but not one that is too small", () => {
    const claimRef = { namespace: "app", name: "files" };
    expect(outline({ volumes: [volume({ claimRef, storageClassName: "slow" })] })[0]).toBe("replace persistentvolumes v");
    expect(outline({ volumes: [volume({ claimRef, capacity: { storage: "1Mi" } })] })).toContain("event ExternalProvisioning");
  });

  it("waits for a first consumer even when an unreserved volume fits", () => {
    const waiting: StorageClass = { ...fast, volumeBindingMode: "WaitForFirstConsumer" };
    expect(outline({ classes: [waiting], volumes: [volume()] })).toEqual(["event WaitForFirstConsumer"]);
    expect(outline({ classes: [waiting], volumes: [volume({ claimRef: { namespace: "app", name: "files" } })] })[0]).toBe("replace persistentvolumes v");
  });

  it("takes the newest of several default classes", () => {
    const named = (name: string, creationTimestamp: string): StorageClass => ({
      metadata: { name, creationTimestamp, annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
      provisioner: "csi.drayage.io",
    });
    const { storageClassName: _, ...spec } = claim().spec;
    const unclassed = { ...claim(), spec };
    const [step] = decideClaim(observed({ claim: unclassed, classes: [named("old", "2026-01-01T00:00:00Z"), named("new", "2026-02-01T00:00:00Z")] })).steps;
    expect(step).toMatchObject({ do: "replace", object: { spec: { storageClassName: "new" } } });
  });

  it("asks nobody for a class whose volumes are made by hand", () => {
    expect(outline({ classes: [{ ...fast, provisioner: "kubernetes.io/no-provisioner" }] })).toEqual([]);
  });
});
