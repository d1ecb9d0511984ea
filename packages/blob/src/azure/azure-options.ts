import type { Clock } from "@drayage/base";
import type { StoreTimeouts } from "../store-timeouts.ts";

/** Which of Azure's separate clouds: they differ in the names of their endpoints. */
export const AZURE_CLOUDS = {
  AzurePublicCloud: {
    blobSuffix: "blob.core.windows.net",
    authorityHost: "https://login.microsoftonline.com",
    management: "https://management.azure.com",
  },
  AzureUSGovernmentCloud: {
    blobSuffix: "blob.core.usgovcloudapi.net",
    authorityHost: "https://login.microsoftonline.us",
    management: "https://management.usgovcloudapi.net",
  },
  AzureChinaCloud: {
    blobSuffix: "blob.core.chinacloudapi.cn",
    authorityHost: "https://login.chinacloudapi.cn",
    management: "https://management.chinacloudapi.cn",
  },
} as const;
export type AzureCloud = keyof typeof AZURE_CLOUDS;

/** Who asks for tokens at Microsoft Entra ID. */
export type AzureIdentity =
  | { readonly kind: "clientSecret"; readonly tenantId: string; readonly clientId: string; readonly clientSecret: string }
  | {
      readonly kind: "clientCertificate";
      readonly tenantId: string;
      readonly clientId: string;
      /** PEM of certificate and key, or the path of a file that holds it. */
      readonly certificate: { readonly pem: string } | { readonly path: string };
      readonly password?: string;
      readonly sendChain?: boolean;
    }
  /** A pod's projected token; each is taken from the environment that the webhook sets (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE) when left out. */
  | { readonly kind: "workloadIdentity"; readonly tenantId?: string; readonly clientId?: string; readonly tokenFile?: string }
  /** Of the machine; `clientId` names a user-assigned one. */
  | { readonly kind: "managedIdentity"; readonly clientId?: string };

export type AzureCredential =
  | { readonly kind: "key"; readonly key: string }
  /** With or without the question mark before it. */
  | { readonly kind: "sas"; readonly token: string }
  | { readonly kind: "identity"; readonly identity: AzureIdentity }
  /** The identity asks the resource manager for the account's key, as Velero does where `useAAD` is not set. */
  | { readonly kind: "keyOfAccount"; readonly identity: AzureIdentity; readonly subscriptionId: string; readonly resourceGroup: string };

export interface AzureOptions {
  readonly container: string;
  /** Put before every name as it is, so for a folder it ends in `/`. */
  readonly prefix?: string;
  readonly storageAccount: string;
  readonly credential: AzureCredential;
  /** The public one when left out. */
  readonly cloud?: AzureCloud;
  /** Address of the account's blob service, `https://account.blob.core.windows.net`; made from account and cloud when left out. */
  readonly endpoint?: string;
  /** Where tokens come from, `https://login.microsoftonline.com`; of the cloud when left out. */
  readonly authorityHost?: string;
  /** Tenants beside its own that the identity may get tokens of. */
  readonly additionallyAllowedTenants?: readonly string[];
  /** Of the resource manager; of the cloud when left out. */
  readonly managementEndpoint?: string;
  /** Bytes of one block of a large file, at most 100 MiB; 16 MiB when left out. */
  readonly blockSizeBytes?: number;
  /** Whether the container has version-level immutability. `false` refuses locks without asking; left out, the store is asked with each. */
  readonly objectLock?: boolean;
  /** PEM certificates trusted beside those of the system. */
  readonly caCert?: string;
  readonly insecureSkipTlsVerify?: boolean;
  /** Connections at once; 64 when left out. */
  readonly connectionsMax?: number;
  readonly timeouts?: Partial<StoreTimeouts>;
  /** For the validity of signed addresses. */
  readonly clock?: Clock;
}
