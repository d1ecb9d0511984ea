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
  /** The folder of the platform package, which brings a compiled file along; undefined where none is installed. It is looked into first. */
  readonly prebuilt?: string | undefined;
  /** The folder with node_api.h; undefined where the package with the headers is missing. */
  readonly headers: string | undefined;
  /** PATH, in which the compiler is looked for. */
  readonly searchPath: string;
}

/** `native/build` of this package, else the XDG cache folder. */
export function addonPlaces(env: NodeJS.ProcessEnv = process.env): AddonPlaces {
  const native = fileURLToPath(new URL("../../native/", import.meta.url));
  const prebuilt = folderOf(`${PLATFORM_PACKAGE}/package.json`);
  const cache = env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return {
    source: join(native, "kernels.cc"),
    folders: [join(native, "build"), join(cache, "drayage", "native")],
    ...(prebuilt === undefined ? {} : { prebuilt }),
    headers: headersFolder(),
    searchPath: env["PATH"] ?? "",
  };
}

/** The package that brings the addon compiled for this kind of machine; tools/pack-kernels.ts makes it. One that was made of another source has a file of another name in it. */
export const PLATFORM_PACKAGE: string = `@drayage/kernels-${process.platform}-${process.arch}`;

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
  return findAddons(places)[0];
}

/** All of them, in the order in which they are tried: the one of the platform package first. */
export function findAddons(places: AddonPlaces): string[] {
  const name = addonName(places);
  if (name === undefined) return [];
  const folders = places.prebuilt === undefined ? places.folders : [places.prebuilt, ...places.folders];
  return folders.map((folder) => join(folder, name)).filter(isTrusted);
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
  const folder = folderOf("node-api-headers/package.json");
  return folder === undefined ? undefined : join(folder, "include");
}

/** The folder of an installed file; undefined where it is not. */
function folderOf(file: string): string | undefined {
  try {
    return dirname(createRequire(import.meta.url).resolve(file));
  } catch {
    return undefined;
  }
}
