/**
 * A DataUpload of ours, one step: look at the world, do the next thing, and say so in the object. Every step can be repeated.
 *
 *   New ──► Accepted ──snapshot can be read──► Prepared ──► InProgress ──copied──► Completed
 *    │          │ 30 min: Failed                   │            │ failed: Failed
 *    └──────────┴── spec.cancel, or being deleted ─┴────────────┴──► Canceling ──copy stopped and removed──► Canceled
 *
 * The VolumeSnapshot was cut for us alone: at the end it goes, with the snapshot in the storage. Nobody else deletes it.
 */
import { type DataUpload, type DataUploadStatus, dataUploads, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import type { VendorContext } from "./vendor-context.ts";

/** Keeps a DataUpload until its snapshot is gone. */
export const UPLOAD_FINALIZER = "storage.vendor.example/upload";
const PREPARE_LIMIT_MS = 30 * 60_000;

export async function stepUpload(context: VendorContext, upload: DataUpload): Promise<void> {
  const { api, namespace, copies, appliance, now } = context;
  const { uid = "", name = "", resourceVersion, deletionTimestamp, finalizers = [] } = upload.metadata;
  const { spec, status = {} } = upload;
  // With the version that was seen: when two controllers run, one of them gets a conflict and looks again.
  const set = (change: DataUploadStatus, metadata: object = {}): Promise<void> =>
    api.patch(dataUploads, namespace, name, { metadata: { resourceVersion, ...metadata }, status: change });
  const end = (phase: "Completed" | "Failed" | "Canceled", change: DataUploadStatus = {}): Promise<void> =>
    set({ ...change, phase, completionTimestamp: now().toISOString() });
  const cancel = spec.cancel === true || deletionTimestamp !== undefined;

  switch (status.phase ?? "New") {
    case "New":
      if (cancel) return end("Canceled", { message: "it was canceled before it started" });
      return set({ phase: "Accepted", acceptedTimestamp: now().toISOString() }, { finalizers: [...finalizers, UPLOAD_FINALIZER] });
    case "Accepted": {
      if (cancel) return end("Canceled", { message: "it was canceled while its snapshot was awaited" });
      if ((await snapshotOf(context, upload))?.isReady === true) return set({ phase: "Prepared" });
      const waitedMs = now().getTime() - Date.parse(status.acceptedTimestamp ?? now().toISOString());
      return waitedMs < PREPARE_LIMIT_MS ? undefined : end("Failed", { message: `VolumeSnapshot "${spec.csiSnapshot?.volumeSnapshot}" cannot be read` });
    }
    case "Prepared":
      return set(cancel ? { phase: "Canceling" } : { phase: "InProgress", startTimestamp: now().toISOString(), node: "" });
    case "InProgress": {
      if (cancel) return set({ phase: "Canceling" });
      const copy = copies.of(uid);
      if (copy === undefined) {
        const snapshot = await snapshotOf(context, upload);
        if (snapshot === undefined) return end("Failed", { message: `VolumeSnapshot "${spec.csiSnapshot?.volumeSnapshot}" is gone` });
        const wanted = { name: uid, parameters: { ...spec.dataMoverConfig } };
        copies.start(uid, (report, signal) => appliance.copyOut(snapshot.handle, wanted, report, signal));
        return undefined;
      }
      if (copy.state === "running") {
        const { bytesDone, totalBytes } = copy;
        return bytesDone === (status.progress?.bytesDone ?? 0) ? undefined : set({ progress: { bytesDone, totalBytes } });
      }
      if (copy.state === "failed") {
        await appliance.remove(uid);
        return end("Failed", { message: copy.message });
      }
      // The restore is given snapshotID and dataMoverResult, and nothing else of this object.
      const moved = { snapshotID: uid, incrementalBytes: copy.bytes, progress: { bytesDone: copy.bytes, totalBytes: copy.bytes } };
      return end("Completed", { ...moved, dataMoverResult: { tier: spec.dataMoverConfig?.["tier"] ?? "" } });
    }
    case "Canceling":
      if (copies.of(uid)?.state === "running") return copies.cancel(uid);
      await appliance.remove(uid);
      return end("Canceled");
    case "Completed":
    case "Failed":
    case "Canceled":
      copies.forget(uid);
      if (!finalizers.includes(UPLOAD_FINALIZER)) return undefined;
      await removeSnapshot(context, upload);
      return set({}, { finalizers: finalizers.filter((other) => other !== UPLOAD_FINALIZER) });
  }
}

interface ReadableSnapshot {
  readonly handle: string;
  readonly isReady: boolean;
  readonly content: string;
}

async function snapshotOf({ api }: VendorContext, { spec }: DataUpload): Promise<ReadableSnapshot | undefined> {
  const snapshot = await api.find(volumeSnapshots, spec.sourceNamespace, spec.csiSnapshot?.volumeSnapshot ?? "");
  const content = snapshot?.status?.boundVolumeSnapshotContentName;
  const found = content === undefined ? undefined : await api.find(volumeSnapshotContents, "", content);
  const handle = found?.status?.snapshotHandle;
  return content === undefined || handle === undefined ? undefined : { handle, content, isReady: snapshot?.status?.readyToUse === true };
}

/** Whatever its class says: a snapshot that is kept by nobody's object would be kept for ever. */
async function removeSnapshot(context: VendorContext, upload: DataUpload): Promise<void> {
  const { api } = context;
  const { sourceNamespace, csiSnapshot } = upload.spec;
  const snapshot = await snapshotOf(context, upload);
  if (snapshot !== undefined) await api.patch(volumeSnapshotContents, "", snapshot.content, { spec: { deletionPolicy: "Delete" } });
  if (csiSnapshot != null) await api.delete(volumeSnapshots, sourceNamespace, csiSnapshot.volumeSnapshot);
}
