/** Whose snapshot of what: `user@host:path`. Snapshots of equal sources form a line of which each is the next one's parent. */
import { DrayError } from "@drayage/base";
import type { Labels } from "../manifest/manifest-content.ts";

export interface SnapshotSource {
  readonly userName: string;
  readonly host: string;
  readonly path: string;
}

/** Throws USAGE. The first `@` and the first `:` after it separate, as in Kopia. */
export function parseSnapshotSource(text: string): SnapshotSource {
  const match = /^([^@]+)@([^:]+):(.+)$/s.exec(text);
  if (match === null) throw new DrayError("USAGE", `Cannot read snapshot source ${JSON.stringify(text)}: user@host:path is wanted`);
  const [, userName = "", host = "", path = ""] = match;
  return { userName, host, path };
}

export function formatSnapshotSource(source: SnapshotSource): string {
  return `${source.userName}@${source.host}:${source.path}`;
}

export function labelsOfSource(source: SnapshotSource): Labels {
  return { hostname: source.host, username: source.userName, path: source.path };
}
