import { createHash } from "node:crypto";
import { Agent, createServer, get, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { DrayError, hasCode } from "@drayage/base";
import { afterEach, describe, expect, it } from "vitest";
import { readBody } from "./http-body.ts";

/** Many reads of a socket, and no multiple of one. */
const BYTES = (3 << 20) + 12_345;
const data = new Uint8Array(BYTES).map((_, i) => (i * 31 + (i >> 8)) & 255);
const agents: Agent[] = [];
const servers: Server[] = [];

afterEach(async () => {
  for (const agent of agents.splice(0)) agent.destroy();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

/** Asks a server that answers so; every answer comes over the same connection where it can. */
async function client(answer: RequestListener): Promise<(path?: string) => Promise<IncomingMessage>> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  agents.push(agent);
  const { port } = server.address() as AddressInfo;
  return (path = "/") => new Promise((resolve, reject) => get({ agent, port, path, host: "127.0.0.1" }, resolve).on("error", reject));
}

const translate = (error: unknown, action: string): DrayError => new DrayError("BLOB_UNAVAILABLE", `${action}: it broke off`, { cause: error });
const optionsOf = (length: number, signal?: AbortSignal) => ({ action: "Cannot read", length, signal, translate });
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("readBody, of an answer of Node's client", () => {
  it("fills the memory it is given, shared or not, over one connection, answer after answer", async () => {
    const ask = await client((request, response) => {
      const length = Number(request.url?.slice(1));
      response.writeHead(200, { "content-length": length }).end(data.subarray(0, length));
    });
    const sockets = new Set<unknown>();
    for (const length of [BYTES, 1, 40_000, 0, 70_000, BYTES]) {
      for (const into of [undefined, new Uint8Array(length), new Uint8Array(new SharedArrayBuffer(length))]) {
        const answer = await ask(`/${length}`);
        sockets.add(answer.socket);
        const bytes = await readBody(answer, { ...optionsOf(length), into });
        expect(digest(bytes)).toBe(digest(data.subarray(0, length)));
        if (into !== undefined) expect(bytes).toBe(into);
      }
    }
    expect(sockets.size).toBe(1);
    expect(([...sockets][0] as IncomingMessage["socket"]).listenerCount("data")).toBeLessThanOrEqual(1);
  });

  it("takes many small pieces in one read, and pieces that waited before anybody asked", async () => {
    const ask = await client((_request, response) => {
      response.writeHead(200);
      for (let at = 0; at < BYTES; at += 5000) response.write(data.subarray(at, at + 5000));
      response.end();
    });
    const answer = await ask();
    // What has come meanwhile waits in the answer.
    await new Promise((done) => answer.once("readable", done));
    expect(digest(await readBody(answer, optionsOf(BYTES)))).toBe(digest(data));
  });

  it("leaves alone what others keep in the memory that small pieces share", async () => {
    const kept = Array.from({ length: 64 }, (_, i) => Buffer.from(`kept ${i}`));
    const ask = await client((_request, response) => response.writeHead(200, { "content-length": BYTES }).end(data));
    const others = Array.from({ length: 64 }, (_, i) => Buffer.from(`other ${i}`));
    await readBody(await ask(), optionsOf(BYTES));
    expect(kept.map(String)).toEqual(Array.from({ length: 64 }, (_, i) => `kept ${i}`));
    expect(others.map(String)).toEqual(Array.from({ length: 64 }, (_, i) => `other ${i}`));
  });

  it("says so when the answer is longer than wanted, shorter than wanted, or breaks off", async () => {
    const whole = await client((_request, response) => response.writeHead(200, { "content-length": BYTES }).end(data));
    await expect(whole().then((answer) => readBody(answer, optionsOf(BYTES - 1)))).rejects.toThrow(
      `Cannot read: the answer is longer than its announced ${BYTES - 1} bytes`,
    );
    await expect(whole().then((answer) => readBody(answer, optionsOf(BYTES + 1)))).rejects.toThrow(`the answer ended after ${BYTES} of ${BYTES + 1} bytes`);
    const broken = await client((_request, response) => {
      response.writeHead(200, { "content-length": BYTES });
      response.write(data.subarray(0, 100_000), () => response.destroy());
    });
    const failure = await broken()
      .then((answer) => readBody(answer, optionsOf(BYTES)))
      .catch((error: unknown) => error);
    expect(hasCode(failure, "BLOB_UNAVAILABLE")).toBe(true);
  });

  it("ends with the reason of an aborted signal", async () => {
    const ask = await client((_request, response) => {
      response.writeHead(200, { "content-length": BYTES });
      response.write(data.subarray(0, 100_000));
    });
    const stop = new AbortController();
    const answer = await ask();
    answer.once("data", () => stop.abort(new Error("enough")));
    await expect(readBody(answer, optionsOf(BYTES, stop.signal))).rejects.toThrow("enough");
  });
});
