/**
 * The files of a mover that is a module, as they are given to a cluster: its own and those that it imports beside it, in a ConfigMap that its pods mount. So a mover is tried, and
 * used, without an image of its own.
 */
import { existsSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { basename, dirname, join } from "node:path";
import { MOVER_FILES_PATH } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { ConfigMap } from "@drayage/kube";

/** The API server takes 1 MiB for the whole object. */
const BYTES_MAX = 900 << 10;
/** Types go before the module runs, so what they come from is not needed. */
const IMPORT = /(?:^|[;\n])\s*(?:import|export)\s+(type\s+)?(?:[^"'`;]*?\sfrom\s+)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/g;
const TYPES_ALONE = /(?:^|[;\n])\s*(?:import|export)\s+\{\s*(?:type\s+[\w\s]+,?\s*)+\}\s+from\s+["'][^"']+["']/g;

export interface ModuleFiles {
  readonly configMap: ConfigMap;
  /** Where the pods find the module. */
  readonly path: string;
}

/** Throws VALIDATION_FAILED for a module that needs what cannot be given along, and PATH_NOT_FOUND for a file that is not there. */
export function moduleFiles(file: string, mover: string, namespace: string): ModuleFiles {
  const folder = dirname(file);
  const data: Record<string, string> = {};
  const waiting = [basename(file)];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (data[name] !== undefined) continue;
    const path = join(folder, name);
    if (!existsSync(path)) throw new DrayError("PATH_NOT_FOUND", `Cannot give mover "${mover}" to the cluster: "${path}" is not there`);
    const text = readFileSync(path, "utf8");
    data[name] = text;
    waiting.push(...importsOf(text).map((specifier) => besideOf(specifier, mover, name ?? "")));
  }
  const bytes = Object.values(data).reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (bytes > BYTES_MAX) throw refused(mover, `its files have ${bytes} bytes, at most ${BYTES_MAX} can be kept in a ConfigMap`);
  return { configMap: { metadata: { namespace, name: moduleFilesName(mover) }, data }, path: `${MOVER_FILES_PATH}/${basename(file)}` };
}

export function moduleFilesName(mover: string): string {
  return `drayage-mover-${mover}`;
}

/** What a module needs when it runs, by its name. */
function importsOf(text: string): string[] {
  return [...text.replaceAll(TYPES_ALONE, "").matchAll(IMPORT)]
    .filter((match) => match[1] === undefined)
    .map((match) => match[2] ?? match[3] ?? "")
    .filter((specifier) => !isBuiltin(specifier));
}

/** The name of a file in the same folder. */
function besideOf(specifier: string, mover: string, importer: string): string {
  const name = specifier.startsWith("./") ? specifier.slice(2) : undefined;
  if (name !== undefined && /^[\w.-]+$/.test(name)) return name;
  const why = specifier.startsWith(".") ? "which is in another folder" : "which is a package";
  throw refused(mover, `${importer} imports "${specifier}", ${why}`);
}

function refused(mover: string, why: string): DrayError {
  return new DrayError("VALIDATION_FAILED", `Cannot give mover "${mover}" to the cluster: ${why}`, {
    hint: "Bundle it into one file, or put it into an image and register it with --image and --path.",
  });
}
