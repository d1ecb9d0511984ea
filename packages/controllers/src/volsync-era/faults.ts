/** Which failures of preparing a volume end it. */
import { hasCode, messageOf } from "@drayage/base";
import { failed, type Work } from "../data-movement/work.ts";

/** What only a person can put right fails the volume at once; what may pass is thrown, and tried again. */
const FAULTS = ["KUBE_NOT_FOUND", "REPO_WRONG_PASSWORD", "NOT_SUPPORTED", "VALIDATION_FAILED", "BLOB_BAD_CONFIG"] as const;

export async function faultsAsWork(look: () => Promise<Work>): Promise<Work> {
  try {
    return await look();
  } catch (error) {
    if (FAULTS.some((code) => hasCode(error, code))) return failed(messageOf(error));
    throw error;
  }
}
