/**
 * Limits of what commands on this machine ask of a store, one file a place under the state folder, in the words of kopia's own client settings. Commands under way look at it
 * about every second, so that a long run can be slowed down and let go.
 */
import { createHash } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { DrayError, makeFolders, randomHex } from "@drayage/base";
import type { ThrottleLimits } from "@drayage/blob";
import type { Terminal } from "../terminal.ts";
import { stateFolder } from "./state-folder.ts";

type Context = Pick<Terminal, "env" | "cwd">;

export interface ThrottleSetting {
  readonly limit: keyof ThrottleLimits;
  /** In the file and in `--json`, as kopia has it in its configuration. */
  readonly key: string;
  /** As kopia's flag. */
  readonly flag: string;
  /** As kopia's listing. */
  readonly title: string;
  readonly unit: "bytes" | "requests" | "calls";
}

export const THROTTLE_SETTINGS: readonly ThrottleSetting[] = [
  { limit: "downloadBytesPerSecond", key: "maxDownloadSpeedBytesPerSecond", flag: "download-bytes-per-second", title: "Max Download Speed", unit: "bytes" },
  { limit: "uploadBytesPerSecond", key: "maxUploadSpeedBytesPerSecond", flag: "upload-bytes-per-second", title: "Max Upload Speed", unit: "bytes" },
  { limit: "readsPerSecond", key: "readsPerSecond", flag: "read-requests-per-second", title: "Max Read Requests Per Second", unit: "requests" },
  { limit: "writesPerSecond", key: "writesPerSecond", flag: "write-requests-per-second", title: "Max Write Requests Per Second", unit: "requests" },
  { limit: "listsPerSecond", key: "listsPerSecond", flag: "list-requests-per-second", title: "Max List Requests Per Second", unit: "requests" },
  { limit: "concurrentReads", key: "concurrentReads", flag: "concurrent-reads", title: "Max Concurrent Reads", unit: "calls" },
  { limit: "concurrentWrites", key: "concurrentWrites", flag: "concurrent-writes", title: "Max Concurrent Writes", unit: "calls" },
];

/** The limits that hold for a place. Throws USAGE for a file that says something else. */
export function loadThrottle(url: string, context: Context): ThrottleLimits {
  const path = throttleFile(url, context);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new DrayError("USAGE", `Cannot read the limits in "${path}"`, { cause: error });
  }
  return parseLimits(text, path);
}

/** Stores the limits for a place, whole or not at all; none, and the file goes. Throws USAGE where it cannot be written. */
export function storeThrottle(url: string, limits: ThrottleLimits, context: Context & Pick<Terminal, "random">): void {
  const path = throttleFile(url, context);
  const temporary = `${path}.${randomHex(context.random, 8)}.tmp`;
  const stored = limitsJson(limits);
  try {
    if (Object.keys(stored).length === 0) {
      rmSync(path, { force: true });
      return;
    }
    makeFolders(join(path, ".."), 0o700);
    writeFileSync(temporary, `${JSON.stringify(stored)}\n`, { flag: "wx", mode: 0o600 });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new DrayError("USAGE", `Cannot write the limits to "${path}"`, { cause });
  }
}

/**
 * What holds now, for a throttle to ask. A file that becomes unreadable in the course of a run leaves what held before.
 * @throws USAGE when it cannot be read at first
 */
export function followThrottle(url: string, context: Context): () => ThrottleLimits {
  let limits = loadThrottle(url, context);
  return () => {
    try {
      limits = loadThrottle(url, context);
    } catch {
      // Whoever runs the next command is told.
    }
    return limits;
  };
}

/** As kopia names them, those that limit something. */
export function limitsJson(limits: ThrottleLimits): Record<string, number> {
  return Object.fromEntries(THROTTLE_SETTINGS.flatMap(({ limit, key }) => ((limits[limit] ?? 0) === 0 ? [] : [[key, limits[limit] ?? 0]])));
}

function parseLimits(text: string, path: string): ThrottleLimits {
  const wrong = (what: string): DrayError =>
    new DrayError("USAGE", `Cannot use the limits in "${path}": ${what}`, { hint: "Delete the file, or set them anew with dray repo throttle set." });
  let stored: unknown;
  try {
    stored = JSON.parse(text);
  } catch {
    throw wrong("it is no JSON");
  }
  if (typeof stored !== "object" || stored === null || Array.isArray(stored)) throw wrong("it is no JSON object");
  const limits: Record<string, number> = {};
  for (const [key, value] of Object.entries(stored)) {
    const setting = THROTTLE_SETTINGS.find((one) => one.key === key);
    if (setting === undefined) throw wrong(`"${key}" is not known`);
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
      throw wrong(`"${key}" is ${JSON.stringify(value)}, a number of at least 0 is wanted`);
    limits[setting.limit] = value;
  }
  return limits;
}

function throttleFile(url: string, { env, cwd }: Context): string {
  const name = createHash("sha256").update(placeOf(url, cwd)).digest("hex").slice(0, 32);
  return join(stateFolder(env), "throttle", `${name}.json`);
}

/** The same for every way to write the same place: parameters count only where they say which store it is. */
function placeOf(text: string, cwd: string): string {
  const url = text.replace(/^restic\+/, "");
  if (!/^[a-z0-9]+:\/\//.test(url)) return resolve(cwd, url);
  try {
    const parsed = new URL(url);
    if (parsed.protocol === "file:") return resolve(fileURLToPath(parsed));
    const store = ["endpoint", "storageAccount"].flatMap((name) => parsed.searchParams.get(name) ?? []).join(" ");
    return `${parsed.protocol}//${parsed.host}${parsed.pathname.replace(/\/+$/, "")} ${store}`;
  } catch {
    // Whoever opens it says what is wrong with it.
    return url;
  }
}
