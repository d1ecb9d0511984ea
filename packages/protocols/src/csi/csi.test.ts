import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CsiImplementations, type CsiInterceptor, connectCsi, csiError, csiServices, isFinal, serveCsi } from "./index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "csi-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const passThrough: CsiInterceptor = (_method, _request, work) => work();

async function withDriver<T>(
  implementations: CsiImplementations,
  work: (connection: ReturnType<typeof connectCsi>) => Promise<T>,
  socketPath = join(folder, "csi.sock"),
): Promise<T> {
  const server = await serveCsi(socketPath, implementations, passThrough);
  const connection = connectCsi(socketPath);
  try {
    return await work(connection);
  } finally {
    connection.close();
    await server.stop();
  }
}

describe("csiServices", () => {
  it("defines every service of the specification with its full method names", () => {
    expect(Object.keys(csiServices())).toEqual(["Identity", "Controller", "Node", "GroupController", "SnapshotMetadata"]);
    expect(csiServices().Controller["CreateVolume"]?.path).toBe("/csi.v1.Controller/CreateVolume");
    expect(csiServices().SnapshotMetadata["GetMetadataDelta"]?.responseStream).toBe(true);
  });

  it("encodes a message to the bytes that the specification's field numbers give", () => {
    const encode = csiServices().Controller["CreateVolume"]?.requestSerialize;
    // name (1) = "a"; capacity_range (2) { required_bytes (1) = 300 }; volume_capabilities (3) { mount (2) {}, access_mode (3) { mode (1) = 1 } }
    expect(
      encode?.({ name: "a", capacityRange: { requiredBytes: "300" }, volumeCapabilities: [{ mount: {}, accessMode: { mode: "SINGLE_NODE_WRITER" } }] }),
    ).toEqual(Buffer.from([0x0a, 1, 0x61, 0x12, 3, 0x08, 0xac, 0x02, 0x1a, 6, 0x12, 0, 0x1a, 2, 0x08, 1]));
  });
});

describe("a driver over a socket", () => {
  it("keeps 64-bit integers, enums, maps and absent messages through both directions", async () => {
    const seen: unknown[] = [];
    const response = await withDriver(
      {
        Controller: {
          CreateVolume: async (request) => {
            seen.push(request);
            return { volume: { volumeId: "v", capacityBytes: "9007199254740993", volumeContext: { a: "b" } } };
          },
        },
      },
      ({ controller }) =>
        controller.CreateVolume({ name: "n", volumeCapabilities: [{ block: {}, accessMode: { mode: "MULTI_NODE_MULTI_WRITER" } }], parameters: { k: "v" } }),
    );
    expect(response.volume).toEqual({
      volumeId: "v",
      capacityBytes: "9007199254740993",
      volumeContext: { a: "b" },
      contentSource: null,
      accessibleTopology: [],
    });
    expect(seen).toMatchObject([
      {
        name: "n",
        capacityRange: null,
        parameters: { k: "v" },
        volumeCapabilities: [{ block: {}, accessMode: { mode: "MULTI_NODE_MULTI_WRITER" } }],
      },
    ]);
  });

  it("carries a status as the error it was thrown as, with its hint", async () => {
    const failure = withDriver(
      {
        Node: {
          NodeStageVolume: () => Promise.reject(csiError("FAILED_PRECONDITION", 'Cannot stage volume "v": not root', { hint: "Run as root." })),
        },
      },
      ({ node }) => node.NodeStageVolume({ volumeId: "v" }),
    );
    await expect(failure).rejects.toMatchObject({
      code: "CSI_PRECONDITION",
      message: 'Cannot stage volume "v": not root. Run as root.',
      context: { status: "FAILED_PRECONDITION" },
    });
  });

  it("answers UNIMPLEMENTED for a method that is left out and INTERNAL for a defect", async () => {
    const implementations: CsiImplementations = { Identity: { Probe: () => Promise.reject(new TypeError("boom")) } };
    await withDriver(implementations, async ({ identity }) => {
      await expect(identity.GetPluginInfo({})).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
      await expect(identity.Probe({})).rejects.toMatchObject({ code: "CSI_FAILED", context: { status: "INTERNAL" } });
    });
  });

  it("throws CSI_UNAVAILABLE while nobody listens, and reaches a driver that starts later", async () => {
    const socketPath = join(folder, "csi.sock");
    const connection = connectCsi(socketPath);
    await expect(connection.identity.Probe({})).rejects.toMatchObject({ code: "CSI_UNAVAILABLE" });
    const server = await serveCsi(socketPath, { Identity: { Probe: async () => ({ ready: { value: true } }) } }, passThrough);
    const answered = async (): Promise<unknown> => connection.identity.Probe({}).catch(() => systemClock.sleep(10).then(answered));
    expect(await answered()).toEqual({ ready: { value: true } });
    connection.close();
    await server.stop();
  });

  it("ends a call when its signal is aborted, on both sides", async () => {
    const abort = new AbortController();
    let cancelledThere: Promise<void> = Promise.resolve();
    await withDriver(
      {
        Identity: {
          Probe: (_request, signal) => {
            cancelledThere = new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
            abort.abort(new Error("enough"));
            return cancelledThere.then(() => ({}));
          },
        },
      },
      async ({ identity }) => {
        await expect(identity.Probe({}, { signal: abort.signal })).rejects.toThrow("enough");
        await cancelledThere;
      },
    );
  });

  it("works where the socket's path is longer than the kernel's address, and leaves nothing behind", async () => {
    const deep = join(
      folder,
      ..."x"
        .repeat(4)
        .split("")
        .map((letter) => letter.repeat(60)),
    );
    mkdirSync(deep, { recursive: true });
    const socketPath = join(deep, "csi.sock");
    expect(socketPath.length).toBeGreaterThan(200);
    const ready = await withDriver({ Identity: { Probe: async () => ({ ready: { value: true } }) } }, ({ identity }) => identity.Probe({}), socketPath);
    expect(ready).toEqual({ ready: { value: true } });
    expect(existsSync(socketPath)).toBe(false);
  });

  it("takes over the socket of a killed driver, but neither a living one's nor another file", async () => {
    const socketPath = join(folder, "csi.sock");
    const living = await serveCsi(socketPath, {}, passThrough);
    await expect(serveCsi(socketPath, {}, passThrough)).rejects.toMatchObject({ code: "NOT_PERMITTED", message: expect.stringContaining("another process") });
    await living.stop();
    writeFileSync(socketPath, "");
    await expect(serveCsi(socketPath, {}, passThrough)).rejects.toMatchObject({ code: "NOT_PERMITTED", message: expect.stringContaining("not a socket") });
    rmSync(socketPath);
    await leaveStaleSocket(socketPath);
    await (await serveCsi(socketPath, {}, passThrough)).stop();
  });
});

describe("isFinal", () => {
  it("is false for what may still be under way in the driver", () => {
    expect(["ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"].map((name) => isFinal(csiError(name as "ABORTED", "")))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(isFinal(csiError("NOT_FOUND", ""))).toBe(true);
    expect(isFinal(new Error("not from a driver"))).toBe(false);
  });
});

/** A socket file that nobody listens on, as kill -9 leaves it. */
async function leaveStaleSocket(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  renameSync(path, `${path}.kept`);
  await new Promise((resolve) => server.close(resolve));
  renameSync(`${path}.kept`, path);
}
