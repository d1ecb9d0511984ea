/** The real controller manager and scheduler against our API server: they list, watch and write in protobuf, hold leases, and make pods of a Deployment. */
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ApiServer, startApiServer } from "@drayage/embedded/api-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exchange, type JsonObject } from "./api-exchange.ts";
import { type PeerProcess, startPeer } from "./peers.ts";

let folder: string;
let server: ApiServer;
const processes: PeerProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-controllers-"));
  server = await startApiServer({ directory: join(folder, "cluster"), clock: systemClock, random: systemRandom, logger: nullLogger });
  const kubeconfig = join(folder, "kubeconfig");
  const key = join(folder, "sa.key");
  writeFileSync(kubeconfig, server.adminKubeconfig());
  writeFileSync(key, generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs1", format: "pem" }));
  const leader = async (): Promise<boolean> => (await list("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases")).length > 0;
  processes.push(
    await startPeer(
      "kube-controller-manager",
      [`--kubeconfig=${kubeconfig}`, "--secure-port=0", "--leader-elect=true", `--service-account-private-key-file=${key}`],
      leader,
    ),
    await startPeer("kube-scheduler", [`--kubeconfig=${kubeconfig}`, "--secure-port=0", "--leader-elect=false"], async () => true),
  );
});

afterAll(async () => {
  for (const it of processes) await it.stop();
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function call(method: string, path: string, body?: JsonObject, contentType = "application/json"): Promise<JsonObject> {
  const answer = await exchange(
    { url: server.url, token: server.adminToken },
    { method, path, ...(body === undefined ? {} : { body }), headers: { "content-type": contentType } },
  );
  expect(answer.code, JSON.stringify(answer.body)).toBeLessThan(300);
  return answer.body as JsonObject;
}

async function list(path: string): Promise<JsonObject[]> {
  return (await call("GET", path))["items"] as JsonObject[];
}

describe("the real controllers", () => {
  it("make the pods of a Deployment and put them on a node", async () => {
    const resources = { cpu: "4", memory: "8Gi", pods: "100" };
    await call("POST", "/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } });
    await call(
      "PATCH",
      "/api/v1/nodes/node-1/status",
      { status: { capacity: resources, allocatable: resources, conditions: [{ type: "Ready", status: "True" }] } },
      "application/merge-patch+json",
    );
    await call("POST", "/apis/apps/v1/namespaces/default/deployments", {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web" },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: "web" } },
        template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "main", image: "nginx" }] } },
      },
    });
    await expect
      .poll(async () => (await list("/api/v1/namespaces/default/pods")).map((pod) => (pod["spec"] as JsonObject)["nodeName"]), { timeout: 30_000 })
      .toEqual(["node-1", "node-1"]);
    expect(processes.map((it) => it.output()).join("\n")).not.toMatch(/Server rejected event|unable to decode|panic/);
  });

  it("clean up after a Deployment that is deleted", async () => {
    await call("DELETE", "/apis/apps/v1/namespaces/default/deployments/web", { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Foreground" });
    await expect.poll(async () => (await list("/apis/apps/v1/namespaces/default/replicasets")).length, { timeout: 30_000 }).toBe(1);
    for (const pod of await list("/api/v1/namespaces/default/pods"))
      await call("DELETE", `/api/v1/namespaces/default/pods/${(pod["metadata"] as JsonObject)["name"]}?gracePeriodSeconds=0`);
    await expect
      .poll(
        async () => (await list("/apis/apps/v1/namespaces/default/replicasets")).length + (await list("/apis/apps/v1/namespaces/default/deployments")).length,
        { timeout: 30_000 },
      )
      .toBe(0);
  });
});
