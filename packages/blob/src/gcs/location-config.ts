import { type ConfigKey, caCertOf, LocationConfig, type LocationFields, type LocationSecrets, prefixOf } from "../location/location-fields.ts";
import type { GcsOptions } from "./gcs-options.ts";

/** The keys of a location of provider `gcp`, as Velero's plug-in for GCP names them. */
export const GCS_LOCATION_KEYS: readonly ConfigKey[] = [
  { name: "serviceAccount", meaning: "Signs download addresses where the credentials are not a key: its account, which needs `iam.serviceAccounts.signBlob`." },
  { name: "kmsKeyName", meaning: "The Cloud KMS key that encrypts what is written, `projects/…/cryptoKeys/…`." },
  {
    name: "storeEndpoint",
    meaning: "Address of the service; `https://storage.googleapis.com` when left out. A path such as `/storage/v1/` at its end is dropped.",
  },
  { name: "universeDomain", meaning: "The cloud's domain; `googleapis.com` when left out." },
  { name: "project", meaning: "Billed for the requests, for buckets whose requester pays." },
  { name: "credentialsFile", meaning: "Taken and not used: the credentials come from the location's Secret." },
];

/** The options of a location's bucket. Throws BLOB_BAD_CONFIG naming the key that is not known or cannot be read. */
export function gcsConfigFromLocation(location: LocationFields, secrets: LocationSecrets = {}): GcsOptions {
  const config = new LocationConfig(location, GCS_LOCATION_KEYS);
  const endpoint = config.text("storeEndpoint");
  const url = endpoint === undefined ? undefined : (URL.parse(endpoint) ?? config.refuse(`config key "storeEndpoint" is not an address`));
  const given = { serviceAccount: config.text("serviceAccount"), kmsKeyName: config.text("kmsKeyName"), project: config.text("project") };
  const more = { universeDomain: config.text("universeDomain"), caCert: caCertOf(location, secrets, config), endpoint: url?.origin };
  const text = secrets.credentialsText?.trim() ?? "";
  return {
    bucket: location.objectStorage.bucket,
    prefix: prefixOf(location),
    credential: text === "" ? { kind: "default" } : { kind: "json", text },
    ...(Object.fromEntries(Object.entries({ ...given, ...more }).filter(([, value]) => value !== undefined)) as Partial<GcsOptions>),
  };
}
