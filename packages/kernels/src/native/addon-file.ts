/** Where the compiled addon is kept, and under which name: one that changes with everything that went into it, so that a stale one is never found. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, type Stats, statSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What the addon is compiled from and where it may be kept. */
export interface AddonPlaces {
  /** native/kernels.cc; it includes the `.h` files beside it. */
  readonly source: string;
  /** Folders for the compiled file, the first that can be written is used. */
  readonly folders: readonly string[];
  /** The folder with node_api.h; undefined where the package with the headers is missing. */
  readonly headers: string | undefined;
  /** PATH, in which the compiler is looked for. */
  readonly searchPath: string;
}

/** `native/build` of this package, else the XDG cache folder. */
export function addonPlaces(env: NodeJS.ProcessEnv = process.env): AddonPlaces {
  const native = fileURLToPath(new URL("../../native/", import.meta.url));
  const cache = env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return {
    source: join(native, "kernels.cc"),
    folders: [join(native, "build"), join(cache, "drayage", "native")],
    headers: headersFolder(),
    searchPath: env["PATH"] ?? "",
  };
}

/** Version 8 of Node-API: every Node from 18 on loads the result, so the version of the running one is no part of the name. */
export const COMPILER_FLAGS: readonly string[] = [
  ...["-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"],
  ...(process.platform === "darwin" ? ["-undefined", "dynamic_lookup"] : []),
];
const NODE_API_VERSION = 8;

/** The file name of what this source compiles to on this kind of machine; undefined where the source is not there, as in a bundle. */
export function addonName({ source }: AddonPlaces): string | undefined {
  if (!existsSync(source)) return undefined;
  const kind = `${process.platform}-${process.arch}`;
  const hash = createHash("sha256")
    .update(`${kind} ${NODE_API_VERSION} ${COMPILER_FLAGS.join(" ")}\n`)
    .update(readFileSync(source));
  for (const header of headersBeside(source)) hash.update(`${basename(header)}\n`).update(readFileSync(header));
  return `kernels-${kind}-${hash.digest("hex").slice(0, 16)}.node`;
}

function headersBeside(source: string): string[] {
  const folder = dirname(source);
  return readdirSync(folder)
    .filter((name) => name.endsWith(".h"))
    .sort()
    .map((name) => join(folder, name));
}

/** The compiled addon, where one is there that this user may trust. */
export function findAddon(places: AddonPlaces): string | undefined {
  const name = addonName(places);
  if (name === undefined) return undefined;
  return places.folders.map((folder) => join(folder, name)).find(isTrusted);
}

/** A library runs with our rights: one that another user put there, or could change, is not loaded. The owner of this package is trusted as its source is. */
function isTrusted(path: string): boolean {
  const file = statOrNothing(path);
  if (file === undefined || !file.isFile()) return false;
  const owners = [0, process.getuid?.(), statSync(import.meta.filename, { throwIfNoEntry: false })?.uid];
  return owners.includes(file.uid) && (file.mode & 0o022) === 0;
}

/** A folder that this user may not even look into holds nothing for it. */
function statOrNothing(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function headersFolder(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("node-api-headers/package.json")), "include");
  } catch {
    return undefined;
  }
}
