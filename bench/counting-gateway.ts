/** A versitygw over a folder whose folders are its buckets, and a proxy before it that counts what goes to clients, and may let each of them wait as a far store does. */
import { spawn } from "node:child_process";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where the programs are that we are measured beside. */
export const PEERS_BIN: string = process.env["PEERS_BIN"] ?? join(homedir(), ".cache", "drayage-peers", "bin");
/** What the gateway lets in. */
export const GATEWAY_KEYS = { AWS_ACCESS_KEY_ID: "user", AWS_SECRET_ACCESS_KEY: "password", AWS_REGION: "us-east-1" } as const;

/** What a client asked for, and what it got. */
export interface CountedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** As the client said it; empty for a whole object. */
  readonly range: string;
  bytes: number;
}

export class Gateway {
  readonly address: string;
  readonly counted: string;
  bytes = 0;
  requests = 0;
  /** So long each answer is kept back. */
  delayMs = 0;
  /** Called with each request that is over. */
  onRequest: ((request: CountedRequest) => void) | undefined;
  readonly #close: () => void;

  private constructor(port: number, proxyPort: number, close: () => void) {
    this.address = `http://127.0.0.1:${port}`;
    this.counted = `http://127.0.0.1:${proxyPort}`;
    this.#close = close;
  }

  static async start(root: string): Promise<Gateway> {
    const port = await freePort();
    const server = spawn(
      join(PEERS_BIN, "versitygw"),
      ["--access", GATEWAY_KEYS.AWS_ACCESS_KEY_ID, "--secret", GATEWAY_KEYS.AWS_SECRET_ACCESS_KEY, "--port", `127.0.0.1:${port}`, "posix", root],
      {
        stdio: "ignore",
      },
    );
    const proxy = createServer((incoming, outgoing) => {
      gateway.requests++;
      const { method, headers } = incoming;
      const counted: CountedRequest = { method: method ?? "", path: incoming.url ?? "", range: headers.range ?? "", bytes: 0 };
      const onward = request({ port, host: "127.0.0.1", path: incoming.url, method, headers }, async (answer) => {
        if (gateway.delayMs > 0) await new Promise((done) => setTimeout(done, gateway.delayMs));
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.on("data", (chunk: Buffer) => {
          gateway.bytes += chunk.length;
          counted.bytes += chunk.length;
        });
        answer.pipe(outgoing);
      });
      outgoing.on("close", () => gateway.onRequest?.(counted));
      // A client that has what it wanted goes away.
      onward.on("error", () => outgoing.destroy());
      incoming.pipe(onward);
    });
    await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
    const gateway = new Gateway(port, (proxy.address() as AddressInfo).port, () => {
      proxy.closeAllConnections();
      proxy.close();
      server.kill();
    });
    for (let tries = 0; tries < 100; tries++) {
      if (
        await fetch(gateway.address).then(
          () => true,
          () => false,
        )
      )
        return gateway;
      await new Promise((done) => setTimeout(done, 100));
    }
    gateway.close();
    throw new Error("versitygw does not answer");
  }

  close(): void {
    this.#close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
