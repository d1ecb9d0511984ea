import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { RangeConnections, type RangeRequest } from "./range-connections.ts";

/** Many reads of a socket, and no multiple of one. */
const BYTES = (3 << 20) + 12_345;
const data = new Uint8Array(BYTES).map((_, i) => (i * 31 + (i >> 8)) & 255);
const timeouts = { connectMs: 10_000, idleMs: 60_000 };
const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

interface Store {
  readonly connections: RangeConnections;
  readonly request: (offset?: number, headers?: Record<string, string>) => RangeRequest;
  /** What was asked for over each connection. */
  readonly asked: string[][];
  readonly sockets: Socket[];
}

/** A store that answers each request by what `answer` writes to its socket. */
async function store(answer: (socket: Socket, request: string) => void, options: { connectionsMax?: number; idleMs?: number } = {}): Promise<Store> {
  const asked: string[][] = [];
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    const requests: string[] = [];
    asked.push(requests);
    sockets.push(socket);
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (part) => {
      text += part.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        requests.push(text.slice(0, end));
        text = text.slice(end + 4);
        answer(socket, requests.at(-1) ?? "");
      }
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { connectionsMax = 8, idleMs = timeouts.idleMs } = options;
  const connections = new RangeConnections({ connectionsMax, timeouts: { ...timeouts, idleMs }, tls: {} });
  closing.push(() => {
    connections.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const request = (offset = 0, headers = {}): RangeRequest => ({ protocol: "http:", hostname: "127.0.0.1", port, path: "/b/k?x=1", headers, offset });
  return { connections, request, asked, sockets };
}

const head = (offset: number, length: number, more = ""): string =>
  `HTTP/1.1 206 Partial Content\r\nContent-Length: ${length}\r\ncontent-range:  bytes ${offset}-${offset + length - 1}/${BYTES}\r\n${more}\r\n`;
const ranged = (socket: Socket, offset: number, length: number, more = ""): void => {
  socket.write(head(offset, length, more));
  socket.write(data.subarray(offset, offset + length));
};
const isData = (into: Uint8Array, offset: number): boolean => Buffer.compare(into, data.subarray(offset, offset + into.length)) === 0;

describe("ranges into memory", () => {
  it("come one after the other over one connection, into memory that is shared or not", async () => {
    const lengths = [BYTES - 7, 1, 70_000, 16 << 10, BYTES - 7];
    let next = 0;
    const { connections, request, asked } = await store((socket) => ranged(socket, 7, lengths[next++ % lengths.length] ?? 0));
    for (const memory of [ArrayBuffer, SharedArrayBuffer]) {
      for (const length of lengths) {
        const into = new Uint8Array(new memory(length + 20), 10, length);
        expect(await connections.receive(request(7, { host: "store", range: `bytes=7-${6 + length}` }), into, undefined)).toBe(true);
        expect(isData(into, 7)).toBe(true);
        const around = new Uint8Array(into.buffer);
        expect([...around.subarray(0, 10), ...around.subarray(10 + length)].every((byte) => byte === 0)).toBe(true);
      }
    }
    expect(asked.length).toBe(1);
    expect(asked[0]?.[0]).toBe(`GET /b/k?x=1 HTTP/1.1\r\nhost: store\r\nrange: bytes=7-${BYTES - 1}`);
  });

  it("come in whatever pieces they are sent", async () => {
    const { connections, request } = await store((socket) => {
      const all = Buffer.concat([Buffer.from(head(3, 40_000)), data.subarray(3, 40_003)]);
      let at = 0;
      const more = (): void => {
        if (at === all.length) return;
        // The head in single bytes, up to within the body.
        const part = all.subarray(at, at + (at < 150 ? 1 : 9_999));
        at += part.length;
        socket.write(part, more);
      };
      socket.setNoDelay();
      more();
    });
    const into = new Uint8Array(40_000);
    expect(await connections.receive(request(3), into, undefined)).toBe(true);
    expect(isData(into, 3)).toBe(true);
  });

  it("take another connection where the store ends the last one, and no more at once than are allowed", async () => {
    // Answers only when two wait, so that a third could come.
    const waiting: Socket[] = [];
    let most = 0;
    const { connections, request, asked } = await store(
      (socket) => {
        most = Math.max(most, waiting.push(socket));
        if (waiting.length < 2) return;
        for (const other of waiting.splice(0)) {
          ranged(other, 0, 1000, "Connection: close\r\n");
          other.end();
        }
      },
      { connectionsMax: 2 },
    );
    const all = Array.from({ length: 10 }, async () => {
      const into = new Uint8Array(1000);
      return (await connections.receive(request(), into, undefined)) && isData(into, 0);
    });
    expect(await Promise.all(all)).toEqual(all.map(() => true));
    expect(most).toBe(2);
    expect(asked.map(({ length }) => length)).toEqual(all.map(() => 1));
  });

  it("let go of a connection that the store ends while nothing is asked for", async () => {
    const { connections, request, asked, sockets } = await store((socket) => ranged(socket, 0, 1000));
    expect(await connections.receive(request(), new Uint8Array(1000), undefined)).toBe(true);
    const ended = new Promise((resolve) => sockets[0]?.on("close", resolve));
    sockets[0]?.end();
    await ended;
    expect(await connections.receive(request(), new Uint8Array(1000), undefined)).toBe(true);
    expect(asked.length).toBe(2);
  });

  it.each<[string, string]>([
    ["all of the blob", `HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n`],
    ["another range", head(1, 1000)],
    ["a shorter one", head(0, 999)],
    ["pieces that say their length", head(0, 1000, "Transfer-Encoding: chunked\r\n")],
    ["a coding", head(0, 1000, "Content-Encoding: gzip\r\n")],
    ["two lengths", head(0, 1000, "content-length: 1000\r\n")],
    ["a redirect", "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"],
    ["an error", "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!"],
    ["more to come", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
    ["a header over two lines", head(0, 1000, "X: a\r\n b\r\n")],
    ["a head without end", `HTTP/1.1 206 Partial Content\r\nX: ${"a".repeat(20_000)}`],
    ["more than it announced", `${head(0, 1000)}${"a".repeat(1001)}`],
  ])("are left to others where the answer is %s", async (_, text) => {
    const { connections, request, asked } = await store((socket) => void socket.write(text));
    const answers = [0, 1].map(() => connections.receive(request(), new Uint8Array(1000), undefined));
    expect(await Promise.all(answers)).toEqual([false, false]);
    expect(asked.length).toBe(2);
  });

  it("are not asked for where a header would end the head", async () => {
    const { connections, request, asked } = await store((socket) => ranged(socket, 0, 10));
    expect(await connections.receive(request(0, { "x-owner": "a\r\nx-evil: b" }), new Uint8Array(10), undefined)).toBe(false);
    expect(asked).toEqual([]);
  });

  it("fail where the connection breaks off, or none can be made", async () => {
    const { connections, request, sockets } = await store((socket) => {
      socket.write(head(0, 1000));
      socket.write(data.subarray(0, 500), () => socket.end());
    });
    await expect(connections.receive(request(), new Uint8Array(1000), undefined)).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(sockets.length).toBe(1);
    const nobody = createServer();
    await new Promise<void>((done) => nobody.listen(0, "127.0.0.1", done));
    const { port } = nobody.address() as AddressInfo;
    await new Promise((done) => nobody.close(done));
    await expect(connections.receive({ ...request(), port }, new Uint8Array(10), undefined)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("fail where the store falls silent", async () => {
    const { connections, request } = await store((socket) => void socket.write(head(0, 1000)), { idleMs: 50 });
    await expect(connections.receive(request(), new Uint8Array(1000), undefined)).rejects.toMatchObject({
      code: "ETIMEDOUT",
      message: "no byte came for 50 ms",
    });
  });

  it("end with the reason of an abort, and nothing comes into their memory afterwards", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    let rest: (() => void) | undefined;
    const closed = Promise.withResolvers<void>();
    const { connections, request } = await store((socket) => {
      socket.on("close", () => closed.resolve());
      socket.write(head(0, 1000));
      socket.write(data.subarray(0, 500), () => abort.abort(reason));
      rest = () => void socket.write(data.subarray(500, 1000));
    });
    const into = new Uint8Array(1000);
    await expect(connections.receive(request(), into, abort.signal)).rejects.toBe(reason);
    into.fill(0);
    rest?.();
    await closed.promise;
    expect(into.every((byte) => byte === 0)).toBe(true);
    await expect(connections.receive(request(), into, abort.signal)).rejects.toBe(reason);
  });
});
