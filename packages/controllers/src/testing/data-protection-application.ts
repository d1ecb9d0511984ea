/** A DataProtectionApplication that is right, what is seen beside it, and what is made of it: for tests that change one thing of it. */
import type { CloudStorage, DataProtectionApplication, DataProtectionApplicationSpec } from "@drayage/api";
import type { PodTemplate } from "@drayage/kube";
import { decide, type Observed, type Step } from "../dpa/dpa.ts";
import type { OwnedManifest } from "../dpa/owned-manifest.ts";

export type Spec = DataProtectionApplicationSpec;
export type Velero = NonNullable<Spec["configuration"]["velero"]>;
export type NodeAgent = NonNullable<Spec["configuration"]["nodeAgent"]>;
type Location = NonNullable<NonNullable<Spec["backupLocations"]>[number]["velero"]>;

export const AWS_FILE = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n[by-role]\nrole_arn = r\n[half]\naws_access_key_id = a\n";
const secret = (data: Record<string, string>) => ({ data, labels: { "dataprotectionapplication.name": "dpa" } });
const secretsThere = new Map([
  ["cloud-credentials", secret({ cloud: AWS_FILE, empty: "" })],
  ["cloud-credentials-azure", secret({ cloud: "AZURE_TENANT_ID=t" })],
  ["cloud-credentials-gcp", secret({ cloud: "{}" })],
  ["restic", secret({ RESTIC_PASSWORD: "p" })],
]);
export const bucketOf = (provider: string): CloudStorage => ({
  metadata: { name: "bucket" },
  spec: {
    name: "real-bucket",
    provider: provider as "aws",
    region: "r",
    enableSharedConfig: true,
    creationSecret: { name: "cloud-credentials", key: "cloud" },
  },
});

export const location = (over: Partial<Location> = {}): Location => ({
  provider: "aws",
  default: true,
  objectStorage: { bucket: "b", prefix: "p" },
  config: { region: "r", s3ForcePathStyle: "true", s3Url: "https://store:443" },
  ...over,
});

export function application(over: Partial<Spec> = {}, velero: Velero = {}, nodeAgent: Partial<NodeAgent> = {}): DataProtectionApplication {
  return {
    metadata: { namespace: "adp", name: "dpa", uid: "u", generation: 1 },
    spec: {
      configuration: { velero: { defaultPlugins: ["openshift", "aws", "csi"], ...velero }, nodeAgent: { enable: true, uploaderType: "kopia", ...nodeAgent } },
      backupLocations: [{ velero: location() }],
      ...over,
    },
  };
}

export const observed = (dpa: DataProtectionApplication, over: Partial<Observed> = {}): Observed => ({
  dpa,
  others: [],
  secrets: secretsThere,
  cloudStorages: new Map([["bucket", bucketOf("aws")]]),
  server: undefined,
  oadpOperatorRuns: false,
  owned: [],
  image: "drayage/dray:1",
  hasRepositoryPassword: true,
  ...over,
});

export const annotated = (dpa: DataProtectionApplication, annotations: Record<string, string>): DataProtectionApplication => ({
  ...dpa,
  metadata: { ...dpa.metadata, annotations },
});
export const conditionIn = (steps: readonly Step[]) => steps.flatMap((step) => (step.do === "setCondition" ? [step.condition] : []))[0];
export const messageFor = (dpa: DataProtectionApplication, over: Partial<Observed> = {}): string | undefined => {
  const condition = conditionIn(decide(observed(dpa, over)));
  return condition?.status === "False" ? condition.message : undefined;
};
export const appliedBy = (steps: readonly Step[]): OwnedManifest[] => steps.flatMap((step) => (step.do === "apply" ? [step.manifest] : []));
export const made = (dpa: DataProtectionApplication, kind: string, name: string, over: Partial<Observed> = {}) =>
  appliedBy(decide(observed(dpa, over))).find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
export function podOf(manifest: OwnedManifest | undefined): PodTemplate {
  if (manifest === undefined) throw new Error("the workload is not there");
  return (manifest["spec"] as { template: PodTemplate }).template;
}
export const serverArgs = (dpa: DataProtectionApplication, over: Partial<Observed> = {}): string[] =>
  podOf(made(dpa, "Deployment", "velero", over)).spec.containers[0]?.args ?? [];

export const withLocation = (over: Partial<Location>, spec: Partial<Spec> = {}): DataProtectionApplication =>
  application({ backupLocations: [{ velero: location(over) }], ...spec });
export const withBucket = (bucket: object): DataProtectionApplication =>
  application({ backupLocations: [{ bucket: { cloudStorageRef: { name: "bucket" }, ...bucket } }] });
export const credential = { name: "cloud-credentials", key: "cloud" };
export const withSnapshots = (velero: object): DataProtectionApplication =>
  application({ snapshotLocations: [{ velero: velero as NonNullable<Spec["snapshotLocations"]>[number]["velero"] }] });
