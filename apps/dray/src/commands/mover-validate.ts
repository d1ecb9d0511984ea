import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { backupStorageLocations, DRAYAGE_DATA_MOVER } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { SERVER_NAME } from "@drayage/install";
import { deployments } from "@drayage/kube";
import type { DataMover } from "@drayage/mover-sdk";
import { type ConformanceResult, conformance, type MoverSample } from "@drayage/mover-sdk/conformance";
import { createBuiltInMover, openInStore } from "@drayage/movers/builtin";
import { loadMover } from "@drayage/movers/host";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { DESCRIBE_LIMIT_MS, type ImageProgram } from "../movers/image-mover.ts";
import { isModule } from "../movers/mover-subject.ts";
import { validateImage } from "../movers/validate-image.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";

interface Options extends ClusterOptions {
  readonly location?: string;
  readonly timeout?: string;
}

/** A check of the built-in mover opens a repository many times. */
const BUILT_IN_LIMIT_MS = 110_000;

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument(
      "<module-or-image>",
      'the file whose default export is the mover, with a `sample` beside it of what is moved (a small volume when left out); the image whose program is one; "drayage" for the built-in mover',
    )
    .argument("[command...]", "of an image, after --: its program, where its entry point is none")
    .option("--location <name>", "of an image: the backup location that the sample goes to, the default one when left out")
    .option("--timeout <duration>", "of an image: how long each of its pods may take, 1m when left out")
    .action((subject: string, words: string[], options: Options) => {
      if (subject === DRAYAGE_DATA_MOVER || isModule(subject, terminal.cwd)) return validateModule(subject, terminal);
      return withCluster(options, terminal, (access) => validateImageOf({ image: subject, command: words }, options, access, terminal));
    });
}

async function validateModule(subject: string, terminal: Terminal): Promise<void> {
  const { mover, sample, limitMs } = await moverOf(subject, terminal);
  const folder = mkdtempSync(join(tmpdir(), "dray-mover-"));
  try {
    const report = await conformance(mover, {
      folder,
      clock: terminal.clock,
      ...(sample === undefined ? {} : { sample }),
      ...(limitMs === undefined ? {} : { limitMs }),
      onResult: (result) => terminal.out(lineOf(result)),
    });
    conclude(mover.name, report, terminal);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function validateImageOf(program: ImageProgram, options: Options, access: ClusterAccess, terminal: Terminal): Promise<void> {
  const { mover, results, moved } = await validateImage(
    {
      program,
      access,
      location: options.location ?? (await defaultLocation(access, terminal)),
      ownImage: await ownImage(access, terminal),
      limitMs: parseTimeout(options.timeout) ?? DESCRIBE_LIMIT_MS,
      onResult: (result) => terminal.out(lineOf(result)),
    },
    terminal,
  );
  if (mover !== undefined && !moved)
    terminal.out(`Not tried: moving data, for nobody here has one of its kinds (${mover.spec.capabilities.kinds.join(", ")}); back one up to see that.\n`);
  conclude(mover?.metadata.name ?? program.image, results, terminal);
}

const lineOf = ({ name, ok, message }: ConformanceResult): string => `${ok ? "pass" : "FAIL"}  ${name}${message === undefined ? "" : `: ${message}`}\n`;

function conclude(name: string, results: readonly ConformanceResult[], terminal: Terminal): void {
  const failed = results.filter(({ ok }) => !ok).length;
  terminal.out(failed === 0 ? `Mover "${name}" passes.\n` : `Mover "${name}" fails ${failed} of ${results.length} checks.\n`);
  if (failed > 0) terminal.exitCode = 1;
}

/** Throws KUBE_NOT_FOUND. */
async function defaultLocation({ client, namespace }: ClusterAccess, terminal: Terminal): Promise<string> {
  const { items } = await client.list(backupStorageLocations, { namespace, signal: terminal.signal });
  const found = items.find(({ spec }) => spec.default === true) ?? items[0];
  if (found?.metadata.name !== undefined) return found.metadata.name;
  throw new DrayError("KUBE_NOT_FOUND", `Cannot validate an image: namespace "${namespace}" has no backup location`, {
    hint: "Create one with dray backup-location create, or name the installation's namespace with -n.",
  });
}

/** The image that the server runs has the sample in it. Throws KUBE_NOT_FOUND. */
async function ownImage({ client, namespace }: ClusterAccess, terminal: Terminal): Promise<string> {
  const image = (await client.find(deployments, { namespace, name: SERVER_NAME }, terminal.signal))?.spec.template.spec.containers[0]?.image;
  if (image !== undefined) return image;
  throw new DrayError("KUBE_NOT_FOUND", `Cannot validate an image: Drayage's server is not in namespace "${namespace}"`, {
    hint: "Install Drayage with dray install, or name its namespace with -n.",
  });
}

interface Subject {
  readonly mover: DataMover;
  readonly sample?: MoverSample | undefined;
  readonly limitMs?: number;
}

async function moverOf(subject: string, { clock, random, cwd }: Terminal): Promise<Subject> {
  if (subject === DRAYAGE_DATA_MOVER)
    return { mover: createBuiltInMover({ version: programVersion(), clock, open: openInStore({ clock, random }) }), limitMs: BUILT_IN_LIMIT_MS };
  const { mover, module } = await loadMover(resolve(cwd, subject));
  return { mover, sample: module["sample"] as MoverSample | undefined };
}
