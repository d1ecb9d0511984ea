/**
 * Azure's credentials as people hold them: the environment file in the Secret of a Velero location (`AZURE_CLIENT_ID=…` lines), the environment itself, and connection strings.
 * No value of any of them enters a message.
 */
import { DrayError } from "@drayage/base";
import { AZURE_CLOUDS, type AzureCloud, type AzureCredential, type AzureIdentity } from "./azure-options.ts";

export type Variables = Readonly<Record<string, string | undefined>>;

/** The lines `NAME=value` of an environment file; `export`, quotes and comments as godotenv reads them. */
export function parseEnvironmentFile(text: string): Variables {
  const variables: Record<string, string> = {};
  for (const line of text.replace(/^\uFEFF/, "").split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:]\s*(.*?)\s*$/.exec(line);
    const [, name, raw = ""] = match ?? [];
    if (name === undefined) continue;
    const quoted = /^(["'])((?:\\.|(?!\1).)*)\1/.exec(raw);
    const value = quoted === null ? raw.replace(/\s+#.*$/, "") : (quoted[2] ?? "");
    variables[name] = quoted?.[1] === '"' ? value.replaceAll("\\n", "\n") : value;
  }
  return variables;
}

/** The cloud that AZURE_CLOUD_NAME names; the public one without. Throws BLOB_BAD_CONFIG for a name that is not known. */
export function azureCloud(name: string | undefined): AzureCloud {
  if (name === undefined || name === "") return "AzurePublicCloud";
  const spelt = name.toLowerCase();
  // Velero's plug-in also takes the SDK's names for the first two.
  const aliases: Readonly<Record<string, AzureCloud>> = { azurecloud: "AzurePublicCloud", azureusgovernment: "AzureUSGovernmentCloud" };
  const known = Object.keys(AZURE_CLOUDS).find((cloud): cloud is AzureCloud => cloud.toLowerCase() === spelt) ?? aliases[spelt];
  if (known === undefined) {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot use Azure cloud "${name}": it is not known`, { hint: `Known are ${Object.keys(AZURE_CLOUDS).join(", ")}.` });
  }
  return known;
}

/**
 * The identity that variables name, in Velero's order: a service principal (secret, certificate), the pod's workload identity, the machine's managed identity.
 * Throws BLOB_BAD_CONFIG for a principal that is not whole, NOT_SUPPORTED for user name and password, which Entra ID no longer takes without a second factor.
 */
export function azureIdentity(variables: Variables, environment: Variables): AzureIdentity {
  const value = (name: string): string | undefined => (variables[name] === "" ? undefined : variables[name]);
  const secret = value("AZURE_CLIENT_SECRET");
  const certificate = value("AZURE_CLIENT_CERTIFICATE");
  const certificatePath = value("AZURE_CLIENT_CERTIFICATE_PATH");
  const clientId = value("AZURE_CLIENT_ID");
  if (secret !== undefined || certificate !== undefined || certificatePath !== undefined) {
    const need = (name: string): string => value(name) ?? refuse(`${name} is missing`);
    const principal = { tenantId: need("AZURE_TENANT_ID"), clientId: need("AZURE_CLIENT_ID") };
    if (secret !== undefined) return { kind: "clientSecret", ...principal, clientSecret: secret };
    const password = value("AZURE_CLIENT_CERTIFICATE_PASSWORD");
    const chain = value("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN");
    return {
      kind: "clientCertificate",
      ...principal,
      certificate: certificate === undefined ? { path: certificatePath ?? "" } : { pem: certificate },
      ...(password === undefined ? {} : { password }),
      ...(chain === undefined ? {} : { sendChain: /^(1|true)$/i.test(chain) }),
    };
  }
  if (value("AZURE_USERNAME") !== undefined) {
    throw new DrayError("NOT_SUPPORTED", "Cannot use the Azure credentials: user name and password are not supported", {
      hint: "Use a service principal with a secret or certificate, a workload identity, or an account key.",
    });
  }
  const tokenFile = value("AZURE_FEDERATED_TOKEN_FILE") ?? environment["AZURE_FEDERATED_TOKEN_FILE"];
  if (tokenFile !== undefined && tokenFile !== "") {
    const tenantId = value("AZURE_TENANT_ID") ?? environment["AZURE_TENANT_ID"];
    const client = clientId ?? environment["AZURE_CLIENT_ID"];
    return { kind: "workloadIdentity", tokenFile, ...(tenantId === undefined ? {} : { tenantId }), ...(client === undefined ? {} : { clientId: client }) };
  }
  return { kind: "managedIdentity", ...(clientId === undefined ? {} : { clientId }) };
}

export interface ConnectionString {
  readonly storageAccount: string;
  readonly endpoint: string;
  readonly credential: AzureCredential;
}

/** Account, address and key or SAS of a connection string: `AccountName=…;AccountKey=…;EndpointSuffix=…` or `BlobEndpoint=…;SharedAccessSignature=…`. Throws BLOB_BAD_CONFIG. */
export function parseConnectionString(text: string): ConnectionString {
  const fields = new Map<string, string>();
  for (const field of text.split(";")) {
    const equals = field.indexOf("=");
    if (equals > 0) fields.set(field.slice(0, equals).trim().toLowerCase(), field.slice(equals + 1).trim());
  }
  const explicit = fields.get("blobendpoint");
  const name = fields.get("accountname") ?? accountOf(explicit);
  if (name === undefined || name === "") return refuse("the connection string has no AccountName");
  const protocol = fields.get("defaultendpointsprotocol") ?? "https";
  if (protocol !== "https" && protocol !== "http") return refuse("DefaultEndpointsProtocol is neither https nor http");
  const endpoint = explicit ?? `${protocol}://${name}.blob.${fields.get("endpointsuffix") ?? "core.windows.net"}`;
  const key = fields.get("accountkey");
  const sas = fields.get("sharedaccesssignature");
  if (key === undefined && sas === undefined) return refuse("the connection string has neither AccountKey nor SharedAccessSignature");
  return { storageAccount: name, endpoint, credential: key === undefined ? { kind: "sas", token: sas ?? "" } : { kind: "key", key } };
}

/** `account` of `https://account.blob.core.windows.net`. */
function accountOf(endpoint: string | undefined): string | undefined {
  return endpoint === undefined ? undefined : URL.parse(endpoint)?.hostname.split(".")[0];
}

function refuse(what: string): never {
  throw new DrayError("BLOB_BAD_CONFIG", `Cannot use the Azure credentials: ${what}`, {
    hint: "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET name a service principal; AZURE_STORAGE_KEY is an account's key.",
  });
}
