/** Turns a `GcsCredential` into the auth library's client for it. Tokens are asked for when the first request needs one. */
import { DrayError } from "@drayage/base";
import type { AnyAuthClient, AwsClientOptions, GoogleAuth, IdentityPoolClientOptions } from "google-auth-library";
import type { GcsOptions } from "./gcs-options.ts";

/** Of the store; the wider one is what signing at the IAM credentials service takes. What the account may do is up to its roles all the same. */
const SCOPES = ["https://www.googleapis.com/auth/devstorage.full_control", "https://www.googleapis.com/auth/cloud-platform"];
const CREDENTIAL_TYPES = ["service_account", "external_account", "authorized_user"];

/** Undefined where no credentials are to be sent. Throws BLOB_BAD_CONFIG for a credentials file that cannot be used; no value of it enters a message. */
export async function googleAuth({ credential, bucket, universeDomain, project }: GcsOptions): Promise<GoogleAuth | undefined> {
  if (credential.kind === "anonymous") return undefined;
  const sdk = await import("google-auth-library");
  const universe = universeDomain === undefined ? {} : { universeDomain };
  const shared = { transporterOptions: { retry: false, retryConfig: { retry: 0, noResponseRetries: 0 } }, ...universe };
  if (credential.kind === "default") {
    // A project is named since the library would look for one, in programs and services, for seconds; no request on objects needs it.
    return new sdk.GoogleAuth({ scopes: SCOPES, clientOptions: shared, projectId: project ?? "none", ...universe }) as GoogleAuth;
  }
  const file = parseCredentials(credential.text, bucket);
  const authClient = clientOf(sdk, file, shared);
  if (authClient === undefined) throw unusable(bucket, "their external account gets its tokens from a program, which is not run here");
  return new sdk.GoogleAuth({ authClient }) as GoogleAuth;
}

type CredentialsFile = Readonly<Record<string, unknown>> & { readonly type: string };

function clientOf(sdk: typeof import("google-auth-library"), file: CredentialsFile, shared: object): AnyAuthClient | undefined {
  const text = (name: string): string => String(file[name] ?? "");
  switch (file.type) {
    case "service_account": {
      const client = new sdk.JWT({ ...shared, email: text("client_email"), key: text("private_key"), keyId: text("private_key_id"), scopes: SCOPES });
      // The key signs its tokens itself: one service less on the way, and nothing to wait for.
      client.useJWTAccessWithScope = true;
      return client;
    }
    case "external_account": {
      const { environment_id: environment, executable } = (file["credential_source"] ?? {}) as { environment_id?: unknown; executable?: unknown };
      // A program named by a Secret is not run.
      if (executable !== undefined) return undefined;
      const options = { ...shared, ...file, scopes: SCOPES };
      return typeof environment === "string" && environment.startsWith("aws")
        ? new sdk.AwsClient(options as unknown as AwsClientOptions)
        : new sdk.IdentityPoolClient(options as unknown as IdentityPoolClientOptions);
    }
    default:
      return new sdk.UserRefreshClient({ ...shared, clientId: text("client_id"), clientSecret: text("client_secret"), refreshToken: text("refresh_token") });
  }
}

function parseCredentials(text: string, bucket: string): CredentialsFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What the parser says would quote the text.
    throw unusable(bucket, "they are not JSON");
  }
  if (typeof value !== "object" || value === null) throw unusable(bucket, "they are not an object");
  const { type } = value as { type?: unknown };
  if (typeof type !== "string" || !CREDENTIAL_TYPES.includes(type)) throw unusable(bucket, `their type is none of ${CREDENTIAL_TYPES.join(", ")}`);
  const file = value as CredentialsFile;
  if (type === "service_account" && !["client_email", "private_key"].every((name) => typeof file[name] === "string" && file[name] !== "")) {
    throw unusable(bucket, "client_email or private_key is missing");
  }
  return file;
}

function unusable(bucket: string, what: string): DrayError {
  return new DrayError("BLOB_BAD_CONFIG", `Cannot use the Google credentials for bucket "${bucket}": ${what}`, {
    hint: "The JSON file is wanted that Google Cloud gives for a service account's key or a workload identity.",
  });
}
