/**
 * A storage vendor's controller: it serves the DataUploads and DataDownloads that name its mover, beside Drayage or beside a Velero, with nothing but the kinds of `@drayage/api` and HTTPS.
 *
 * It looks at everything that is its own, takes a step for each, and waits until something changes. It remembers nothing but the copies that this process has running.
 */
import { type DataDownload, type DataMoverBackup, type DataUpload, dataDownloads, dataMoverBackups, dataUploads, type KindDescriptor } from "@drayage/api";
import type { Appliance } from "./appliance.ts";
import { ApiError, type ClusterAccess, ClusterApi } from "./cluster-api.ts";
import { Copies } from "./copies.ts";
import { stepDeletion } from "./deletion.ts";
import { stepDownload } from "./download.ts";
import { MOVER_NAME } from "./registration.ts";
import { stepUpload } from "./upload.ts";
import type { VendorContext } from "./vendor-context.ts";

export interface VendorControllerOptions {
  readonly access: ClusterAccess;
  readonly namespace: string;
  readonly appliance: Appliance;
  readonly now: () => Date;
  readonly signal: AbortSignal;
  /** One line about a step that did not work and is tried again. */
  readonly complain: (message: string) => void;
}

/** What happens to snapshots and claims is not watched: that is looked at as often as this. */
const LOOK_AGAIN_MS = 1_000;

/** Works until it is aborted. */
export async function runVendorController(options: VendorControllerOptions): Promise<void> {
  const { namespace, appliance, now, signal, complain } = options;
  const api = new ClusterApi(options.access);
  let wake = (): void => undefined;
  const copies = new Copies(() => wake());
  const context: VendorContext = { api, namespace, appliance, copies, now };
  while (!signal.aborted) {
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    try {
      const versions = await lookAtAll(context, complain);
      const round = new AbortController();
      const ended = AbortSignal.any([round.signal, signal]);
      await Promise.race([woken, ...versions.map(([kind, version]) => api.changed(kind, namespace, version, LOOK_AGAIN_MS, ended))]);
      round.abort();
    } catch (error) {
      if (signal.aborted) break;
      complain(error instanceof Error ? error.message : String(error));
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }
  copies.cancelAll();
}

type Watched = readonly [kind: KindDescriptor<object>, version: string];

/** One step for each object of ours; returns from where on changes are new. */
async function lookAtAll(context: VendorContext, complain: (message: string) => void): Promise<readonly Watched[]> {
  const { api, namespace } = context;
  const each = async <T extends object>(kind: KindDescriptor<T>, isOurs: (object: T) => boolean, step: (object: T) => Promise<void>): Promise<Watched> => {
    const { items, version } = await api.list(kind, namespace);
    for (const object of items.filter(isOurs)) {
      try {
        await step(object);
      } catch (error) {
        // Somebody else was faster: the next look shows what is there now.
        if (!(error instanceof ApiError && error.code === 409)) complain(error instanceof Error ? error.message : String(error));
      }
    }
    return [kind, version];
  };
  return [
    await each<DataUpload>(
      dataUploads,
      ({ spec }) => spec.datamover === MOVER_NAME,
      (upload) => stepUpload(context, upload),
    ),
    await each<DataDownload>(
      dataDownloads,
      ({ spec }) => spec.datamover === MOVER_NAME,
      (download) => stepDownload(context, download),
    ),
    ...(await deletions(context, each)),
  ];
}

/** Beside a Velero, there is no such kind. */
async function deletions(
  context: VendorContext,
  each: (
    kind: KindDescriptor<DataMoverBackup>,
    isOurs: (object: DataMoverBackup) => boolean,
    step: (object: DataMoverBackup) => Promise<void>,
  ) => Promise<Watched>,
): Promise<readonly Watched[]> {
  try {
    return [
      await each(
        dataMoverBackups,
        ({ spec }) => spec.mover === MOVER_NAME,
        (move) => stepDeletion(context, move),
      ),
    ];
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return [];
    throw error;
  }
}
