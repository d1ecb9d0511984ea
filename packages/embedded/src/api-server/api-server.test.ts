import { mkdtempSync, rmSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ApiServer, startApiServer } from "./index.ts";
import type { JsonObject } from "./json.ts";

interface Answer {
  readonly code: number;
  readonly body: JsonObject;
  readonly warning: string | undefined;
}

let directory: string;
let server: ApiServer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "drayage-api-"));
  server = await start();
});

afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

function start(): Promise<ApiServer> {
  return startApiServer({ directory, clock: systemClock, random: systemRandom, logger: nullLogger });
}

/** One request as the administrator. */
function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      `${server.url}${path}`,
      { method, ca: server.caPem, agent: false, headers: { authorization: `Bearer ${server.adminToken}`, "content-type": "application/json", ...headers } },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({
            code: response.statusCode ?? 0,
            body: text.startsWith("{") ? (JSON.parse(text) as JsonObject) : { text },
            warning: response.headers["warning"] as string | undefined,
          });
        });
      },
    );
    request.on("error", reject);
    request.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body));
  });
}

const configMap = (name: string, data: Record<string, string> = {}): JsonObject => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data });
const MAPS = "/api/v1/namespaces/default/configmaps";

describe("an API server", () => {
  it("keeps objects, users' tokens and revisions over a restart", async () => {
    const created = await call("POST", MAPS, configMap("kept", { a: "1" }));
    const token = server.token("alice", ["devs"]);
    await server.close();
    server = await start();
    const found = await call("GET", `${MAPS}/kept`);
    expect(found.body).toEqual(created.body);
    const changed = await call("PUT", `${MAPS}/kept`, { ...found.body, data: { a: "2" } });
    expect(Number((changed.body["metadata"] as JsonObject)["resourceVersion"])).toBeGreaterThan(
      Number((created.body["metadata"] as JsonObject)["resourceVersion"]),
    );
    const whoAmI = await call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, { authorization: `Bearer ${token}` });
    expect(whoAmI.body["status"]).toEqual({ userInfo: { username: "alice", groups: ["devs", "system:authenticated"] } });
  });

  it("refuses a stale update with Conflict", async () => {
    const first = (await call("POST", MAPS, configMap("contested"))).body;
    await call("PUT", `${MAPS}/contested`, { ...first, data: { by: "one" } });
    const second = await call("PUT", `${MAPS}/contested`, { ...first, data: { by: "two" } });
    expect(second.code).toBe(409);
    expect(second.body["reason"]).toBe("Conflict");
  });

  it("refuses a token that is not one of its own", async () => {
    expect((await call("GET", MAPS, undefined, { authorization: "Bearer wrong" })).code).toBe(401);
  });
});
