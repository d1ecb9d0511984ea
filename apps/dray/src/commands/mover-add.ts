import { resolve } from "node:path";
import { type DataMover, DRAYAGE_API_VERSION, DRAYAGE_DATA_MOVER, dataMovers } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { describeMover } from "@drayage/mover-sdk";
import { loadMover } from "@drayage/movers/host";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { DESCRIBE_LIMIT_MS, describeImage, type ImageAccess, registrationOf } from "../movers/image-mover.ts";
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
    .option("--image <name>", "of a file: the image that has it; that of the installation when left out")
    .option("--path <path>", "of a file: where it is in the image; the same place when left out")
    .option("--timeout <duration>", "of an image: how long it may take to describe itself, 1m when left out")
    .action((subject: string, words: string[], options: Options) =>
      withCluster(options, terminal, async (access) => {
        const isFile = isModule(subject, terminal.cwd);
        rejectForeign({ ...options, words }, isFile);
        if (isFile) await registerMover(access, await moduleRegistration(subject, options, terminal), terminal);
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

async function registerMover({ client }: Pick<ClusterAccess, "client">, mover: DataMover, terminal: Terminal): Promise<void> {
  const { name = "" } = mover.metadata;
  if (name === DRAYAGE_DATA_MOVER || name === "velero" || name.startsWith("velero-"))
    throw new DrayError("VALIDATION_FAILED", `Cannot register mover "${name}": the name is that of the built-in one`, { hint: "Give it another name." });
  // Whole: of an earlier registration, perhaps of another kind and by another hand, nothing may stay.
  const existing = await client.find(dataMovers, { name }, terminal.signal);
  const { signal } = terminal;
  await (existing === undefined ? client.create(dataMovers, mover, { signal }) : client.replace(dataMovers, { ...existing, spec: mover.spec }, { signal }));
  terminal.out(`Mover "${name}" ${mover.spec.version} is registered.\n`);
}

async function moduleRegistration(file: string, options: Options, terminal: Terminal): Promise<DataMover> {
  const { mover } = await loadMover(resolve(terminal.cwd, file));
  const { name, capabilities, targets, ...description } = describeMover(mover);
  return {
    apiVersion: DRAYAGE_API_VERSION,
    kind: "DataMover",
    metadata: { name },
    spec: {
      ...description,
      capabilities: { ...capabilities, kinds: [...capabilities.kinds] },
      targets: [...targets],
      module: options.path ?? resolve(terminal.cwd, file),
      ...(options.image === undefined ? {} : { image: options.image }),
    },
  };
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
