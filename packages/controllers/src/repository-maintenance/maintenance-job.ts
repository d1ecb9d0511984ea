/** The Job of one maintenance, and what its users can say of it in a ConfigMap. Shape and keys: Velero's (velero.md 8.4). */
import { type BackupRepository, MOVER_SECRET_PATH, MOVER_SECRET_PATH_ENV, validLabelValue } from "@drayage/api";
import { RESTRICTED_POD } from "@drayage/install";
import type { ConfigMap, Job, LabelSelector, PodSpec } from "@drayage/kube";
import { moverResources, type NodeAgentConfig, POD_RESOURCES } from "../data-movement/node-agent-config.ts";
import type { InheritedPod } from "../exposers/inherited-settings.ts";
import { anyNumber, labelSelector, listOf, mapOf, readJsonConfig, record, text } from "../json-config.ts";

export const REPO_NAME_LABEL = "velero.io/repo-name";
const KEEP_LATEST = 3;
const NAME_MAX = 63;
/** One that has run for a day hangs. */
const DEADLINE_SECONDS = 24 * 3600;

export interface MaintenanceJobConfig {
  readonly loadAffinity?: readonly { readonly nodeSelector?: LabelSelector }[];
  readonly podResources?: NodeAgentConfig["podResources"];
  readonly keepLatestMaintenanceJobs?: number;
  /** These three are taken from the entry for all repositories only. */
  readonly priorityClassName?: string;
  readonly podAnnotations?: Readonly<Record<string, string>>;
  readonly podLabels?: Readonly<Record<string, string>>;
}

const SHAPE = record({
  loadAffinity: listOf(record({ nodeSelector: labelSelector })),
  podResources: POD_RESOURCES,
  keepLatestMaintenanceJobs: anyNumber,
  priorityClassName: text,
  podAnnotations: mapOf(text),
  podLabels: mapOf(text),
});

/** What a ConfigMap says of a repository: its key `<namespace>-<location>-<type>`, and `global` for what that does not say. Throws VALIDATION_FAILED. */
export function maintenanceConfigFor(
  configMap: ConfigMap | undefined,
  { spec }: BackupRepository,
): Required<Pick<MaintenanceJobConfig, "keepLatestMaintenanceJobs">> & MaintenanceJobConfig {
  const global = readEntry(configMap, "global");
  const own = readEntry(configMap, `${spec.volumeNamespace}-${spec.backupStorageLocation}-${spec.repositoryType ?? "kopia"}`);
  const { priorityClassName: _, podAnnotations: _annotations, podLabels: _labels, ...specific } = own;
  const keep = specific.keepLatestMaintenanceJobs ?? global.keepLatestMaintenanceJobs ?? KEEP_LATEST;
  return { ...global, ...specific, keepLatestMaintenanceJobs: Number.isInteger(keep) && keep >= 0 ? keep : KEEP_LATEST };
}

function readEntry(configMap: ConfigMap | undefined, key: string): MaintenanceJobConfig {
  const value = configMap?.data?.[key];
  if (value === undefined) return {};
  return readJsonConfig<MaintenanceJobConfig>(value, SHAPE, `key "${key}" of ConfigMap "${configMap?.metadata.name}"`);
}

export interface MaintenanceJobOptions {
  readonly namespace: string;
  readonly repository: BackupRepository;
  readonly image: string;
  /** What it takes over from the server's own pod. */
  readonly inherited?: InheritedPod;
  readonly serviceAccount: string;
  readonly config: MaintenanceJobConfig;
  readonly logLevel?: string;
  readonly nowMs: number;
}

/** The Secret of the Job's own name brings what opens the repository; its service account needs no permission. */
export function buildMaintenanceJob({ namespace, repository, image, inherited = {}, serviceAccount, config, logLevel, nowMs }: MaintenanceJobOptions): Job {
  const repositoryName = repository.metadata.name ?? "";
  const long = `${repositoryName}-maintain-job-${nowMs}`;
  const name = long.length <= NAME_MAX ? long : `repo-maintain-job-${nowMs}`;
  const { volumeNamespace, backupStorageLocation, repositoryType } = repository.spec;
  const resources = moverResources(config.podResources === undefined ? {} : { podResources: config.podResources });
  const labels = { [REPO_NAME_LABEL]: validLabelValue(repositoryName) };
  const { env = [], envFrom, imagePullSecrets, ...resolution } = inherited;
  const spec: PodSpec = {
    restartPolicy: "Never",
    ...(imagePullSecrets === undefined ? {} : { imagePullSecrets: [...imagePullSecrets] }),
    ...resolution,
    serviceAccountName: serviceAccount,
    automountServiceAccountToken: false,
    // It touches no volume of anybody, so it needs no root; its Secret is of its group.
    securityContext: RESTRICTED_POD,
    ...affinityOf(config),
    ...(config.priorityClassName === undefined || config.priorityClassName === "" ? {} : { priorityClassName: config.priorityClassName }),
    containers: [
      {
        name: "velero-repo-maintenance-container",
        image,
        imagePullPolicy: "IfNotPresent",
        command: ["/velero"],
        args: [
          "repo-maintenance",
          `--repo-name=${volumeNamespace}`,
          `--repo-type=${repositoryType ?? "kopia"}`,
          `--backup-storage-location=${backupStorageLocation}`,
          ...(logLevel === undefined ? [] : [`--log-level=${logLevel}`]),
        ],
        env: [
          { name: "VELERO_NAMESPACE", value: namespace },
          { name: "AWS_SHARED_CREDENTIALS_FILE", value: `${MOVER_SECRET_PATH}/cloud` },
          { name: MOVER_SECRET_PATH_ENV, value: MOVER_SECRET_PATH },
          ...env,
        ],
        ...(envFrom === undefined ? {} : { envFrom: [...envFrom] }),
        ...(Object.keys(resources).length === 0 ? {} : { resources }),
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
        volumeMounts: [
          { name: "scratch", mountPath: "/scratch" },
          { name: "mover-secret", mountPath: MOVER_SECRET_PATH, readOnly: true },
        ],
        terminationMessagePath: "/dev/termination-log",
        terminationMessagePolicy: "FallbackToLogsOnError",
      },
    ],
    volumes: [
      { name: "scratch", emptyDir: {} },
      { name: "mover-secret", secret: { secretName: name, defaultMode: 0o440 } },
    ],
  };
  const annotations = config.podAnnotations === undefined ? {} : { annotations: { ...config.podAnnotations } };
  const template = { metadata: { labels: { ...config.podLabels, ...labels }, ...annotations }, spec };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { namespace, name, labels },
    spec: { backoffLimit: 0, activeDeadlineSeconds: DEADLINE_SECONDS, template } as Job["spec"],
  };
}

/** Velero takes the first rule only. */
function affinityOf({ loadAffinity }: MaintenanceJobConfig): Pick<PodSpec, "affinity"> {
  const selector = loadAffinity?.[0]?.nodeSelector;
  if (selector === undefined) return {};
  const matchExpressions = [
    ...Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({ key, operator: "In", values: [value] })),
    ...(selector.matchExpressions ?? []),
  ];
  return { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] } } } };
}
