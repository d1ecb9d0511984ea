/** Files of a backup or a restore, fetched as Velero's CLI does: a DownloadRequest, answered by the server with a signed address. */
import { gunzipSync } from "node:zlib";
import { type DownloadRequestSpec, downloadRequests } from "@drayage/api";
import { DrayError, isAbort, messageOf, randomSuffix } from "@drayage/base";
import type { Terminal } from "../terminal.ts";
import type { ClusterAccess } from "./access.ts";

const ANSWER_LIMIT_MS = 60_000;
const POLL_MS = 200;
/** A log or a list of a backup; anything larger is not what was asked for. */
const UNPACKED_BYTES_MAX = 1 << 30;

type FileKind = DownloadRequestSpec["target"]["kind"];

/** The stored bytes. Throws BLOB_NOT_FOUND when the store has no such file, TIMED_OUT when no server answers. */
export async function downloadFile(access: ClusterAccess, kind: FileKind, name: string, terminal: Terminal): Promise<Uint8Array> {
  const url = await requestUrl(access, kind, name, terminal);
  let response: Response;
  try {
    response = await fetch(url, { signal: terminal.signal });
  } catch (error) {
    if (isAbort(error, terminal.signal)) throw error;
    throw new DrayError("BLOB_UNAVAILABLE", `Cannot download ${kind} of "${name}": ${messageOf(error)}`, {
      cause: error,
      hint: "The address that the server signed must be reachable from here; config.publicUrl of the backup location can name another one.",
    });
  }
  if (response.status === 404) throw new DrayError("BLOB_NOT_FOUND", `Cannot download ${kind} of "${name}": the store has no such file`);
  if (!response.ok) throw new DrayError("BLOB_UNAVAILABLE", `Cannot download ${kind} of "${name}": the store answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The unpacked text of a gzipped file. */
export async function downloadText(access: ClusterAccess, kind: FileKind, name: string, terminal: Terminal): Promise<string> {
  const packed = await downloadFile(access, kind, name, terminal);
  try {
    return gunzipSync(packed, { maxOutputLength: UNPACKED_BYTES_MAX }).toString("utf8");
  } catch (error) {
    throw new DrayError("ARCHIVE_CORRUPT", `Cannot unpack ${kind} of "${name}": ${messageOf(error)}`, { cause: error });
  }
}

/** A file of JSON, or undefined when the backup has none. */
export async function downloadJson<T>(access: ClusterAccess, kind: FileKind, name: string, terminal: Terminal): Promise<T | undefined> {
  try {
    return JSON.parse(await downloadText(access, kind, name, terminal)) as T;
  } catch (error) {
    if (error instanceof DrayError && error.code === "BLOB_NOT_FOUND") return undefined;
    throw error;
  }
}

async function requestUrl({ client, namespace }: ClusterAccess, kind: FileKind, name: string, { clock, random, signal }: Terminal): Promise<string> {
  const request = await client.create(
    downloadRequests,
    {
      apiVersion: "velero.io/v1",
      kind: "DownloadRequest",
      metadata: { namespace, name: `${name.slice(0, 200)}-${randomSuffix(random, 8)}` },
      spec: { target: { kind, name } },
    },
    { signal },
  );
  const key = { namespace, name: request.metadata.name ?? "" };
  const untilMs = clock.monotonicMs() + ANSWER_LIMIT_MS;
  try {
    for (;;) {
      const { status } = await client.get(downloadRequests, key, signal);
      if (status?.downloadURL !== undefined && status.downloadURL !== "") return status.downloadURL;
      if (status?.phase === "Processed") throw new DrayError("BLOB_NOT_FOUND", `Cannot download ${kind} of "${name}": the server has no address for it`);
      if (clock.monotonicMs() > untilMs) {
        throw new DrayError("TIMED_OUT", `Cannot download ${kind} of "${name}": no server answered within ${ANSWER_LIMIT_MS / 1000} s`, {
          hint: "Is the server running? dray doctor looks.",
        });
      }
      await clock.sleep(POLL_MS, signal);
    }
  } finally {
    await client.delete(downloadRequests, key).catch(() => undefined);
  }
}
