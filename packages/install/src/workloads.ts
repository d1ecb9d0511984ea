/** The pods of an installation: the server's Deployment and the node-agents' DaemonSet. Both are held to the `restricted` pod security standard; only movers, which they make, are root. */
import { CLOUD_CREDENTIALS, component, type Manifest, NODE_AGENT_NAME, SERVER_NAME, type WorkloadOptions } from "./manifests.ts";

/** The user that the image names too. Said here as well, since the files that are mounted are to be of its group. */
const NONROOT = 65_532;
export const RESTRICTED_POD = { runAsNonRoot: true, runAsUser: NONROOT, runAsGroup: NONROOT, fsGroup: NONROOT, seccompProfile: { type: "RuntimeDefault" } };
const RESTRICTED_CONTAINER = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } };

/**
 * The image has programs for Linux. Velero's own pods (1.18) keep away from Windows by an affinity; a selector says the same in one line and stays when a user gives an affinity of his own.
 * Kubelets put the label on their nodes.
 */
const LINUX = { "kubernetes.io/os": "linux" };

/** What is asked for at first; the memory of either follows the number of objects that it watches, not what is moved. */
const SERVER_RESOURCES = { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "1Gi" } };
const NODE_AGENT_RESOURCES = { requests: { cpu: "50m", memory: "96Mi" }, limits: { memory: "512Mi" } };

/**
 * What the server's process is started with beside its pod's facts. The allocator of glibc gives each of a dozen threads an arena of its own, of which each keeps what it once took;
 * the server's threads seldom work at the same time, and one arena for all of them is 7 to 18 MiB less.
 */
export const SERVER_ENVIRONMENT: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: "1" };

function fieldRef(name: string, fieldPath: string): object {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** Where both roles show their metrics, and how Prometheus is told. */
export const METRICS_PORT = 8085;
const METRICS_PORTS = [{ name: "metrics", containerPort: METRICS_PORT }];
/** Where the server answers the API server. */
export const WEBHOOK_PORT = 9443;
export const WEBHOOK_CONTAINER_PORT = { name: "webhook", containerPort: WEBHOOK_PORT };
const SCRAPED = { "prometheus.io/scrape": "true", "prometheus.io/path": "/metrics", "prometheus.io/port": String(METRICS_PORT) };

/** Where both roles find the store's credentials; empty when the location brings its own. */
const CREDENTIALS_PATH = "/credentials/cloud";

function podParts(options: WorkloadOptions): { env: object[]; volumeMounts: object[]; volumes: object[] } {
  const withCredentials = options.credentials !== undefined;
  return {
    env: [
      fieldRef("VELERO_NAMESPACE", "metadata.namespace"),
      fieldRef("NODE_NAME", "spec.nodeName"),
      fieldRef("POD_NAME", "metadata.name"),
      fieldRef("POD_IP", "status.podIP"),
      ...(withCredentials ? [{ name: "AWS_SHARED_CREDENTIALS_FILE", value: CREDENTIALS_PATH }] : []),
    ],
    volumeMounts: [
      { name: "scratch", mountPath: "/scratch" },
      { name: "tmp", mountPath: "/tmp" },
      ...(withCredentials ? [{ name: CLOUD_CREDENTIALS, mountPath: "/credentials", readOnly: true }] : []),
    ],
    volumes: [
      { name: "scratch", emptyDir: {} },
      { name: "tmp", emptyDir: {} },
      ...(withCredentials ? [{ name: CLOUD_CREDENTIALS, secret: { secretName: CLOUD_CREDENTIALS, defaultMode: 0o440 } }] : []),
    ],
  };
}

/** The Deployment of the server. */
export function server(options: WorkloadOptions): Manifest {
  const { namespace, image } = options;
  const labels = { ...component("server"), deploy: SERVER_NAME };
  const { env, volumeMounts, volumes } = podParts(options);
  // Snapshots that stay in the cluster go with it; the data is moved unless a backup says otherwise.
  const args = [
    "server",
    "--default-snapshot-move-data",
    ...(options.logLevel === undefined ? [] : [`--log-level=${options.logLevel}`]),
    ...(options.serverArgs ?? []),
  ];
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: SERVER_NAME, namespace, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: { deploy: SERVER_NAME } },
      template: {
        metadata: { labels, annotations: SCRAPED },
        spec: {
          serviceAccountName: SERVER_NAME,
          restartPolicy: "Always",
          nodeSelector: LINUX,
          securityContext: RESTRICTED_POD,
          containers: [
            {
              name: SERVER_NAME,
              image,
              imagePullPolicy: "IfNotPresent",
              command: ["/velero"],
              args,
              env: [...env, ...Object.entries(SERVER_ENVIRONMENT).map(([name, value]) => ({ name, value }))],
              volumeMounts,
              ports: [...METRICS_PORTS, WEBHOOK_CONTAINER_PORT],
              resources: SERVER_RESOURCES,
              securityContext: RESTRICTED_CONTAINER,
            },
          ],
          volumes,
        },
      },
    },
  };
}

/** The DaemonSet of the node-agents. Beside Velero's own, which has the usual name, it needs another. */
export function nodeAgent(options: WorkloadOptions, name: string = NODE_AGENT_NAME): Manifest {
  const { namespace, image } = options;
  const labels = { ...component("node-agent"), name, role: name };
  const { env, volumeMounts, volumes } = podParts(options);
  const args = ["node-agent", "server", ...(options.logLevel === undefined ? [] : [`--log-level=${options.logLevel}`]), ...(options.nodeAgentArgs ?? [])];
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name, namespace, labels },
    spec: {
      selector: { matchLabels: { name } },
      template: {
        metadata: { labels, annotations: SCRAPED },
        spec: {
          serviceAccountName: NODE_AGENT_NAME,
          restartPolicy: "Always",
          nodeSelector: LINUX,
          securityContext: RESTRICTED_POD,
          containers: [
            {
              name: NODE_AGENT_NAME,
              image,
              imagePullPolicy: "IfNotPresent",
              command: ["/velero"],
              args,
              env,
              volumeMounts,
              ports: METRICS_PORTS,
              resources: NODE_AGENT_RESOURCES,
              securityContext: RESTRICTED_CONTAINER,
            },
          ],
          volumes,
        },
      },
    },
  };
}
