/**
 * The plug-ins of a folder, found as Velero finds them: every executable file in it and below is started and asked what it offers. Each binary is one process, which is started when
 * it is called and again when it has ended, so that one that crashes costs the call under way and no other.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ItemPlugins } from "@drayage/api";
import { type Clock, DrayError, errorFields, hasCode, isAbort, type Logger, messageOf } from "@drayage/base";
import { createBackupItemPlugin, createDeleteItemPlugin, createRestoreItemPlugin } from "./item-actions.ts";
import { PluginObjectStore } from "./plugin-object-store.ts";
import type { PluginProcess } from "./plugin-process.ts";

/** Velero's kinds of plug-ins, by the names that they have on the wire. */
export const PLUGIN_KINDS = [
  ...(["ObjectStore", "VolumeSnapshotter", "BackupItemAction", "BackupItemActionV2"] as const),
  ...(["RestoreItemAction", "RestoreItemActionV2", "DeleteItemAction", "ItemBlockAction"] as const),
];
export type PluginKind = (typeof PLUGIN_KINDS)[number];

export interface PluginIdentity {
  readonly kind: PluginKind;
  /** `example.com/name`. */
  readonly name: string;
  /** The binary that offers it. */
  readonly command: string;
}

export interface PluginHostOptions {
  /** `/plugins` in Velero's images. One that is not there holds none. */
  readonly folder: string;
  readonly temporaryFolder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly startTimeoutMs?: number;
  /** Of one call of an action; 10 minutes when left out. */
  readonly callTimeoutMs?: number;
}

/** Kinds that are found and not used, with the reason. */
const NOT_USED: Readonly<Partial<Record<PluginKind, string>>> = {
  VolumeSnapshotter: "native snapshots are not taken; volumes are read through CSI snapshots or the file system",
  ItemBlockAction: "items that belong together are found by the server itself",
};
const LIST_MS = 30_000;
const BINARIES_MAX = 100;

/** A binary that is started when it is needed. */
export class PluginBinary {
  readonly command: string;
  readonly #options: PluginHostOptions;
  #running: Promise<PluginProcess> | undefined;

  constructor(command: string, options: PluginHostOptions) {
    this.command = command;
    this.#options = options;
  }

  /** The process, a new one when the last has ended. Throws PLUGIN_BROKEN. */
  async process(): Promise<PluginProcess> {
    const known = await this.#running?.catch(() => undefined);
    if (known !== undefined && !known.hasEnded) return known;
    this.#running = this.#start();
    return this.#running;
  }

  /** What speaks to plug-ins (gRPC) is loaded for the first: most servers have none. */
  async #start(): Promise<PluginProcess> {
    const { PluginProcess } = await import("./plugin-process.ts");
    return PluginProcess.start({ ...this.#options, command: this.command });
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await (await running?.catch(() => undefined))?.stop();
  }
}

export class PluginHost {
  readonly plugins: readonly PluginIdentity[];
  /** What was found and cannot be used: which, and why. */
  readonly problems: readonly string[];
  readonly items: ItemPlugins;
  readonly #binaries: ReadonlyMap<string, PluginBinary>;

  private constructor(plugins: readonly PluginIdentity[], problems: readonly string[], binaries: ReadonlyMap<string, PluginBinary>) {
    this.plugins = plugins;
    this.problems = problems;
    this.#binaries = binaries;
    const named = <T>(make: (name: string, binary: PluginBinary, kind: PluginKind) => T, ...kinds: readonly PluginKind[]): T[] =>
      plugins.filter(({ kind }) => kinds.includes(kind)).map(({ name, command, kind }) => make(name, this.#binary(command), kind));
    this.items = {
      backup: named(createBackupItemPlugin, "BackupItemAction", "BackupItemActionV2"),
      restore: named(createRestoreItemPlugin, "RestoreItemAction", "RestoreItemActionV2"),
      delete: named(createDeleteItemPlugin, "DeleteItemAction"),
    };
  }

  /** Looks through the folder. A binary that is no plug-in, crashes, hangs or speaks another version is told and left out; the others are used. */
  static async open(options: PluginHostOptions, signal?: AbortSignal): Promise<PluginHost> {
    const { logger } = options;
    const plugins: PluginIdentity[] = [];
    const problems: string[] = [];
    const binaries = new Map<string, PluginBinary>();
    const tell = (problem: string, fields: object = {}): void => {
      problems.push(problem);
      logger.error(problem, { ...fields });
    };
    const commands = executablesIn(options.folder);
    if (commands.length > BINARIES_MAX)
      throw new DrayError("PLUGIN_BROKEN", `Cannot use folder "${options.folder}": it holds ${commands.length} programs, ${BINARIES_MAX} at most are wanted`);
    for (const command of commands) {
      const binary = new PluginBinary(command, options);
      try {
        for (const identity of await listOf(binary, signal)) {
          const other = plugins.find(({ kind, name }) => kind === identity.kind && name === identity.name);
          const reason = NOT_USED[identity.kind];
          if (other !== undefined) tell(`${identity.kind} "${identity.name}" of "${command}" is not used: "${other.command}" offers it as well`);
          else if (reason !== undefined) tell(`${identity.kind} "${identity.name}" of "${command}" is not used: ${reason}`);
          else plugins.push(identity);
          logger.info("Found a plug-in", { ...identity });
        }
        binaries.set(command, binary);
      } catch (error) {
        await binary.stop();
        if (signal?.aborted === true && isAbort(error, signal)) throw error;
        if (!hasCode(error, "PLUGIN_BROKEN") && !hasCode(error, "PLUGIN_LOST") && !hasCode(error, "PLUGIN_FAILED")) throw error;
        tell(messageOf(error), errorFields(error));
      }
    }
    return new PluginHost(plugins, problems, binaries);
  }

  /** The store of a provider, `aws` or `velero.io/aws`; undefined when no plug-in offers it. */
  objectStore(provider: string): PluginObjectStore | undefined {
    const name = provider.includes("/") ? provider : `velero.io/${provider}`;
    const found = this.plugins.find((plugin) => plugin.kind === "ObjectStore" && plugin.name === name);
    return found === undefined ? undefined : new PluginObjectStore(found.name, this.#binary(found.command));
  }

  /** Ends every process. */
  async stop(): Promise<void> {
    for (const binary of this.#binaries.values()) await binary.stop();
  }

  #binary(command: string): PluginBinary {
    const binary = this.#binaries.get(command);
    if (binary === undefined) throw new DrayError("INVARIANT", `Cannot find the binary "${command}" of a plug-in`);
    return binary;
  }
}

async function listOf(binary: PluginBinary, signal: AbortSignal | undefined): Promise<PluginIdentity[]> {
  const plugin = await binary.process();
  const { plugins } = await plugin.call<{ plugins: { kind: string; name: string }[] }>("PluginLister", "ListPlugins", {}, { timeoutMs: LIST_MS, signal });
  return plugins.map(({ kind, name }) => {
    const known = PLUGIN_KINDS.find((candidate) => candidate === kind);
    if (known === undefined)
      throw new DrayError("PLUGIN_BROKEN", `Cannot use plug-in "${binary.command}": it offers "${name}" of kind "${kind}", which is not known`);
    if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/\S+$/.test(name))
      throw new DrayError("PLUGIN_BROKEN", `Cannot use plug-in "${binary.command}": it calls itself "${name}", a name such as example.com/name is wanted`);
    return { kind: known, name, command: binary.command };
  });
}

/** Every executable file of the folder and those below, in order. */
function executablesIn(folder: string): string[] {
  const entries = statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(folder, { withFileTypes: true }) : [];
  return entries
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return executablesIn(path);
      const found = statSync(path, { throwIfNoEntry: false });
      return found?.isFile() === true && (found.mode & 0o111) !== 0 ? [path] : [];
    });
}
