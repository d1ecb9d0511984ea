/** docs/providers.md, from the tables that the program itself checks configurations with. */
import { AZURE_LOCATION_KEYS } from "../packages/blob/src/azure/location-config.ts";
import { GCS_LOCATION_KEYS } from "../packages/blob/src/gcs/location-config.ts";
import type { ConfigKey } from "../packages/blob/src/location/location-fields.ts";
import { FS_LOCATION_KEYS } from "../packages/blob/src/location/open-location.ts";
import { URL_PARAMETERS } from "../packages/blob/src/location/storage-url.ts";
import { S3_LOCATION_KEYS } from "../packages/blob/src/s3/location-config.ts";
import { PROVIDER_CHECKS } from "../packages/blob/src/validation/provider-checks.ts";

function table(head: string, keys: readonly ConfigKey[]): string[] {
  return [`| ${head} | meaning |`, "|---|---|", ...keys.map(({ name, meaning }) => `| \`${name}\` | ${meaning} |`), ""];
}

/** What each provider and setting was tried against; kept by hand, and true of the tests that it names. */
const TRIED: readonly (readonly [what: string, against: string, where: string])[] = [
  ["Filesystem", "the disk; repositories exchanged with kopia 0.22.3", "`packages/blob`, `test/compat/kopia-storage.test.ts`"],
  [
    "S3",
    "versitygw 1.8.0, and the embedded object store; repositories exchanged with kopia 0.22.3",
    "`test/compat/s3-contract.test.ts`, `test/e2e/object-store-contract.test.ts`",
  ],
  ["S3 object lock", "versitygw 1.8.0 with versioning", "`test/compat/s3-object-lock.test.ts`"],
  [
    "Object locks of Azure and Google",
    "the requests and the refusals, against a server that plays them: no emulator knows locks",
    "`packages/blob/src/object-lock-requests.test.ts`",
  ],
  [
    "S3 `pointInTime`",
    "listings of versions as the reference has them; no server was tried (versitygw gives old versions other times)",
    "`packages/blob/src/s3/s3-point-in-time.test.ts`",
  ],
  ["S3 roles: web identity, profile with a token file, EKS pod identity, shared profile", "token endpoints on loopback", "`test/e2e/cloud-identities.test.ts`"],
  ["S3 encryption, storage class, tags, bucket owner", "what is sent is looked at; no store that acts on it was tried", "`packages/blob/src/s3`"],
  ["Azure: key, SAS, connection string", "Azurite 3.37.0 over TLS", "`test/compat/azure-contract.test.ts`"],
  [
    "Azure: service principal, workload and managed identity, key from the resource manager",
    "token endpoints on loopback; Azurite takes the token",
    "`test/e2e/cloud-identities.test.ts`",
  ],
  ["Azure: certificate of a service principal, immutability", "not tried: the emulator has neither", ""],
  [
    "Google Cloud Storage: service account's key",
    "fake-gcs-server 1.56.1, which takes any token; the token's signature is verified",
    "`test/compat/gcs-contract.test.ts`",
  ],
  ["Google: external account, metadata server, signing by IAM", "token endpoints on loopback", "`test/e2e/cloud-identities.test.ts`"],
  ["Google: object retention, KMS keys, requester pays", "not tried: fake-gcs-server has none of them", ""],
];

export function providersPage(): string {
  const lines = [
    "# Object stores",
    "",
    "Written by `tools/docs.ts` from the tables that the program checks configurations with. A key or parameter that is not in them is refused by name.",
    "",
    "**No real cloud was at hand when this was tested.** Cloud identities were tried against token endpoints of their shape on loopback, and that is all that was tried; the stores themselves are emulators, except for S3, where versitygw is a real server.",
    "",
    "## What was tried, and where",
    "",
    "| what | against | tests |",
    "|---|---|---|",
    ...TRIED.map(([what, against, where]) => `| ${what} | ${against} | ${where} |`),
    "",
    "## Backup storage locations",
    "",
    "`spec.provider` is `aws`, `azure`, `gcp` or `fs`, with or without `velero.io/` before it. Credentials are the Secret that `spec.credential` names, else key `cloud` of `cloud-credentials`, in the format of Velero's plug-in for the provider; without a Secret the pod's own identity counts.",
    "",
    "### `aws`: S3 and every store that speaks it",
    "",
    "Credentials: a shared credentials file, whose profile has keys (with or without a session token), or a role with `web_identity_token_file`. Without it the SDK's chain: environment, web identity (IRSA), EKS pod identity, container, instance.",
    "",
    ...table("config", S3_LOCATION_KEYS),
    "### `azure`: Azure Blob Storage",
    "",
    "Credentials: lines such as `AZURE_TENANT_ID=…`. `AZURE_CLIENT_SECRET`, `AZURE_CLIENT_CERTIFICATE` or `AZURE_CLIENT_CERTIFICATE_PATH` make a service principal; else the workload identity that the pod was given (`AZURE_FEDERATED_TOKEN_FILE`), else the managed identity of the machine (`AZURE_CLIENT_ID` chooses one). `AZURE_CLOUD_NAME` is `AzurePublicCloud`, `AzureUSGovernmentCloud` or `AzureChinaCloud`. A backslash in a name is a slash to Azure. Object locks are version-level immutability policies, always locked ones, as kopia sets them.",
    "",
    ...table("config", AZURE_LOCATION_KEYS),
    "### `gcp`: Google Cloud Storage",
    "",
    "Credentials: the JSON of a service account's key, of an external account (workload identity federation; one that gets its tokens from a program is refused), or of a user. Object locks are object retentions, always locked ones, as kopia sets them.",
    "",
    ...table("config", GCS_LOCATION_KEYS),
    "### `fs`: a folder that every node has mounted",
    "",
    ...table("config", FS_LOCATION_KEYS),
    "## Repository URLs",
    "",
    "Values are encoded as in any URL. Credentials are never part of one.",
    "",
    "### `s3://bucket/prefix?…`",
    "",
    "Credentials: AWS's own chain (`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, `AWS_PROFILE`, roles).",
    "",
    ...table("parameter", URL_PARAMETERS.s3),
    "### `azure://container/prefix?…`",
    "",
    "Credentials: `AZURE_STORAGE_CONNECTION_STRING`, `AZURE_STORAGE_KEY` or `AZURE_STORAGE_SAS_TOKEN`; else an identity, from the variables that a location's Secret would hold.",
    "",
    ...table("parameter", URL_PARAMETERS.azure),
    "### `gs://bucket/prefix?…`",
    "",
    ...table("parameter", URL_PARAMETERS.gs),
    "### `file:///path`, or the path alone",
    "",
    "Takes no parameters.",
    "",
    "## What a store must keep",
    "",
    "`dray repo validate-provider URL` tries these on the store itself. It works below the place under a name of its own, which it removes; nothing else is read or written. It ends with 0 when every guarantee that is needed is kept, with 1 when one is not, and with the code of the error when the store cannot be used at all. `--quick` leaves out the slow ones.",
    "",
    "| guarantee | without it | needed | slow |",
    "|---|---|---|---|",
    ...PROVIDER_CHECKS.map(
      ({ guarantee, otherwise, needed, slow }) => `| ${guarantee} | ${otherwise} | ${needed ? "yes" : "no"} | ${slow === true ? "yes" : ""} |`,
    ),
    "",
    "Object lock is not among them: what is locked could not be removed again.",
    "",
  ];
  return lines.join("\n");
}
