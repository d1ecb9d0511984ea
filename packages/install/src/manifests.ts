/**
 * What an installation consists of, as plain objects: the one source for `dray install`, the Helm chart and the operator.
 * Names follow Velero's where something else looks for them: the DaemonSet `node-agent`, the Secrets `cloud-credentials` and `velero-repo-credentials`.
 */
import { type BackupStorageLocation, loadCrds, VOLSYNC_GROUP } from "@drayage/api";
import { WITHOUT_WEBHOOK, webhookService } from "./admission-webhook.ts";
import { networkPolicies } from "./network-policies.ts";
import { nodeAgent, server } from "./workloads.ts";

/** Any object of the API, as far as this package cares. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  [field: string]: unknown;
}

export interface InstallLocation {
  readonly name: string;
  readonly provider: string;
  readonly bucket: string;
  readonly prefix?: string;
  readonly config?: Readonly<Record<string, string>>;
  /** PEM of a CA to trust beside the system's. */
  readonly caCert?: string;
  readonly default?: boolean;
}

/** What the workloads are made from. */
export interface WorkloadOptions {
  readonly namespace: string;
  readonly image: string;
  /** AWS-style credentials file, mounted where the roles expect it; not kept anywhere else. */
  readonly credentials?: string;
  readonly logLevel?: string;
  /** Extra arguments of the roles, as given. */
  readonly serverArgs?: readonly string[];
  readonly nodeAgentArgs?: readonly string[];
}

export interface InstallOptions extends WorkloadOptions {
  readonly location?: InstallLocation;
  readonly repositoryPassword: string;
  readonly nodeAgent: boolean;
  /** Whether what is wrong about movers is refused when it is written; yes when left out. */
  readonly admissionWebhook?: boolean;
}

export const SERVER_NAME = "drayage";
export const NODE_AGENT_NAME = "node-agent";
export const MOVER_SERVICE_ACCOUNT = "drayage-mover";
export const CLOUD_CREDENTIALS = "cloud-credentials";
export const REPO_CREDENTIALS = "velero-repo-credentials";

/** Labels of everything that belongs to a part of an installation. */
export const component = (name: string): Record<string, string> => ({
  "app.kubernetes.io/name": "drayage",
  "app.kubernetes.io/component": name,
  component: "velero",
});

/** Everything, in an order in which it can be created: CRDs and namespace, permissions, Secrets, location, workloads. */
export function installManifests(options: InstallOptions): Manifest[] {
  const { namespace } = options;
  return [
    ...kinds(),
    // Movers are root: they read and write files of every owner. Server and node-agent are held to `restricted` by what their pods say of themselves.
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels: { component: "velero", "pod-security.kubernetes.io/enforce": "privileged" } } },
    ...permissions(namespace, options.nodeAgent),
    ...networkPolicies(namespace, options.nodeAgent),
    ...(options.admissionWebhook === false ? [] : [webhookService(namespace)]),
    repositoryPasswordSecret(namespace, options.repositoryPassword),
    ...(options.credentials === undefined ? [] : [secret(namespace, CLOUD_CREDENTIALS, { cloud: options.credentials })]),
    ...(options.location === undefined ? [] : [backupLocation(namespace, options.location) as unknown as Manifest]),
    server(options.admissionWebhook === false ? { ...options, serverArgs: [...(options.serverArgs ?? []), WITHOUT_WEBHOOK] } : options),
    ...(options.nodeAgent ? [nodeAgent(options)] : []),
  ];
}

/** The CustomResourceDefinitions of an installation. */
export function kinds(): Manifest[] {
  return loadCrds("velero.io", "drayage.io", "datamover.oadp.openshift.io", VOLSYNC_GROUP).map(
    (crd) => ({ ...crd, metadata: { ...crd.metadata, name: `${crd.spec.names.plural}.${crd.spec.group}`, labels: { component: "velero" } } }) as Manifest,
  );
}

/** The Secret that every repository of the installation opens with. */
export function repositoryPasswordSecret(namespace: string, password: string): Manifest {
  return secret(namespace, REPO_CREDENTIALS, { "repository-password": password });
}

/** A Secret of these texts. */
export function secret(namespace: string, name: string, data: Record<string, string>): Manifest {
  const encoded = Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")]));
  return { apiVersion: "v1", kind: "Secret", metadata: { name, namespace, labels: { component: "velero" } }, type: "Opaque", data: encoded };
}

export function backupLocation(namespace: string, location: InstallLocation): BackupStorageLocation {
  return {
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    metadata: { name: location.name, namespace, labels: { component: "velero" } },
    spec: {
      provider: location.provider,
      default: location.default ?? true,
      objectStorage: {
        bucket: location.bucket,
        ...(location.prefix === undefined ? {} : { prefix: location.prefix }),
        ...(location.caCert === undefined ? {} : { caCert: Buffer.from(location.caCert).toString("base64") }),
      },
      ...(location.config === undefined ? {} : { config: { ...location.config } }),
    },
  };
}

/** A rule of a Role or ClusterRole. */
export interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}

const WATCHED = ["get", "list", "watch"] as const;
const WRITE = ["create", "update", "patch", "delete"] as const;

/**
 * A restore creates whatever a backup held, roles among it, so the server may create any kind. That is as much as a cluster's administrator may do, by one detour or another: the
 * wildcard covers subresources too. What is left out are verbs that nothing needs: impersonation, approval, and the deletion of whole collections outside of its own namespace.
 */
const SERVER_RULES: readonly Rule[] = [
  { apiGroups: ["*"], resources: ["*"], verbs: [...WATCHED, ...WRITE] },
  { apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles", "clusterroles"], verbs: ["escalate", "bind"] },
  { nonResourceURLs: ["/version", "/api", "/api/*", "/apis", "/apis/*"], verbs: ["get"] },
];

/** In the installation's own namespace: what a restore, or the deletion of a backup, leaves behind goes at once. */
const SERVER_OWN_RULES: readonly Rule[] = [
  { apiGroups: [""], resources: ["configmaps"], verbs: ["deletecollection"] },
  { apiGroups: ["velero.io"], resources: ["deletebackuprequests"], verbs: ["deletecollection"] },
];

/** Claims and snapshots lie in the applications' namespaces; their volumes, in none. */
const NODE_AGENT_RULES: readonly Rule[] = [
  // What the block mover restores as a device gets a volume of its own mode in its place.
  { apiGroups: [""], resources: ["persistentvolumes"], verbs: ["get", "patch", "create", "delete"] },
  { apiGroups: ["storage.k8s.io"], resources: ["volumeattachments"], verbs: ["list"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["get"] },
  { apiGroups: [""], resources: ["nodes"], verbs: [...WATCHED] },
  // Those of its node, whose volumes it reads and fills.
  { apiGroups: [""], resources: ["pods"], verbs: [...WATCHED] },
  { apiGroups: ["storage.k8s.io"], resources: ["storageclasses"], verbs: ["get"] },
  { apiGroups: ["scheduling.k8s.io"], resources: ["priorityclasses"], verbs: ["get"] },
  { apiGroups: ["drayage.io"], resources: ["datamovers"], verbs: ["list", "watch"] },
  // Where movers ask what has changed on a device.
  { apiGroups: ["cbt.storage.k8s.io"], resources: ["snapshotmetadataservices"], verbs: ["get"] },
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshots"], verbs: ["get", "delete"] },
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshotcontents"], verbs: ["get", "list", "create", "patch", "delete"] },
];

/** In the installation's own namespace. */
const NODE_AGENT_OWN_RULES: readonly Rule[] = [
  { apiGroups: ["velero.io"], resources: ["datauploads"], verbs: [...WATCHED, "update"] },
  { apiGroups: ["velero.io"], resources: ["datadownloads"], verbs: ["list", "watch", "update"] },
  { apiGroups: ["velero.io"], resources: ["podvolumebackups", "podvolumerestores"], verbs: ["list", "watch", "update"] },
  { apiGroups: ["velero.io"], resources: ["backuprepositories"], verbs: [...WATCHED, "create", "patch"] },
  { apiGroups: ["velero.io"], resources: ["backupstoragelocations"], verbs: ["get"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["create", "delete"] },
  { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["create", "delete"] },
  // Its movers', and copies of what an encrypted volume's storage looks for; the originals it may read where an administrator says so (docs/ceph.md).
  { apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["get", "list", "create", "update", "delete"] },
  { apiGroups: [""], resources: ["events"], verbs: ["list", "watch", "create", "patch"] },
  { apiGroups: ["apps"], resources: ["daemonsets"], verbs: ["get"] },
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshots"], verbs: ["list", "watch", "create"] },
  // Of those that it has made itself.
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshots/status"], verbs: ["patch"] },
];

/**
 * Of a node-agent beside a Velero server, which deletes what our mover moved by the ConfigMaps that one of the node-agents keeps; the tarballs of backups say of which volumes.
 * Which one is a Lease.
 */
export const GUEST_OWN_RULES: readonly Rule[] = [
  { apiGroups: ["velero.io"], resources: ["backups"], verbs: ["list", "watch"] },
  { apiGroups: [""], resources: ["configmaps"], verbs: ["list", "watch", "create"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"] },
];

/** A mover reads its own object, reports by Events and never sees a Secret (DESIGN 8.4). */
const MOVER_OWN_RULES: readonly Rule[] = [
  { apiGroups: ["velero.io"], resources: ["datauploads", "datadownloads", "podvolumebackups", "podvolumerestores"], verbs: [...WATCHED] },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
  // Not for itself: who tells what has changed on a device asks whether it may read the snapshots.
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshots"], verbs: ["get"] },
];

/** Service accounts of what runs beside a Velero server: node-agents and movers. */
export function guestPermissions(namespace: string): Manifest[] {
  return [
    ...role(namespace, NODE_AGENT_NAME, NODE_AGENT_RULES, [...NODE_AGENT_OWN_RULES, ...GUEST_OWN_RULES]),
    ...role(namespace, MOVER_SERVICE_ACCOUNT, [], MOVER_OWN_RULES),
  ];
}

/** Service accounts of the roles, and what each may do; `mayBeGuest` where somebody else decides later whether the node-agents serve a Velero server. */
export function permissions(namespace: string, withNodeAgent: boolean, mayBeGuest = false): Manifest[] {
  return [
    ...role(namespace, SERVER_NAME, SERVER_RULES, SERVER_OWN_RULES),
    ...(withNodeAgent ? role(namespace, NODE_AGENT_NAME, NODE_AGENT_RULES, [...NODE_AGENT_OWN_RULES, ...(mayBeGuest ? GUEST_OWN_RULES : [])]) : []),
    // Also of the maintenance Jobs that the server makes, which ask the API server for nothing.
    ...role(namespace, MOVER_SERVICE_ACCOUNT, [], MOVER_OWN_RULES),
  ];
}

/** A service account with these permissions, in the whole cluster and in its own namespace. */
export function role(namespace: string, account: string, clusterRules: readonly Rule[], ownRules: readonly Rule[]): Manifest[] {
  const rbac = "rbac.authorization.k8s.io";
  const labels = component(account);
  const subjects = [{ kind: "ServiceAccount", name: account, namespace }];
  // Cluster-scoped names carry the namespace, so that two installations do not take each other's permissions away.
  const clusterName = `${account}-${namespace}`;
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: account, namespace, labels } },
    ...(clusterRules.length === 0
      ? []
      : [
          { apiVersion: `${rbac}/v1`, kind: "ClusterRole", metadata: { name: clusterName, labels }, rules: clusterRules },
          {
            apiVersion: `${rbac}/v1`,
            kind: "ClusterRoleBinding",
            metadata: { name: clusterName, labels },
            roleRef: { apiGroup: rbac, kind: "ClusterRole", name: clusterName },
            subjects,
          },
        ]),
    ...(ownRules.length === 0
      ? []
      : [
          { apiVersion: `${rbac}/v1`, kind: "Role", metadata: { name: account, namespace, labels }, rules: ownRules },
          {
            apiVersion: `${rbac}/v1`,
            kind: "RoleBinding",
            metadata: { name: account, namespace, labels },
            roleRef: { apiGroup: rbac, kind: "Role", name: account },
            subjects,
          },
        ]),
  ];
}
