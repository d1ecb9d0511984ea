/**
 * Requests that stock clients made to a real kube-apiserver, each with its answer, are made again to ours: status, warnings, body and events of watches must agree, but for what is new in
 * every run. What is different on purpose stands in tables, each row with its reason; a row that no longer differs fails too.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { kubectlScript } from "./kubectl-script.ts";
import { kubectl, type Servers, startServers, watching, withVelero } from "./recorded-servers.ts";
import { expectSame, OF_KUBECTL, OF_SERVICES, OF_VELERO, watchedKinds } from "./replay-differences.ts";

let servers: Servers;

beforeEach(async () => {
  servers = await startServers();
});
afterEach(async () => {
  await servers?.stop();
});

const notes = `
apiVersion: v1
kind: Namespace
metadata: {name: notes}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: notes, labels: {app: notes}}
data: {color: red}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: notes}
stringData: {user: me}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: notes}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: notes}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
`;

describe("requests of stock clients are answered as the real API server answers them", () => {
  it("kubectl", async () => {
    const unexpected: string[] = [];
    for (const { args, input, environment, code = 0 } of kubectlScript) {
      const result = await kubectl(servers, args, input, environment);
      if (result.code !== code) unexpected.push(`kubectl ${args.join(" ")}: ${result.code}: ${result.text}`);
    }
    await watching(servers, ["get", "configmaps", "-n", "shop", "-l", "seen", "-w", "--output-watch-events"], 4, async () => {
      await kubectl(servers, ["create", "-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen, namespace: shop, labels: {seen: x}}\n");
      await kubectl(servers, ["label", "configmap", "seen", "-n", "shop", "seen=y", "--overwrite"]);
      await kubectl(servers, ["delete", "configmap", "seen", "-n", "shop", "--wait=false"]);
    });
    expect(unexpected).toEqual([]);
    expectSame(await servers.replay(), OF_KUBECTL);
  });

  it("Velero, which backs up and restores", async () => {
    await withVelero(servers, async ({ velero, startServer, deleteBackup }) => {
      await kubectl(servers, ["create", "--validate=false", "-f", "-"], notes);
      await startServer("velero");
      await velero.cli("backup", "create", "first", "--include-namespaces", "notes", "--wait");
      await velero.cli("backup", "describe", "first", "--details");
      await velero.cli("restore", "create", "back", "--from-backup", "first", "--namespace-mappings", "notes:notes-2", "--wait");
      await velero.cli("restore", "describe", "back", "--details");
      await velero.cli("schedule", "create", "nightly", "--schedule", "0 3 * * *");
      await velero.cli("schedule", "pause", "nightly");
      await velero.cli("schedule", "unpause", "nightly");
      await velero.cli("schedule", "delete", "nightly", "--confirm");
      await velero.cli("version");
      await velero.cli("backup", "logs", "first");
      await velero.cli("get", "backups", "-o", "json");
      await deleteBackup("first");
    });
    const replayed = await servers.replay();
    expect(watchedKinds(replayed)).toEqual(
      expect.arrayContaining(["backups", "restores", "schedules", "deletebackuprequests", "downloadrequests", "serverstatusrequests"]),
    );
    expectSame(replayed, [...OF_VELERO, OF_SERVICES]);
  });
});
