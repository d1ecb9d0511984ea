import { type ConfigKey, caCertOf, LocationConfig, type LocationFields, type LocationSecrets, prefixOf } from "../location/location-fields.ts";
import { BLOCK_BYTES_MAX } from "./azure-connection.ts";
import { azureCloud, azureIdentity, parseEnvironmentFile, type Variables } from "./azure-credentials.ts";
import { AZURE_CLOUDS, type AzureCredential, type AzureOptions } from "./azure-options.ts";

/** The keys of a location of provider `azure`, as Velero's plug-in for Microsoft Azure names them. */
export const AZURE_LOCATION_KEYS: readonly ConfigKey[] = [
  { name: "storageAccount", meaning: "The storage account; needed." },
  {
    name: "resourceGroup",
    meaning: "The account's resource group, where its key is asked of the resource manager; else `AZURE_RESOURCE_GROUP` of the credentials.",
  },
  { name: "subscriptionId", meaning: "The subscription of the resource group; else `AZURE_SUBSCRIPTION_ID` of the credentials." },
  { name: "storageAccountKeyEnvVar", meaning: "Which line of the credentials holds the account's key, for example `AZURE_STORAGE_KEY`." },
  { name: "storageAccountURI", meaning: "Address of the account's blob service; made from account and cloud when left out." },
  { name: "useAAD", meaning: "`true`: every request carries a token of the identity, and no account key is asked for." },
  { name: "activeDirectoryAuthorityURI", meaning: "Where tokens come from; of the cloud (`AZURE_CLOUD_NAME` of the credentials) when left out." },
  {
    name: "blockSizeInBytes",
    meaning: "Bytes of one block of a large upload, 1 to 104857600; 16 MiB when left out. Repository blobs go in one request whatever it says.",
  },
  { name: "apiVersion", meaning: "Taken and not used: the version of the resource manager's interface is our own choice." },
  { name: "credentialsFile", meaning: "Taken and not used: the credentials come from the location's Secret." },
];

/**
 * The options of a location's container. Throws BLOB_BAD_CONFIG naming the key that is not known or cannot be read.
 * `environment` is this process's: the webhook of workload identity sets its variables there.
 */
export function azureConfigFromLocation(location: LocationFields, secrets: LocationSecrets, environment: Variables): AzureOptions {
  const config = new LocationConfig(location, AZURE_LOCATION_KEYS);
  const variables = secrets.credentialsText === undefined ? environment : parseEnvironmentFile(secrets.credentialsText);
  const storageAccount = config.text("storageAccount") ?? config.refuse('config key "storageAccount" is missing');
  const cloud = azureCloud(variables["AZURE_CLOUD_NAME"]);
  const endpoint = config.text("storageAccountURI");
  const authorityHost = config.text("activeDirectoryAuthorityURI");
  const caCert = caCertOf(location, secrets, config);
  const tenants = (variables["AZURE_ADDITIONALLY_ALLOWED_TENANTS"] ?? "").split(";").filter((tenant) => tenant !== "");
  const blockSize = config.text("blockSizeInBytes");
  if (blockSize !== undefined && !(/^\d{1,9}$/.test(blockSize) && Number(blockSize) >= 1 && Number(blockSize) <= BLOCK_BYTES_MAX)) {
    config.refuse(`config key "blockSizeInBytes" is ${JSON.stringify(blockSize)}, 1 to ${BLOCK_BYTES_MAX} is wanted`);
  }
  return {
    container: location.objectStorage.bucket,
    prefix: prefixOf(location),
    storageAccount,
    credential: credentialOf(config, variables, environment),
    cloud,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(authorityHost === undefined ? {} : { authorityHost }),
    ...(caCert === undefined ? {} : { caCert }),
    ...(tenants.length === 0 ? {} : { additionallyAllowedTenants: tenants }),
    ...(blockSize === undefined ? {} : { blockSizeBytes: Number(blockSize) }),
  };
}

/** Velero's order: a key that the config names; tokens where `useAAD`; else the account's key, asked of the resource manager. */
function credentialOf(config: LocationConfig, variables: Variables, environment: Variables): AzureCredential {
  const keyName = config.text("storageAccountKeyEnvVar");
  if (keyName !== undefined) {
    const key = variables[keyName];
    return key === undefined || key === ""
      ? config.refuse(`the credentials have no line "${keyName}", which config key "storageAccountKeyEnvVar" names`)
      : { kind: "key", key };
  }
  const identity = azureIdentity(variables, environment);
  if (config.flag("useAAD") === true) return { kind: "identity", identity };
  const subscriptionId = config.text("subscriptionId") ?? variables["AZURE_SUBSCRIPTION_ID"];
  const resourceGroup = config.text("resourceGroup") ?? variables["AZURE_RESOURCE_GROUP"];
  const hint = 'Or set "useAAD" to "true" where the identity may use the blobs, or name the key with "storageAccountKeyEnvVar".';
  if (subscriptionId === undefined || subscriptionId === "")
    return config.refuse('"subscriptionId" is missing, without which the account\'s key cannot be asked for', hint);
  if (resourceGroup === undefined || resourceGroup === "")
    return config.refuse('"resourceGroup" is missing, without which the account\'s key cannot be asked for', hint);
  return { kind: "keyOfAccount", identity, subscriptionId, resourceGroup };
}

export const AZURE_CLOUD_NAMES: readonly string[] = Object.keys(AZURE_CLOUDS);
