/**
 * Where a cluster keeps what it is: one folder that says so by `cluster.json`, and in it
 *
 *   cluster.json        what was asked for                  kubeconfig         for people and programs (0600)
 *   api-server/         objects, certificates, tokens       object-store-key   secret key of the object store (0600)
 *   storage/            volumes and snapshots               nodes/NAME/        a kubelet's folder, its CSI sockets
 *   storage/PROFILE/    those of a further driver
 *   object-store/       buckets                             run/ROLE.json      who runs (pid and start time), and how it is
 *   logs/ROLE.log                                           lock               held while the cluster is brought up or down
 *   logs/audit.jsonl    who asked what, when wanted
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join, resolve } from "node:path";
import { DrayError, isDrayError, makeFolders, messageOf, type RandomSource, randomHex } from "@drayage/base";
import type { CsiProfile } from "../csi-driver/index.ts";
import type { ImageMapping } from "../kubelet/images.ts";
import { identifyProcess, isRunning, type ProcessIdentity } from "../kubelet/process-identity.ts";

export interface ObjectStoreSettings {
  readonly port: number;
  readonly buckets: readonly string[];
}

export interface ClusterSettings {
  readonly schema: 1;
  readonly id: string;
  readonly nodes: readonly string[];
  readonly apiPort: number;
  readonly objectStore?: ObjectStoreSettings;
  /** Beside what the program brings itself. */
  readonly imageMap?: readonly ImageMapping[];
  /** Further CSI drivers. */
  readonly csiProfiles?: readonly CsiProfile[];
  /** Whether the API server writes down who asks what. */
  readonly audit?: boolean;
}

export class ClusterDirectory {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** The folder of a cluster that is there. Throws PATH_NOT_FOUND when it is none. */
  static find(path: string): ClusterDirectory {
    const directory = new ClusterDirectory(resolve(path));
    if (!existsSync(directory.settingsPath)) {
      throw new DrayError("PATH_NOT_FOUND", `Cannot find a cluster in "${directory.path}": there is no cluster.json`, {
        hint: "Give the folder of `dray cluster up --dir`.",
      });
    }
    return new ClusterDirectory(realpathSync(directory.path));
  }

  /** The folder of a cluster, made when it is not there. Throws PATH_NOT_EMPTY for a folder that holds something else. */
  static open(path: string): ClusterDirectory {
    const directory = new ClusterDirectory(resolve(path));
    try {
      makeFolders(directory.path, 0o700);
    } catch (error) {
      if (isDrayError(error)) throw error;
      throw new DrayError("NOT_PERMITTED", `Cannot make a cluster in "${directory.path}": ${messageOf(error)}`, {
        cause: error,
        hint: "Give a folder that can be written to.",
      });
    }
    const entries = readdirSync(directory.path).filter((name) => name !== "lock");
    if (entries.length > 0 && !existsSync(directory.settingsPath)) {
      throw new DrayError("PATH_NOT_EMPTY", `Cannot make a cluster in "${directory.path}": the folder holds "${entries[0]}" and is not a cluster's`, {
        hint: "Give a folder that does not exist yet, or an empty one.",
      });
    }
    return new ClusterDirectory(realpathSync(directory.path));
  }

  get settingsPath(): string {
    return join(this.path, "cluster.json");
  }
  get kubeconfigPath(): string {
    return join(this.path, "kubeconfig");
  }
  get apiServer(): string {
    return join(this.path, "api-server");
  }
  get storage(): string {
    return join(this.path, "storage");
  }
  get objectStore(): string {
    return join(this.path, "object-store");
  }
  get storeCredentialsPath(): string {
    return join(this.path, "object-store-credentials");
  }
  get nodes(): string {
    return join(this.path, "nodes");
  }
  get runFolder(): string {
    return join(this.path, "run");
  }

  node(name: string): { readonly kubelet: string; readonly csiSocket: string; readonly profileSocket: (profile: CsiProfile) => string } {
    const kubelet = join(this.nodes, name);
    return { kubelet, csiSocket: join(kubelet, "csi.sock"), profileSocket: (profile) => join(kubelet, `${profile}.sock`) };
  }

  log(role: string): string {
    return join(this.path, "logs", `${role}.log`);
  }

  get auditLog(): string {
    return join(this.path, "logs", "audit.jsonl");
  }

  settings(): ClusterSettings | undefined {
    if (!existsSync(this.settingsPath)) return undefined;
    try {
      const settings = JSON.parse(readFileSync(this.settingsPath, "utf8")) as ClusterSettings;
      if (settings.schema === 1 && Array.isArray(settings.nodes)) return settings;
    } catch {
      // The same as a file of another making.
    }
    throw new DrayError("NOT_SUPPORTED", `Cannot use the cluster in "${this.path}": cluster.json is not one that this version writes`);
  }

  saveSettings(settings: ClusterSettings): void {
    writeFileAtomically(this.settingsPath, `${JSON.stringify(settings, null, 2)}\n`);
  }

  /** What the API server shows to kubelets; it makes the file at its first start. */
  kubeletToken(): string {
    return readFileSync(join(this.apiServer, "kubelet-token"), "utf8").trim();
  }

  /** Made once. */
  objectStoreKey(random: RandomSource): string {
    const path = join(this.path, "object-store-key");
    if (!existsSync(path)) writeFileAtomically(path, `${randomHex(random, 20)}\n`);
    return readFileSync(path, "utf8").trim();
  }

  /** Keeps others from bringing this cluster up or down meanwhile. Throws NOT_PERMITTED naming the process that does. */
  lock(): () => void {
    const path = join(this.path, "lock");
    for (;;) {
      try {
        const fd = openSync(path, "wx", 0o600);
        writeSync(fd, JSON.stringify(identifyProcess(process.pid)));
        closeSync(fd);
        return () => rmSync(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const holder = readIdentity(path);
      if (holder !== undefined && isRunning(holder)) {
        throw new DrayError("NOT_PERMITTED", `Cannot change the cluster in "${this.path}": process ${holder.pid} is doing so`, {
          hint: "Wait until it is done.",
        });
      }
      rmSync(path, { force: true });
    }
  }
}

export function writeFileAtomically(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function readIdentity(path: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ProcessIdentity;
  } catch {
    // Torn: its writer was killed between making the file and filling it.
    return undefined;
  }
}
