/**
 * What is wrong with an installation, why, and what to do: one function a question, each of which looks and answers. Nothing is changed.
 */
import {
  backupRepositories,
  backupStorageLocations,
  type DataUploadStatus,
  dataDownloads,
  dataUploads,
  volumeSnapshotClasses,
  volumeSnapshotContents,
} from "@drayage/api";
import { hasCode, messageOf, parseTime } from "@drayage/base";
import { NODE_AGENT_NAME, REPO_CREDENTIALS, SERVER_NAME } from "@drayage/install";
import {
  customResourceDefinitions,
  daemonSets,
  deployments,
  type KubeClient,
  type KubeObject,
  persistentVolumeClaims,
  pods,
  type ResourceType,
  secrets,
  storageClasses,
} from "@drayage/kube";
import { formatElapsed } from "../output/table.ts";

export interface Finding {
  readonly severity: "ok" | "warning" | "error";
  readonly what: string;
  readonly why?: string;
  readonly fix?: string;
}

export interface DoctorContext {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** What DataUpload and DataDownload have in common here. */
type Movement = KubeObject & { readonly status?: Pick<DataUploadStatus, "phase" | "message" | "startTimestamp" | "acceptedTimestamp"> };
const MOVEMENTS = [dataUploads, dataDownloads] as readonly unknown[] as readonly ResourceType<Movement>[];

interface Question {
  /** What is looked at, in words. */
  readonly about: string;
  readonly ask: (context: DoctorContext) => Promise<readonly Finding[]>;
}

/** A movement that has not moved for this long is worth a look. */
const STUCK_MS = 30 * 60_000;
/** What was made this recently may belong to work that is only beginning. */
const FRESH_MS = 10 * 60_000;

/** Every question in order; one that cannot be answered is a finding of its own. */
export async function examine(context: DoctorContext): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { about, ask } of QUESTIONS) {
    try {
      findings.push(...(await ask(context)));
    } catch (error) {
      context.signal.throwIfAborted();
      // That a kind is missing has been said; nothing of it can be wrong.
      if (hasCode(error, "KUBE_NOT_FOUND") && error.context["resourceMissing"] === true) continue;
      if (hasCode(error, "KUBE_UNAVAILABLE", "KUBE_UNAUTHORIZED", "KUBE_CONFIG")) {
        findings.push({
          severity: "error",
          what: "The cluster cannot be asked",
          why: messageOf(error),
          ...(error.hint === undefined ? {} : { fix: error.hint }),
        });
        break;
      }
      const fix = hasCode(error, "KUBE_FORBIDDEN") ? { fix: "Ask with an account that may read it." } : {};
      findings.push({ severity: "warning", what: `Could not look at ${about}`, why: messageOf(error), ...fix });
    }
  }
  return findings;
}

const kinds: Question["ask"] = async ({ client, signal }) => {
  const names = new Set<string>();
  for await (const crd of client.listAll(customResourceDefinitions, { signal })) names.add(crd.metadata.name ?? "");
  const missing = [
    "backups.velero.io",
    "restores.velero.io",
    "backupstoragelocations.velero.io",
    "datauploads.velero.io",
    "datadownloads.velero.io",
    "backuprepositories.velero.io",
  ].filter((name) => !names.has(name));
  const findings: Finding[] = [];
  if (missing.length > 0)
    findings.push({ severity: "error", what: `Kinds are missing: ${missing.join(", ")}`, why: "Backups cannot be made without them.", fix: "dray install" });
  if (!names.has("volumesnapshots.snapshot.storage.k8s.io")) {
    findings.push({
      severity: "error",
      what: "The kinds of CSI snapshots are not installed",
      why: "The data of volumes is read from snapshots.",
      fix: "Install external-snapshotter's CRDs and its snapshot-controller.",
    });
  }
  return findings.length > 0 ? findings : [{ severity: "ok", what: "Every kind is installed" }];
};

const workloads: Question["ask"] = async ({ client, namespace, signal }) => {
  const findings: Finding[] = [];
  const server = await client.find(deployments, { namespace, name: SERVER_NAME }, signal);
  if (server === undefined)
    findings.push({
      severity: "error",
      what: `There is no server in namespace "${namespace}"`,
      why: "Nobody acts on Backups and Restores.",
      fix: "dray install, or -n another namespace",
    });
  else if (Number(server.status?.["availableReplicas"] ?? 0) < 1)
    findings.push({
      severity: "error",
      what: "The server does not run",
      why: `Deployment ${namespace}/${SERVER_NAME} has no available pod.`,
      fix: `kubectl -n ${namespace} describe pods -l deploy=${SERVER_NAME}`,
    });
  else findings.push({ severity: "ok", what: "The server runs" });
  const agents = await client.find(daemonSets, { namespace, name: NODE_AGENT_NAME }, signal);
  const wanted = Number(agents?.status?.["desiredNumberScheduled"] ?? 0);
  const ready = Number(agents?.status?.["numberReady"] ?? 0);
  if (agents === undefined)
    findings.push({ severity: "warning", what: "There are no node-agents", why: "Data of volumes is moved by them.", fix: "dray install --use-node-agent" });
  else if (ready < wanted || wanted === 0)
    findings.push({
      severity: "error",
      what: `${ready} of ${wanted} node-agents run`,
      why: "Volumes on the other nodes cannot be moved.",
      fix: `kubectl -n ${namespace} describe pods -l name=${NODE_AGENT_NAME}`,
    });
  else findings.push({ severity: "ok", what: `${ready} node-agents run` });
  return findings;
};

const locations: Question["ask"] = async ({ client, namespace, signal }) => {
  const { items } = await client.list(backupStorageLocations, { namespace, signal });
  if (items.length === 0)
    return [{ severity: "error", what: "There is no backup location", why: "Backups have nowhere to go.", fix: "dray install --provider … --bucket …" }];
  const findings: Finding[] = items.map(({ metadata, status }) =>
    status?.phase === "Available"
      ? { severity: "ok", what: `Backup location "${metadata.name}" is available` }
      : {
          severity: "error",
          what: `Backup location "${metadata.name}" is ${status?.phase ?? "not looked at yet"}`,
          why: status?.message ?? "The server has not reported.",
          fix: "Check bucket, endpoint, credentials and CA of the location.",
        },
  );
  const defaults = items.filter(({ spec }) => spec.default === true).length;
  if (defaults !== 1)
    findings.push({
      severity: "warning",
      what: `${defaults} backup locations are the default`,
      why: "A backup that names no location needs exactly one.",
      fix: "Set spec.default of one of them.",
    });
  return findings;
};

const passwords: Question["ask"] = async ({ client, namespace, signal }) => {
  const secret = await client.find(secrets, { namespace, name: REPO_CREDENTIALS }, signal);
  const encoded = secret?.data?.["repository-password"];
  if (encoded === undefined)
    return [
      {
        severity: "error",
        what: `Secret "${REPO_CREDENTIALS}" has no repository password`,
        why: "No repository can be opened.",
        fix: "dray install --recovery-file FILE",
      },
    ];
  if (Buffer.from(encoded, "base64").toString("utf8").trim() === "static-passw0rd") {
    return [
      {
        severity: "warning",
        what: "The repository password is the one everybody knows",
        why: "Whoever reads the bucket reads the data.",
        fix: "dray repo change-password, for each repository, and then in the Secret.",
      },
    ];
  }
  return [{ severity: "ok", what: "The repository password is there" }];
};

const snapshotClasses: Question["ask"] = async ({ client, signal }) => {
  const drivers = new Set<string>();
  for await (const { provisioner } of client.listAll(storageClasses, { signal })) drivers.add(provisioner);
  const covered = new Set<string>();
  for await (const { driver } of client.listAll(volumeSnapshotClasses, { signal }) as AsyncIterable<KubeObject & { driver?: string }>)
    if (driver !== undefined) covered.add(driver);
  const bare = [...drivers].filter((driver) => !covered.has(driver) && !driver.startsWith("kubernetes.io/"));
  if (bare.length === 0) return [{ severity: "ok", what: "Every CSI driver in use has a VolumeSnapshotClass" }];
  return bare.map((driver) => ({
    severity: "warning" as const,
    what: `No VolumeSnapshotClass is for driver "${driver}"`,
    why: "Its volumes cannot be snapshotted, so their data is not backed up.",
    fix: `Create one with driver: ${driver} and the label velero.io/csi-volumesnapshot-class: "true".`,
  }));
};

const repositories: Question["ask"] = async ({ client, namespace, signal }) => {
  const findings: Finding[] = [];
  for await (const { metadata, status } of client.listAll(backupRepositories, { namespace, signal })) {
    if (status?.phase === "NotReady")
      findings.push({
        severity: "error",
        what: `Repository "${metadata.name}" is not ready`,
        why: status.message ?? "No reason was given.",
        fix: "Check the location and the repository password.",
      });
  }
  return findings.length > 0 ? findings : [{ severity: "ok", what: "No repository is out of order" }];
};

const movements: Question["ask"] = async ({ client, namespace, nowMs, signal }) => {
  const findings: Finding[] = [];
  for (const type of MOVEMENTS) {
    for await (const { metadata, status } of client.listAll(type, { namespace, signal })) {
      const phase = status?.phase ?? "New";
      if (["Completed", "Failed", "Canceled"].includes(phase)) continue;
      const sinceMs = parseTime(status?.startTimestamp) ?? parseTime(status?.acceptedTimestamp) ?? parseTime(metadata.creationTimestamp) ?? nowMs;
      if (nowMs - sinceMs < STUCK_MS || phase === "InProgress") continue;
      findings.push({
        severity: "warning",
        what: `${type.kind} "${metadata.name}" has been ${phase} for ${formatElapsed(nowMs - sinceMs)}`,
        why: status?.message ?? "No node-agent has said why.",
        fix: `dray ${type.kind === "DataUpload" ? "data-upload" : "data-download"} describe ${metadata.name}`,
      });
    }
  }
  return findings.length > 0 ? findings : [{ severity: "ok", what: "No data movement is stuck" }];
};

/** Pods, claims and snapshot contents that a mover left behind: named after a DataUpload or DataDownload that is gone. */
const orphans: Question["ask"] = async ({ client, namespace, nowMs, signal }) => {
  const known = new Set<string>();
  for (const type of MOVEMENTS) for await (const { metadata } of client.listAll(type, { namespace, signal })) known.add(metadata.name ?? "");
  const findings: Finding[] = [];
  const look = (kind: string, object: KubeObject, owner: string | undefined): void => {
    const ageMs = nowMs - (parseTime(object.metadata.creationTimestamp) ?? nowMs);
    if (owner === undefined || known.has(owner) || ageMs < FRESH_MS) return;
    findings.push({
      severity: "warning",
      what: `${kind} "${object.metadata.name}" belongs to nobody`,
      why: `It was made for "${owner}", which is gone.`,
      fix: `kubectl ${kind === "VolumeSnapshotContent" ? "" : `-n ${namespace} `}delete ${kind.toLowerCase()} ${object.metadata.name}`,
    });
  };
  for await (const pod of client.listAll(pods, { namespace, signal }))
    look("Pod", pod, pod.metadata.labels?.["velero.io/data-upload"] ?? pod.metadata.labels?.["velero.io/data-download"]);
  for await (const claim of client.listAll(persistentVolumeClaims, { namespace, signal }))
    look("PersistentVolumeClaim", claim, claim.metadata.ownerReferences?.find(({ kind }) => kind === "DataUpload" || kind === "DataDownload")?.name);
  for await (const content of client.listAll(volumeSnapshotContents, { signal })) {
    const reference = content.spec.volumeSnapshotRef;
    // The content a mover makes has the name of its DataUpload, and so has its snapshot.
    look("VolumeSnapshotContent", content, reference?.namespace === namespace && reference.name === content.metadata.name ? content.metadata.name : undefined);
  }
  return findings.length > 0 ? findings : [{ severity: "ok", what: "Nothing was left behind by movers" }];
};

const QUESTIONS: readonly Question[] = [
  { about: "the installed kinds", ask: kinds },
  { about: "server and node-agents", ask: workloads },
  { about: "backup locations", ask: locations },
  { about: "the repository password", ask: passwords },
  { about: "snapshot classes", ask: snapshotClasses },
  { about: "repositories", ask: repositories },
  { about: "data movements", ask: movements },
  { about: "what movers left behind", ask: orphans },
];
