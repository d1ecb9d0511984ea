/** How a cluster is: its processes, and its nodes as its API server tells. */
import { existsSync } from "node:fs";
import { type Clock, messageOf } from "@drayage/base";
import { createKubeClient, nodes } from "@drayage/kube";
import { ClusterDirectory } from "./cluster-directory.ts";
import { CONTROL_PLANE } from "./cluster-up.ts";
import { findRole, roleState } from "./role-process.ts";

export interface ClusterStatus {
  readonly directory: string;
  readonly state: "running" | "degraded" | "stopped";
  readonly kubeconfigPath: string;
  readonly roles: readonly { readonly role: string; readonly pid?: number; readonly state: string; readonly message?: string }[];
  readonly nodes: readonly { readonly name: string; readonly ready: boolean }[];
  /** Why the API server could not be asked. */
  readonly problem?: string;
}

const ANSWER_MS = 5_000;

/** Throws PATH_NOT_FOUND for a folder that is not a cluster's. */
export async function clusterStatus(path: string, clock: Clock): Promise<ClusterStatus> {
  const directory = ClusterDirectory.find(path);
  const names = directory.settings()?.nodes ?? [];
  const roles = [CONTROL_PLANE, ...names].map((role) => {
    const identity = findRole(directory, role);
    if (identity === undefined) return { role, state: "stopped" };
    const said = roleState(directory, role);
    return { role, pid: identity.pid, state: said.state, ...(said.state === "failed" ? { message: said.message } : {}) };
  });
  const running = roles.filter(({ state }) => state !== "stopped");
  const base = { directory: directory.path, kubeconfigPath: directory.kubeconfigPath, roles };
  if (running.length === 0 || !existsSync(directory.kubeconfigPath)) return { ...base, state: running.length === 0 ? "stopped" : "degraded", nodes: [] };
  const found = await askNodes(directory, clock);
  const well = roles.every(({ state }) => state === "ready") && found.nodes.length === names.length && found.nodes.every(({ ready }) => ready);
  return { ...base, ...found, state: well ? "running" : "degraded" };
}

async function askNodes(directory: ClusterDirectory, clock: Clock): Promise<Pick<ClusterStatus, "nodes" | "problem">> {
  const client = createKubeClient({ kubeconfigPath: directory.kubeconfigPath, clock });
  try {
    const { items } = await client.list(nodes, { signal: AbortSignal.timeout(ANSWER_MS) });
    return {
      nodes: items.map((node) => ({
        name: node.metadata.name ?? "",
        ready: node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true,
      })),
    };
  } catch (error) {
    return { nodes: [], problem: messageOf(error) };
  } finally {
    await client.close();
  }
}
