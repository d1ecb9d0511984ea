/** What an S3 bucket says of itself. What a store does not know it answers with an error of a code of its own, which counts as "no". */
import type * as Sdk from "@aws-sdk/client-s3";
import { hasCode } from "@drayage/base";
import type { BucketFacts } from "../object-store.ts";
import type { S3Connection } from "./s3-connection.ts";
import { ownerSetting } from "./write-settings.ts";

type Headers = Readonly<Record<string, string>>;

/** Asks the bucket. Throws BLOB_ACCESS_DENIED where the credentials may not, and BLOB_BUCKET_NOT_FOUND. */
export async function bucketFacts(s3: S3Connection, signal: AbortSignal | undefined): Promise<BucketFacts> {
  const action = `Cannot ask ${s3.place} what it is`;
  const bucket = { Bucket: s3.bucket, ...ownerSetting(s3.options) };
  let headers: Headers = {};
  const asked = new s3.sdk.GetBucketVersioningCommand(bucket);
  // The vendor is told by headers alone, which an answer of the SDK does not have any more.
  asked.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args);
      headers = (answer.response as { headers?: Headers }).headers ?? {};
      return answer;
    },
    { step: "deserialize", priority: "low" },
  );
  const versioning = await s3.call(action, signal, (client, abort) => client.send(asked, abort));
  return {
    vendor: vendorOf(headers, s3.options.endpoint),
    versioningStatus: versioning.Status ?? "None",
    encryptionAlgorithm: await encryptionOf(s3, action, bucket, signal),
  };
}

async function encryptionOf(s3: S3Connection, action: string, bucket: Sdk.GetBucketEncryptionCommandInput, signal: AbortSignal | undefined): Promise<string> {
  try {
    const { ServerSideEncryptionConfiguration: configuration } = await s3.call(action, signal, async (client, abort) => {
      try {
        return await client.send(new s3.sdk.GetBucketEncryptionCommand(bucket), abort);
      } catch (error) {
        // S3's answer of a bucket without, and what stores say that do not have the call.
        if (isAnswer(error, NO_ENCRYPTION)) return { ServerSideEncryptionConfiguration: undefined };
        throw error;
      }
    });
    return configuration?.Rules?.[0]?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm ?? "None";
  } catch (error) {
    if (hasCode(error, "NOT_SUPPORTED")) return "None";
    throw error;
  }
}

const NO_ENCRYPTION: ReadonlySet<string> = new Set(["ServerSideEncryptionConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed"]);

function isAnswer(error: unknown, names: ReadonlySet<string>): boolean {
  return error instanceof Error && names.has(error.name);
}

/** By the headers that each of them puts into its answers. */
export function vendorOf(headers: Headers, endpoint: string | undefined): string {
  const server = headers["server"] ?? "";
  const has = (part: string): boolean =>
    Object.keys(headers).some((name) => name.startsWith(part)) || server.toLowerCase().includes(part.replace(/^x-|-$/g, ""));
  if (has("x-minio-")) return "MinIO";
  if (has("x-rgw-") || server.toLowerCase().includes("ceph")) return "Ceph";
  if (server.toLowerCase().includes("amazon") || endpoint === undefined) return "AWS";
  return server === "" ? "Unknown" : server;
}
