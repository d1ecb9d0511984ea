import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { createKubeClient, namespaces } from "@drayage/kube";
import { expect, it } from "vitest";
import { startApiServer } from "./api-server.ts";

it("each request has its line with who asked what and what came of it, and a watch has one when it begins", async () => {
  const folder = mkdtempSync(join(tmpdir(), "audit-log-"));
  const auditLog = join(folder, "audit.jsonl");
  const deps = { clock: systemClock, random: systemRandom, logger: nullLogger };
  const api = await startApiServer({ directory: join(folder, "api"), auditLog, ...deps });
  try {
    const client = createKubeClient({ kubeconfig: api.kubeconfigFor("somebody", ["system:masters"]), userAgent: "test/1", qps: 0, ...deps });
    await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
    expect(await client.find(namespaces, { name: "absent" })).toBeUndefined();
    const ending = new AbortController();
    for await (const event of client.watch(namespaces, { resourceVersion: "1", signal: ending.signal })) {
      expect(event.type).toBe("ADDED");
      break;
    }
    ending.abort();
    await client.close();
  } finally {
    await api.close();
  }
  const lines = readFileSync(auditLog, "utf8").trimEnd().split("\n");
  const events = lines.map((line) => JSON.parse(line)).filter(({ user }) => user.username === "somebody");
  expect(events.slice(0, 3)).toMatchObject([
    { stage: "ResponseComplete", verb: "create", objectRef: { resource: "namespaces" }, responseStatus: { code: 201 } },
    { stage: "ResponseComplete", verb: "get", objectRef: { resource: "namespaces", name: "absent" }, responseStatus: { code: 404 } },
    { stage: "ResponseStarted", verb: "watch", userAgent: expect.stringContaining("test/1"), objectRef: { resource: "namespaces", apiVersion: "v1" } },
  ]);
  rmSync(folder, { recursive: true });
});
