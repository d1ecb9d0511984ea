import type { KubeObject } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { takes } from "./adopt-orphans.ts";

const owner = (selector: object | undefined, metadata: object = {}): KubeObject =>
  ({ metadata: { name: "web", namespace: "shop", ...metadata }, spec: { selector } }) as KubeObject;
const pod = (metadata: object = {}): KubeObject => ({ metadata: { name: "web-0", namespace: "shop", labels: { app: "web" }, ...metadata } });
const web = { matchLabels: { app: "web" } };

describe("takes", () => {
  it("an orphan whose labels match", () => expect(takes(owner(web), "ReplicaSet", pod())).toBe(true));
  it.each([
    ["not one of another namespace", owner(web), "ReplicaSet", pod({ namespace: "other" })],
    ["not one with other labels", owner(web), "ReplicaSet", pod({ labels: { app: "db" } })],
    [
      "not one that somebody controls",
      owner(web),
      "ReplicaSet",
      pod({ ownerReferences: [{ apiVersion: "v1", kind: "X", name: "x", uid: "u", controller: true }] }),
    ],
    ["not one that is being deleted", owner(web), "ReplicaSet", pod({ deletionTimestamp: "2026-01-01T00:00:00Z" })],
    ["nothing when the owner is being deleted", owner(web, { deletionTimestamp: "2026-01-01T00:00:00Z" }), "ReplicaSet", pod()],
    ["nothing by an empty selector", owner({}), "ReplicaSet", pod()],
    ["nothing for a Job, whose pods carry its uid", owner(web), "Job", pod()],
    ["no pod of another name for a StatefulSet", owner(web), "StatefulSet", pod({ name: "other-0" })],
  ])("%s", (_name, anOwner, kind, orphan) => expect(takes(anOwner, kind, orphan)).toBe(false));
});
