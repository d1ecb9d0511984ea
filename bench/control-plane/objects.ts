/** What an ordinary cluster holds, by the hundred: the shares are those of namespaces with a few web applications in them. No volumes: those are measured elsewhere. */
import type { GenericObject } from "@drayage/kube";

/** Of the kinds that the custom resources are of. */
const CUSTOM_GROUP = "bench.example.com";
const CUSTOM_KINDS = ["Database", "Queue", "Cache"] as const;

/** How many of each kind a namespace of a hundred objects holds; the first are created before the others. */
const SHARES = {
  ServiceAccount: 4,
  ConfigMap: 20,
  Secret: 16,
  Service: 8,
  Deployment: 9,
  ReplicaSet: 9,
  Pod: 10,
  StatefulSet: 1,
  CronJob: 1,
  Role: 4,
  RoleBinding: 4,
  NetworkPolicy: 3,
  Ingress: 2,
  HorizontalPodAutoscaler: 1,
  PodDisruptionBudget: 1,
  Custom: 7,
} as const;

export const OBJECTS_PER_NAMESPACE: number = Object.values(SHARES).reduce((sum, count) => sum + count, 0);

const TEXT = "key: value # as configuration is\n";

export function definitions(): GenericObject[] {
  return CUSTOM_KINDS.map((kind) => {
    const plural = `${kind.toLowerCase()}s`;
    return {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${plural}.${CUSTOM_GROUP}` },
      spec: {
        group: CUSTOM_GROUP,
        scope: "Namespaced",
        names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
        versions: [
          {
            name: "v1",
            served: true,
            storage: true,
            subresources: { status: {} },
            schema: { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true } } } },
          },
        ],
      },
    };
  });
}

/** The objects of one namespace. */
export function objectsOf(namespace: string): GenericObject[] {
  return Object.entries(SHARES).flatMap(([kind, count]) =>
    Array.from({ length: count }, (_, n) => {
      const name = n === 0 && kind === "ServiceAccount" ? "default" : `${kind.toLowerCase()}-${n}`;
      const labels = { "app.kubernetes.io/name": `app-${n % 5}`, "app.kubernetes.io/managed-by": "bench", team: `team-${n % 3}` };
      return objectOf(kind as keyof typeof SHARES, n, { namespace, name, labels });
    }),
  );
}

type Metadata = GenericObject["metadata"];

function objectOf(kind: keyof typeof SHARES, n: number, metadata: Metadata): GenericObject {
  const selector = { app: `app-${n % 5}` };
  const podSpec = {
    serviceAccountName: "default",
    containers: [
      {
        name: "main",
        image: "registry.example.com/app:1.2.3",
        env: Array.from({ length: 6 }, (_, index) => ({ name: `VARIABLE_${index}`, value: `value ${index}` })),
        resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } },
        volumeMounts: [{ name: "configuration", mountPath: "/etc/app" }],
      },
    ],
    volumes: [{ name: "configuration", configMap: { name: `configmap-${n % 5}` } }],
  };
  const template = { metadata: { labels: selector }, spec: podSpec };
  const scaled = { replicas: 1, selector: { matchLabels: selector }, template };
  const rules = [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }];
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: `role-${n}` };
  const backend = { service: { name: `service-${n}`, port: { number: 80 } } };
  const rest: Record<keyof typeof SHARES, Omit<GenericObject, "metadata">> = {
    ServiceAccount: { apiVersion: "v1", kind },
    // One of ten is a large one.
    ConfigMap: { apiVersion: "v1", kind, data: { "app.yaml": TEXT.repeat(n % 10 === 0 ? 600 : 20) } },
    Secret: { apiVersion: "v1", kind, type: "Opaque", data: { password: Buffer.from(`secret ${n}`).toString("base64") } },
    Service: { apiVersion: "v1", kind, spec: { selector, ports: [{ port: 80, targetPort: 8080 }] } },
    Deployment: { apiVersion: "apps/v1", kind, spec: scaled },
    ReplicaSet: { apiVersion: "apps/v1", kind, spec: scaled },
    Pod: { apiVersion: "v1", kind, spec: podSpec },
    StatefulSet: { apiVersion: "apps/v1", kind, spec: { ...scaled, serviceName: "service-0" } },
    CronJob: {
      apiVersion: "batch/v1",
      kind,
      spec: { schedule: "0 3 * * *", jobTemplate: { spec: { template: { spec: { ...podSpec, restartPolicy: "Never" } } } } },
    },
    Role: { apiVersion: "rbac.authorization.k8s.io/v1", kind, rules },
    RoleBinding: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind,
      roleRef,
      subjects: [{ kind: "ServiceAccount", name: "default", namespace: metadata.namespace }],
    },
    NetworkPolicy: { apiVersion: "networking.k8s.io/v1", kind, spec: { podSelector: { matchLabels: selector }, policyTypes: ["Ingress"] } },
    Ingress: {
      apiVersion: "networking.k8s.io/v1",
      kind,
      spec: { rules: [{ host: `${n}.example.com`, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }] },
    },
    HorizontalPodAutoscaler: {
      apiVersion: "autoscaling/v2",
      kind,
      spec: { minReplicas: 1, maxReplicas: 3, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "deployment-0" } },
    },
    PodDisruptionBudget: { apiVersion: "policy/v1", kind, spec: { minAvailable: 1, selector: { matchLabels: selector } } },
    Custom: {
      apiVersion: `${CUSTOM_GROUP}/v1`,
      kind: CUSTOM_KINDS[n % CUSTOM_KINDS.length] ?? CUSTOM_KINDS[0],
      spec: { size: n, settings: { text: TEXT.repeat(10) } },
    },
  };
  return { ...rest[kind], metadata } as GenericObject;
}
