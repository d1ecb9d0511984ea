/**
 * The way into the restic repositories of a location, as OADP 1.2 kept it: the user's Secret with the password → one Secret a location, with the store's keys and the address that the
 * repositories lie under → one Secret a volume, with the address of its own repository, which VolSync's mover has as its environment.
 */
import {
  type BackupStorageLocation,
  backupStorageLocations,
  locationResticSecret,
  RESTIC_PASSWORD_KEY,
  RESTIC_SECRET_KEYS,
  USER_RESTIC_SECRET,
  VSM_LABELS,
  validLabelValue,
} from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import { type KubeClient, type Secret, secrets } from "@drayage/kube";
import type { ResticEnvironment } from "./settings.ts";

export interface LocationSecretDeps {
  readonly client: KubeClient;
  /** Of the installation: the protected namespace. */
  readonly namespace: string;
  readonly environment: ResticEnvironment;
}

const AWS_HOST = "s3.amazonaws.com";

/**
 * Sees to it that the Secret of a location is whole, and returns its texts. What somebody has put there stays as it is.
 * Throws KUBE_NOT_FOUND for a location that is not there, REPO_WRONG_PASSWORD where no password is known, and NOT_SUPPORTED for a provider that the data mover of then did not know.
 */
export async function ensureLocationSecret(deps: LocationSecretDeps, locationName: string, signal?: AbortSignal): Promise<Readonly<Record<string, string>>> {
  const { client, namespace } = deps;
  const location = await client.find<BackupStorageLocation>(backupStorageLocations, { namespace, name: locationName }, signal);
  if (location === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot use backup storage location "${locationName}": it does not exist`);
  const key = { namespace, name: locationResticSecret(locationName) };
  const own = await client.find<Secret>(secrets, key, signal);
  const texts = textsOf(own);
  const password = texts[RESTIC_PASSWORD_KEY] ?? "";
  const wanted = {
    [RESTIC_PASSWORD_KEY]: password === "" ? await userPassword(deps, own, signal) : password,
    [RESTIC_SECRET_KEYS.repository]: repositoryBase(location),
    ...(await deps.environment(location, signal)),
    ...customCa(location),
  };
  const missing = Object.entries(wanted).filter(([name]) => (texts[name] ?? "") === "");
  if (missing.length === 0) return texts;
  const data = Object.fromEntries(missing.map(([name, text]) => [name, Buffer.from(text).toString("base64")]));
  const labels = {
    [VSM_LABELS.oadp]: "True",
    [VSM_LABELS.locationName]: validLabelValue(locationName),
    [VSM_LABELS.locationProvider]: providerOf(location),
  };
  if (own === undefined) await createOrMeet(client, { apiVersion: "v1", kind: "Secret", metadata: { ...key, labels }, type: "Opaque", data }, signal);
  else await client.patch<Secret>(secrets, key, "merge", { metadata: { labels }, data }, { signal });
  return { ...texts, ...Object.fromEntries(missing) };
}

/** The address under which the repositories of a location lie. The location's prefix is not part of it: OADP had them beside it. Throws NOT_SUPPORTED. */
export function repositoryBase(location: BackupStorageLocation): string {
  const { objectStorage, config } = location.spec;
  const { bucket } = objectStorage;
  switch (providerOf(location)) {
    case "aws": {
      const url = (config?.["s3Url"] ?? "").replace(/^s3:/, "").replace(/\/+$/, "");
      return `s3:${url === "" ? AWS_HOST : url}/${bucket}`;
    }
    case "azure":
      return `azure:${bucket}:`;
    case "gcp":
      return `gs:${bucket}:`;
  }
}

/** Where the repository of one volume lies, in the layout of OADP 1.2; that of 1.1 had no folder for the backup, and neither has a volume without one. */
export function volumeRepository(
  base: string,
  { namespace, backup, content }: { readonly namespace: string; readonly backup: string; readonly content: string },
): string {
  return `${base}/${[namespace, ...(backup === "" ? [] : [backup]), `${content}-pvc`].join("/")}`;
}

/** What VolSync's mover gets: all of the location's, and the address of its own repository. */
export function volumeSecretData(location: Readonly<Record<string, string>>, repository: string): Record<string, string> {
  const texts = { ...location, [RESTIC_SECRET_KEYS.repository]: repository };
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text).toString("base64")]));
}

function providerOf({ metadata, spec }: BackupStorageLocation): "aws" | "azure" | "gcp" {
  const provider = spec.provider.replace(/^velero\.io\//, "");
  if (provider === "aws" || provider === "azure" || provider === "gcp") return provider;
  throw new DrayError(
    "NOT_SUPPORTED",
    `Cannot move volumes with VolSync to backup storage location "${metadata.name}": its provider is "${spec.provider}"; aws, azure or gcp is wanted`,
  );
}

function customCa({ spec }: BackupStorageLocation): Record<string, string> {
  const { caCert } = spec.objectStorage;
  return caCert === undefined || caCert === "" ? {} : { [RESTIC_SECRET_KEYS.customCa]: Buffer.from(caCert, "base64").toString("utf8") };
}

async function userPassword({ client, namespace }: LocationSecretDeps, own: Secret | undefined, signal: AbortSignal | undefined): Promise<string> {
  const users = await client.find<Secret>(secrets, { namespace, name: USER_RESTIC_SECRET }, signal);
  const password = textsOf(users)[RESTIC_PASSWORD_KEY] ?? "";
  if (password !== "") return password;
  const given = users ?? own;
  throw new DrayError(
    "REPO_WRONG_PASSWORD",
    given === undefined
      ? `Cannot open the restic repositories: secret "${namespace}/${USER_RESTIC_SECRET}" is not there`
      : `Cannot open the restic repositories: secret "${namespace}/${given.metadata.name}" has no key "${RESTIC_PASSWORD_KEY}"`,
    { hint: `Create secret "${namespace}/${USER_RESTIC_SECRET}" with the password under the key "${RESTIC_PASSWORD_KEY}".` },
  );
}

export function textsOf(secret: Secret | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(secret?.data ?? {}).map(([name, base64]) => [name, Buffer.from(base64, "base64").toString("utf8")]));
}

async function createOrMeet(client: KubeClient, secret: Secret, signal: AbortSignal | undefined): Promise<void> {
  try {
    await client.create<Secret>(secrets, secret, { signal });
  } catch (error) {
    // Another volume of the same location was as fast; its Secret is the same.
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
}
