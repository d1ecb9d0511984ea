/** Example: a volume as one tar file in the backup location. Everything that a mover needs is here; nothing of it is special to Drayage but the contract. */
import { execFile } from "node:child_process";
import { createWriteStream, lstatSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { DrayError } from "@drayage/base";
import type { DataMover, MoverSource } from "@drayage/mover-sdk";

const run = promisify(execFile);

const mover: DataMover = {
  name: "tar",
  version: "1.0.0",
  description: "A volume as one tar file",
  capabilities: { kinds: ["persistentvolumeclaims"], cancel: true, progress: true, block: false, incremental: false },
  targets: ["BackupStorageLocation"],
  parameters: {
    type: "object",
    properties: {
      compression: { type: "string", enum: ["none", "gzip"], default: "gzip", description: "How the file is compressed" },
      exclude: { type: "array", items: { type: "string" }, default: [], description: "Patterns of names that are left out, as tar knows them" },
    },
  },

  async validate(source) {
    return source.volume?.mode === "Filesystem" ? [] : [`${source.kind} "${source.name}" is not a volume with files`];
  },

  async backup({ source, id, target, parameters, workspace, signal, progress }) {
    const folder = folderOf(source);
    const totalBytes = bytesBelow(folder);
    progress({ totalBytes, doneBytes: 0 });
    const [file, compression] = [join(workspace, "volume.tar"), String(parameters["compression"])];
    const excludes = (parameters["exclude"] as readonly string[]).map((pattern) => `--exclude=${pattern}`);
    await run("tar", ["--create", "--file", file, "--format=posix", "--numeric-owner", ...flagOf(compression), ...excludes, "--directory", folder, "."], {
      signal,
    });
    await target.store.putFile(`${id}/volume.tar`, file, signal);
    progress({ totalBytes, doneBytes: totalBytes });
    return { snapshotId: id, totalBytes, incrementalBytes: statSync(file).size, result: { compression } };
  },

  async restore({ source, target, moved, workspace, signal, progress }) {
    const folder = folderOf(source);
    const file = join(workspace, "volume.tar");
    const parts = await target.store.getStream(`${moved.snapshotId}/volume.tar`, signal);
    await pipeline(Readable.from(parts), createWriteStream(file), { signal });
    await run(
      "tar",
      ["--extract", "--file", file, "--same-permissions", "--numeric-owner", ...flagOf(moved.result?.["compression"] ?? "none"), "--directory", folder],
      {
        signal,
      },
    );
    const totalBytes = bytesBelow(folder);
    progress({ totalBytes, doneBytes: totalBytes });
    return { totalBytes };
  },

  async delete({ id, target, signal }) {
    await target.store.delete(`${id}/volume.tar`, signal);
  },

  async list({ target, signal }) {
    const found: { snapshotId: string }[] = [];
    for await (const { key } of target.store.list("", signal)) found.push({ snapshotId: key.split("/")[0] ?? "" });
    return found;
  },
};

export default mover;

function folderOf(source: MoverSource): string {
  if (source.volume?.mode !== "Filesystem")
    throw new DrayError("NOT_SUPPORTED", `Cannot move "${source.namespace}/${source.name}": it has no volume with files`);
  return source.volume.path;
}

function flagOf(compression: string): readonly string[] {
  return compression === "gzip" ? ["--gzip"] : [];
}

function bytesBelow(folder: string): number {
  return (readdirSync(folder, { recursive: true }) as string[]).reduce((sum, name) => {
    const info = lstatSync(join(folder, name));
    return info.isFile() ? sum + info.size : sum;
  }, 0);
}
