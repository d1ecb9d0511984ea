import { DrayError, toHex } from "@drayage/base";
import type { CreateRepositoryOptions } from "@drayage/repo";
import type { Command } from "commander";
import { parseTimeout } from "../cluster/timeout.ts";
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
  readonly retentionMode?: string;
  readonly retentionPeriod?: string;
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
    .option("--retention-mode <mode>", "object lock of what is written for good, GOVERNANCE or COMPLIANCE; maintenance extends it (default: none)")
    .option("--retention-period <duration>", "how long it holds, at least 48h, such as 720h")
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
  const retention = retentionOf(options);
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
      ...(retention === undefined ? {} : { retention }),
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

/** The shortest object lock: a day until full maintenance comes round, and a day for it to extend every lock before the first runs out, as kopia has it. */
const RETENTION_MIN_MS = 48 * 3_600_000;

function retentionOf({ retentionMode: mode, retentionPeriod: period }: Options): CreateRepositoryOptions["retention"] {
  if (mode === undefined && period === undefined) return undefined;
  if (mode === undefined || period === undefined)
    throw new DrayError("USAGE", "Cannot lock the repository: --retention-mode and --retention-period go together");
  if (mode !== "GOVERNANCE" && mode !== "COMPLIANCE") throw new DrayError("USAGE", `Cannot use --retention-mode "${mode}": GOVERNANCE or COMPLIANCE is wanted`);
  const periodMs = parseTimeout(period, "--retention-period ") ?? 0;
  if (periodMs < RETENTION_MIN_MS) throw new DrayError("USAGE", `Cannot use --retention-period "${period}": at least 48h is wanted`);
  return { mode, periodMs };
}
