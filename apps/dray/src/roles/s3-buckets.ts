/** The buckets of CloudStorages: joins `blob` and the Secrets. */
import type { BackupStorageLocation } from "@drayage/api";
import { S3Bucket, s3ConfigFromLocation } from "@drayage/blob/s3";
import { type CloudBuckets, readLocationSecrets } from "@drayage/controllers";
import type { KubeClient } from "@drayage/kube";

export class S3Buckets implements CloudBuckets {
  readonly #client: KubeClient;
  readonly #namespace: string;

  constructor(client: KubeClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  exists(location: BackupStorageLocation, signal?: AbortSignal): Promise<boolean> {
    return this.#with(location, signal, (bucket) => bucket.exists(signal));
  }

  create(location: BackupStorageLocation, signal?: AbortSignal): Promise<void> {
    return this.#with(location, signal, (bucket) => bucket.create(signal));
  }

  tag(location: BackupStorageLocation, tags: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<void> {
    return this.#with(location, signal, (bucket) => bucket.tag(tags, signal));
  }

  remove(location: BackupStorageLocation, signal?: AbortSignal): Promise<void> {
    return this.#with(location, signal, (bucket) => bucket.remove(signal));
  }

  async #with<T>(location: BackupStorageLocation, signal: AbortSignal | undefined, work: (bucket: S3Bucket) => Promise<T>): Promise<T> {
    const { objectStorage, config } = location.spec;
    const secrets = await readLocationSecrets(this.#client, this.#namespace, location, signal);
    const bucket = await S3Bucket.open(s3ConfigFromLocation({ objectStorage, ...(config === undefined ? {} : { config }) }, secrets));
    try {
      return await work(bucket);
    } finally {
      await bucket.close();
    }
  }
}
