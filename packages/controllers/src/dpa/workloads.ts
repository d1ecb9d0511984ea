/** The server and the node-agents of a DataProtectionApplication: those of an ordinary installation, with what the application asks for on top. */
import type { DataProtectionApplication } from "@drayage/api";
import { GUEST_NODE_AGENT, METRICS_PORT, NODE_AGENT_NAME, nodeAgent, server, webhookService } from "@drayage/install";
import type { Container, LabelSelector, PodTemplate } from "@drayage/kube";
import { requirementsOf } from "@drayage/kube";
import { nodeAgentData } from "./config-maps.ts";
import type { Mode, Observed } from "./dpa.ts";
import { nameOf, type OwnedManifest, ownLabels } from "./owned-manifest.ts";
import { nodeAgentArguments, serverArguments } from "./server-arguments.ts";
import { backsUpImages, type LoadAffinity, type PodConfig, type Spec } from "./spec.ts";

/** The Deployment and its container are called as OADP's are: `oc exec deployment/velero -c velero -- ./velero backup get` goes on working. */
export const SERVER_DEPLOYMENT = "velero";

const DEFAULT_REQUESTS = { cpu: "500m", memory: "128Mi" } as const;
const PLUGINS_FOLDER = "/plugins";

interface Workload extends OwnedManifest {
  spec: { selector: LabelSelector; template: PodTemplate; [field: string]: unknown };
}

/** The program of an installation: an override, else the operator's own. */
export function imageOf(spec: Spec, ownImage: string): string {
  const override = spec.unsupportedOverrides?.["veleroImageFqin"];
  return override === undefined || override === "" ? ownImage : override;
}

/** What is said, else IfNotPresent for an image that its digest names and that so cannot change. */
export function pullPolicyOf(spec: Spec, image: string): string {
  return spec.imagePullPolicy ?? (/@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(image) ? "IfNotPresent" : "Always");
}

export function desiredServer({ dpa, image, serverArguments: override }: Observed, spec: Spec): OwnedManifest {
  const program = imageOf(spec, image);
  const manifest = server({ namespace: dpa.metadata.namespace ?? "", image: program }) as Workload;
  const velero = spec.configuration.velero ?? {};
  const labels = { ...ownLabels(nameOf(dpa), "server"), component: "velero", deploy: SERVER_DEPLOYMENT };
  manifest.metadata = { name: SERVER_DEPLOYMENT, namespace: dpa.metadata.namespace ?? "", labels };
  const [container] = manifest.spec.template.spec.containers;
  if (container === undefined) return manifest;
  container.name = SERVER_DEPLOYMENT;
  container.args = ["server", ...serverArguments(dpa, spec, override)];
  container.imagePullPolicy = pullPolicyOf(spec, program);
  const port = metricsPortOf(spec);
  container["ports"] = [{ name: "metrics", containerPort: port }];
  container.env = [...(container.env ?? []), ...(backsUpImages(spec) ? [{ name: "OPENSHIFT_IMAGESTREAM_BACKUP", value: "true" }] : [])];
  const selector = serverSelector(dpa);
  const annotations = { "prometheus.io/port": String(port) };
  shape(manifest, container, { dpa, spec, labels, selector, pod: velero.podConfig, affinity: velero.loadAffinity, annotations });
  addPlugins(manifest, container, spec);
  return manifest;
}

/** By which the server's Deployment and its Service find their pods. */
function serverSelector(dpa: DataProtectionApplication): Record<string, string> {
  return ownLabels(nameOf(dpa), "server");
}

/** Where the server shows its metrics: the port of `args.metrics-address`, which has the form `host:port`. */
function metricsPortOf({ configuration }: Spec): number {
  const port = /:(\d{1,5})$/.exec(configuration.velero?.args?.["metrics-address"] ?? "")?.[1];
  return port === undefined ? METRICS_PORT : Number(port);
}

/** OADP's Service, which its users' ServiceMonitors select. */
export function desiredMetricsService(dpa: DataProtectionApplication, spec: Spec): OwnedManifest {
  const port = metricsPortOf(spec);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "openshift-adp-velero-metrics-svc", namespace: dpa.metadata.namespace ?? "", labels: serverSelector(dpa) },
    spec: { type: "ClusterIP", selector: serverSelector(dpa), ports: [{ name: "monitoring", port, targetPort: port, protocol: "TCP" }] },
  };
}

const WEBHOOK_ANNOTATION = "drayage.io/admission-webhook";

/** By being there it asks the server for its admission webhook. */
export function desiredWebhookService(dpa: DataProtectionApplication): OwnedManifest[] {
  if (dpa.metadata.annotations?.[WEBHOOK_ANNOTATION] === "false") return [];
  const manifest = webhookService(dpa.metadata.namespace ?? "", serverSelector(dpa)) as OwnedManifest;
  return [{ ...manifest, metadata: { ...manifest.metadata, labels: serverSelector(dpa) } }];
}

export function desiredNodeAgent({ dpa, image, nodeAgentArguments: override }: Observed, spec: Spec, mode: Mode): OwnedManifest[] {
  const config = spec.configuration.nodeAgent;
  if (config?.enable !== true) return [];
  const name = mode === "guest" ? GUEST_NODE_AGENT : NODE_AGENT_NAME;
  const program = imageOf(spec, image);
  const manifest = nodeAgent({ namespace: dpa.metadata.namespace ?? "", image: program }) as Workload;
  const own = { ...ownLabels(nameOf(dpa), "node-agent"), component: "velero", name, role: name };
  manifest.metadata = { name, namespace: dpa.metadata.namespace ?? "", labels: own };
  const { template } = manifest.spec;
  const [container] = template.spec.containers;
  if (container === undefined) return [manifest];
  container.args = ["node-agent", "server", ...(mode === "guest" ? ["--guest"] : []), `--daemonset-name=${name}`, ...nodeAgentArguments(dpa, spec, override)];
  container.imagePullPolicy = pullPolicyOf(spec, program);
  // A change of the ConfigMap rolls the node-agents, which read it when they start.
  const settings = nodeAgentData(spec)?.["node-agent-config"];
  shape(manifest, container, {
    dpa,
    spec,
    labels: own,
    selector: { component: "velero", name },
    pod: config.podConfig,
    affinity: config.loadAffinity,
    ...(settings === undefined ? {} : { annotations: { "drayage.io/node-agent-config": settings } }),
  });
  const supplementalGroups = config.supplementalGroups ?? [];
  const unprivileged = spec.configuration.velero?.disableFsBackup === true;
  template.spec.securityContext = {
    ...(unprivileged ? { runAsNonRoot: true, runAsUser: 65534, seccompProfile: { type: "RuntimeDefault" } } : template.spec.securityContext),
    ...(supplementalGroups.length === 0 ? {} : { supplementalGroups }),
  };
  if (unprivileged) container.securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
  return [manifest];
}

interface Shape {
  readonly dpa: DataProtectionApplication;
  readonly spec: Spec;
  readonly labels: Record<string, string>;
  readonly selector: Record<string, string>;
  readonly pod: PodConfig | undefined;
  readonly affinity: LoadAffinity | undefined;
  readonly annotations?: Record<string, string>;
}

/** What a pod's settings say, of either role. */
function shape(manifest: Workload, container: Container, { spec, labels, selector, pod, affinity, annotations }: Shape): void {
  const { template } = manifest.spec;
  manifest.spec.selector = { matchLabels: selector };
  // Labels of the user cannot take the selector's place.
  template.metadata = {
    labels: { ...pod?.labels, ...labels },
    annotations: { ...template.metadata?.annotations, ...spec.podAnnotations, ...pod?.annotations, ...annotations },
  };
  container.env = [...(container.env ?? []), ...((pod?.env ?? []) as NonNullable<Container["env"]>)];
  const { requests, limits } = (pod?.resourceAllocations ?? {}) as { requests?: Record<string, number | string>; limits?: Record<string, number | string> };
  container.resources = { requests: texts({ ...DEFAULT_REQUESTS, ...requests }), ...(limits === undefined ? {} : { limits: texts(limits) }) };
  const podSpec = template.spec;
  if (pod?.nodeSelector !== undefined) podSpec.nodeSelector = { ...podSpec.nodeSelector, ...pod.nodeSelector };
  if (pod?.tolerations !== undefined) podSpec.tolerations = pod.tolerations;
  if (affinity !== undefined && affinity.length > 0) podSpec.affinity = nodeAffinity(affinity);
  if (spec.podDnsPolicy !== undefined) podSpec.dnsPolicy = spec.podDnsPolicy;
  if (spec.podDnsConfig !== undefined) podSpec.dnsConfig = spec.podDnsConfig;
}

/** A quantity may be written as a number; in a container it is text. */
function texts(quantities: Readonly<Record<string, number | string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(quantities).map(([name, value]) => [name, String(value)]));
}

/** Alternatives, each of which is a set of requirements. */
function nodeAffinity(affinity: LoadAffinity): Record<string, unknown> {
  const nodeSelectorTerms = affinity.map(({ nodeSelector }) => ({
    matchExpressions: requirementsOf((nodeSelector ?? {}) as LabelSelector).map(({ key, operator, values }) => ({
      key,
      operator,
      ...(values.length === 0 ? {} : { values: [...values] }),
    })),
  }));
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } };
}

/** Plug-ins of others copy themselves into a folder that the server looks through, as they do for Velero. */
function addPlugins(manifest: Workload, container: Container, spec: Spec): void {
  const plugins = spec.configuration.velero?.customPlugins ?? [];
  if (plugins.length === 0) return;
  const { template } = manifest.spec;
  template.spec.initContainers = plugins.map(({ name, image }) => ({
    name,
    image,
    imagePullPolicy: pullPolicyOf(spec, image),
    volumeMounts: [{ name: "plugins", mountPath: "/target" }],
    resources: {},
  }));
  template.spec.volumes = [...(template.spec.volumes ?? []), { name: "plugins", emptyDir: {} }];
  container.volumeMounts = [...(container.volumeMounts ?? []), { name: "plugins", mountPath: PLUGINS_FOLDER, readOnly: true }];
}
