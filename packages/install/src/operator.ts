/**
 * The operator: its permissions, its Deployment, and the permissions of what it makes. Those come with it, as they do with OADP's, so that it need not be able to give any:
 * it works in its own namespace alone and has no right outside of it.
 */
import { loadCrds } from "@drayage/api";
import { type Manifest, permissions, type Rule, role } from "./manifests.ts";

export const OPERATOR_NAME = "drayage-operator";

/** Groups whose kinds an installation by the operator needs. */
export const OPERATOR_KINDS = ["velero.io", "drayage.io", "datamover.oadp.openshift.io", "oadp.openshift.io"] as const;

const ALL_VERBS = ["get", "list", "watch", "create", "patch", "delete"] as const;

/** In its own namespace; it has no others. */
export const OPERATOR_OWN_RULES: readonly Rule[] = [
  { apiGroups: ["oadp.openshift.io"], resources: ["dataprotectionapplications", "cloudstorages"], verbs: ["get", "list", "watch"] },
  { apiGroups: ["oadp.openshift.io"], resources: ["cloudstorages"], verbs: ["update"] },
  { apiGroups: ["oadp.openshift.io"], resources: ["dataprotectionapplications/status"], verbs: ["update"] },
  { apiGroups: ["oadp.openshift.io"], resources: ["cloudstorages/status"], verbs: ["patch"] },
  { apiGroups: ["velero.io"], resources: ["backupstoragelocations", "volumesnapshotlocations"], verbs: ["list", "watch", "create", "patch", "delete"] },
  { apiGroups: ["apps"], resources: ["deployments"], verbs: ALL_VERBS },
  { apiGroups: ["apps"], resources: ["daemonsets"], verbs: ["list", "watch", "create", "patch", "delete"] },
  { apiGroups: [""], resources: ["configmaps"], verbs: ALL_VERBS },
  { apiGroups: [""], resources: ["secrets"], verbs: ALL_VERBS },
  { apiGroups: [""], resources: ["services"], verbs: ["list", "watch", "create", "patch", "delete"] },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"] },
];

export interface OperatorOptions {
  readonly namespace: string;
  readonly image: string;
  readonly logLevel?: string;
}

/** Everything of the operator, in an order in which it can be created. A DataProtectionApplication brings the rest. */
export function operatorManifests(options: OperatorOptions): Manifest[] {
  const { namespace } = options;
  return [
    ...loadCrds(...OPERATOR_KINDS).map(
      (crd) => ({ ...crd, metadata: { ...crd.metadata, name: `${crd.spec.names.plural}.${crd.spec.group}`, labels: { component: "velero" } } }) as Manifest,
    ),
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels: { component: "velero", "pod-security.kubernetes.io/enforce": "privileged" } } },
    ...permissions(namespace, true, true),
    ...role(namespace, OPERATOR_NAME, [], OPERATOR_OWN_RULES),
    operatorDeployment(options),
  ];
}

/** The Deployment of the operator. */
export function operatorDeployment({ namespace, image, logLevel }: OperatorOptions): Manifest {
  const labels = { "app.kubernetes.io/name": "drayage", "app.kubernetes.io/component": OPERATOR_NAME, deploy: OPERATOR_NAME };
  const fieldRef = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: OPERATOR_NAME, namespace, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: { deploy: OPERATOR_NAME } },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: OPERATOR_NAME,
          restartPolicy: "Always",
          securityContext: { runAsNonRoot: true, runAsUser: 65534, seccompProfile: { type: "RuntimeDefault" } },
          containers: [
            {
              name: OPERATOR_NAME,
              image,
              imagePullPolicy: "IfNotPresent",
              command: ["/dray"],
              args: ["operator", ...(logLevel === undefined ? [] : [`--log-level=${logLevel}`])],
              env: [fieldRef("WATCH_NAMESPACE", "metadata.namespace"), fieldRef("POD_NAME", "metadata.name")],
              resources: { requests: { cpu: "50m", memory: "96Mi" } },
              securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
            },
          ],
        },
      },
    },
  };
}
