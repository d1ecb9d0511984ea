/** How much a restore has to fetch, and how long that may take going by what earlier movements in this cluster took. */
import { type DataDownload, type DataUpload, dataDownloads, dataUploads } from "@drayage/api";
import { parseTime } from "@drayage/base";
import { type KubeClient, type KubeObject, type Pod, pods, type ResourceType } from "@drayage/kube";
import { allOf } from "../all-of.ts";

export interface FetchEstimate {
  /** Of the volumes whose size the backup knows. */
  readonly bytes: number;
  /** Undefined where there is nothing to go by. */
  readonly seconds?: number;
  /** What `seconds` was reckoned from. */
  readonly basis?: { readonly movements: "DataDownloads" | "DataUploads"; readonly count: number; readonly bytesPerSecond: number; readonly atOnce: number };
}

export interface EstimateFetchOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly volumes: readonly { readonly bytes: number | undefined }[];
  readonly signal: AbortSignal;
}

/** As many of the newest as say something of today. */
const MOVEMENTS_MAX = 50;

export async function estimateFetch({ client, namespace, volumes, signal }: EstimateFetchOptions): Promise<FetchEstimate> {
  const sizes = volumes.map(({ bytes }) => bytes ?? 0).filter((bytes) => bytes > 0);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (bytes === 0) return { bytes, seconds: 0 };
  const downloads = rateOf(await newest<DataDownload>(client, dataDownloads, namespace, signal));
  const rate = downloads ?? rateOf(await newest<DataUpload>(client, dataUploads, namespace, signal));
  if (rate === undefined) return { bytes };
  const agents = await allOf(client.listAll<Pod>(pods, { namespace, labelSelector: "role=node-agent", signal }));
  // Each node moves one volume at a time unless it is told otherwise.
  const atOnce = Math.max(1, Math.min(sizes.length, agents.filter(({ status }) => status?.phase === "Running").length));
  // No sooner than the largest volume alone.
  const seconds = Math.ceil(Math.max(bytes / atOnce, ...sizes) / rate.bytesPerSecond);
  return { bytes, seconds, basis: { movements: downloads === undefined ? "DataUploads" : "DataDownloads", ...rate, atOnce } };
}

type Movement = Pick<DataDownload | DataUpload, "status">;

async function newest<T extends KubeObject>(client: KubeClient, type: ResourceType<T>, namespace: string, signal: AbortSignal): Promise<T[]> {
  const all = await allOf(client.listAll<T>(type, { namespace, signal }));
  return all.sort((a, b) => (parseTime(b.metadata.creationTimestamp) ?? 0) - (parseTime(a.metadata.creationTimestamp) ?? 0)).slice(0, MOVEMENTS_MAX);
}

function rateOf(movements: readonly Movement[]): { readonly count: number; readonly bytesPerSecond: number } | undefined {
  let [bytes, seconds, count] = [0, 0, 0];
  for (const { status } of movements) {
    const moved = status?.progress?.totalBytes ?? 0;
    const [startMs, endMs] = [parseTime(status?.startTimestamp ?? ""), parseTime(status?.completionTimestamp ?? "")];
    if (status?.phase !== "Completed" || moved === 0 || startMs === undefined || endMs === undefined) continue;
    bytes += moved;
    // Times are whole seconds.
    seconds += Math.max((endMs - startMs) / 1_000, 1);
    count++;
  }
  return count === 0 ? undefined : { count, bytesPerSecond: Math.round(bytes / seconds) };
}
