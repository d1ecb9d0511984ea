/** Brings a cluster up: its processes are started side by side and wait for each other through their state files. */
import { createServer } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { type Clock, DrayError, type RandomSource, randomUuid } from "@drayage/base";
import type { CsiProfile } from "../csi-driver/index.ts";
import type { ImageMapping } from "../kubelet/images.ts";
import { checkNamespaces } from "../kubelet/namespaces.ts";
import { isEnding, type ProcessIdentity } from "../kubelet/process-identity.ts";
import { ClusterDirectory, type ClusterSettings, type ObjectStoreSettings } from "./cluster-directory.ts";
import { endCluster } from "./cluster-down.ts";
import { awaitRoles, findRole, type RoleCommand, rolesOf, startRole, untilGone } from "./role-process.ts";

/** The name of its process; the others are called as their nodes. */
export const CONTROL_PLANE = "control-plane";
const NODES = 2;
const NODES_MAX = 20;
const TIMEOUT_MS = 60_000;
const ENDING_MS = 5_000;

export interface ClusterUpOptions {
  readonly directory: string;
  /** 2 when left out, or as many as the cluster has. */
  readonly nodes?: number;
  /** Of the API server; a free one when left out, or that of last time. */
  readonly port?: number;
  /** Buckets of the cluster's own object store; none is started when left out. */
  readonly buckets?: readonly string[];
  /** Host programs that stand behind images, beside those of the program's own image; kept for the next time. */
  readonly imageMap?: readonly ImageMapping[];
  /** CSI drivers beside the cluster's own; kept for the next time. */
  readonly csiProfiles?: readonly CsiProfile[];
  /** Have the API server write down who asks what, in `logs/audit.jsonl`; kept for the next time. */
  readonly audit?: boolean;
  /** How this program starts one of its roles. */
  readonly launch: (role: ClusterRole) => RoleCommand;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export type ClusterRole =
  | { readonly role: "control-plane"; readonly directory: string }
  | { readonly role: "node"; readonly directory: string; readonly nodeName: string };

export interface RunningCluster {
  readonly directory: string;
  readonly kubeconfigPath: string;
  readonly server: string;
  readonly nodes: readonly string[];
  readonly objectStore?: {
    readonly url: string;
    readonly accessKey: string;
    readonly secretKey: string;
    /** The keys as a file in the form of AWS's programs. */
    readonly credentialsPath: string;
    readonly buckets: readonly string[];
  };
}

/**
 * Starts what does not run yet and waits until every node is ready; what runs is left alone, so it may be called again at any time, also after it was killed half way.
 * Throws PATH_NOT_EMPTY for a folder that is not a cluster's, NOT_PERMITTED where the machine permits no pods, TIMED_OUT naming what is not ready. On failure what was
 * started goes on, for `clusterDown` or another try.
 */
export async function clusterUp(options: ClusterUpOptions): Promise<RunningCluster> {
  const { clock, random, launch } = options;
  await checkNamespaces();
  const directory = ClusterDirectory.open(options.directory);
  const unlock = directory.lock();
  try {
    const settings = await settle(directory, options);
    refuseChangeWhileRunning(directory, settings);
    directory.saveSettings(settings);
    const roles = [CONTROL_PLANE, ...settings.nodes];
    const commandOf = (role: string): RoleCommand =>
      launch(role === CONTROL_PLANE ? { role: "control-plane", directory: directory.path } : { role: "node", directory: directory.path, nodeName: role });
    for (const role of roles) await letEnd(findRole(directory, role), clock);
    // What is found running may yet be dying, of a kill this moment; it is started anew once. What this call started is not.
    const found = new Set(roles.filter((role) => findRole(directory, role) !== undefined));
    const isNew = found.size === 0;
    for (const role of roles) startRole(directory, role, commandOf(role));
    const facts = await awaitRoles(directory, roles, {
      clock,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      revive: (role) => found.delete(role) && startRole(directory, role, commandOf(role)).pid > 0,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    }).catch(async (error: unknown) => {
      // Who interrupts the start wants nothing of it; what ran before goes on.
      if (options.signal?.aborted === true && isNew) await endCluster(directory, clock);
      throw error;
    });
    const plane = facts.get(CONTROL_PLANE) ?? {};
    return {
      directory: directory.path,
      kubeconfigPath: directory.kubeconfigPath,
      server: String(plane["server"]),
      nodes: settings.nodes,
      ...(settings.objectStore === undefined
        ? {}
        : {
            objectStore: {
              ...storeKeys(directory, random),
              credentialsPath: directory.storeCredentialsPath,
              url: String(plane["objectStore"]),
              buckets: settings.objectStore.buckets,
            },
          }),
    };
  } finally {
    unlock();
  }
}

export function storeKeys(directory: ClusterDirectory, random: RandomSource): { readonly accessKey: string; readonly secretKey: string } {
  return { accessKey: "drayage", secretKey: directory.objectStoreKey(random) };
}

async function letEnd(identity: ProcessIdentity | undefined, clock: Clock): Promise<void> {
  if (identity !== undefined && isEnding(identity)) await untilGone(identity, clock, ENDING_MS);
}

/** What a process was started with is not changed under it. Throws USAGE naming what is asked for. */
function refuseChangeWhileRunning(directory: ClusterDirectory, wanted: ClusterSettings): void {
  const before = directory.settings();
  const running = rolesOf(directory).filter((role) => findRole(directory, role) !== undefined);
  if (before === undefined || running.length === 0) return;
  const changes = (["apiPort", "objectStore", "imageMap", "csiProfiles", "audit"] as const).filter((name) => !isDeepStrictEqual(before[name], wanted[name]));
  if (changes.length === 0) return;
  throw new DrayError("USAGE", `Cannot change ${changes.join(", ")} of the cluster in "${directory.path}": it is running`, {
    hint: "Take it down first: its state is kept.",
  });
}

/** What the cluster is to be: what it was, with what is newly asked for. */
async function settle(directory: ClusterDirectory, options: ClusterUpOptions): Promise<ClusterSettings> {
  const before = directory.settings();
  const wanted = options.nodes ?? before?.nodes.length ?? NODES;
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > NODES_MAX) {
    throw new DrayError("USAGE", `Cannot make a cluster of ${wanted} nodes: a number from 1 to ${NODES_MAX} is wanted`);
  }
  if (before !== undefined && wanted < before.nodes.length) {
    throw new DrayError("USAGE", `Cannot make the cluster in "${directory.path}" smaller: it has ${before.nodes.length} nodes, ${wanted} are asked for`, {
      hint: "Take it down and make another one, or drain the node and delete it.",
    });
  }
  const nodes = [
    ...(before?.nodes ?? []),
    ...Array.from({ length: wanted - (before?.nodes.length ?? 0) }, (_, at) => `node-${(before?.nodes.length ?? 0) + at + 1}`),
  ];
  const objectStore = await storeSettings(before?.objectStore, options.buckets);
  const imageMap = options.imageMap ?? before?.imageMap;
  const csiProfiles = [...new Set([...(before?.csiProfiles ?? []), ...(options.csiProfiles ?? [])])];
  const audit = options.audit ?? before?.audit;
  const settings: ClusterSettings = {
    schema: 1,
    id: before?.id ?? randomUuid(options.random),
    nodes,
    apiPort: options.port ?? before?.apiPort ?? (await freePort()),
    ...(objectStore === undefined ? {} : { objectStore }),
    ...(imageMap === undefined ? {} : { imageMap }),
    ...(csiProfiles.length === 0 ? {} : { csiProfiles }),
    ...(audit === undefined ? {} : { audit }),
  };
  return settings;
}

async function storeSettings(before: ObjectStoreSettings | undefined, buckets: readonly string[] | undefined): Promise<ObjectStoreSettings | undefined> {
  if (before === undefined && buckets === undefined) return undefined;
  return { port: before?.port ?? (await freePort()), buckets: [...new Set([...(before?.buckets ?? []), ...(buckets ?? [])])] };
}

/** A port that nobody listens on just now; it is kept in the settings, so that a cluster is found where it was. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
