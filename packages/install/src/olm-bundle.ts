/**
 * The operator as a bundle for the Operator Lifecycle Manager: one ClusterServiceVersion, the definitions that it owns, and the annotations by which a catalog knows it.
 * The same objects that `dray install --operator` creates, in the form in which OLM creates them: it makes service accounts, roles and bindings from the rules in the ClusterServiceVersion.
 * Format: operator-framework, registry+v1.
 */
import { type CrdManifest, loadCrds } from "@drayage/api";
import type { Manifest } from "./manifests.ts";
import { OPERATOR_KINDS, OPERATOR_NAME, operatorManifests } from "./operator.ts";

export const OLM_PACKAGE = OPERATOR_NAME;
const CHANNEL = "stable";
const OLDEST_KUBERNETES = "1.30.0";
/** In every manifest's place of a namespace; OLM says which it is. */
const NAMESPACE = "openshift-adp";

export interface OlmBundleOptions {
  readonly version: string;
  readonly image: string;
}

interface RulesOfAccount {
  readonly serviceAccountName: string;
  readonly rules: unknown;
}

/** The files of the bundle by their paths, as objects. */
export function olmBundle({ version, image }: OlmBundleOptions): ReadonlyMap<string, object> {
  const definitions = loadCrds(...OPERATOR_KINDS);
  return new Map<string, object>([
    [`manifests/${OPERATOR_NAME}.clusterserviceversion.yaml`, clusterServiceVersion({ version, image }, definitions)],
    ...definitions.map((crd): [string, object] => [
      `manifests/${crd.spec.group}_${crd.spec.names.plural}.yaml`,
      { ...crd, metadata: { ...crd.metadata, name: `${crd.spec.names.plural}.${crd.spec.group}` } },
    ]),
    [
      "metadata/annotations.yaml",
      {
        annotations: {
          "operators.operatorframework.io.bundle.mediatype.v1": "registry+v1",
          "operators.operatorframework.io.bundle.manifests.v1": "manifests/",
          "operators.operatorframework.io.bundle.metadata.v1": "metadata/",
          "operators.operatorframework.io.bundle.package.v1": OLM_PACKAGE,
          "operators.operatorframework.io.bundle.channels.v1": CHANNEL,
          "operators.operatorframework.io.bundle.channel.default.v1": CHANNEL,
        },
      },
    ],
  ]);
}

function clusterServiceVersion({ version, image }: OlmBundleOptions, definitions: readonly CrdManifest[]): object {
  const manifests = operatorManifests({ namespace: NAMESPACE, image });
  const deployment = manifests.find(({ kind }) => kind === "Deployment");
  return {
    apiVersion: "operators.coreos.com/v1alpha1",
    kind: "ClusterServiceVersion",
    metadata: {
      name: `${OPERATOR_NAME}.v${version}`,
      annotations: {
        "alm-examples": JSON.stringify(EXAMPLES, null, 2),
        capabilities: "Seamless Upgrades",
        categories: "Storage",
        containerImage: image,
        // Any release before is updated to this one in one step.
        "olm.skipRange": `<${version}`,
        description: "Backs up applications with the data of their volumes to object storage, and brings them back.",
        "operatorframework.io/suggested-namespace": NAMESPACE,
        "operators.operatorframework.io/internal-objects": JSON.stringify(internalObjects(definitions)),
        "operatorframework.io/suggested-namespace-template": JSON.stringify({
          apiVersion: "v1",
          kind: "Namespace",
          metadata: { name: NAMESPACE, labels: { "pod-security.kubernetes.io/enforce": "privileged" } },
        }),
      },
    },
    spec: {
      displayName: "Drayage",
      description:
        "Backs up applications with the data of their volumes to object storage, and brings them back. Installed and configured by one DataProtectionApplication, the object of OADP.",
      version,
      maturity: "stable",
      minKubeVersion: OLDEST_KUBERNETES,
      keywords: ["backup", "restore", "velero", "oadp", "kopia"],
      provider: { name: "Drayage" },
      icon: [{ base64data: Buffer.from(ICON).toString("base64"), mediatype: "image/svg+xml" }],
      // Its permissions, and those of what it makes, are of its own namespace.
      installModes: [
        { type: "OwnNamespace", supported: true },
        ...["SingleNamespace", "MultiNamespace", "AllNamespaces"].map((type) => ({ type, supported: false })),
      ],
      customresourcedefinitions: { owned: definitions.flatMap(ownedVersions) },
      install: {
        strategy: "deployment",
        spec: {
          clusterPermissions: rulesOf(manifests, "ClusterRole", "ClusterRoleBinding"),
          permissions: rulesOf(manifests, "Role", "RoleBinding"),
          deployments: [{ name: OPERATOR_NAME, label: deployment?.metadata.labels, spec: deployment?.["spec"] }],
        },
      },
      relatedImages: [{ name: OPERATOR_NAME, image }],
    },
  };
}

function ownedVersions(crd: CrdManifest): object[] {
  const { group, names } = crd.spec;
  const versions = crd.spec["versions"] as readonly {
    readonly name: string;
    readonly schema: { readonly openAPIV3Schema: { readonly description?: string } };
  }[];
  return versions.map(({ name, schema }) => ({
    kind: names.kind,
    name: `${names.plural}.${group}`,
    version: name,
    displayName: names.kind.replace(/(?<=[a-z])(?=[A-Z])/g, " "),
    description: schema.openAPIV3Schema.description ?? names.kind,
  }));
}

/** The rules of each service account that a binding gives a role to. */
function rulesOf(manifests: readonly Manifest[], roleKind: string, bindingKind: string): RulesOfAccount[] {
  return manifests
    .filter(({ kind }) => kind === bindingKind)
    .map((binding) => {
      const { name } = binding["roleRef"] as { name: string };
      const [subject] = binding["subjects"] as { name: string }[];
      return { serviceAccountName: subject?.name ?? "", rules: manifests.find(({ kind, metadata }) => kind === roleKind && metadata.name === name)?.["rules"] };
    });
}

/** A box on wheels, for the console's tile. */
const ICON = [
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48">',
  '<rect x="6" y="12" width="36" height="20" rx="2" fill="#1f6f8b"/><path d="M6 20h36M24 12v20" stroke="#fff" stroke-width="2"/>',
  '<circle cx="15" cy="36" r="5" fill="#333"/><circle cx="33" cy="36" r="5" fill="#333"/></svg>',
].join("");

const EXAMPLE_LOCATION = {
  provider: "aws",
  default: true,
  objectStorage: { bucket: "my-bucket", prefix: "velero" },
  config: { region: "us-east-1" },
  credential: { name: "cloud-credentials", key: "cloud" },
} as const;

/** What the console offers as a beginning, of each kind that users make. */
const EXAMPLES = [
  example("oadp.openshift.io/v1alpha1", "DataProtectionApplication", "dpa-sample", {
    configuration: {
      velero: { defaultPlugins: ["openshift", "aws", "csi"], defaultSnapshotMoveData: true, featureFlags: ["EnableCSI"] },
      nodeAgent: { enable: true, uploaderType: "kopia" },
    },
    backupLocations: [{ velero: EXAMPLE_LOCATION }],
  }),
  example("oadp.openshift.io/v1alpha1", "CloudStorage", "bucket-sample", {
    name: "my-bucket",
    provider: "aws",
    region: "us-east-1",
    creationSecret: { name: "cloud-credentials", key: "cloud" },
  }),
  example("oadp.openshift.io/v1alpha1", "DataProtectionTest", "trial-sample", {
    backupLocationName: "dpa-sample-1",
    uploadSpeedTestConfig: { fileSize: "100MB", timeout: "60s" },
  }),
  example("velero.io/v1", "Backup", "backup-sample", { includedNamespaces: ["my-application"], snapshotMoveData: true, ttl: "720h0m0s" }),
  example("velero.io/v1", "Restore", "restore-sample", { backupName: "backup-sample" }),
  example("velero.io/v1", "Schedule", "schedule-sample", {
    schedule: "0 3 * * *",
    template: { includedNamespaces: ["my-application"], snapshotMoveData: true, ttl: "720h0m0s" },
  }),
  example("velero.io/v1", "BackupStorageLocation", "location-sample", { ...EXAMPLE_LOCATION, default: false }),
  example("velero.io/v1", "VolumeSnapshotLocation", "snapshots-sample", { provider: "aws", config: { region: "us-east-1" } }),
  example("velero.io/v1", "DeleteBackupRequest", "delete-sample", { backupName: "backup-sample" }),
  {
    apiVersion: "drayage.io/v1alpha1",
    kind: "DataMover",
    metadata: { name: "mover-sample" },
    spec: {
      version: "1.0.0",
      description: "A mover of one's own",
      image: "example.com/my-mover:1.0.0",
      command: ["/my-mover"],
      capabilities: { kinds: ["persistentvolumeclaims"] },
      parameters: { type: "object", properties: {} },
    },
  },
  {
    apiVersion: "drayage.io/v1alpha1",
    kind: "DataMoverClass",
    metadata: { name: "class-sample" },
    spec: { mover: "drayage", selector: { namespaces: ["my-application"] } },
  },
];

function example(apiVersion: string, kind: string, name: string, spec: object): Manifest {
  return { apiVersion, kind, metadata: { name, namespace: NAMESPACE }, spec };
}

/** What servers and node-agents make for each other; a console that offers them would only confuse. */
function internalObjects(definitions: readonly CrdManifest[]): string[] {
  const shown = new Set(EXAMPLES.map(({ kind }) => kind));
  return definitions.filter(({ spec }) => !shown.has(spec.names.kind)).map(({ spec }) => `${spec.names.plural}.${spec.group}`);
}
