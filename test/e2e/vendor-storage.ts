/** The worked example of a vendor's own controller in a cluster: its storage is that of the embedded cluster, and it runs as a service account with the rights that it lists. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { clusterRoleBindings, clusterRoles, roleBindings, roles, serviceAccounts } from "@drayage/kube";
import { parse } from "yaml";
import type { Appliance, CopyRef, Report } from "../../packages/api/examples/storage-vendor/appliance.ts";
import { runVendorController } from "../../packages/api/examples/storage-vendor/controller.ts";
import { clusterRules, ownNamespaceRules } from "../../packages/api/examples/storage-vendor/registration.ts";
import { type Harness, VELERO } from "./harness.ts";

/** The storage of the embedded cluster as its vendor sees it: folders of volumes and snapshots, and beside them one with copies. */
export class FolderAppliance implements Appliance {
  readonly vault: string;
  readonly asked: CopyRef[] = [];
  /** Copies wait for it. */
  hold: Promise<void> | undefined;
  complaint: string | undefined;
  readonly #storage: string;

  constructor(storage: string) {
    this.#storage = storage;
    this.vault = mkdtempSync(join(storage, "..", "vault-"));
  }

  async copyOut(snapshotHandle: string, copy: CopyRef, report: Report, signal: AbortSignal): Promise<number> {
    this.asked.push(copy);
    return await this.#copy(join(this.#storage, "snapshots", snapshotHandle, "data"), join(this.vault, copy.name), report, signal);
  }

  async copyIn(copy: CopyRef, volumeHandle: string, report: Report, signal: AbortSignal): Promise<number> {
    return await this.#copy(join(this.vault, copy.name), join(this.#storage, "volumes", volumeHandle, "data"), report, signal);
  }

  async remove(copy: string): Promise<void> {
    if (this.complaint !== undefined) throw new Error(this.complaint);
    rmSync(join(this.vault, copy), { recursive: true, force: true });
  }

  async #copy(from: string, to: string, report: Report, signal: AbortSignal): Promise<number> {
    report(1, 2);
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => undefined);
    signal.addEventListener("abort", () => aborted.reject(signal.reason as Error));
    await Promise.race([this.hold, aborted.promise]);
    signal.throwIfAborted();
    if (!existsSync(from)) throw new Error(`there is no "${from}"`);
    mkdirSync(to, { recursive: true });
    execFileSync("cp", ["--archive", "--sparse=auto", `${from}/.`, to]);
    return Number.parseInt(execFileSync("du", ["-sb", to], { encoding: "utf8" }), 10);
  }
}

export interface RunningVendor {
  /** Ends it in the middle of what it does. */
  stop(): Promise<void>;
}

/** What its installation applies beside its registration. */
export async function allowVendor({ client }: Harness): Promise<void> {
  const named = { metadata: { name: "vendor" } };
  const subjects = [{ kind: "ServiceAccount", namespace: VELERO, name: "vendor" }];
  const rulesOf = (rules: typeof clusterRules) =>
    rules.map(({ apiGroups, resources, verbs }) => ({ apiGroups: [...apiGroups], resources: [...resources], verbs: [...verbs] }));
  await client.create(serviceAccounts, { metadata: { namespace: VELERO, name: "vendor" } });
  await client.create(roles, { metadata: { namespace: VELERO, name: "vendor" }, rules: rulesOf(ownNamespaceRules) });
  await client.create(clusterRoles, { ...named, rules: rulesOf(clusterRules) });
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", name: "vendor" };
  await client.create(roleBindings, { metadata: { namespace: VELERO, name: "vendor" }, roleRef: { ...roleRef, kind: "Role" }, subjects });
  await client.create(clusterRoleBindings, { ...named, roleRef: { ...roleRef, kind: "ClusterRole" }, subjects });
}

/** The controller as it runs in a cluster: with a service account's token and no more rights than it lists. */
export async function startVendor(harness: Harness, appliance: Appliance, complain: (message: string) => void): Promise<RunningVendor> {
  const { clusters, users } = parse(readFileSync(harness.cluster.kubeconfigPath, "utf8")) as {
    clusters: [{ cluster: { server: string; "certificate-authority-data": string } }];
    users: [{ user: { token: string } }];
  };
  const { server, "certificate-authority-data": authority } = clusters[0].cluster;
  const ca = Buffer.from(authority, "base64").toString();
  const answer = await new Promise<string>((resolve, reject) => {
    const headers = { authorization: `Bearer ${users[0].user.token}`, "content-type": "application/json" };
    const request = httpsRequest(`${server}/api/v1/namespaces/${VELERO}/serviceaccounts/vendor/token`, { method: "POST", ca, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part)).once("end", () => resolve(Buffer.concat(parts).toString()));
    });
    request.once("error", reject).end(JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} }));
  });
  const { token } = (JSON.parse(answer) as { status: { token: string } }).status;
  const abort = new AbortController();
  const options = { access: { server, ca, token }, namespace: VELERO, appliance, now: () => new Date(), signal: abort.signal, complain };
  const ended = runVendorController(options);
  return {
    async stop() {
      abort.abort();
      await ended;
    },
  };
}
