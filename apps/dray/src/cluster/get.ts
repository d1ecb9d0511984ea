/** What every `get` verb does: the named objects or all of them, in the format asked for. */
import { hasCode } from "@drayage/base";
import type { KubeObject, ResourceType } from "@drayage/kube";
import type { Command } from "commander";
import { checkFormat, type PrintableKind, printObjects } from "../output/object-output.ts";
import type { Terminal } from "../terminal.ts";
import { type ClusterAccess, getNamed } from "./access.ts";

export interface GetOptions {
  readonly output?: string;
  readonly selector?: string;
  readonly allNamespaces?: boolean;
}

export function withGetOptions(command: Command): Command {
  return command
    .option("-o, --output <format>", "table, wide, json, yaml, name or jsonpath=TEMPLATE")
    .option("-l, --selector <labels>", "only those with these labels")
    .option("-A, --all-namespaces", "look in every namespace");
}

export async function getObjects<T extends KubeObject>(
  { client, namespace }: ClusterAccess,
  type: ResourceType<T>,
  kind: PrintableKind<T>,
  names: readonly string[],
  options: GetOptions,
  terminal: Terminal,
): Promise<void> {
  checkFormat(options.output);
  const objects: T[] = [];
  const missing: unknown[] = [];
  for (const name of names) {
    try {
      objects.push(await getNamed(client, type, { namespace, name }, terminal.signal));
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND", "BACKUP_NOT_FOUND")) throw error;
      missing.push(error);
    }
  }
  if (names.length === 0) {
    for await (const object of client.listAll(type, {
      namespace: options.allNamespaces === true ? undefined : namespace,
      labelSelector: options.selector,
      signal: terminal.signal,
    }))
      objects.push(object);
  }
  const shown =
    options.allNamespaces === true ? { ...kind, columns: [{ header: "NAMESPACE", value: (object: T) => object.metadata.namespace }, ...kind.columns] } : kind;
  // As kubectl does: what was found is shown, and what was not is the error.
  if (missing.length > 0 && objects.length === 0) throw missing[0];
  if (objects.length === 0 && (options.output === undefined || options.output === "wide")) {
    terminal.err(`No ${type.plural} found${options.allNamespaces === true ? "" : ` in namespace ${namespace}`}.\n`);
    return;
  }
  terminal.out(printObjects(shown, objects, options.output, names.length === 1));
  if (missing.length > 0) throw missing[0];
}
