/**
 * A DataDownload of ours, one step.
 *
 *   New ──► Accepted ──a new volume──► Prepared ──► InProgress ──filled, handed over──► Completed
 *                 spec.cancel, or being deleted ──► Canceling ──► Canceled
 *
 * The claim of the application waits with a selector that no provisioner serves. A claim of ours has the storage make a volume; once it is filled, it is given to the application's:
 * it is kept (Retain), our claim goes, it takes the selector's labels and the name of its new claim, and once that is bound it gets its reclaim policy back.
 */
import { type DataDownload, type DataDownloadStatus, dataDownloads } from "@drayage/api";
import { type KubeObject, persistentVolumeClaims, persistentVolumes } from "./cluster-api.ts";
import type { VendorContext } from "./vendor-context.ts";

export const DOWNLOAD_FINALIZER = "storage.vendor.example/download";
/** On a DataDownload: the volume that was filled and the policy that it is to have in the end. From then on it is only handed over. */
const FILLED = "storage.vendor.example/filled";
const PREPARE_LIMIT_MS = 30 * 60_000;

export async function stepDownload(context: VendorContext, download: DataDownload): Promise<void> {
  const { api, namespace, copies, appliance, now } = context;
  const { uid = "", name = "", resourceVersion, deletionTimestamp, finalizers = [], annotations = {} } = download.metadata;
  const { spec, status = {} } = download;
  const set = (change: DataDownloadStatus, metadata: object = {}): Promise<void> =>
    api.patch(dataDownloads, namespace, name, { metadata: { resourceVersion, ...metadata }, status: change });
  const end = (phase: "Completed" | "Failed" | "Canceled", change: DataDownloadStatus = {}): Promise<void> =>
    set({ ...change, phase, completionTimestamp: now().toISOString() });
  const cancel = spec.cancel === true || deletionTimestamp !== undefined;

  switch (status.phase ?? "New") {
    case "New":
      if (cancel) return end("Canceled", { message: "it was canceled before it started" });
      return set({ phase: "Accepted", acceptedTimestamp: now().toISOString() }, { finalizers: [...finalizers, DOWNLOAD_FINALIZER] });
    case "Accepted": {
      if (cancel) return end("Canceled", { message: "it was canceled while its volume was made" });
      const waitedMs = now().getTime() - Date.parse(status.acceptedTimestamp ?? now().toISOString());
      if (waitedMs >= PREPARE_LIMIT_MS) return end("Failed", { message: "the storage has made no volume" });
      return (await newVolume(context, download)) === undefined ? undefined : set({ phase: "Prepared" });
    }
    case "Prepared":
      return set(cancel ? { phase: "Canceling" } : { phase: "InProgress", startTimestamp: now().toISOString() });
    case "InProgress": {
      const filled = annotations[FILLED];
      // What is being handed over is whole: a cancel comes too late.
      if (filled !== undefined) return (await handOver(context, download, filled)) ? end("Completed") : undefined;
      if (cancel) return set({ phase: "Canceling" });
      const copy = copies.of(uid);
      if (copy === undefined) {
        const volume = await newVolume(context, download);
        if (volume === undefined) return end("Failed", { message: "the new volume is gone" });
        const wanted = { name: spec.snapshotID, parameters: { ...spec.dataMoverConfig } };
        copies.start(uid, (report, signal) => appliance.copyIn(wanted, handleOf(volume), report, signal));
        return undefined;
      }
      if (copy.state === "running") {
        const { bytesDone, totalBytes } = copy;
        return bytesDone === (status.progress?.bytesDone ?? 0) ? undefined : set({ progress: { bytesDone, totalBytes } });
      }
      if (copy.state === "failed") return end("Failed", { message: copy.message });
      const volume = await newVolume(context, download);
      if (volume === undefined) return end("Failed", { message: "the new volume is gone" });
      const note = `${volume.spec?.["persistentVolumeReclaimPolicy"]} ${volume.metadata.name}`;
      return set({ progress: { bytesDone: copy.bytes, totalBytes: copy.bytes } }, { annotations: { [FILLED]: note } });
    }
    case "Canceling":
      return copies.of(uid)?.state === "running" ? copies.cancel(uid) : end("Canceled");
    case "Completed":
    case "Failed":
    case "Canceled":
      copies.forget(uid);
      if (!finalizers.includes(DOWNLOAD_FINALIZER)) return undefined;
      // Of a restore that did not end well, the volume goes with its claim.
      await api.delete(persistentVolumeClaims, namespace, name);
      return set({}, { finalizers: finalizers.filter((other) => other !== DOWNLOAD_FINALIZER) });
  }
}

/** Has a volume made for the download; undefined until it is there. */
async function newVolume({ api, namespace }: VendorContext, { metadata, spec }: DataDownload): Promise<KubeObject | undefined> {
  const { name = "" } = metadata;
  const claim = await api.find(persistentVolumeClaims, namespace, name);
  if (claim !== undefined) return claim.status?.["phase"] === "Bound" ? api.find(persistentVolumes, "", String(claim.spec?.["volumeName"])) : undefined;
  const target = await api.find(persistentVolumeClaims, spec.targetVolume.namespace, spec.targetVolume.pvc);
  if (target === undefined) return undefined;
  const { selector: _selector, volumeName: _volumeName, dataSource: _source, dataSourceRef: _reference, ...wanted } = target.spec ?? {};
  await api.create(persistentVolumeClaims, namespace, { metadata: { name }, spec: wanted });
  return undefined;
}

/** The next step of the handover; true once the application's claim has its volume. */
async function handOver({ api, namespace }: VendorContext, { metadata, spec }: DataDownload, filled: string): Promise<boolean> {
  const { name = "" } = metadata;
  const [policy = "Delete", volumeName = ""] = filled.split(" ");
  const volume = await api.find(persistentVolumes, "", volumeName);
  const { namespace: targetNamespace, pvc } = spec.targetVolume;
  const target = await api.find(persistentVolumeClaims, targetNamespace, pvc);
  if (volume === undefined || target === undefined) return false;
  const patchVolume = async (patch: object): Promise<false> => {
    await api.patch(persistentVolumes, "", volumeName, patch);
    return false;
  };
  const owner = (volume.spec?.["claimRef"] ?? {}) as { namespace?: string; name?: string };
  const isTargets = owner.namespace === targetNamespace && owner.name === pvc;
  if (!isTargets) {
    if (volume.spec?.["persistentVolumeReclaimPolicy"] !== "Retain") return patchVolume({ spec: { persistentVolumeReclaimPolicy: "Retain" } });
    if ((await api.find(persistentVolumeClaims, namespace, name)) !== undefined) {
      await api.delete(persistentVolumeClaims, namespace, name);
      return false;
    }
    const { matchLabels } = (target.spec?.["selector"] ?? {}) as { matchLabels?: Record<string, string> };
    const claimRef = { namespace: targetNamespace, name: pvc, uid: null, resourceVersion: null };
    return patchVolume({ metadata: { labels: matchLabels ?? {} }, spec: { claimRef } });
  }
  if ((target.spec?.["volumeName"] ?? "") === "") {
    // Before the binder has seen that the volume is free, it would take the two for strangers.
    if (volume.status?.["phase"] === "Available") await api.patch(persistentVolumeClaims, targetNamespace, pvc, { spec: { volumeName } });
    return false;
  }
  if (target.status?.["phase"] !== "Bound") return false;
  return volume.spec?.["persistentVolumeReclaimPolicy"] === policy ? true : patchVolume({ spec: { persistentVolumeReclaimPolicy: policy } });
}

function handleOf(volume: KubeObject): string {
  return (volume.spec?.["csi"] as { volumeHandle?: string } | undefined)?.volumeHandle ?? "";
}
