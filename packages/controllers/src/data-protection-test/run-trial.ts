/** Carries out a trial: every part for itself, so that one that fails keeps no other from being tried. */
import { type BackupStorageLocation, backupStorageLocations, type DataProtectionTest, type VolumeSnapshot, volumeSnapshots } from "@drayage/api";
import { type Clock, DrayError, isAbort, messageOf } from "@drayage/base";
import { formatDuration, type KubeClient } from "@drayage/kube";
import type { LocationTrials } from "../ports.ts";
import { fileKeyOf, megabitsPerSecond, type SnapshotTrial, type Trial, trialOf, type UploadTrial } from "./data-protection-test.ts";

export interface TrialDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  readonly locations: LocationTrials;
}

type Status = NonNullable<DataProtectionTest["status"]>;
type SnapshotResult = NonNullable<Status["snapshotTests"]>[number];

/** How long a snapshot is left alone between two looks at it. */
const SNAPSHOT_POLL_MS = 2_000;
const TEST_LABEL = "oadp.openshift.io/dpt";

/** What came of it. Does not throw, except what ends the process. */
export async function runTrial(deps: TrialDeps, test: DataProtectionTest, signal: AbortSignal): Promise<Status> {
  try {
    const trial = trialOf(test);
    const location = await locationOf(deps, test, trial, signal);
    const bucket = await bucketOf(deps, location, signal);
    const uploadTest = trial.upload === undefined ? undefined : await upload(deps, location, fileKeyOf(test), trial.upload, signal);
    const snapshotTests = await Promise.all(trial.snapshots.map((snapshot) => trySnapshot(deps, test, snapshot, signal)));
    const ready = snapshotTests.filter(({ status }) => status === "Ready").length;
    return {
      phase: "Complete",
      ...bucket,
      ...(uploadTest === undefined ? {} : { uploadTest }),
      ...(snapshotTests.length === 0 ? {} : { snapshotTests, snapshotSummary: `${ready}/${snapshotTests.length} passed` }),
    };
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    return { phase: "Failed", errorMessage: messageOf(error) };
  }
}

async function locationOf(
  { client, namespace }: TrialDeps,
  test: DataProtectionTest,
  { location }: Trial,
  signal: AbortSignal,
): Promise<BackupStorageLocation> {
  if ("spec" in location) return { metadata: { namespace, name: test.metadata.name ?? "" }, spec: location.spec as BackupStorageLocation["spec"] };
  const found = await client.find(backupStorageLocations, { namespace, name: location.name }, signal);
  if (found !== undefined) return found;
  throw new DrayError("VALIDATION_FAILED", `Cannot run DataProtectionTest "${test.metadata.name}": backup location "${location.name}" does not exist`);
}

async function bucketOf({ locations }: TrialDeps, location: BackupStorageLocation, signal: AbortSignal): Promise<Pick<Status, "s3Vendor" | "bucketMetadata">> {
  try {
    const { vendor, ...bucketMetadata } = await locations.describeBucket(location, signal);
    return { s3Vendor: vendor, bucketMetadata };
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    return { bucketMetadata: { errorMessage: messageOf(error) } };
  }
}

async function upload(
  { locations, clock }: TrialDeps,
  location: BackupStorageLocation,
  key: string,
  { lengthBytes, timeoutMs }: UploadTrial,
  signal: AbortSignal,
): Promise<NonNullable<Status["uploadTest"]>> {
  const late = new AbortController();
  const cancel = clock.after(timeoutMs, () =>
    late.abort(new DrayError("TIMED_OUT", `Cannot upload ${lengthBytes} bytes: it takes longer than ${formatDuration(timeoutMs)}`)),
  );
  try {
    const durationMs = await locations.upload(location, { key, lengthBytes }, AbortSignal.any([signal, late.signal]));
    return { success: true, duration: formatDuration(durationMs), speedMbps: megabitsPerSecond(lengthBytes, durationMs) };
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    return { success: false, errorMessage: messageOf(error) };
  } finally {
    cancel();
  }
}

async function trySnapshot(deps: TrialDeps, test: DataProtectionTest, trial: SnapshotTrial, signal: AbortSignal): Promise<SnapshotResult> {
  const { client, clock } = deps;
  const { namespace, name, claimName, className, timeoutMs } = trial;
  const result = { persistentVolumeClaimName: claimName, persistentVolumeClaimNamespace: namespace };
  try {
    await removeSnapshot(deps, trial, signal);
    const snapshot: VolumeSnapshot = {
      apiVersion: "snapshot.storage.k8s.io/v1",
      kind: "VolumeSnapshot",
      metadata: { namespace, name, labels: { [TEST_LABEL]: test.metadata.name ?? "" } },
      spec: { source: { persistentVolumeClaimName: claimName }, ...(className === undefined ? {} : { volumeSnapshotClassName: className }) },
    };
    const startMs = clock.monotonicMs();
    await client.create(volumeSnapshots, snapshot, { signal });
    const tookMs = await untilReady(deps, trial, startMs, startMs + timeoutMs, signal);
    return { ...result, status: "Ready", readyDuration: formatDuration(tookMs) };
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    return { ...result, status: "Failed", errorMessage: messageOf(error) };
  } finally {
    // Also when the process is asked to end: a trial's signal that is aborted is no reason to leave a snapshot.
    await removeSnapshot(deps, trial, AbortSignal.timeout(REMOVAL_MS)).catch(() => undefined);
  }
}

/** How long the removal of a snapshot object may take; one that is left goes when the trial is run again. */
const REMOVAL_MS = 10_000;

async function removeSnapshot({ client, clock }: TrialDeps, { namespace, name }: SnapshotTrial, signal: AbortSignal): Promise<void> {
  await client.delete(volumeSnapshots, { namespace, name }, { signal });
  while ((await client.find(volumeSnapshots, { namespace, name }, signal)) !== undefined) await clock.sleep(SNAPSHOT_POLL_MS, signal);
}

/** Milliseconds from the start. Throws SNAPSHOT_FAILED when it is not ready in time, with what its driver says. */
async function untilReady(
  { client, clock }: TrialDeps,
  { namespace, name, timeoutMs }: SnapshotTrial,
  startMs: number,
  endMs: number,
  signal: AbortSignal,
): Promise<number> {
  for (;;) {
    const { status } = await client.get(volumeSnapshots, { namespace, name }, signal);
    const nowMs = clock.monotonicMs();
    if (status?.readyToUse === true) return nowMs - startMs;
    if (nowMs >= endMs) {
      const said = status?.error?.message === undefined ? "" : `: ${status.error.message}`;
      throw new DrayError("SNAPSHOT_FAILED", `Cannot use VolumeSnapshot "${namespace}/${name}": it is not ready after ${formatDuration(timeoutMs)}${said}`);
    }
    await clock.sleep(Math.min(SNAPSHOT_POLL_MS, endMs - nowMs), signal);
  }
}
