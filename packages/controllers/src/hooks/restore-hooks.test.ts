import { seededRandom } from "@drayage/base/testing";
import type { Pod } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { RestoreHooks } from "./restore-hooks.ts";

const pod = (annotations: Record<string, string> = {}): Pod => ({
  metadata: { name: "db-0", namespace: "shop", annotations },
  spec: { containers: [{ name: "db" }], initContainers: [{ name: "restore-wait" }, { name: "own" }] },
});

describe("init hooks", () => {
  it("come after the container that waits for data, and before the pod's own", () => {
    const hooks = new RestoreHooks({
      hooks: { resources: [{ name: "h", postHooks: [{ init: { initContainers: [{ name: "chown", image: "i", command: ["c"] }] } }] }] },
    });
    expect(hooks.withInitContainers(pod(), "shop", seededRandom(1)).spec.initContainers?.map(({ name }) => name)).toEqual(["restore-wait", "chown", "own"]);
  });

  it("of annotations get a name when they have none", () => {
    const annotated = pod({ "init.hook.restore.velero.io/container-image": "busybox", "init.hook.restore.velero.io/command": '["sh","-c","true"]' });
    const [, added] = new RestoreHooks({}).withInitContainers(annotated, "shop", seededRandom(1)).spec.initContainers ?? [];
    expect(added).toMatchObject({ image: "busybox", command: ["sh", "-c", "true"] });
    expect(added?.name).toMatch(/^velero-restore-init-[0-9a-f]{8}$/);
  });

  it("are for the namespace that the pod goes to", () => {
    const hooks = new RestoreHooks({
      hooks: {
        resources: [{ name: "h", includedNamespaces: ["new"], postHooks: [{ init: { initContainers: [{ name: "x", image: "i", command: ["c"] }] } }] }],
      },
    });
    expect(hooks.withInitContainers(pod(), "new", seededRandom(1)).spec.initContainers).toHaveLength(3);
    expect(hooks.withInitContainers(pod(), "shop", seededRandom(1)).spec.initContainers).toHaveLength(2);
  });

  it("are told off for what they lack", () => {
    const hooks = new RestoreHooks({ hooks: { resources: [{ name: "h", postHooks: [{ init: { initContainers: [{ name: "x" }] } }] }] } });
    expect(hooks.faults).toEqual(['spec.hooks "h": an init container has no image, no command']);
  });
});
