import type { PersistentVolume, PersistentVolumeClaim } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { decideVolume } from "./volume.ts";

const claimRef = { namespace: "app", name: "files", uid: "u1" };
const volume = (
  fields: { readonly spec?: object; readonly annotations?: Record<string, string>; readonly phase?: string; readonly deleting?: boolean } = {},
): PersistentVolume => ({
  metadata: {
    name: "v",
    finalizers: ["kubernetes.io/pv-protection"],
    annotations: fields.annotations ?? {},
    ...(fields.deleting === true ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
  },
  spec: { claimRef, persistentVolumeReclaimPolicy: "Delete", ...fields.spec },
  status: { phase: (fields.phase ?? "Bound") as "Bound" },
});
const claim = (volumeName: string, uid = "u1"): PersistentVolumeClaim => ({ metadata: { name: "files", namespace: "app", uid }, spec: { volumeName } });

/** The phase it is brought to, or what else is written. */
const outline = (v: PersistentVolume, c?: PersistentVolumeClaim): unknown[] =>
  decideVolume({ volume: v, claim: c, nowMs: 0 }).steps.map((step) =>
    step.do === "replaceStatus"
      ? (step.object as PersistentVolume).status?.phase
      : step.do === "replace"
        ? (step.object as PersistentVolume).spec.claimRef
        : step.do,
  );

describe("decideVolume", () => {
  it.each([
    ["has no claim", volume({ spec: { claimRef: undefined }, phase: "Pending" }), undefined, ["Available"]],
    ["is reserved by name", volume({ spec: { claimRef: { namespace: "app", name: "files" } }, phase: "Released" }), claim("", "u9"), ["Available"]],
    ["is its claim's", volume({ phase: "Pending" }), claim("v"), ["Bound"]],
    ["is bound already", volume(), claim("v"), []],
    ["waits for its claim to be bound", volume({ phase: "Available" }), claim(""), []],
    ["has a claim that is gone", volume(), undefined, ["Released"]],
    ["has a claim that was made anew", volume(), claim("v", "u2"), ["Released"]],
    ["failed, and its claim is gone", volume({ phase: "Failed" }), undefined, []],
  ])("a volume that %s", (_what, v, c, expected) => {
    expect(outline(v, c)).toEqual(expected);
  });

  it("looks twice before it releases", () => {
    expect(decideVolume({ volume: volume(), claim: undefined, nowMs: 0 }).irreversible).toBe(true);
  });

  it("releases a volume that was made for a claim which took another", () => {
    expect(outline(volume({ annotations: { "pv.kubernetes.io/provisioned-by": "csi.drayage.io" } }), claim("other"))).toEqual(["Released"]);
  });

  it("undoes its own reservation for a claim that took another, and keeps one made by hand", () => {
    expect(outline(volume({ annotations: { "pv.kubernetes.io/bound-by-controller": "yes" } }), claim("other"))).toEqual([undefined, "Available"]);
    expect(outline(volume(), claim("other"))).toEqual([{ namespace: "app", name: "files" }, "Available"]);
  });

  it("lets a deleted volume go unless it is bound", () => {
    expect(decideVolume({ volume: volume({ deleting: true, phase: "Released" }), claim: undefined, nowMs: 0 }).steps).toMatchObject([
      { do: "replace", object: { metadata: { finalizers: [] } } },
    ]);
    expect(outline(volume({ deleting: true }), claim("v"))).toEqual([]);
  });
});
