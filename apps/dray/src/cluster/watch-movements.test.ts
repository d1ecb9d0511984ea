import { type DataUpload, dataUploads } from "@drayage/api";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { watchMovements } from "./watch-movements.ts";

const namespace = "velero";
let client: FakeKubeClient;
let terminal: RecordingTerminal;
beforeEach(() => {
  client = new FakeKubeClient();
  terminal = new RecordingTerminal();
});

type Phase = NonNullable<NonNullable<DataUpload["status"]>["phase"]>;
const upload = (name: string, phase: Phase): DataUpload => ({
  metadata: { namespace, name },
  spec: { snapshotType: "CSI", sourceNamespace: "shop", sourcePVC: name, backupStorageLocation: "default", operationTimeout: "10m" },
  status: { phase },
});
const change = (name: string, phase: Phase, bytesDone: number): DataUpload =>
  client.mutate(dataUploads, { namespace, name }, (u) => {
    u.status = { phase, progress: { bytesDone, totalBytes: 1 << 20 }, ...(phase === "Failed" ? { message: "the store is gone" } : {}) };
  });
const watch = (names: string[], json = false): Promise<void> => watchMovements({ client, namespace }, dataUploads, { names, json }, terminal);

describe("watching data uploads", () => {
  it("tells each change of phase once, and ends when all have ended", async () => {
    client.seed(dataUploads, upload("a", "InProgress"));
    client.seed(dataUploads, upload("old", "Failed"));
    const watching = watch([]);
    await expect.poll(() => terminal.text).toBe("a: shop/a: InProgress\n");
    change("a", "Completed", 1 << 20);
    await watching;
    expect(terminal.text).toBe("a: shop/a: InProgress\na: shop/a: Completed, 1.0 MiB of 1.0 MiB (100 %)\n");
    expect(terminal.exitCode).toBe(0);
  });

  it.each([
    [["Completed", "Canceled"], 3],
    [["Canceled", "Failed"], 1],
  ] as const)("exits by the worst of %s", async (phases, code) => {
    for (const [at, phase] of phases.entries()) client.seed(dataUploads, upload(`u${at}`, phase));
    await watch(["u0", "u1"]);
    expect(terminal.exitCode).toBe(code);
  });

  it("says why one failed, in JSON as well", async () => {
    client.seed(dataUploads, upload("a", "Accepted"));
    const watching = watch(["a"], true);
    await expect.poll(() => terminal.text).toContain("Accepted");
    change("a", "Failed", 0);
    await watching;
    expect(JSON.parse(terminal.text.trim().split("\n").at(-1) ?? "")).toMatchObject({
      type: "progress",
      name: "a",
      volume: "shop/a",
      phase: "Failed",
      message: "the store is gone",
      schema: 1,
    });
  });

  it("ends when what it watches is deleted, and refuses a name that there is not", async () => {
    client.seed(dataUploads, upload("a", "InProgress"));
    const watching = watch(["a"]);
    await expect.poll(() => terminal.text).toContain("InProgress");
    client.discard(dataUploads, { namespace, name: "a" });
    await watching;
    await expect(watch(["b"])).rejects.toThrow(/Cannot find DataUpload "b"/);
  });
});
