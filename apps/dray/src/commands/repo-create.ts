import { DrayError, toHex } from "@drayage/base";
import type { CreateRepositoryOptions } from "@drayage/repo";
import type { Command } from "commander";
import { localIdentity, type RepositoryOptions, repositoryPassword, repositoryUrl, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson, parseCount } from "../engine/values.ts";
import { storageFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly blockHash?: string;
  readonly encryption?: string;
  readonly splitter?: string;
  readonly ecc?: string;
  readonly eccOverheadPercent?: string;
  readonly formatVersion?: string;
  readonly velero?: boolean;
}

/** Everybody knows it: Velero's default. */
const KNOWN_TO_EVERYBODY = "static-passw0rd";

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .option("--block-hash <name>", "hash of contents, by Kopia's name (default: BLAKE2B-256-128)")
    .option("--encryption <name>", "encryption of contents (default: AES256-GCM-HMAC-SHA256)")
    .option("--splitter <name>", "how files are cut (default: DYNAMIC-4M-BUZHASH)")
    .option("--ecc <name>", "error correction, where it has any overhead (default: REED-SOLOMON-CRC32)")
    .option("--ecc-overhead-percent <number>", "what error correction may take of the storage, 1 to 100 (default: no error correction)")
    .option("--format-version <number>", "version of the format, 1 to 3 (default: 3)")
    .option("--velero", "set it up as Velero does, maintained by default@default")
    .action((options: Options) => createRepository(options, terminal));
}

async function createRepository(options: Options, terminal: Terminal): Promise<void> {
  const url = repositoryUrl(options, terminal);
  const format: CreateRepositoryOptions["format"] = {
    ...(options.blockHash === undefined ? {} : { hash: options.blockHash }),
    ...(options.encryption === undefined ? {} : { encryption: options.encryption }),
    ...(options.splitter === undefined ? {} : { splitter: options.splitter }),
    ...(options.ecc === undefined ? {} : { ecc: options.ecc }),
    ...(options.eccOverheadPercent === undefined ? {} : { eccOverheadPercent: parseCount("--ecc-overhead-percent", options.eccOverheadPercent) }),
    ...(options.formatVersion === undefined ? {} : { formatVersion: parseCount("--format-version", options.formatVersion) }),
  };
  const password = await repositoryPassword(options, terminal, true);
  if (password === KNOWN_TO_EVERYBODY) {
    throw new DrayError("USAGE", "Cannot create a repository with Velero's default password: everybody knows it", {
      hint: "Choose another one; what exists with it can still be opened.",
    });
  }
  const storage = await storageFromUrl(url, terminal, { create: true });
  try {
    const { createRepository: create } = await import("@drayage/repo");
    const { clock, random, signal } = terminal;
    const repository = await create(storage, {
      ...{ password, format, clock, random, signal },
      identity: localIdentity(),
      ...(options.velero === true ? { velero: {} } : {}),
    });
    const { format: made } = repository;
    const uniqueId = toHex(repository.uniqueId);
    await repository.close();
    if (options.json === true) terminal.out(formatJson({ type: "summary", repository: repository.description, uniqueID: uniqueId, format: made }));
    else
      terminal.out(`Created repository at ${repository.description}\n  ${made.hash}, ${made.encryption}, ${made.splitter}, format version ${made.version}\n`);
  } finally {
    await storage.close();
  }
}
