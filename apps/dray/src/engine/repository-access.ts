/** How engine commands reach a repository: its URL and its password, from flags, environment, file or prompt. A password is never an argument: others can see those. */
import { readFile } from "node:fs/promises";
import { hostname, userInfo } from "node:os";
import { join } from "node:path";
import { DrayError, type Logger, loggerTo } from "@drayage/base";
import type { Repository, RepositoryIdentity } from "@drayage/repo";
import type { Command } from "commander";
import { storageFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";
import { stateFolder } from "./state-folder.ts";
import { parseByteCount } from "./values.ts";

export interface RepositoryOptions {
  readonly repository?: string;
  readonly passwordFile?: string;
  readonly json?: boolean;
  /** Of commands that move data: see withBandwidthOption. */
  readonly bandwidth?: string;
}

export function withRepositoryOptions(command: Command): Command {
  return withPlaceOptions(command).option(
    "--password-file <file>",
    "a file holding the password, - for standard input (DRAY_REPOSITORY_PASSWORD, else asked for)",
  );
}

/** Of commands that need no password. */
export function withPlaceOptions(command: Command): Command {
  return command
    .option(
      "-r, --repository <url>",
      "file:///path, s3://bucket/prefix?endpoint=…, azure://container/prefix?storageAccount=… or gs://bucket/prefix, with restic+ before it to read what restic wrote (DRAY_REPOSITORY)",
    )
    .option("--json", "events and results as JSON, one a line");
}

/** Of commands that move data. What holds for the place (dray repo throttle) holds besides. */
export function withBandwidthOption(command: Command): Command {
  return command.option("--bandwidth <bytes>", "bytes a second to send, and to fetch, at most; with K, M or G as 20M (default: what dray repo throttle says)");
}

/** Opens the repository, runs `work` and closes it again. With `fresh`, everything is read from the store itself, past copies on this machine. */
export async function withRepository(
  options: RepositoryOptions,
  terminal: Terminal,
  settings: { readonly readOnly: boolean; readonly fresh?: boolean; readonly nextPassword?: () => Promise<string> },
  work: (repository: Repository) => Promise<void>,
): Promise<void> {
  const storage = await storageFromUrl(repositoryUrl(options, terminal), terminal, { copies: settings.fresh !== true, ...bandwidthOf(options) });
  try {
    const password = await repositoryPassword(options, terminal);
    const nextPassword = await settings.nextPassword?.();
    const { openRepository } = await import("@drayage/repo");
    const repository = await openRepository(storage, {
      ...{ password, readOnly: settings.readOnly, identity: localIdentity(), clock: terminal.clock, random: terminal.random },
      ...{ logger: warningsTo(terminal), signal: terminal.signal, indexCache: { folder: join(stateFolder(terminal.env), "index") } },
      ...(nextPassword === undefined ? {} : { nextPassword }),
    });
    try {
      await work(repository);
    } finally {
      await repository.close();
    }
  } finally {
    await storage.close();
  }
}

/** Bytes a second, where the command was given a limit. Throws USAGE. */
export function bandwidthOf({ bandwidth }: RepositoryOptions): { readonly bandwidth?: number } {
  return bandwidth === undefined ? {} : { bandwidth: parseByteCount("--bandwidth", bandwidth) };
}

/** Throws USAGE when nothing says which repository is meant. */
export function repositoryUrl(options: RepositoryOptions, terminal: Terminal): string {
  const url = options.repository ?? terminal.env["DRAY_REPOSITORY"];
  if (url === undefined || url === "") {
    throw new DrayError("USAGE", "Cannot choose a repository: neither --repository nor DRAY_REPOSITORY says which", {
      hint: "For example: --repository file:///backups",
    });
  }
  return url;
}

/** The password. A new one is asked for twice. Throws USAGE when there is none, or nobody to ask. */
export async function repositoryPassword(options: RepositoryOptions, terminal: Terminal, isNew = false): Promise<string> {
  if (options.passwordFile !== undefined) return await passwordFromFile(options.passwordFile, terminal);
  const fromEnvironment = terminal.env["DRAY_REPOSITORY_PASSWORD"];
  if (fromEnvironment !== undefined && fromEnvironment !== "") return fromEnvironment;
  return await askPassword(terminal, isNew ? "Password of the new repository" : "Password of the repository", isNew);
}

export async function askPassword(terminal: Terminal, prompt: string, isNew: boolean): Promise<string> {
  const password = await terminal.askSecret(prompt);
  if (password === "") throw new DrayError("USAGE", "Cannot use the password: it is empty");
  if (isNew && (await terminal.askSecret("The same again")) !== password) throw new DrayError("USAGE", "Cannot use the password: the two differ");
  return password;
}

/** The password that a file holds, without the line end that editors leave. */
export async function passwordFromFile(path: string, terminal: Terminal): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = path === "-" ? await terminal.readInput() : await readFile(path);
  } catch (cause) {
    throw new DrayError("USAGE", `Cannot read the password file "${path}"`, { cause });
  }
  const password = new TextDecoder().decode(bytes).replace(/\r?\n$/, "");
  if (password === "") throw new DrayError("USAGE", `Cannot use the password file "${path}": it is empty`);
  return password;
}

/** Who snapshots are of, as Kopia names them: this user on this machine. */
export function localIdentity(): RepositoryIdentity {
  return { userName: localUser(), host: (hostname().split(".")[0] ?? "").toLowerCase() || "localhost" };
}

function localUser(): string {
  try {
    return userInfo().username;
  } catch {
    // A user that no database knows, as containers have.
    return String(process.getuid?.() ?? "unknown");
  }
}

function warningsTo(terminal: Terminal): Logger {
  return loggerTo(({ level, message }) => {
    if (level === "warn" || level === "error") terminal.err(`dray: warning: ${message}\n`);
  });
}
