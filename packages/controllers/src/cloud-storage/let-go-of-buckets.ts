/** What an operator does last where it was removed: nobody would delete the buckets of CloudStorages any more, so none of those objects waits for that. The buckets stay. */
import { cloudStorages } from "@drayage/api";
import { hasCode } from "@drayage/base";
import { hasFinalizer, type KubeClient, keyOf, type RetryOnConflictOptions, updateObject, withoutFinalizer } from "@drayage/kube";
import { BUCKET_FINALIZER } from "./cloud-storage-controller.ts";

export interface LetGoDeps extends RetryOnConflictOptions {
  readonly client: KubeClient;
  readonly namespace: string;
}

/** Takes the finalizer off every CloudStorage of a namespace. Returns their names. An operator that is installed again puts it back where it is asked for. */
export async function letGoOfBuckets({ client, namespace, ...options }: LetGoDeps): Promise<string[]> {
  const names: string[] = [];
  for await (const storage of client.listAll(cloudStorages, { namespace, signal: options.signal })) {
    if (!hasFinalizer(storage, BUCKET_FINALIZER)) continue;
    try {
      await updateObject(client, cloudStorages, keyOf(storage), (current) => withoutFinalizer(current, BUCKET_FINALIZER), options);
      names.push(storage.metadata.name ?? "");
    } catch (error) {
      // It went meanwhile.
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
  return names;
}
