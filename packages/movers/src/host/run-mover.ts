/**
 * `data-mover run`: one move by a mover that is a module. It reads what any mover's pod is told and tells what any must tell (pod-contract.ts of the SDK), so to the controllers
 * a module and a program in another language are the same.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type BackupStorageLocation, MOVER_SECRET_KEYS } from "@drayage/api";
import { type Clock, DrayError, errorFields, isDrayError, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { type ObjectStore, RetryingObjectStore } from "@drayage/blob";
import { openLocationStore } from "@drayage/blob/locations";
import type { KubeClient } from "@drayage/kube";
import {
  type DataMover,
  formatBackupResult,
  formatFailure,
  MOVER_ENV,
  MOVER_EXIT,
  type MoverContext,
  type MoverOperation,
  type MoverRequest,
  moverOf,
  parseMoverRequest,
  parseTextParameters,
  resolveParameters,
} from "@drayage/mover-sdk";
import { DataPathReporter } from "../builtin/data-path-reporter.ts";
import { LocationMoverStore } from "./location-mover-store.ts";

export interface RunMoverOptions {
  readonly client: Pick<KubeClient, "create" | "patch">;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The file whose default export is the mover. */
  readonly module: string;
  readonly operation: MoverOperation;
  /** Aborted when the pod is told to end. */
  readonly signal: AbortSignal;
}

const LAST_EVENTS_MS = 5_000;

/** The mover that a file exports. Throws VALIDATION_FAILED when the file is none, or says wrong things of itself. */
export async function loadMover(path: string): Promise<{ readonly mover: DataMover; readonly module: Readonly<Record<string, unknown>> }> {
  const file = resolve(path);
  if (!existsSync(file)) throw new DrayError("PATH_NOT_FOUND", `Cannot load mover "${path}": there is no such file`);
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  } catch (cause) {
    throw new DrayError("VALIDATION_FAILED", `Cannot load mover "${path}": ${messageOf(cause)}`, { cause });
  }
  return { mover: moverOf(module, path), module };
}

/** Runs the move and returns the exit code. Never throws: what went wrong is in the termination message and in an Event. */
export async function runMover(options: RunMoverOptions): Promise<number> {
  const { client, clock, random, logger, env, signal, operation } = options;
  const tell = (text: string): void => writeResult(options, text);
  let reporter: DataPathReporter | undefined;
  let workspace: string | undefined;
  let store: ObjectStore | undefined;
  try {
    const request = parseMoverRequest(await readFile(env[MOVER_ENV.request] ?? "", "utf8"));
    const { mover } = await loadMover(options.module);
    if (mover.name !== request.mover || operation !== request.operation) {
      const found = `module "${options.module}" is mover "${mover.name}" and was started for ${operation}`;
      throw new DrayError("VALIDATION_FAILED", `Cannot carry out ${request.operation} with mover "${request.mover}": ${found}`);
    }
    const { apiVersion, kind, ...metadata } = request.about;
    const telling = new DataPathReporter({ client, clock, random, logger, about: { apiVersion, kind, metadata }, nodeName: env["NODE_NAME"] ?? "" });
    reporter = telling;
    telling.started();
    store = await openStore(request, options);
    workspace = makeWorkspace(env);
    const context: MoverContext = {
      source: request.source,
      target: {
        kind: request.target.kind,
        name: request.target.name,
        store: new LocationMoverStore(store, request.target.prefix),
        credentials: request.target.credentials,
      },
      parameters: resolveParameters(mover, parseTextParameters(mover.parameters, request.parameters as Record<string, string>), "the request"),
      workspace,
      signal,
      log: logger,
      progress: (progress) => telling.progress(progress),
    };
    const text = await carryOut(mover, request, context);
    signal.throwIfAborted();
    tell(text);
    telling.completed(text);
    logger.info("The move is done", { mover: mover.name, operation, result: text });
    return MOVER_EXIT.ok;
  } catch (error) {
    const canceled = signal.aborted;
    const hint = isDrayError(error) && error.hint !== undefined ? `. ${error.hint}` : "";
    const text = formatFailure(`${messageOf(error)}${hint}`, canceled);
    tell(text);
    logger[canceled ? "info" : "error"](canceled ? "The move was canceled" : "The move failed", { operation, ...errorFields(error) });
    if (canceled) reporter?.canceled(text);
    else reporter?.failed(text);
    return canceled ? MOVER_EXIT.canceled : MOVER_EXIT.failed;
  } finally {
    if (workspace !== undefined) rmSync(workspace, { recursive: true, force: true });
    await store?.close();
    await reporter?.stop(LAST_EVENTS_MS);
  }
}

/** The termination message of a move that went well. */
async function carryOut(mover: DataMover, request: MoverRequest, context: MoverContext): Promise<string> {
  const { id, moved } = request;
  switch (request.operation) {
    case "backup": {
      const problems = (await mover.validate?.(context.source, context.parameters)) ?? [];
      if (problems.length > 0) throw new DrayError("VALIDATION_FAILED", `Cannot move ${context.source.kind} "${context.source.name}": ${problems.join("; ")}`);
      const { problem, ...result } = objectOf(await mover.backup({ ...context, id }), "backup");
      if (problem !== undefined) throw new DrayError("DATA_MOVEMENT_FAILED", problem);
      return formatBackupResult(result);
    }
    case "restore": {
      if (moved === undefined) throw new DrayError("VALIDATION_FAILED", "Cannot restore: the request does not say what was moved");
      const { totalBytes, problem } = objectOf(await mover.restore({ ...context, moved }), "restore");
      if (problem !== undefined) throw new DrayError("DATA_MOVEMENT_FAILED", problem);
      return JSON.stringify({ totalBytes });
    }
    case "delete":
      await mover.delete({ ...context, id, ...(moved === undefined ? {} : { moved }) });
      return "{}";
  }
}

/** A module need not have been checked by a compiler. */
function objectOf<T extends object>(returned: T, method: string): T {
  if (typeof returned === "object" && returned !== null) return returned;
  const what = returned === undefined ? "nothing" : (JSON.stringify(returned) ?? typeof returned).slice(0, 200);
  throw new DrayError("VALIDATION_FAILED", `Cannot tell the result of the mover: its ${method} returned ${what}, an object is wanted`);
}

/** The bucket of the request's location, with the credentials that lie beside it. */
async function openStore({ target }: MoverRequest, { clock, random, env }: RunMoverOptions): Promise<ObjectStore> {
  const read = async (name: string): Promise<string | undefined> => {
    const path = join(target.credentials, name);
    return existsSync(path) ? readFile(path, "utf8") : undefined;
  };
  const text = await read(MOVER_SECRET_KEYS.locationJson);
  if (text === undefined) throw new DrayError("NOT_SUPPORTED", `Cannot open target "${target.name}" of kind "${target.kind}": it is not a backup location`);
  const { metadata, spec } = JSON.parse(text) as BackupStorageLocation;
  const [credentialsText, caCertPem] = [await read(MOVER_SECRET_KEYS.credentials), await read(MOVER_SECRET_KEYS.caCert)];
  const { provider, objectStorage, config } = spec;
  const named = { name: metadata.name ?? "", provider, fields: { objectStorage, ...(config === undefined ? {} : { config }) } };
  const secrets = { ...(credentialsText === undefined ? {} : { credentialsText }), ...(caCertPem === undefined ? {} : { caCertPem }) };
  return new RetryingObjectStore(await openLocationStore(named, { clock, random, secrets, environment: env }), { clock, random });
}

function makeWorkspace(env: RunMoverOptions["env"]): string {
  const folder = env[MOVER_ENV.workspace] ?? tmpdir();
  mkdirSync(folder, { recursive: true });
  return mkdtempSync(join(folder, "move-"));
}

function writeResult({ env, logger }: RunMoverOptions, text: string): void {
  const path = env[MOVER_ENV.result] ?? "/dev/termination-log";
  try {
    writeFileSync(path, text);
  } catch (error) {
    logger.warn("The result cannot be written", { path, ...errorFields(error) });
  }
}
