/** Takes a cluster down: every process, mount and loop device that is its own, and nothing else. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Clock, forEachLimit } from "@drayage/base";
import { releaseStorage } from "../csi-driver/release-storage.ts";
import { endContainers } from "../kubelet/end-containers.ts";
import { unmountBelow } from "../kubelet/mount-table.ts";
import { isRootless } from "../kubelet/namespaces.ts";
import { ClusterDirectory } from "./cluster-directory.ts";
import { CONTROL_PLANE } from "./cluster-up.ts";
import { rolesOf, stopRole } from "./role-process.ts";

export interface ClusterDownOptions {
  readonly directory: string;
  /** Removes the folder as well, with all data in it. */
  readonly destroy?: boolean;
  readonly clock: Clock;
}

export interface EndedCluster {
  readonly processes: number;
  readonly containers: number;
}

const PROCESS_GRACE_MS = 5_000;
const CONTAINER_GRACE_MS = 2_000;
const PARALLEL = 8;

/**
 * Ends nodes, then their containers, then the control plane; then unmounts and detaches. State stays for the next `clusterUp`, unless it is to be destroyed.
 * May be called again, and on a cluster that was killed half way. Throws PATH_NOT_FOUND for a folder that is not a cluster's.
 */
export async function clusterDown(options: ClusterDownOptions): Promise<EndedCluster> {
  const { clock } = options;
  const directory = ClusterDirectory.find(options.directory);
  const unlock = directory.lock();
  try {
    const ended = await endCluster(directory, clock);
    if (options.destroy === true) rmSync(directory.path, { recursive: true, force: true });
    return ended;
  } finally {
    unlock();
  }
}

/** Ends everything of a cluster whose lock the caller has. */
export async function endCluster(directory: ClusterDirectory, clock: Clock): Promise<EndedCluster> {
  let processes = 0;
  const stop = async (role: string): Promise<void> => {
    if (await stopRole(directory, role, { clock, graceMs: PROCESS_GRACE_MS })) processes++;
  };
  const roles = rolesOf(directory);
  await forEachLimit(
    roles.filter((role) => role !== CONTROL_PLANE),
    PARALLEL,
    stop,
  );
  let containers = 0;
  const nodes = existsSync(directory.nodes) ? readdirSync(directory.nodes) : [];
  await forEachLimit(nodes, PARALLEL, async (name) => {
    containers += await endContainers(join(directory.nodes, name), { clock, graceMs: CONTAINER_GRACE_MS });
  });
  if (roles.includes(CONTROL_PLANE)) await stop(CONTROL_PLANE);
  if (!isRootless()) {
    await unmountBelow(directory.path);
    await releaseStorage(directory.path);
  }
  return { processes, containers };
}
