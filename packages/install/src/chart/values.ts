/** The chart's values, with what each of them says. Defaults come from the manifests. */
import { stringify } from "yaml";
import { nodeAgent, server } from "../workloads.ts";

export function chartValues(): string {
  const at = { namespace: "", image: "" };
  return `# Values of the Drayage chart. With these defaults it installs what \`dray install\` installs.

image:
  repository: drayage/dray
  # The chart's own version when empty.
  tag: ""
  pullPolicy: IfNotPresent
imagePullSecrets: []

# Opens every repository, and must outlive the cluster. Empty: Secret velero-repo-credentials is there already (entry repository-password).
repositoryPassword: ""

# Keys of the object store, as an AWS credentials file. Empty: none are needed, or existingCredentials says that Secret cloud-credentials is there already (entry cloud).
credentials: ""
existingCredentials: false

# Where backups go; made when a bucket is named.
location:
  name: default
  provider: aws
  bucket: ""
  prefix: ""
  # region, s3Url, s3ForcePathStyle, … as Velero names them.
  config: {}
  # PEM of a CA to trust beside the system's.
  caCert: ""

networkPolicies:
  enabled: true

# Refuses wrong movers and parameters when they are written. Without it a backup that would use them fails.
admissionWebhook:
  enabled: true

server:
  extraArgs: []
  resources:
${indented(resourcesOf(server(at)))}
  nodeSelector:
${indented(nodeSelectorOf(server(at)))}
  tolerations: []
  affinity: {}
  priorityClassName: ""

nodeAgent:
  enabled: true
  extraArgs: []
  resources:
${indented(resourcesOf(nodeAgent(at)))}
  nodeSelector:
${indented(nodeSelectorOf(nodeAgent(at)))}
  tolerations: []
  affinity: {}
  priorityClassName: ""
`;
}

function resourcesOf(manifest: { readonly [field: string]: unknown }): unknown {
  const { spec } = manifest as unknown as { spec: { template: { spec: { containers: { resources: unknown }[] } } } };
  return spec.template.spec.containers[0]?.resources;
}

function nodeSelectorOf(manifest: { readonly [field: string]: unknown }): unknown {
  const { spec } = manifest as unknown as { spec: { template: { spec: { nodeSelector: unknown } } } };
  return spec.template.spec.nodeSelector;
}

const indented = (value: unknown): string =>
  stringify(value)
    .trimEnd()
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n");
