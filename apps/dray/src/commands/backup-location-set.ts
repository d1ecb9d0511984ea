import { backupStorageLocations } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { type Command, Option } from "commander";
import { type ClusterAccess, type ClusterOptions, getNamed, parseOptionalBoolean, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseAccessMode, parseCredential, readCaCert } from "../cluster/location-flags.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly cacert?: string;
  readonly credential?: string;
  readonly accessMode?: string;
  readonly default?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the location")
    .option("--cacert <file>", "PEM of a CA that signed the store's certificate")
    .option("--credential <secret=key>", "the entry of a Secret with credentials of its own")
    .option("--access-mode <mode>", "ReadWrite or ReadOnly")
    .addOption(new Option("--default [true|false]", "used by backups that name none").preset(true).argParser(parseOptionalBoolean("--default")))
    .action((name: string, options: Options) => {
      const change = changeFrom(options, terminal);
      return withCluster(options, terminal, (access) => setLocation(access, name, change, terminal));
    });
}

/** The change of the spec that these flags mean. Throws USAGE when they say nothing. */
export function changeFrom(options: Options, terminal: Pick<Terminal, "cwd">): Readonly<Record<string, unknown>> {
  const caCert = readCaCert(options.cacert, terminal);
  const credential = parseCredential(options.credential);
  const accessMode = parseAccessMode(options.accessMode);
  const change = {
    // A certificate given here takes the place of a reference to one: both cannot be.
    ...(caCert === undefined ? {} : { objectStorage: { caCert, caCertRef: null } }),
    ...(credential === undefined ? {} : { credential }),
    ...(accessMode === undefined ? {} : { accessMode }),
    ...(options.default === undefined ? {} : { default: options.default }),
  };
  if (Object.keys(change).length === 0) throw new DrayError("USAGE", "Cannot set anything: say what with --cacert, --credential, --access-mode or --default");
  return change;
}

/** Changes a location. One that becomes the default takes that from the one before. */
export async function setLocation(
  { client, namespace }: ClusterAccess,
  name: string,
  change: Readonly<Record<string, unknown>>,
  terminal: Terminal,
): Promise<void> {
  await getNamed(client, backupStorageLocations, { namespace, name }, terminal.signal);
  if (change["default"] === true) {
    for await (const other of client.listAll(backupStorageLocations, { namespace, signal: terminal.signal })) {
      const otherName = other.metadata.name ?? "";
      if (otherName === name || other.spec.default !== true) continue;
      await client.patch(backupStorageLocations, { namespace, name: otherName }, "merge", { spec: { default: false } }, { signal: terminal.signal });
    }
  }
  await client.patch(backupStorageLocations, { namespace, name }, "merge", { spec: change }, { signal: terminal.signal });
  terminal.out(`Backup storage location "${name}" configured successfully.\n`);
}
