/** Is everything there that backups and restores need: kinds, server, node-agents, password, snapshot classes? */
import { volumeSnapshotClasses } from "@drayage/api";
import { NODE_AGENT_NAME, REPO_CREDENTIALS, SERVER_NAME } from "@drayage/install";
import { customResourceDefinitions, daemonSets, deployments, type KubeObject, secrets, storageClasses } from "@drayage/kube";
import type { Finding, Question } from "./finding.ts";

export const kinds: Question["ask"] = async ({ client, signal }) => {
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

export const workloads: Question["ask"] = async ({ client, namespace, signal }) => {
  const findings: Finding[] = [];
  // By its own name, or by the one that the operator gives it.
  const server =
    (await client.find(deployments, { namespace, name: SERVER_NAME }, signal)) ?? (await client.find(deployments, { namespace, name: "velero" }, signal));
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
      why: `Deployment ${namespace}/${server.metadata.name} has no available pod.`,
      fix: `kubectl -n ${namespace} describe pods -l deploy=${server.metadata.name}`,
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

export const passwords: Question["ask"] = async ({ client, namespace, signal }) => {
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

export const snapshotClasses: Question["ask"] = async ({ client, signal }) => {
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
