import { resolve } from "node:path";
import { type DataMover, DRAYAGE_API_VERSION, DRAYAGE_DATA_MOVER, dataMovers, MOVER_INSTALLATIONS } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { configMaps, retryOnConflict } from "@drayage/kube";
import { describeMover } from "@drayage/mover-sdk";
import { loadMover } from "@drayage/movers/host";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { DESCRIBE_LIMIT_MS, describeImage, type ImageAccess, registrationOf } from "../movers/image-mover.ts";
import { describeInstallations, formatInstallations, installationsOf } from "../movers/installations.ts";
import { moduleFiles } from "../movers/module-files.ts";
import { isModule } from "../movers/mover-subject.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly image?: string;
  readonly path?: string;
  readonly timeout?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<module-or-image>", "the file whose default export is the mover, or the image whose program is one")
    .argument("[command...]", "of an image, after --: its program, where its entry point is none")
    .option("--image <name>", "of a file: the image that has it; with neither this nor --path, the file is given to the cluster with what it imports beside it")
    .option("--path <path>", "of a file: where it is in the image, that of the installation without --image; the same place when left out")
    .option("--timeout <duration>", "of an image: how long it may take to describe itself, 1m when left out")
    .action((subject: string, words: string[], options: Options) =>
      withCluster(options, terminal, async (access) => {
        const isFile = isModule(subject, terminal.cwd);
        rejectForeign({ ...options, words }, isFile);
        if (isFile) await addModule(subject, options, access, terminal);
        else await addImage({ image: subject, command: words }, access, terminal, options.timeout);
      }),
    );
}

/** Asks an image what it is and registers it. Throws as `describeImage` does. */
export async function addImage(
  program: { readonly image: string; readonly command?: readonly string[] },
  access: ImageAccess,
  terminal: Terminal,
  timeout?: string,
): Promise<void> {
  const description = await describeImage(program, access, terminal, parseTimeout(timeout) ?? DESCRIBE_LIMIT_MS);
  await registerMover(access, registrationOf(program, description), terminal);
}

async function registerMover({ client, namespace }: ImageAccess, mover: DataMover, terminal: Terminal): Promise<void> {
  const { name = "" } = mover.metadata;
  rejectReserved(name);
  const { clock, random, signal } = terminal;
  const { existing, others } = await retryOnConflict({ clock, random, signal }, async () => {
    // Whole: of an earlier registration, perhaps of another kind and by another hand, nothing may stay but who needs it.
    const before = await client.find(dataMovers, { name }, signal);
    const needed = before === undefined ? [] : installationsOf(before).filter((other) => other !== namespace);
    const annotations = { ...before?.metadata.annotations, [MOVER_INSTALLATIONS]: formatInstallations([...needed, namespace]) };
    await (before === undefined
      ? client.create(dataMovers, { ...mover, metadata: { ...mover.metadata, annotations } }, { signal })
      : client.replace(dataMovers, { ...before, metadata: { ...before.metadata, annotations }, spec: mover.spec }, { signal }));
    return { existing: before, others: needed };
  });
  terminal.out(`Mover "${name}" ${mover.spec.version} is registered.\n`);
  if (mover.spec.moduleFiles === undefined || others.length === 0 || existing?.spec.version === mover.spec.version) return;
  terminal.out(`Files of ${existing?.spec.version} are still used in ${describeInstallations(others)}: add it there too.\n`);
}

/** Throws VALIDATION_FAILED. */
function rejectReserved(name: string): void {
  if (name !== DRAYAGE_DATA_MOVER && name !== "velero" && !name.startsWith("velero-")) return;
  throw new DrayError("VALIDATION_FAILED", `Cannot register mover "${name}": the name is that of the built-in one`, { hint: "Give it another name." });
}

/** Registers a file: as it is in an image, or given to the cluster. */
async function addModule(subject: string, options: Options, { client, namespace }: ClusterAccess, terminal: Terminal): Promise<void> {
  const file = resolve(terminal.cwd, subject);
  const { mover } = await loadMover(file);
  rejectReserved(mover.name);
  const isInImage = options.image !== undefined || options.path !== undefined;
  const given = isInImage ? undefined : moduleFiles(file, mover.name, namespace);
  const { name, capabilities, targets, ...description } = describeMover(mover);
  if (given !== undefined) await client.apply(configMaps, given.configMap, { fieldManager: "dray", force: true, signal: terminal.signal });
  const registration: DataMover = {
    apiVersion: DRAYAGE_API_VERSION,
    kind: "DataMover",
    metadata: { name },
    spec: {
      ...description,
      capabilities: { ...capabilities, kinds: [...capabilities.kinds] },
      targets: [...targets],
      module: given?.path ?? options.path ?? file,
      ...(given === undefined ? {} : { moduleFiles: given.configMap.metadata.name ?? "" }),
      ...(options.image === undefined ? {} : { image: options.image }),
    },
  };
  await registerMover({ client, namespace }, registration, terminal);
}

/** Throws USAGE for a flag that belongs to the other kind of mover. */
function rejectForeign({ image, path, words, timeout }: Options & { readonly words: readonly string[] }, isFile: boolean): void {
  const foreign = isFile ? { "-- COMMAND": words.length === 0 ? undefined : words, "--timeout": timeout } : { "--image": image, "--path": path };
  const given = Object.entries(foreign).find(([, value]) => value !== undefined)?.[0];
  if (given === undefined) return;
  throw new DrayError("USAGE", `Cannot register with ${given}: it is for a mover that is ${isFile ? "an image" : "a file"}`, {
    hint: isFile ? "A file goes by --image and --path." : "A file is named by its path, such as ./mover.ts.",
  });
}
