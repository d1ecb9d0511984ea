/**
 * The Helm chart, written from the same manifests that `dray install` applies, so that the two cannot come apart: each template is the YAML of those manifests, with expressions of
 * Helm where a value goes. With the default values it renders to exactly what `dray install --dry-run` prints, but for the Namespace, which Helm makes itself.
 *
 *   Chart.yaml   values.yaml   crds/KIND.yaml   templates/{permissions,network-policies,admission-webhook,secrets,location,server,node-agent}.yaml, NOTES.txt
 *
 * Only these are used of Helm's language: values, `default`, `b64enc`, `quote`, `if`/`else`/`end`, `with`, `range`, `toYaml | nindent`.
 */
import { stringify } from "yaml";
import { WITHOUT_WEBHOOK, webhookService } from "../admission-webhook.ts";
import { CLOUD_CREDENTIALS, kinds, type Manifest, permissions, REPO_CREDENTIALS, secret } from "../manifests.ts";
import { networkPolicies } from "../network-policies.ts";
import { nodeAgent, server } from "../workloads.ts";
import { chartValues } from "./values.ts";

export interface ChartFile {
  readonly path: string;
  readonly text: string;
}

const NAMESPACE = "{{ .Release.Namespace }}";
const IMAGE = "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}";
/** The last of a role's arguments, in whose place those of the values come. */
const MORE_ARGS = "more-arguments";

/** Every file of the chart of this version of the program. */
export function helmChart(version: string): ChartFile[] {
  const files: readonly (readonly [string, string])[] = [
    ["Chart.yaml", chartManifest(version)],
    ["values.yaml", chartValues()],
    ...kinds().map((kind) => [`crds/${kind.metadata.name}.yaml`, yaml(kind)] as const),
    ["templates/permissions.yaml", choice(".Values.nodeAgent.enabled", documents(permissions(NAMESPACE, true)), documents(permissions(NAMESPACE, false)))],
    [
      "templates/network-policies.yaml",
      choice(
        ".Values.networkPolicies.enabled",
        choice(".Values.nodeAgent.enabled", documents(networkPolicies(NAMESPACE, true)), documents(networkPolicies(NAMESPACE, false))),
      ),
    ],
    ["templates/admission-webhook.yaml", choice(".Values.admissionWebhook.enabled", documents([webhookService(NAMESPACE)]))],
    ["templates/secrets.yaml", secrets()],
    ["templates/location.yaml", location()],
    ["templates/server.yaml", workload("server", (options) => server({ ...options, serverArgs: [MORE_ARGS] }))],
    [
      "templates/node-agent.yaml",
      choice(
        ".Values.nodeAgent.enabled",
        workload("nodeAgent", (options) => nodeAgent({ ...options, nodeAgentArgs: [MORE_ARGS] })),
      ),
    ],
    ["templates/NOTES.txt", NOTES],
  ];
  return files.map(([path, text]) => ({ path, text }));
}

function chartManifest(version: string): string {
  return stringify({
    apiVersion: "v2",
    name: "drayage",
    description: "Moves the data of Kubernetes volumes to object storage and brings stateful applications back",
    type: "application",
    version,
    appVersion: version,
    kubeVersion: ">=1.30.0-0",
    annotations: { licenses: "Apache-2.0" },
  });
}

function yaml(manifest: Manifest): string {
  return stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false });
}

function documents(manifests: readonly Manifest[]): string {
  return manifests.map((manifest) => `---\n${yaml(manifest)}`).join("");
}

function choice(condition: string, whenTrue: string, whenFalse?: string): string {
  return `{{- if ${condition} }}\n${whenTrue}${whenFalse === undefined ? "" : `{{- else }}\n${whenFalse}`}{{- end }}\n`;
}

/** A role's pods, with and without the credentials of a store, and with what the values say of it. */
function workload(name: "server" | "nodeAgent", make: (options: { namespace: string; image: string; credentials?: string }) => Manifest): string {
  const text = (credentials: boolean): string =>
    withValues(name, documents([make({ namespace: NAMESPACE, image: IMAGE, ...(credentials ? { credentials: "" } : {}) })]));
  return choice("or .Values.credentials .Values.existingCredentials", text(true), text(false));
}

/** Puts expressions where a user changes something: after the image, in the place of the last argument, of the resources, and at the end of the pod's settings. */
function withValues(name: string, text: string): string {
  const lines = text.split("\n");
  const found: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const indent = line.length - line.trimStart().length;
    if (line.trim() === `- ${MORE_ARGS}`) {
      found.push(`{{- with .Values.${name}.extraArgs }}`, `{{- toYaml . | nindent ${indent} }}`, "{{- end }}");
      if (name === "server") found.push("{{- if .Values.admissionWebhook.enabled }}", "{{- else }}", `${" ".repeat(indent)}- ${WITHOUT_WEBHOOK}`, "{{- end }}");
    } else if (line.trim() === "imagePullPolicy: IfNotPresent") {
      found.push(`${" ".repeat(indent)}imagePullPolicy: {{ .Values.image.pullPolicy }}`);
    } else if (line.trim() === "resources:") {
      while ((lines[at + 1] ?? "").startsWith(" ".repeat(indent + 1))) at++;
      found.push(line, `{{- toYaml .Values.${name}.resources | nindent ${indent + 2} }}`);
    } else if (line.trim() === "nodeSelector:") {
      // Its place in the chart is among the values.
      while ((lines[at + 1] ?? "").startsWith(" ".repeat(indent + 1))) at++;
    } else if (line.trim() === "restartPolicy: Always") {
      found.push(line);
      for (const setting of ["imagePullSecrets", "nodeSelector", "tolerations", "affinity"])
        found.push(
          `{{- with .Values.${setting === "imagePullSecrets" ? "" : `${name}.`}${setting} }}`,
          `${" ".repeat(indent)}${setting}:`,
          `{{- toYaml . | nindent ${indent + 2} }}`,
          "{{- end }}",
        );
      found.push(`{{- with .Values.${name}.priorityClassName }}`, `${" ".repeat(indent)}priorityClassName: {{ . | quote }}`, "{{- end }}");
    } else found.push(line);
  }
  return found.join("\n");
}

/** Only what was given: a password that is in no values is in a Secret that was there before, and stays. */
function secrets(): string {
  const of = (name: string, entry: string, value: string): string =>
    documents([secret(NAMESPACE, name, { [entry]: "" })]).replace(`${entry}: ""`, `${entry}: {{ .Values.${value} | b64enc | quote }}`);
  return (
    choice(".Values.repositoryPassword", of(REPO_CREDENTIALS, "repository-password", "repositoryPassword")) +
    choice(".Values.credentials", of(CLOUD_CREDENTIALS, "cloud", "credentials"))
  );
}

function location(): string {
  return choice(
    ".Values.location.bucket",
    `---
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata:
  name: {{ .Values.location.name | quote }}
  namespace: "${NAMESPACE}"
  labels:
    component: velero
spec:
  provider: {{ .Values.location.provider | quote }}
  default: true
  objectStorage:
    bucket: {{ .Values.location.bucket | quote }}
{{- with .Values.location.prefix }}
    prefix: {{ . | quote }}
{{- end }}
{{- with .Values.location.caCert }}
    caCert: {{ . | b64enc | quote }}
{{- end }}
{{- with .Values.location.config }}
  config:
{{- toYaml . | nindent 4 }}
{{- end }}
`,
  );
}

const NOTES = `Drayage is installed in namespace "{{ .Release.Namespace }}".

Movers are root, since they read and write files of every owner. Where the cluster enforces a pod security standard, permit it in this namespace:

  kubectl label namespace {{ .Release.Namespace }} pod-security.kubernetes.io/enforce=privileged

Repositories open with the password in Secret ${REPO_CREDENTIALS}. Keep a copy of it outside of this cluster: without it nobody can read the backups.
`;
