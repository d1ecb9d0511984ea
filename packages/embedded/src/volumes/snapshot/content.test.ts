import type { VolumeSnapshotContent } from "@drayage/api";
import { describe, expect, it } from "vitest";
import { BEING_CREATED, BEING_DELETED, CONTENT_BOUND } from "../names.ts";
import { decideContent } from "./content.ts";

interface Fields {
  readonly source?: VolumeSnapshotContent["spec"]["source"];
  readonly uid?: string;
  readonly driver?: string;
  readonly policy?: "Delete" | "Retain";
  readonly status?: VolumeSnapshotContent["status"];
  readonly annotations?: readonly string[];
  readonly finalizers?: readonly string[];
  readonly deleting?: boolean;
}

const content = (fields: Fields = {}): VolumeSnapshotContent => ({
  metadata: {
    name: "c",
    finalizers: [...(fields.finalizers ?? [CONTENT_BOUND])],
    annotations: Object.fromEntries((fields.annotations ?? []).map((name) => [name, "yes"])),
    ...(fields.deleting === true ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
  },
  spec: {
    driver: fields.driver ?? "csi.drayage.io",
    deletionPolicy: fields.policy ?? "Delete",
    source: fields.source ?? { volumeHandle: "vol" },
    volumeSnapshotRef: { namespace: "app", name: "s", uid: fields.uid ?? "u1" },
  },
  ...(fields.status === undefined ? {} : { status: fields.status }),
});
const ready = { snapshotHandle: "snap", readyToUse: true };

const outline = (fields: Fields): string[] =>
  decideContent({ driverName: "csi.drayage.io", content: content(fields), snapshotClass: undefined }).steps.map((step) => step.do);

describe("decideContent", () => {
  it.each<[string, Fields, string[]]>([
    ["of a volume is cut", {}, ["cut"]],
    ["of a volume is asked for again while it is processed", { status: { snapshotHandle: "snap", readyToUse: false } }, ["cut"]],
    ["that failed is tried again", { status: { readyToUse: false, error: { message: "no" } } }, ["cut"]],
    ["of a handle is looked up", { source: { snapshotHandle: "snap" } }, ["lookUp"]],
    ["that is ready is left alone", { status: ready }, []],
    ["that is ready loses a mark that a kill left", { status: ready, annotations: [BEING_CREATED] }, ["replace"]],
    ["without its finalizer gets it first", { finalizers: [] }, ["replace"]],
    ["that nobody is bound to gets none", { finalizers: [], uid: "", source: { snapshotHandle: "snap" } }, ["lookUp"]],
    ["of another driver is left alone", { driver: "other" }, []],
    ["with two sources is refused", { source: { snapshotHandle: "snap", volumeHandle: "vol" } }, ["event"]],
    ["without a source is refused", { source: {} }, ["event"]],
    ["deleted while its snapshot exists stays", { deleting: true, status: ready }, []],
    ["deleted with its snapshot goes with its storage", { deleting: true, status: ready, annotations: [BEING_DELETED] }, ["deleteSnapshot", "replace"]],
    ["deleted with its snapshot, retained, goes alone", { deleting: true, status: ready, annotations: [BEING_DELETED], policy: "Retain" }, ["replace"]],
    ["deleted, its storage gone already, goes", { deleting: true, status: {}, annotations: [BEING_DELETED] }, ["replace"]],
    ["deleted while it may be in cutting waits for the answer", { deleting: true, annotations: [BEING_DELETED, BEING_CREATED] }, ["cut"]],
    ["deleted before anything was begun is not begun", { deleting: true }, []],
    [
      "deleted that nobody was ever bound to goes",
      { deleting: true, uid: "", source: { snapshotHandle: "snap" }, status: ready },
      ["deleteSnapshot", "replace"],
    ],
  ])("a content %s", (_what, fields, expected) => {
    expect(outline(fields)).toEqual(expected);
  });

  it("hands the driver the parameters of its class, without those that are for others", () => {
    const snapshotClass = {
      metadata: { name: "k" },
      driver: "csi.drayage.io",
      deletionPolicy: "Delete" as const,
      parameters: { a: "b", "csi.storage.k8s.io/secret": "x" },
    };
    expect(decideContent({ driverName: "csi.drayage.io", content: content(), snapshotClass }).steps).toMatchObject([
      { do: "cut", volumeHandle: "vol", parameters: { a: "b" } },
    ]);
  });
});
