/** Snapshot files: which tree was stored of what, when and by whom. Members as restic names them (restic: internal/data/snapshot.go). */
import { fromUtf8 } from "@drayage/base";
import { isMembers, parseCount, parseId, parseMembers, parseText, parseTexts } from "./json.ts";
import { parseTime } from "./time.ts";

export interface ResticSnapshot {
  /** 64 hexadecimal digits: the file's name. */
  readonly id: string;
  readonly timeNs: bigint;
  readonly tree: Uint8Array;
  readonly paths: readonly string[];
  readonly hostName: string;
  readonly userName: string;
  readonly tags: readonly string[];
  /** Id of the snapshot that was looked at for unchanged files; empty without one. */
  readonly parent: string;
  /** `restic 0.18.0`; empty before restic wrote it down. */
  readonly programVersion: string;
  /** What restic counted, since 0.17. */
  readonly summary?: { readonly files: number; readonly bytes: number };
}

/** Throws REPO_CORRUPT. */
export function decodeSnapshot(json: Uint8Array, id: string, what: string): ResticSnapshot {
  const members = parseMembers(fromUtf8(json), what);
  const { summary } = members;
  return {
    id,
    timeNs: parseTime(members["time"], "time", what),
    tree: parseId(members["tree"], what),
    paths: parseTexts(members["paths"], "paths", what),
    hostName: parseText(members["hostname"], "hostname", what),
    userName: parseText(members["username"], "username", what),
    tags: parseTexts(members["tags"], "tags", what),
    parent: parseText(members["parent"], "parent", what),
    programVersion: parseText(members["program_version"], "program_version", what),
    ...(isMembers(summary)
      ? {
          summary: {
            files: parseCount(summary["total_files_processed"], "total_files_processed", what),
            bytes: parseCount(summary["total_bytes_processed"], "total_bytes_processed", what),
          },
        }
      : {}),
  };
}
