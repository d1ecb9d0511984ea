/** The movers there are and the classes that choose among them, as they are when a backup starts. */
import { BUILTIN_DATA_MOVERS, builtInMover, type DataMover, type DataMoverClass, DRAYAGE_DATA_MOVER, dataMoverClasses, dataMovers } from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { checkSchema, type MoverDescription } from "@drayage/mover-sdk";
import { allOf } from "../all-of.ts";
import { missingFiles } from "../exposers/mover-program.ts";

export interface RegisteredMover extends Pick<MoverDescription, "name" | "parameters"> {
  readonly kinds: readonly string[];
  readonly builtin: boolean;
  /** A controller of its vendor's moves the data, and deletes it by means of its own. */
  readonly vendorController: boolean;
}

/** Names under which the built-in mover is asked for; the empty one is the default. */
const BUILT_IN_NAMES: readonly string[] = [...BUILTIN_DATA_MOVERS, DRAYAGE_DATA_MOVER];

export function isBuiltIn(mover: string): boolean {
  return BUILT_IN_NAMES.includes(mover);
}

export class MoverRegistry {
  readonly classes: readonly DataMoverClass[];
  readonly #movers: ReadonlyMap<string, DataMover>;

  /** Whether the cluster knows the kinds. */
  readonly isKnown: boolean;

  /** Movers that this installation has no files of, and the sentence that says so. */
  readonly #missing: ReadonlyMap<string, string>;

  constructor(movers: readonly DataMover[], classes: readonly DataMoverClass[], isKnown = true, missing: ReadonlyMap<string, string> = new Map()) {
    this.isKnown = isKnown;
    this.#missing = missing;
    this.#movers = new Map(movers.map((mover) => [mover.metadata.name ?? "", mover]));
    this.classes = [...classes].sort((a, b) => ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1));
  }

  /** Who moves data under this name: pods of ours, a controller of its vendor's, or nobody that is registered. */
  runs(name: string): "pods" | "controller" | "nobody" {
    const found = this.#movers.get(name);
    return found === undefined ? "nobody" : found.spec.controller === true ? "controller" : "pods";
  }

  /** Whether the controller of its vendor's removes what it moved when it is asked by a DataMoverBackup. */
  vendorDeletes(name: string): boolean {
    const { controller, deletesData } = this.#movers.get(name)?.spec ?? {};
    return controller === true && deletesData === true;
  }

  /** Every name that can be chosen, in byte order. */
  get names(): readonly string[] {
    return [...new Set([...BUILT_IN_NAMES.filter((name) => name !== ""), ...this.#movers.keys()])].sort();
  }

  /** Resources that some mover beside the built-in one takes. */
  get kinds(): readonly string[] {
    return [...new Set([...this.#movers.values()].flatMap(({ spec }) => spec.capabilities.kinds))].sort();
  }

  /** The mover of a name. Throws VALIDATION_FAILED naming those there are, and one whose registration is of no use. */
  get(name: string, origin: string): RegisteredMover {
    // An installation of before does not register it, and has it all the same.
    const found = isBuiltIn(name) ? (this.#movers.get(DRAYAGE_DATA_MOVER) ?? builtInMover("")) : this.#movers.get(name);
    if (found === undefined) {
      throw new DrayError("VALIDATION_FAILED", `Cannot use mover "${name}", which ${origin} names: it does not exist; there is ${this.names.join(", ")}`, {
        hint: "Register it with dray mover add, or name another.",
      });
    }
    const missing = this.#missing.get(name);
    if (missing !== undefined) throw new DrayError("VALIDATION_FAILED", `Cannot use mover "${name}", which ${origin} names: ${missing}`);
    const problems = checkSchema(found.spec.parameters);
    if (problems.length > 0) throw new DrayError("VALIDATION_FAILED", `Cannot use mover "${name}": its registration is wrong: ${problems.join("; ")}`);
    const builtin = isBuiltIn(name);
    const vendorController = !builtin && found.spec.controller === true && found.spec.deletesData !== true;
    return { name, builtin, vendorController, kinds: found.spec.capabilities.kinds, parameters: found.spec.parameters };
  }
}

export const EMPTY_REGISTRY: MoverRegistry = new MoverRegistry([], [], false);

/** What is registered now, as the installation of a namespace can use it; nothing in a cluster that does not know the kinds. */
export async function loadMoverRegistry(client: KubeClient, namespace: string, signal: AbortSignal): Promise<MoverRegistry> {
  try {
    const movers = await allOf(client.listAll(dataMovers, { signal }));
    const classes = await allOf(client.listAll(dataMoverClasses, { signal }));
    const missing = new Map<string, string>();
    for (const mover of movers) {
      const sentence = await missingFiles(client, namespace, mover, signal);
      if (sentence !== undefined) missing.set(mover.metadata.name ?? "", sentence);
    }
    return new MoverRegistry(movers, classes, true, missing);
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    return EMPTY_REGISTRY;
  }
}
