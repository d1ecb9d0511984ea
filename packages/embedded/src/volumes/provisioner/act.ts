/** The provisioner's calls to the driver. */
import { hasCode, isDrayError, messageOf } from "@drayage/base";
import { type EventRecorder, persistentVolumes } from "@drayage/kube";
import { csiError } from "@drayage/protocols/csi";
import type { ActResult } from "../reconcile-with.ts";
import { create, event, type StepRunner } from "../steps.ts";
import type { StorageDriver } from "../storage-driver.ts";
import type { MadeVolumes } from "./made-volumes.ts";
import { createVolumeRequest, persistentVolumeFor } from "./persistent-volume.ts";
import { failed, type ProvisionStep } from "./provision.ts";
import type { DeleteVolumeStep } from "./reclaim.ts";

/** A node lets go of a volume a moment after its last pod; no object tells of it, so it is asked for again. */
const IN_USE_RECHECK_MS = 500;

/** Makes the volume and its object. A refusal is told as an Event of the claim and thrown, to be tried again. */
export async function provision(
  step: ProvisionStep,
  { driver, identity, made }: { readonly driver: StorageDriver; readonly identity: string; readonly made: MadeVolumes },
  runner: StepRunner,
  signal: AbortSignal,
): Promise<ActResult> {
  try {
    const { volume } = await driver.CreateVolume(createVolumeRequest(step, driver), { signal });
    if (volume === null) throw csiError("INTERNAL", `Cannot provision a volume: driver "${driver.name}" answered without one`);
    const object = persistentVolumeFor(step, volume, { driverName: driver.name, identity });
    await runner.run(create(persistentVolumes, object));
    made.add(object);
    await runner.run(event(step.claim, "Normal", "ProvisioningSucceeded", `Successfully provisioned volume ${object.metadata.name}`));
    return {};
  } catch (error) {
    if (!signal.aborted) for (const told of failed(step, grpcText(error)).steps) await runner.run(told);
    throw error;
  }
}

/** As the field's provisioner writes a driver's refusal: whoever reads the event sees by the code whether asking again can help. */
function grpcText(error: unknown): string {
  const status = isDrayError(error) ? error.context["status"] : undefined;
  if (typeof status !== "string") return messageOf(error);
  const code = status.toLowerCase().replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return `rpc error: code = ${code} desc = ${messageOf(error)}`;
}

/** Deletes a volume's storage. */
export async function deleteVolume(step: DeleteVolumeStep, driver: StorageDriver, recorder: EventRecorder, signal: AbortSignal): Promise<ActResult> {
  try {
    await driver.DeleteVolume({ volumeId: step.handle }, { signal });
    return {};
  } catch (error) {
    if (hasCode(error, "CSI_PRECONDITION", "CSI_BUSY")) return { again: { afterMs: IN_USE_RECHECK_MS } };
    if (!signal.aborted) recorder.event(step.volume, "Warning", "VolumeFailedDelete", messageOf(error));
    throw error;
  }
}
