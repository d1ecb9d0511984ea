/** A bucket itself, not what is in it: whether it is there, made, tagged and removed. */
import type { S3Client } from "@aws-sdk/client-s3";
import { S3Connection } from "./s3-connection.ts";
import type { S3Options } from "./s3-options.ts";

/** Where a bucket is made when nothing is said. S3 takes no constraint that names this region. */
const FIRST_REGION = "us-east-1";

export class S3Bucket {
  readonly #s3: S3Connection;

  private constructor(s3: S3Connection) {
    this.#s3 = s3;
  }

  /** Does not call the store. Throws BLOB_BAD_CONFIG. */
  static async open(options: S3Options): Promise<S3Bucket> {
    return new S3Bucket(await S3Connection.open({ ...options, region: options.region ?? FIRST_REGION }));
  }

  /** Throws BLOB_ACCESS_DENIED for one that is somebody else's, too. */
  async exists(signal?: AbortSignal): Promise<boolean> {
    return await this.#call("look for", signal, async (client, abort) => {
      try {
        await client.send(new this.#s3.sdk.HeadBucketCommand({ Bucket: this.#s3.bucket }), abort);
        return true;
      } catch (error) {
        // An answer to HEAD has no body, and so no name but this.
        if (isAnswer(error, "NotFound", "NoSuchBucket")) return false;
        throw error;
      }
    });
  }

  /** One that is there already and one's own is made. */
  async create(signal?: AbortSignal): Promise<void> {
    const { sdk, bucket, options } = this.#s3;
    const { region = FIRST_REGION } = options;
    const elsewhere = region === FIRST_REGION ? {} : { CreateBucketConfiguration: { LocationConstraint: region as never } };
    await this.#call("create", signal, async (client, abort) => {
      try {
        await client.send(new sdk.CreateBucketCommand({ Bucket: bucket, ...elsewhere }), abort);
      } catch (error) {
        if (!isAnswer(error, "BucketAlreadyOwnedByYou")) throw error;
      }
    });
  }

  /** Beside those that it has; nothing is written where they are there. Throws NOT_SUPPORTED where the store has no tags. */
  async tag(tags: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<void> {
    const { sdk, bucket } = this.#s3;
    await this.#call("tag", signal, async (client, abort) => {
      const before = await client.send(new sdk.GetBucketTaggingCommand({ Bucket: bucket }), abort).catch((error: unknown) => {
        if (!isAnswer(error, "NoSuchTagSet", "NoSuchTagSetError", "BucketTaggingNotFound")) throw error;
        return { TagSet: [] };
      });
      const all = new Map((before.TagSet ?? []).map(({ Key = "", Value = "" }) => [Key, Value]));
      if (Object.entries(tags).every(([key, value]) => all.get(key) === value)) return;
      for (const [key, value] of Object.entries(tags)) all.set(key, value);
      const TagSet = [...all].map(([Key, Value]) => ({ Key, Value }));
      await client.send(new sdk.PutBucketTaggingCommand({ Bucket: bucket, Tagging: { TagSet } }), abort);
    });
  }

  /** Only an empty one; one that is not there is removed. Throws BLOB_BAD_CONFIG while something is in it. */
  async remove(signal?: AbortSignal): Promise<void> {
    await this.#call("delete", signal, async (client, abort) => {
      try {
        await client.send(new this.#s3.sdk.DeleteBucketCommand({ Bucket: this.#s3.bucket }), abort);
      } catch (error) {
        if (!isAnswer(error, "NoSuchBucket", "NotFound")) throw error;
      }
    });
  }

  async close(): Promise<void> {
    await this.#s3.close();
  }

  #call<T>(verb: string, signal: AbortSignal | undefined, work: (client: S3Client, options: { abortSignal?: AbortSignal }) => Promise<T>): Promise<T> {
    return this.#s3.call(`Cannot ${verb} bucket "${this.#s3.bucket}"`, signal, work);
  }
}

function isAnswer(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}
