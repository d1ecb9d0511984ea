/** Turns an `AzureCredential` into what the SDK signs requests with. Tokens are asked for when the first request needs one. */
import type { TokenCredential } from "@azure/core-auth";
import type { AnonymousCredential, StorageSharedKeyCredential } from "@azure/storage-blob";
import { DrayError, isDrayError } from "@drayage/base";
import { translateAzureError } from "./azure-errors.ts";
import type { AzureHttp } from "./azure-http.ts";
import { AZURE_CLOUDS, type AzureIdentity, type AzureOptions } from "./azure-options.ts";

export type AzureSigner = StorageSharedKeyCredential | AnonymousCredential | TokenCredential;

/** Throws BLOB_BAD_CONFIG for a key that cannot be one, BLOB_ACCESS_DENIED and connection errors where the account's key is asked for. */
export async function azureSigner(options: AzureOptions, http: AzureHttp, signal: AbortSignal | undefined): Promise<AzureSigner> {
  const { AnonymousCredential, StorageSharedKeyCredential } = await import("@azure/storage-blob");
  const { credential, storageAccount } = options;
  switch (credential.kind) {
    case "key":
      return new StorageSharedKeyCredential(storageAccount, checkKey(credential.key, storageAccount));
    case "sas":
      return new AnonymousCredential();
    case "identity":
      return await tokenCredential(credential.identity, options, http);
    case "keyOfAccount": {
      const identity = await tokenCredential(credential.identity, options, http);
      return new StorageSharedKeyCredential(storageAccount, await accountKey(identity, { ...options, ...credential }, http, signal));
    }
  }
}

function checkKey(key: string, account: string): string {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key.trim())) {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot use the key of storage account "${account}": it is not base64`);
  }
  return key.trim();
}

async function tokenCredential(identity: AzureIdentity, options: AzureOptions, http: AzureHttp): Promise<TokenCredential> {
  const sdk = await import("@azure/identity");
  const cloud = AZURE_CLOUDS[options.cloud ?? "AzurePublicCloud"];
  const authorityHost = options.authorityHost ?? cloud.authorityHost;
  const shared = {
    authorityHost,
    // The library asks Microsoft's public cloud whether it knows an authority; one that stands elsewhere it would refuse.
    disableInstanceDiscovery: options.authorityHost !== undefined,
    additionallyAllowedTenants: [...(options.additionallyAllowedTenants ?? [])],
    httpClient: http.client,
    retryOptions: { maxRetries: 0 },
  };
  switch (identity.kind) {
    case "clientSecret":
      return new sdk.ClientSecretCredential(identity.tenantId, identity.clientId, identity.clientSecret, shared);
    case "clientCertificate": {
      const { certificate, tenantId, clientId } = identity;
      const password = identity.password === undefined ? {} : { certificatePassword: identity.password };
      const chain = identity.sendChain === undefined ? {} : { sendCertificateChain: identity.sendChain };
      return "pem" in certificate
        ? new sdk.ClientCertificateCredential(tenantId, clientId, { certificate: certificate.pem, ...password }, { ...shared, ...chain })
        : new sdk.ClientCertificateCredential(tenantId, clientId, { certificatePath: certificate.path, ...password }, { ...shared, ...chain });
    }
    case "workloadIdentity":
      return new sdk.WorkloadIdentityCredential({
        ...shared,
        ...(identity.tenantId === undefined ? {} : { tenantId: identity.tenantId }),
        ...(identity.clientId === undefined ? {} : { clientId: identity.clientId }),
        ...(identity.tokenFile === undefined ? {} : { tokenFilePath: identity.tokenFile }),
      });
    case "managedIdentity":
      return identity.clientId === undefined
        ? new sdk.ManagedIdentityCredential({ httpClient: http.client, retryOptions: { maxRetries: 0 } })
        : new sdk.ManagedIdentityCredential({ clientId: identity.clientId, httpClient: http.client, retryOptions: { maxRetries: 0 } });
  }
}

const KEYS_API_VERSION = "2023-05-01";

/** A key of the account with full permissions, from the resource manager (Microsoft.Storage/storageAccounts/listKeys). */
async function accountKey(
  identity: TokenCredential,
  options: AzureOptions & { readonly subscriptionId: string; readonly resourceGroup: string },
  http: AzureHttp,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { storageAccount, subscriptionId, resourceGroup } = options;
  const action = `Cannot get the key of storage account "${storageAccount}"`;
  const management = (options.managementEndpoint ?? AZURE_CLOUDS[options.cloud ?? "AzurePublicCloud"].management).replace(/\/+$/, "");
  try {
    const token = await identity.getToken(`${management}/.default`, signal === undefined ? {} : { abortSignal: signal });
    const parts = [
      "subscriptions",
      subscriptionId,
      "resourceGroups",
      resourceGroup,
      "providers",
      "Microsoft.Storage",
      "storageAccounts",
      storageAccount,
      "listKeys",
    ];
    const url = `${management}/${parts.map(encodeURIComponent).join("/")}?api-version=${KEYS_API_VERSION}`;
    const { status, body } = await http.post(url, token?.token ?? "", signal);
    if (status !== 200) throw Object.assign(new Error(`the resource manager answered ${status}`), { statusCode: status === 404 ? 403 : status });
    const { keys = [] } = JSON.parse(body) as { keys?: readonly { readonly value?: string; readonly permissions?: string }[] };
    const full = keys.find(({ permissions }) => permissions?.toLowerCase() === "full")?.value;
    if (full === undefined) throw new DrayError("BLOB_ACCESS_DENIED", `${action}: none with full permissions is listed`);
    return full;
  } catch (error) {
    signal?.throwIfAborted();
    if (isDrayError(error)) throw error;
    throw translateAzureError(error, action);
  }
}
