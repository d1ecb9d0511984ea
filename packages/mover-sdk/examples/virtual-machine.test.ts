import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger } from "@drayage/base";
import { MemoryMoverStore, resolveParameters } from "@drayage/mover-sdk";
import { conformance, type MoverSample } from "@drayage/mover-sdk/conformance";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLUSTER, openQcow2, writeQcow2 } from "./qcow2.ts";
import mover from "./virtual-machine.ts";

const folder = mkdtempSync(join(tmpdir(), "virtual-machine-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Data, zeros, data that ends within a cluster. */
const root = Buffer.concat([Buffer.alloc(100_000, "boot"), Buffer.alloc(3 * CLUSTER), Buffer.from("the end")]);
const data = Buffer.alloc(2 * CLUSTER);
const digest = (bytes: Uint8Array | undefined): string =>
  bytes === undefined ? "missing" : `${bytes.length} bytes, ${createHash("sha256").update(bytes).digest("hex")}`;

/** A server that exports and takes disks. */
class DiskServer {
  readonly disks = new Map<string, Uint8Array>();
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const path = request.url ?? "";
      const found = this.disks.get(path);
      if (request.method === "GET") {
        response.writeHead(found === undefined ? 404 : 200, found === undefined ? {} : { "content-length": found.length });
        response.end(found);
        return;
      }
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => void parts.push(part));
      request.on("end", () => {
        this.disks.set(path, Buffer.concat(parts));
        response.writeHead(201).end();
      });
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const machine = (name: string) => ({
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachine",
  namespace: "shop",
  name,
  object: {
    spec: {
      template: {
        spec: {
          volumes: [
            { name: "root", dataVolume: { name: "r" } },
            { name: "data", persistentVolumeClaim: {} },
            { name: "cloudinit", cloudInitNoCloud: {} },
          ],
        },
      },
    },
  },
});

const sampleOf = (format: string): MoverSample => ({
  async prepare() {
    const server = new DiskServer();
    const url = await server.start();
    server.disks.set("/shop/web/root", root).set("/shop/web/data", data);
    return {
      source: machine("web"),
      destination: machine("copy"),
      parameters: { server: url, format },
      differences: async () =>
        [
          ["root", root],
          ["data", data],
        ].flatMap(([name, wanted]) => {
          const found = digest(server.disks.get(`/shop/copy/${name}`));
          return found === digest(wanted as Buffer) ? [] : [`disk "${name}" is ${found}`];
        }),
      close: () => server.close(),
    };
  },
});

it.each(["raw", "qcow2"])("the example of a mover of virtual machines passes the suite with files of type %s", async (format) => {
  const report = await conformance(mover, { folder, sample: sampleOf(format) });
  expect(report.filter(({ ok }) => !ok)).toEqual([]);
});

describe("the example of a mover of virtual machines", () => {
  let server: DiskServer;
  let url: string;
  beforeEach(async () => {
    server = new DiskServer();
    url = await server.start();
    server.disks.set("/shop/web/root", root).set("/shop/web/data", data);
  });
  afterEach(() => server.close());
  const contextOf = (store: MemoryMoverStore, parameters: Record<string, unknown>) => ({
    id: "one",
    source: machine("web"),
    target: { kind: "BackupStorageLocation", name: "default", store },
    parameters: resolveParameters(mover, { server: url, ...parameters }, "the test"),
    workspace: mkdtempSync(join(folder, "workspace-")),
    signal: new AbortController().signal,
    log: nullLogger,
    progress: () => undefined,
  });

  it("exports each disk that outlives the machine as a file of the type that its parameter names", async () => {
    const [raw, qcow2] = [new MemoryMoverStore(), new MemoryMoverStore()];
    await mover.backup(contextOf(raw, { format: "raw" }));
    expect(raw.keys).toEqual(["one/data.raw", "one/root.raw"]);
    expect(digest(await raw.get("one/root.raw"))).toBe(digest(root));
    const moved = await mover.backup(contextOf(qcow2, {}));
    expect(moved).toMatchObject({ totalBytes: root.length + data.length, result: { format: "qcow2", disks: "root,data" } });
    expect(qcow2.keys).toEqual(["one/data.qcow2", "one/root.qcow2"]);
    expect(
      Buffer.from(await qcow2.get("one/root.qcow2"))
        .subarray(0, 8)
        .toString("hex"),
    ).toBe("514649fb00000002");
  });

  it("wants to know the server, and tells what it answered", async () => {
    expect(() => resolveParameters(mover, {}, "the backup")).toThrow(/parameter "server" is missing/);
    server.disks.delete("/shop/web/data");
    await expect(mover.backup(contextOf(new MemoryMoverStore(), {}))).rejects.toThrow(/Cannot export "http.*\/shop\/web\/data": the server answered 404/);
  });
});

describe("a qcow2 image", () => {
  async function* parts(bytes: Uint8Array): AsyncIterable<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 10_007) yield bytes.subarray(at, at + 10_007);
  }
  const written = async (name: string, bytes: Uint8Array): Promise<Buffer> => {
    const path = join(folder, name);
    const length = await writeQcow2(path, bytes.length, parts(bytes));
    const file = readFileSync(path);
    expect(file.length).toBe(length);
    return file;
  };

  it("holds each cluster that is not zero once, and counts every cluster of the file once", async () => {
    const file = await written("root.qcow2", root);
    const [size, l1Offset] = [Number(file.readBigUInt64BE(24)), Number(file.readBigUInt64BE(40))];
    expect([size, file.readUInt32BE(20), file.readUInt32BE(36)]).toEqual([root.length, 16, 1]);
    const l2Offset = Number(file.readBigUInt64BE(l1Offset) & 0x00fffffffffffe00n);
    const entries = Array.from({ length: Math.ceil(root.length / CLUSTER) }, (_, index) =>
      Number(file.readBigUInt64BE(l2Offset + index * 8) & 0x00fffffffffffe00n),
    );
    expect(entries.map((offset) => offset !== 0)).toEqual([true, true, false, false, true]);
    const block = Number(file.readBigUInt64BE(Number(file.readBigUInt64BE(48))));
    const counts = Array.from({ length: file.length / CLUSTER + 1 }, (_, index) => file.readUInt16BE(block + index * 2));
    expect(counts).toEqual([...Array.from({ length: file.length / CLUSTER }, () => 1), 0]);
  });

  it("gives the disk back, whatever its size", async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(1, 7), Buffer.alloc(CLUSTER, 1), Buffer.alloc(CLUSTER + 1), root]) {
      await written(`disk-${bytes.length}.qcow2`, bytes);
      const image = openQcow2(join(folder, `disk-${bytes.length}.qcow2`));
      expect(digest(Buffer.concat([...image.data()]))).toBe(digest(bytes));
      image.close();
    }
  });

  it("cut anywhere or with a wrong header is refused with what is wrong", async () => {
    const file = await written("whole.qcow2", root);
    const path = join(folder, "damaged.qcow2");
    const read = (bytes: Uint8Array): number => {
      writeFileSync(path, bytes);
      const image = openQcow2(path);
      try {
        return [...image.data()].length;
      } finally {
        image.close();
      }
    };
    for (const end of [0, 71, CLUSTER, 2 * CLUSTER, 3 * CLUSTER + 5])
      expect(() => read(file.subarray(0, end))).toThrow(/Cannot read qcow2 image ".*": it has \d+ bytes/);
    for (const [at, message] of [
      [0, /does not begin as one/],
      [4, /its version is/],
      [20, /its clusters have/],
      [24, /has an L1 table/],
      [36, /has an L1 table/],
    ] as const) {
      const damaged = Buffer.from(file);
      damaged.writeUInt8(1, at);
      expect(() => read(damaged)).toThrow(message);
    }
    await expect(writeQcow2(join(folder, "short.qcow2"), 10, parts(Buffer.alloc(9)))).rejects.toThrow(/only 9 came/);
  });
});
