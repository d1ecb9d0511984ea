/** What every `get` verb does: the named objects or all of them, in the format asked for. */
import type { KubeObject, ResourceType } from "@drayage/kube";
import type { Command } from "commander";
import { type PrintableKind, printObjects } from "../output/object-output.ts";
import type { Terminal } from "../terminal.ts";
import { type ClusterAccess, explainMissingKinds, getNamed } from "./access.ts";

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
  const objects: T[] = [];
  try {
    if (names.length > 0) for (const name of names) objects.push(await getNamed(client, type, { namespace, name }, terminal.signal));
    else
      for await (const object of client.listAll(type, {
        namespace: options.allNamespaces === true ? undefined : namespace,
        labelSelector: options.selector,
        signal: terminal.signal,
      }))
        objects.push(object);
  } catch (error) {
    throw explainMissingKinds(error);
  }
  const shown =
    options.allNamespaces === true ? { ...kind, columns: [{ header: "NAMESPACE", value: (object: T) => object.metadata.namespace }, ...kind.columns] } : kind;
  if (objects.length === 0 && (options.output === undefined || options.output === "wide")) {
    terminal.err(`No ${type.plural} found${options.allNamespaces === true ? "" : ` in namespace ${namespace}`}.\n`);
    return;
  }
  terminal.out(printObjects(shown, objects, options.output, names.length === 1));
}
