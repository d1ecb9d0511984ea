/**
 * A CloudStorage is a bucket: it is made where it is not there, tagged, and deleted with its object where an annotation asks for it. Finalizer, annotation and events are those of OADP's
 * operator.
 *
 * Invariant: only an object that asks for its bucket's deletion has the finalizer. OADP puts it on every one, so that none of them, nor their namespace, can be deleted once the operator is
 * gone; here nothing waits but what somebody asked to wait.
 */
import { type CloudStorage, cloudStorages, type DataProtectionApplication, dataProtectionApplications, FINALIZERS } from "@drayage/api";
import { type Clock, formatTime, hasCode, type Logger, messageOf, type RandomSource } from "@drayage/base";
import {
  createEventRecorder,
  type EventRecorder,
  hasFinalizer,
  isDeleting,
  type KubeClient,
  keyOf,
  type ObjectKey,
  type ReconcileResult,
  source,
  startController,
  startInformer,
  withFinalizer,
  withoutFinalizer,
} from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import type { CloudBuckets } from "../ports.ts";
import { BUCKET_STORE_ANNOTATION, bucketLocation, storeOf } from "./bucket-location.ts";

export interface CloudStorageControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly buckets: CloudBuckets;
}

export const BUCKET_FINALIZER: string = FINALIZERS.bucket;
export const BUCKET_DELETE_ANNOTATION = "oadp.openshift.io/cloudstorage-delete";

/** OADP 1.5's definition knows no other; that of a later one may. */
const SERVED: string = "aws";
/** What somebody deletes by hand is found so much later; credentials may have changed after a failure. */
const RESYNC_MS = 60 * 60_000;
const AGAIN_MS = 30_000;
const CONFLICT_MS = 500;
const EVENTS_FLUSH_MS = 2_000;

/** What Go's strconv.ParseBool reads. */
const BOOLEANS: Readonly<Record<string, boolean>> = Object.fromEntries([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false] as const),
]);

export function startCloudStorageController(deps: CloudStorageControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const storages = startInformer(cloudStorages, { client, clock, random, logger, namespace });
  const applications = startInformer(dataProtectionApplications, { client, clock, random, logger, namespace });
  const events = createEventRecorder({ client, clock, random, logger, component: "drayage-operator" });
  const controller = startController({
    name: "cloud-storage",
    clock,
    random,
    logger,
    resyncMs: RESYNC_MS,
    sources: [
      // The status is this controller's own.
      source(storages, { when: (before, after) => before === undefined || after === undefined || stampOf(before) !== stampOf(after) }),
      source(applications, {
        toKeys: ({ spec }) => refersTo(spec).map((name) => ({ namespace, name })),
        when: (before, after) => after !== undefined && before?.metadata.generation !== after.metadata.generation,
      }),
    ],
    async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
      const storage = await client.find(cloudStorages, key, signal);
      if (storage === undefined) return {};
      await applications.synced();
      try {
        return await new Pass(deps, events, storage, applications.list()).run(signal);
      } catch (error) {
        if (!hasCode(error, "KUBE_CONFLICT") && !hasCode(error, "KUBE_NOT_FOUND")) throw error;
        return { requeueAfterMs: CONFLICT_MS };
      }
    },
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      storages.stop();
      applications.stop();
      await events.flush(EVENTS_FLUSH_MS);
    },
  };
}

/** One look at one object. Each step can be repeated. */
class Pass {
  readonly #deps: CloudStorageControllerDeps;
  readonly #events: EventRecorder;
  readonly #storage: CloudStorage;
  readonly #applications: readonly DataProtectionApplication[];

  constructor(deps: CloudStorageControllerDeps, events: EventRecorder, storage: CloudStorage, applications: readonly DataProtectionApplication[]) {
    this.#deps = deps;
    this.#events = events;
    this.#storage = storage;
    this.#applications = applications;
  }

  async run(signal: AbortSignal): Promise<ReconcileResult> {
    const { client } = this.#deps;
    if (isDeleting(this.#storage)) return await this.#end(signal);
    const store = storeOf(this.#storage, this.#applications);
    const isNoted = store === undefined || this.#storage.metadata.annotations?.[BUCKET_STORE_ANNOTATION] === store;
    // What cannot be read is a wish for something: the object waits until somebody says which.
    const isAsked = this.#wish() !== false;
    if (!isNoted || hasFinalizer(this.#storage, BUCKET_FINALIZER) !== isAsked) {
      const { metadata } = (isAsked ? withFinalizer : withoutFinalizer)(this.#storage, BUCKET_FINALIZER);
      const annotations = { ...metadata.annotations, ...(store === undefined ? {} : { [BUCKET_STORE_ANNOTATION]: store }) };
      await client.replace(cloudStorages, { ...this.#storage, metadata: { ...metadata, annotations } }, { signal });
      return { requeueAfterMs: 0 };
    }
    return await this.#ensure(signal);
  }

  async #ensure(signal: AbortSignal): Promise<ReconcileResult> {
    const { client, clock, buckets } = this.#deps;
    const { name, tags, provider } = this.#storage.spec;
    if (provider !== SERVED) {
      this.#event("Warning", "BucketNotCreated", `${notServed(provider)}: make it there, and name it in velero.objectStorage.bucket of a location`);
      return {};
    }
    const location = bucketLocation(this.#storage, this.#applications);
    const isThere = await this.#tried("BucketNotFound", signal, () => buckets.exists(location, signal));
    if (isThere === undefined) return { requeueAfterMs: AGAIN_MS };
    if (!isThere) {
      if ((await this.#tried("BucketNotCreated", signal, () => done(buckets.create(location, signal)))) === undefined) return { requeueAfterMs: AGAIN_MS };
      this.#event("Normal", "BucketCreated", `Bucket "${name}" has been created`);
    }
    if (tags !== undefined && (await this.#tried("BucketNotTagged", signal, () => done(buckets.tag(location, tags, signal)))) === undefined)
      return { requeueAfterMs: AGAIN_MS };
    const status = { name, lastSyncTimestamp: formatTime(clock.nowMs()) };
    await client.patchStatus(cloudStorages, keyOf(this.#storage), "merge", { status }, { signal });
    return {};
  }

  async #end(signal: AbortSignal): Promise<ReconcileResult> {
    const { client, buckets } = this.#deps;
    if (!hasFinalizer(this.#storage, BUCKET_FINALIZER)) return {};
    const isUnwanted = this.#wish();
    if (isUnwanted === undefined) {
      const text = this.#storage.metadata.annotations?.[BUCKET_DELETE_ANNOTATION] ?? "";
      this.#event("Warning", "UnableToParseAnnotation", `Annotation ${BUCKET_DELETE_ANNOTATION} is "${text}": true or false is wanted`);
      return {};
    }
    const { provider } = this.#storage.spec;
    if (isUnwanted && provider !== SERVED) {
      this.#event("Warning", "UnableToDeleteBucket", `${notServed(provider)}: delete it there, and set ${BUCKET_DELETE_ANNOTATION} to false`);
      return {};
    }
    if (isUnwanted) {
      const location = bucketLocation(this.#storage, this.#applications);
      if ((await this.#tried("UnableToDeleteBucket", signal, () => done(buckets.remove(location, signal)))) === undefined) return { requeueAfterMs: AGAIN_MS };
      this.#event("Normal", "BucketDeleted", `Bucket "${this.#storage.spec.name}" has been deleted`);
    }
    await client.replace(cloudStorages, withoutFinalizer(this.#storage, BUCKET_FINALIZER), { signal });
    return {};
  }

  /** Whether the bucket is to go with its object; undefined where the annotation says neither. */
  #wish(): boolean | undefined {
    const text = this.#storage.metadata.annotations?.[BUCKET_DELETE_ANNOTATION];
    return text === undefined ? false : BOOLEANS[text];
  }

  /** Undefined where the store refuses, which is told; what it says is not ours to mend. */
  async #tried<T>(reason: string, signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.logger.warn("A bucket is not as it should be", { name: this.#storage.metadata.name, reason, error: messageOf(error) });
      this.#event("Warning", reason, messageOf(error));
      return undefined;
    }
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#events.event(this.#storage, type, reason, message);
  }
}

function notServed(provider: string): string {
  return `spec.provider is "${provider}", and only buckets of provider "${SERVED}" (S3) are made and deleted here`;
}

async function done(work: Promise<void>): Promise<true> {
  await work;
  return true;
}

function refersTo({ backupLocations = [] }: DataProtectionApplication["spec"]): string[] {
  return backupLocations.map(({ bucket }) => bucket?.cloudStorageRef?.name ?? "").filter((name) => name !== "");
}

function stampOf({ metadata }: CloudStorage): string {
  const { generation, annotations, finalizers, deletionTimestamp } = metadata;
  return JSON.stringify([generation, annotations, finalizers, deletionTimestamp]);
}
