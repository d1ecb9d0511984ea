/** What our server asks a real kube-apiserver beside a thousand Backups and a hundred Schedules: bounded lists, one watch of each kind, and nothing again and again. */
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { createKubeClient } from "@drayage/kube";
import { expect, it } from "vitest";
import { type CountingApi, countServerRequests } from "../e2e/server-requests.ts";
import { startRealApiServer } from "./real-api-server.ts";
import { startRecordingProxy } from "./recording-proxy.ts";

const KINDS = [
  "restores",
  "schedules",
  "backupstoragelocations",
  "backuprepositories",
  "deletebackuprequests",
  "downloadrequests",
  "datauploads",
  "datadownloads",
];

async function startRealCountingApi(): Promise<CountingApi> {
  const api = await startRealApiServer();
  const proxy = await startRecordingProxy(api);
  const client = createKubeClient({
    kubeconfig: kubeconfigOf(api.url, api.token),
    userAgent: "test",
    qps: 0,
    clock: systemClock,
    random: systemRandom,
    logger: nullLogger,
  });
  return {
    client,
    kubeconfig: kubeconfigOf(proxy.url, api.token),
    requests: () => proxy.exchanges.map(({ method, path }) => ({ method, url: path })),
    close: async () => {
      await client.close();
      await proxy.close();
      await api.stop();
    },
  };
}

function kubeconfigOf(server: string, token: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server, ...(server.startsWith("https:") ? { "insecure-skip-tls-verify": true } : {}) } }],
    users: [{ name: "u", user: { token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
}

it("a server beside a thousand Backups and a hundred Schedules lists and watches each kind once, and polls nothing", async () => {
  const { kinds, singleBackups, mostRepeated } = await countServerRequests({ backups: 1_000, schedules: 100, idleMs: 5_000 }, startRealCountingApi);
  expect(kinds.get("backups")).toEqual({ listPages: 2, watches: 1 });
  expect(Object.fromEntries(KINDS.map((kind) => [kind, kinds.get(kind)]))).toEqual(
    Object.fromEntries(KINDS.map((kind) => [kind, { listPages: 1, watches: 1 }])),
  );
  expect(singleBackups).toBe(0);
  // A new Schedule is read before its phase is written, and before the start that it skips.
  expect(mostRepeated.count).toBeLessThanOrEqual(3);
});
