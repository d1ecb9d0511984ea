import { DrayError, nullLogger } from "@drayage/base";
import { memoryLogger } from "@drayage/base/testing";
import { type Pod, type PodExecOptions, pods } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { BackupHooks } from "./backup-hooks.ts";
import { type ExecHook, hookTimeoutMs, parseHookCommand, runExecHook } from "./exec-hook.ts";

const pod = (annotations: Record<string, string> = {}, labels: Record<string, string> = {}): Pod => ({
  metadata: { name: "db-0", namespace: "shop", annotations, labels },
  spec: { containers: [{ name: "db" }, { name: "sidecar" }] },
  status: { phase: "Running" },
});

const hook = (overrides: Partial<ExecHook> = {}): ExecHook => ({
  source: "spec",
  name: "freeze",
  container: undefined,
  command: ["freeze"],
  onError: "Fail",
  timeoutMs: 1000,
  ...overrides,
});

describe("parseHookCommand()", () => {
  it.each([
    ['["/bin/sh","-c","sync"]', ["/bin/sh", "-c", "sync"]],
    ["/bin/sync", ["/bin/sync"]],
    ["[not json", ["[not json"]],
    ["[1]", ["[1]"]],
  ])("reads %s", (text, command) => {
    expect(parseHookCommand(text)).toEqual(command);
  });
});

describe("hookTimeoutMs()", () => {
  it("is undefined where the default holds, with a warning when the text is no duration", () => {
    const log = memoryLogger();
    expect([hookTimeoutMs(undefined, log), hookTimeoutMs("0s", log), hookTimeoutMs("90s", log), hookTimeoutMs("soon", log)]).toEqual([
      undefined,
      undefined,
      90_000,
      undefined,
    ]);
    expect(log.records.map(({ level }) => level)).toEqual(["warn"]);
  });
});

describe("BackupHooks", () => {
  const spec = {
    hooks: {
      resources: [
        { name: "all", pre: [{ exec: { command: ["a"] } }], post: [{ exec: { command: ["z"], onError: "Continue" as const, timeout: "1m" } }] },
        { name: "db only", labelSelector: { matchLabels: { app: "db" } }, pre: [{ exec: { command: ["b"], container: "sidecar" } }] },
        { name: "elsewhere", includedNamespaces: ["other"], pre: [{ exec: { command: ["c"] } }] },
        { name: "not pods", includedResources: ["deployments"], pre: [{ exec: { command: ["d"] } }] },
      ],
    },
  };

  it("takes those of the spec that fit a pod, in order", () => {
    const hooks = new BackupHooks(spec);
    expect(
      hooks.of(pod({}, { app: "db" }), "pre", nullLogger).map(({ command, container, onError, timeoutMs }) => [command[0], container, onError, timeoutMs]),
    ).toEqual([
      ["a", undefined, "Fail", 30_000],
      ["b", "sidecar", "Fail", 30_000],
    ]);
    expect(hooks.of(pod(), "post", nullLogger)).toMatchObject([{ command: ["z"], onError: "Continue", timeoutMs: 60_000 }]);
  });

  it("lets annotations of the pod win over the spec", () => {
    const annotations = {
      "pre.hook.backup.velero.io/command": '["x"]',
      "pre.hook.backup.velero.io/container": "sidecar",
      "pre.hook.backup.velero.io/on-error": "Continue",
    };
    expect(new BackupHooks(spec).of(pod(annotations), "pre", nullLogger)).toMatchObject([
      { source: "annotation", command: ["x"], container: "sidecar", onError: "Continue" },
    ]);
  });

  it("reads annotations without a phase as pre", () => {
    const annotations = { "hook.backup.velero.io/command": "old" };
    expect(new BackupHooks({}).of(pod(annotations), "pre", nullLogger)).toMatchObject([{ command: ["old"] }]);
    expect(new BackupHooks({}).of(pod(annotations), "post", nullLogger)).toEqual([]);
  });

  it("stops at the first failure with onError Fail, and goes on after one with Continue", async () => {
    const client = new FakeKubeClient();
    client.seed(pods, pod());
    client.handlers.podExec = (_key, { command }) => ({ exitCode: command[0] === "bad" ? 1 : 0, stdout: "", stderr: "" });
    const run = async (onError: "Continue" | "Fail") => {
      const hooks = new BackupHooks({ hooks: { resources: [{ name: "h", pre: [{ exec: { command: ["bad"], onError } }, { exec: { command: ["good"] } }] }] } });
      return [await hooks.run(client, pod(), "pre", nullLogger, new AbortController().signal), hooks.counts];
    };
    expect(await run("Fail")).toEqual(["refused", { attempted: 1, failed: 1 }]);
    expect(await run("Continue")).toEqual(["complete", { attempted: 2, failed: 1 }]);
  });

  it.each([
    ["a command before it was run", [{ command: ["good"] }, { command: ["bad"] }]],
    ["nobody knows what it did", [{ command: ["lost"] }]],
  ])("tells that something may have been done to a pod when %s", async (_, execs) => {
    const client = new FakeKubeClient();
    client.seed(pods, pod());
    client.handlers.podExec = (_key, { command }) => {
      if (command[0] === "lost") throw new DrayError("TIMED_OUT", "no answer");
      return { exitCode: command[0] === "bad" ? 1 : 0, stdout: "", stderr: "" };
    };
    const hooks = new BackupHooks({ hooks: { resources: [{ name: "h", pre: execs.map((exec) => ({ exec: { ...exec, onError: "Fail" as const } })) }] } });
    expect(await hooks.run(client, pod(), "pre", nullLogger, new AbortController().signal)).toBe("failed");
  });
});

describe("runExecHook()", () => {
  const run = async (wanted: ExecHook, subject = pod()) => {
    const client = new FakeKubeClient();
    const seen: PodExecOptions[] = [];
    client.seed(pods, subject);
    client.handlers.podExec = (_key, options) => {
      seen.push(options);
      return { exitCode: 0, stdout: "frozen\n", stderr: "" };
    };
    const log = memoryLogger();
    await runExecHook(client, subject, wanted, log, new AbortController().signal);
    return { seen, log: log.records.map(({ message }) => message) };
  };

  it("runs in the pod's first container unless another one is named, within its timeout", async () => {
    const { seen, log } = await run(hook());
    expect(seen).toMatchObject([{ container: "db", command: ["freeze"], timeoutMs: 1000 }]);
    expect(log).toContain("stdout: frozen");
  });

  it("says which container is missing", async () => {
    await expect(run(hook({ container: "nope" }))).rejects.toMatchObject({
      code: "HOOK_FAILED",
      message: 'Cannot run hook "freeze" in pod "shop/db-0": the pod has no container "nope"',
    });
  });

  it("is nothing for a pod that has ended", async () => {
    expect((await run(hook(), { ...pod(), status: { phase: "Succeeded" } })).seen).toEqual([]);
  });
});
