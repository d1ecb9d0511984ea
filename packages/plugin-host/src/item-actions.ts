/** Actions of plug-in binaries in the terms of @drayage/api: version 1 and version 2 look the same from outside. Items travel as JSON. */
import type { BackupItemPlugin, DeleteItemPlugin, PluginItem, PluginItemId, PluginProgress, PluginSelector, RestoreItemPlugin } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import type { PluginServiceName } from "@drayage/protocols/go-plugin";
import type { PluginBinary, PluginKind } from "./plugin-host.ts";

/** AppliesTo, Progress, Cancel: nothing that a plug-in should have to think about. */
const QUICK_MS = 60_000;

interface WireTime {
  readonly seconds: string;
  readonly nanos: number;
}

interface WireProgress {
  readonly completed: boolean;
  readonly err: string;
  readonly nCompleted: string;
  readonly nTotal: string;
  readonly operationUnits: string;
  readonly description: string;
  readonly started: WireTime | null;
  readonly updated: WireTime | null;
}

const toBytes = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));

function fromBytes(bytes: Uint8Array, name: string): PluginItem {
  try {
    const item: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    if (typeof item === "object" && item !== null && "metadata" in item && typeof item.metadata === "object" && item.metadata !== null)
      return item as PluginItem;
  } catch {
    // Said below.
  }
  throw new DrayError("PLUGIN_FAILED", `Plug-in "${name}" has answered with an item that is no object of the API`);
}

function progressOf({ progress }: { readonly progress: WireProgress | null }, name: string): PluginProgress {
  if (progress === null) throw new DrayError("PLUGIN_FAILED", `Plug-in "${name}" has told no progress`);
  const time = (at: WireTime | null): string | undefined => (at === null || Number(at.seconds) <= 0 ? undefined : formatTime(Number(at.seconds) * 1000));
  const [started, updated] = [time(progress.started), time(progress.updated)];
  return {
    completed: progress.completed,
    error: progress.err,
    done: Number(progress.nCompleted),
    total: Number(progress.nTotal),
    units: progress.operationUnits,
    description: progress.description,
    ...(started === undefined ? {} : { started }),
    ...(updated === undefined ? {} : { updated }),
  };
}

/** Calls with the plug-in's name in every request, as a binary may offer several. */
class NamedPlugin {
  readonly name: string;
  readonly #binary: PluginBinary;
  readonly #service: PluginServiceName;

  constructor(name: string, binary: PluginBinary, service: PluginServiceName) {
    this.name = name;
    this.#binary = binary;
    this.#service = service;
  }

  async ask<Response>(method: string, request: object, options: { readonly timeoutMs?: number; readonly signal?: AbortSignal | undefined }): Promise<Response> {
    const plugin = await this.#binary.process();
    return plugin.call<Response>(this.#service, method, { plugin: this.name, ...request }, options);
  }

  async appliesTo(signal?: AbortSignal): Promise<PluginSelector> {
    const { ResourceSelector } = await this.ask<{ ResourceSelector: PluginSelector | null }>("AppliesTo", {}, { timeoutMs: QUICK_MS, signal });
    return ResourceSelector ?? { includedNamespaces: [], excludedNamespaces: [], includedResources: [], excludedResources: [], selector: "" };
  }
}

function nothingGoesOn(name: string): DrayError {
  return new DrayError("INVARIANT", `Cannot ask plug-in "${name}" for an operation: it is of version 1, which has none`);
}

interface WireBackupResult {
  readonly item: Uint8Array;
  readonly additionalItems: readonly PluginItemId[];
  readonly operationID?: string;
  readonly postOperationItems?: readonly PluginItemId[];
}

export function createBackupItemPlugin(name: string, binary: PluginBinary, kind: PluginKind): BackupItemPlugin {
  const isAsync = kind === "BackupItemActionV2";
  const plugin = new NamedPlugin(name, binary, isAsync ? "BackupItemActionV2" : "BackupItemAction");
  return {
    name,
    appliesTo: (signal) => plugin.appliesTo(signal),
    async execute(item, backup, signal) {
      const result = await plugin.ask<WireBackupResult>("Execute", { item: toBytes(item), backup: toBytes(backup) }, { signal });
      return {
        item: fromBytes(result.item, name),
        additionalItems: result.additionalItems,
        operationId: result.operationID ?? "",
        postOperationItems: result.postOperationItems ?? [],
      };
    },
    async progress(operationID, backup, signal) {
      if (!isAsync) throw nothingGoesOn(name);
      return progressOf(await plugin.ask("Progress", { operationID, backup: toBytes(backup) }, { timeoutMs: QUICK_MS, signal }), name);
    },
    async cancel(operationID, backup, signal) {
      if (!isAsync) throw nothingGoesOn(name);
      await plugin.ask("Cancel", { operationID, backup: toBytes(backup) }, { timeoutMs: QUICK_MS, signal });
    },
  };
}

interface WireRestoreResult {
  readonly item: Uint8Array;
  readonly additionalItems: readonly PluginItemId[];
  readonly skipRestore: boolean;
  readonly operationID?: string;
  readonly waitForAdditionalItems?: boolean;
  readonly additionalItemsReadyTimeout?: WireTime | null;
}

export function createRestoreItemPlugin(name: string, binary: PluginBinary, kind: PluginKind): RestoreItemPlugin {
  const isAsync = kind === "RestoreItemActionV2";
  const plugin = new NamedPlugin(name, binary, isAsync ? "RestoreItemActionV2" : "RestoreItemAction");
  return {
    name,
    appliesTo: (signal) => plugin.appliesTo(signal),
    async execute({ item, itemFromBackup, restore }, signal) {
      const request = { item: toBytes(item), itemFromBackup: toBytes(itemFromBackup), restore: toBytes(restore) };
      const result = await plugin.ask<WireRestoreResult>("Execute", request, { signal });
      const { seconds = "0", nanos = 0 } = result.additionalItemsReadyTimeout ?? {};
      return {
        // One that is skipped may come back empty.
        item: result.skipRestore && result.item.length === 0 ? item : fromBytes(result.item, name),
        additionalItems: result.additionalItems,
        skipRestore: result.skipRestore,
        operationId: result.operationID ?? "",
        readyTimeoutMs: result.waitForAdditionalItems === true ? Number(seconds) * 1000 + nanos / 1e6 : undefined,
      };
    },
    async progress(operationID, restore, signal) {
      if (!isAsync) throw nothingGoesOn(name);
      return progressOf(await plugin.ask("Progress", { operationID, restore: toBytes(restore) }, { timeoutMs: QUICK_MS, signal }), name);
    },
    async cancel(operationID, restore, signal) {
      if (!isAsync) throw nothingGoesOn(name);
      await plugin.ask("Cancel", { operationID, restore: toBytes(restore) }, { timeoutMs: QUICK_MS, signal });
    },
    async areAdditionalItemsReady(additionalItems, restore, signal) {
      if (!isAsync) throw nothingGoesOn(name);
      const request = { additionalItems, restore: toBytes(restore) };
      return (await plugin.ask<{ ready: boolean }>("AreAdditionalItemsReady", request, { timeoutMs: QUICK_MS, signal })).ready;
    },
  };
}

export function createDeleteItemPlugin(name: string, binary: PluginBinary): DeleteItemPlugin {
  const plugin = new NamedPlugin(name, binary, "DeleteItemAction");
  return {
    name,
    appliesTo: (signal) => plugin.appliesTo(signal),
    async execute(item, backup, signal) {
      await plugin.ask("Execute", { item: toBytes(item), backup: toBytes(backup) }, { signal });
    },
  };
}
