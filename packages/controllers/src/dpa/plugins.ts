/** The plug-ins that a DataProtectionApplication can name, and what stands behind each: actions and stores of our own, so none of them is fetched as an image. */
import type { DataProtectionApplicationSpec } from "@drayage/api";

export type DefaultPlugin = NonNullable<NonNullable<NonNullable<DataProtectionApplicationSpec["configuration"]["velero"]>["defaultPlugins"]>[number]>;

/** Providers of object storage, by the names that locations give them, with or without `velero.io/`. */
export type Provider = "aws" | "azure" | "gcp";

export interface CloudPlugin {
  readonly provider: Provider;
  /** The Secret that locations use which name none. */
  readonly secretName: string;
}

/** OADP's table of plug-ins that reach a cloud. */
export const CLOUD_PLUGINS: Readonly<Partial<Record<DefaultPlugin, CloudPlugin>>> = {
  aws: { provider: "aws", secretName: "cloud-credentials" },
  "legacy-aws": { provider: "aws", secretName: "cloud-credentials" },
  azure: { provider: "azure", secretName: "cloud-credentials-azure" },
  gcp: { provider: "gcp", secretName: "cloud-credentials-gcp" },
};

/** The key of a credential within its Secret, where a location does not name it. */
export const CREDENTIAL_KEY = "cloud";

/** Feature flag that switches off every check of credentials. */
export const NO_SECRET = "no-secret";

/** The image override of each plug-in, which has no effect here. */
export const PLUGIN_IMAGE_KEYS: readonly string[] = [
  "awsPluginImageFqin",
  "legacyAWSPluginImageFqin",
  "openshiftPluginImageFqin",
  "azurePluginImageFqin",
  "gcpPluginImageFqin",
  "kubevirtPluginImageFqin",
  "hypershiftPluginImageFqin",
];

/** The provider that a location means; undefined for one that OADP does not know. */
export function providerOf(name: string): Provider | undefined {
  const bare = name.replace(/^velero\.io\//, "");
  return bare === "aws" || bare === "azure" || bare === "gcp" ? bare : undefined;
}
