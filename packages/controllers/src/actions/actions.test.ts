import type { Backup, Restore } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { clusterRoleBindings, type GenericObject, type RoleBinding } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { serviceAccountRestoreAction } from "./account-restore-actions.ts";
import { claimBackupAction } from "./claim-backup-action.ts";
import { jobRestoreAction } from "./job-restore-action.ts";
import type { RestoreAction } from "./restore-action.ts";
import { createServiceAccountBackupAction } from "./service-account-backup-action.ts";
import { serviceRestoreAction } from "./service-restore-action.ts";

const backup: Backup = { metadata: { name: "b" }, spec: {} };
const backupContext = { backup, log: nullLogger, signal: new AbortController().signal };

async function restored(action: RestoreAction, item: GenericObject, spec: Restore["spec"] = {}): Promise<GenericObject> {
  const context = {
    restore: { metadata: { name: "r" }, spec },
    backup,
    itemFromBackup: item,
    targetNamespace: "n",
    log: nullLogger,
    signal: new AbortController().signal,
  };
  return (await action.execute(item, context)).item;
}

describe("a claim on its way into a backup", () => {
  const claim = (spec: Record<string, unknown>, labels: Record<string, string> = {}): GenericObject => ({
    metadata: { name: "c", namespace: "n", labels },
    spec: { volumeName: "v", ...spec },
    status: { phase: "Bound" },
  });

  it("forgets what an earlier restore wrote into it", async () => {
    const { item, additionalItems } = await claimBackupAction.execute(
      claim(
        { dataSource: { kind: "VolumeSnapshot", name: "old" }, selector: { matchLabels: { "velero.io/dynamic-pv-restore": "x" } }, storageClassName: "csi" },
        { "velero.io/restore-name": "old", "velero.io/backup-name": "older", app: "web" },
      ),
      backupContext,
    );
    expect(item["spec"]).toEqual({ volumeName: "v", storageClassName: "csi" });
    expect(item.metadata.labels).toEqual({ app: "web" });
    expect(additionalItems).toEqual([{ groupResource: "persistentvolumes", namespace: undefined, name: "v" }]);
  });

  it("keeps the selector by which a claim without a class binds", async () => {
    const selector = { matchLabels: { disk: "fast" } };
    expect((await claimBackupAction.execute(claim({ storageClassName: "", selector }), backupContext)).item["spec"]).toMatchObject({ selector });
  });
});

it("a service account brings the cluster role bindings that name it, and their roles", async () => {
  const client = new FakeKubeClient();
  const binding = (name: string, namespace: string): RoleBinding => ({
    metadata: { name },
    subjects: [{ kind: "ServiceAccount", name: "app", namespace }],
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "reader" },
  });
  client.seed(clusterRoleBindings, binding("mine", "n"));
  client.seed(clusterRoleBindings, binding("other", "elsewhere"));
  const action = createServiceAccountBackupAction(client);
  const account = { metadata: { name: "app", namespace: "n" } };
  const { additionalItems } = await action.execute(account, backupContext);
  expect(additionalItems?.map(({ groupResource, name }) => `${groupResource.split(".")[0]}/${name}`)).toEqual([
    "clusterrolebindings/mine",
    "clusterroles/reader",
  ]);
  await action.execute(account, backupContext);
  expect(client.calls.filter(({ verb }) => verb === "list")).toHaveLength(1);
});

describe("a service on its way back", () => {
  const ports = [
    { name: "web", port: 80, nodePort: 30080 },
    { name: "api", port: 81, nodePort: 30081 },
  ];
  const service = (spec: Record<string, unknown>, metadata: Partial<GenericObject["metadata"]> = {}): GenericObject => ({
    metadata: { name: "s", ...metadata },
    spec,
  });
  const nodePorts = (item: GenericObject): unknown[] => (item["spec"] as { ports: { nodePort?: number }[] }).ports.map(({ nodePort }) => nodePort);

  it("loses its addresses, unless it has none on purpose", async () => {
    expect((await restored(serviceRestoreAction, service({ clusterIP: "10.0.0.1", clusterIPs: ["10.0.0.1"] })))["spec"]).toEqual({});
    expect((await restored(serviceRestoreAction, service({ clusterIP: "None", clusterIPs: ["None"] })))["spec"]).toEqual({
      clusterIP: "None",
      clusterIPs: ["None"],
    });
  });

  it("keeps only the node ports that its owner had applied", async () => {
    const applied = JSON.stringify({ spec: { ports: [{ name: "api", port: 81, nodePort: 30081 }] } });
    expect(
      nodePorts(
        await restored(
          serviceRestoreAction,
          service({ type: "NodePort", ports }, { annotations: { "kubectl.kubernetes.io/last-applied-configuration": applied } }),
        ),
      ),
    ).toEqual([undefined, 30081]);
  });

  it("keeps those that were applied on the server's side", async () => {
    const managedFields = [
      {
        manager: "me",
        fieldsV1: { "f:spec": { "f:ports": { 'k:{"port":80,"protocol":"TCP"}': { "f:nodePort": {} }, 'k:{"port":81,"protocol":"TCP"}': { "f:port": {} } } } },
      },
    ];
    expect(nodePorts(await restored(serviceRestoreAction, service({ type: "NodePort", ports }, { managedFields })))).toEqual([30080, undefined]);
  });

  it("keeps all of them when the restore says so", async () => {
    expect(nodePorts(await restored(serviceRestoreAction, service({ type: "NodePort", ports }), { preserveNodePorts: true }))).toEqual([30080, 30081]);
  });

  it("loses a health check port that was picked for it", async () => {
    const balanced = { type: "LoadBalancer", externalTrafficPolicy: "Local", healthCheckNodePort: 31000, ports: [] };
    expect((await restored(serviceRestoreAction, service(balanced)))["spec"]).not.toHaveProperty("healthCheckNodePort");
  });
});

it("a job loses the selector on its old UID", async () => {
  const job = {
    metadata: { name: "j" },
    spec: {
      selector: { matchLabels: { "controller-uid": "u", "batch.kubernetes.io/controller-uid": "u", app: "x" } },
      template: { metadata: { labels: { "controller-uid": "u", app: "x" } }, spec: { containers: [] } },
    },
  };
  expect((await restored(jobRestoreAction, job))["spec"]).toMatchObject({
    selector: { matchLabels: { app: "x" } },
    template: { metadata: { labels: { app: "x" } } },
  });
});

it("a service account loses the token that its old cluster had made", async () => {
  const account = { metadata: { name: "app" }, secrets: [{ name: "app-token-abcde" }, { name: "registry" }] };
  expect((await restored(serviceAccountRestoreAction, account))["secrets"]).toEqual([{ name: "registry" }]);
});
