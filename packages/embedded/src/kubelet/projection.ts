/**
 * Folders whose files come from the API (Secrets, ConfigMaps, tokens, the downward API), replaced all at once as a kubelet does: the files are in a folder named for
 * the moment, `..data` points to it, and each visible name is a link through `..data`. A reader sees the old set or the new one, never a mixture.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type Clock, DrayError, type RandomSource, randomSuffix } from "@drayage/base";

export interface ProjectedFile {
  readonly bytes: Uint8Array;
  readonly mode: number;
}

/** By relative path. */
export type Projection = ReadonlyMap<string, ProjectedFile>;

/** Brings the folder to exactly these files; does nothing when it has them. Throws KUBE_INVALID for a path that would leave it. */
export function writeProjection(
  folder: string,
  files: Projection,
  options: { readonly clock: Clock; readonly random: RandomSource; readonly owner?: { uid: number; gid: number } },
): void {
  for (const path of files.keys()) {
    if (path === "" || path.startsWith("/") || path.split("/").some((part) => part === ".." || part === "") || path.startsWith("..")) {
      throw new DrayError("KUBE_INVALID", `Cannot write volume file "${path}": a relative path without ".." is wanted`);
    }
  }
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (sameAs(folder, files)) return;
  const current = existsSync(join(folder, "..data")) ? readlinkSync(join(folder, "..data")) : undefined;
  const name = `..${stamp(options.clock)}.${randomSuffix(options.random, 10)}`;
  for (const [path, file] of files) {
    const target = join(folder, name, path);
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    writeFileSync(target, file.bytes);
    if (options.owner !== undefined) chownSync(target, options.owner.uid, options.owner.gid);
    chmodSync(target, file.mode);
  }
  if (files.size === 0) mkdirSync(join(folder, name), { recursive: true });
  symlinkSync(name, join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  const visible = new Set([...files.keys()].map((path) => path.split("/")[0] ?? path));
  for (const entry of visible) {
    if (lstatSync(join(folder, entry), { throwIfNoEntry: false }) === undefined) symlinkSync(join("..data", entry), join(folder, entry));
  }
  for (const entry of readdirSync(folder)) if (!entry.startsWith("..") && !visible.has(entry)) rmSync(join(folder, entry));
  if (current !== undefined) rmSync(join(folder, current), { recursive: true, force: true });
}

function sameAs(folder: string, files: Projection): boolean {
  const data = join(folder, "..data");
  if (!existsSync(data)) return false;
  const there = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  if (there.length !== files.size) return false;
  return [...files].every(([path, { bytes }]) => existsSync(join(data, path)) && readFileSync(join(data, path)).equals(bytes));
}

function stamp(clock: Clock): string {
  return new Date(clock.nowMs()).toISOString().replace(/[-:T]/g, "_").slice(0, 19);
}
