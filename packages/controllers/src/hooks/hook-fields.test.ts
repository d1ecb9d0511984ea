/** Every field by which hooks say for which pods they are, and how they run, on the way there and back. */
import type { BackupSpec, RestoreSpec } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import type { Pod } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { BackupHooks } from "./backup-hooks.ts";
import { RestoreHooks } from "./restore-hooks.ts";

type Selection = Partial<NonNullable<NonNullable<BackupSpec["hooks"]>["resources"]>[number]> & object;

const pod = (namespace: string, labels: Record<string, string> = {}): Pod => ({
  metadata: { namespace, name: "p", labels },
  spec: { containers: [{ name: "first" }, { name: "second" }] },
});

const backupHooks = (selection: Selection) =>
  new BackupHooks({ hooks: { resources: [{ name: "h", pre: [{ exec: { command: ["x"] } }], ...selection }] } } as BackupSpec);
const restoreHooks = (selection: Selection) =>
  new RestoreHooks({ hooks: { resources: [{ name: "h", postHooks: [{ exec: { command: ["x"] } }], ...selection }] } } as RestoreSpec);

describe("a hook is for", () => {
  it.each<[what: string, selection: Selection, pods: readonly Pod[], others: readonly Pod[]]>([
    ["pods of the namespaces that it names", { includedNamespaces: ["a", "b-*"] }, [pod("a"), pod("b-1")], [pod("c")]],
    ["pods of all namespaces but some", { excludedNamespaces: ["a"] }, [pod("b")], [pod("a")]],
    ["pods by any of their names", { includedResources: ["po"] }, [pod("a")], []],
    ["nothing when it is for other resources", { includedResources: ["deployments.apps"] }, [], [pod("a")]],
    ["nothing when pods are excluded", { excludedResources: ["pods"] }, [], [pod("a")]],
    ["pods with its labels", { labelSelector: { matchLabels: { app: "db" } } }, [pod("a", { app: "db" })], [pod("a", { app: "web" }), pod("a")]],
    [
      "pods that its expressions fit",
      { labelSelector: { matchExpressions: [{ key: "tier", operator: "In", values: ["1", "2"] }] } },
      [pod("a", { tier: "2" })],
      [pod("a", { tier: "3" }), pod("a")],
    ],
  ])("%s", (_what, selection, fitting, others) => {
    for (const [pods, count] of [
      [fitting, 1],
      [others, 0],
    ] as const) {
      for (const one of pods) {
        expect(backupHooks(selection).of(one, "pre", nullLogger)).toHaveLength(count);
        expect(restoreHooks(selection).execHooks(one, nullLogger)).toHaveLength(count);
      }
    }
  });
});

describe("a hook of a backup", () => {
  it.each(["pre", "post"] as const)("%s runs its command in its container, within its timeout, and may fail or not", (phase) => {
    const exec = { command: ["sh", "-c", "sync"], container: "second", onError: "Continue" as const, timeout: "2m" };
    const hooks = new BackupHooks({ hooks: { resources: [{ name: "named", [phase]: [{ exec }, { exec: { command: ["y"] } }] }] } });
    expect(hooks.of(pod("a"), phase, nullLogger)).toEqual([
      { source: "spec", name: "named", command: ["sh", "-c", "sync"], container: "second", onError: "Continue", timeoutMs: 120_000 },
      { source: "spec", name: "named", command: ["y"], container: undefined, onError: "Fail", timeoutMs: 30_000 },
    ]);
  });
});

describe("a hook of a restore", () => {
  it("runs its command in its container, with limits for the wait and for the run", () => {
    const exec = { command: ["y"], container: "second", onError: "Fail" as const, execTimeout: "1m", waitTimeout: "5m", waitForReady: true };
    const hooks = new RestoreHooks({ hooks: { resources: [{ name: "named", postHooks: [{ exec }, { exec: { command: ["z"] } }] }] } });
    expect(hooks.execHooks(pod("a"), nullLogger)).toEqual([
      {
        source: "spec",
        name: "named",
        command: ["y"],
        container: "second",
        onError: "Fail",
        timeoutMs: 60_000,
        waitTimeoutMs: 300_000,
        waitForReady: true,
      },
      {
        source: "spec",
        name: "named",
        command: ["z"],
        container: "first",
        onError: "Continue",
        timeoutMs: 30_000,
        waitTimeoutMs: undefined,
        waitForReady: false,
      },
    ]);
  });

  it("puts its init containers in as they are; the time for them is the kubelet's to keep, so init.timeout changes nothing, as with Velero", () => {
    const initContainers = [{ name: "prepare", image: "busybox", command: ["true"], volumeMounts: [{ name: "v", mountPath: "/v" }] }];
    const spec = (timeout?: string): RestoreSpec => ({
      hooks: { resources: [{ name: "h", postHooks: [{ init: { initContainers, ...(timeout === undefined ? {} : { timeout }) } }] }] },
    });
    const containers = (timeout?: string) => new RestoreHooks(spec(timeout)).withInitContainers(pod("a"), "a", seededRandom(1)).spec.initContainers;
    expect(containers()).toEqual(initContainers);
    expect(containers("1s")).toEqual(initContainers);
  });
});
