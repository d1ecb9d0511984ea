/** What stands behind this program's own image in the embedded cluster: the program itself, as the real image has it, at `/velero` and `/dray`. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { ImageMapping } from "@drayage/embedded/kubelet";

/** The folder that holds the program, its packages and its dependencies. */
export const programRoot: string = resolve(fileURLToPath(new URL("../../../../", import.meta.url)));
export const programMain: string = fileURLToPath(new URL("../main.ts", import.meta.url));

/** Where the program's folder of commands is in a container. */
const BIN = "/.dray/bin";
const LOCAL_BIN = "/.dray/local";

/**
 * The mapping of `drayage/dray:*`. Scripts that start the program are written to `folder`; they run the same Node as this process, and keep compiled code in
 * `compileCache`, which is worth half of a short command's time. The real image has restic beside it; here that of this machine stands for it, where there is one.
 */
export function programImage(folder: string, compileCache: string, env: Readonly<Record<string, string | undefined>> = process.env): ImageMapping {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true, mode: 0o755 });
  mkdirSync(compileCache, { recursive: true, mode: 0o700 });
  const script = (name: string, words: readonly string[]): void => {
    const line = [process.execPath, programMain, ...words].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    writeFileSync(join(bin, name), `#!/bin/sh\nexec ${line} "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  };
  script("dray", []);
  script("velero", []);
  script("velero-restore-helper", ["restore-helper"]);
  const restic = resticOf(env);
  const at = (path: string, target: string, readOnly = true) => ({ source: path, target, readOnly });
  return {
    pattern: "drayage/dray:*",
    entrypoint: ["/velero"],
    mounts: [
      at(programRoot, programRoot),
      at(dirname(process.execPath), dirname(process.execPath)),
      at(bin, BIN),
      at(compileCache, compileCache, false),
      ...["dray", "velero", "velero-restore-helper"].map((name) => at(join(bin, name), `/${name}`)),
      ...(restic === undefined ? [] : [at(restic, `${LOCAL_BIN}/restic`)]),
    ],
    environment: { NODE_COMPILE_CACHE: compileCache },
    path: restic === undefined ? [BIN] : [BIN, LOCAL_BIN],
  };
}

/** `DRAYAGE_RESTIC`, else what PATH has. */
function resticOf(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const folders = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder.startsWith("/"));
  return [env["DRAYAGE_RESTIC"] ?? "", ...folders.map((folder) => join(folder, "restic"))].find((path) => path !== "" && existsSync(path));
}
