/** What restic's environment holds to open the store of a backup location: the keys of the location's own credentials, under the names that restic and OADP have for them. */
import type { BackupStorageLocation } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { parseEnvironmentFile } from "@drayage/blob/azure";
import { s3ConfigFromLocation } from "@drayage/blob/s3";
import { type LocationSecrets, type ResticEnvironment, readLocationSecrets } from "@drayage/controllers";
import type { KubeClient } from "@drayage/kube";

export interface ResticEnvironmentOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Where the keys are of a location that has no Secret. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const AWS_KEYS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] as const;
/** Of Azure's credentials file, unless the location's config names another one. */
const AZURE_ACCOUNT_KEY = "AZURE_STORAGE_ACCOUNT_ACCESS_KEY";

/** Throws KUBE_NOT_FOUND, BLOB_BAD_CONFIG and NOT_SUPPORTED for credentials that are not there, cannot be read, or that restic cannot use. */
export function createResticEnvironment({ client, namespace, environment }: ResticEnvironmentOptions): ResticEnvironment {
  return async (location, signal) => {
    const secrets = await readLocationSecrets(client, namespace, location, signal);
    switch (location.spec.provider.replace(/^velero\.io\//, "")) {
      case "aws":
        return awsEnvironment(location, secrets, environment);
      case "azure":
        return azureEnvironment(location, secrets, environment);
      default:
        return secrets.credentialsText === undefined ? {} : { GOOGLE_APPLICATION_CREDENTIALS: secrets.credentialsText };
    }
  };
}

function awsEnvironment(
  { metadata, spec }: BackupStorageLocation,
  secrets: LocationSecrets,
  environment: ResticEnvironmentOptions["environment"],
): Record<string, string> {
  const { objectStorage, config } = spec;
  const { region, credentials } = s3ConfigFromLocation({ objectStorage, ...(config === undefined ? {} : { config }) }, secrets);
  const inRegion = region === undefined ? {} : { AWS_DEFAULT_REGION: region };
  if (credentials === undefined) {
    const given = AWS_KEYS.flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]] as const]));
    return { ...Object.fromEntries(given), ...inRegion };
  }
  if ("roleArn" in credentials) {
    throw new DrayError(
      "NOT_SUPPORTED",
      `Cannot move volumes with VolSync to backup storage location "${metadata.name}": its credentials are a role, and restic wants keys`,
      {
        hint: "Give the location keys, or have volumes moved by DataUploads (spec.snapshotMoveData).",
      },
    );
  }
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  return {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    ...(sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: sessionToken }),
    ...inRegion,
  };
}

function azureEnvironment(
  { metadata, spec }: BackupStorageLocation,
  secrets: LocationSecrets,
  environment: ResticEnvironmentOptions["environment"],
): Record<string, string> {
  const variables = secrets.credentialsText === undefined ? environment : parseEnvironmentFile(secrets.credentialsText);
  const key = variables[spec.config?.["storageAccountKeyEnvVar"] ?? AZURE_ACCOUNT_KEY];
  const account = spec.config?.["storageAccount"];
  if (account === undefined || key === undefined) {
    const missing =
      account === undefined ? 'config key "storageAccount"' : `"${spec.config?.["storageAccountKeyEnvVar"] ?? AZURE_ACCOUNT_KEY}" of its credentials`;
    throw new DrayError(
      "BLOB_BAD_CONFIG",
      `Cannot move volumes with VolSync to backup storage location "${metadata.name}": ${missing} is missing, and restic wants the account's key`,
    );
  }
  return { AZURE_ACCOUNT_NAME: account, AZURE_ACCOUNT_KEY: key };
}
