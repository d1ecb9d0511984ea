/**
 * What DataUploads cost the API server at scale: 500 of them on 50 nodes, each node with a node-agent as it is shipped. The API server is a fake that counts; scheduler, kubelets, storage and
 * time are simulated; 50 of the movers are real ones (they read a folder of this machine and write a Kopia repository), the rest are scripted.
 *
 *   node bench/data-uploads.ts [--uploads N] [--nodes N] [--real N]
 *
 * Prints a line of JSON.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { backupRepositories, backupStorageLocations, LABELS } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { moveManyUploads } from "@drayage/controllers/testing";
import type { Pod } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import { runDataMoverBackup } from "@drayage/movers/builtin";
import { createRepositoryService } from "@drayage/movers/repository-service";

const NAMESPACE = "velero";
const FILES = 20;

const { values } = parseArgs({ options: { uploads: { type: "string" }, nodes: { type: "string" }, real: { type: "string" } } });
const [uploads, nodes, real] = [Number(values.uploads ?? 500), Number(values.nodes ?? 50), Number(values.real ?? 50)];
const folder = mkdtempSync(join(tmpdir(), "dray-data-uploads-"));
const volume = join(folder, "volume");
mkdirSync(volume);
for (let index = 0; index < FILES; index++) writeFileSync(join(volume, `file-${index}`), Buffer.alloc(10_000, index));

/** A location on this machine with a repository that is ready, as the server would have made it. */
async function prepare(client: FakeKubeClient): Promise<void> {
  const location = client.seed(backupStorageLocations, {
    metadata: { namespace: NAMESPACE, name: "default" },
    spec: { provider: "fs", objectStorage: { bucket: "bucket" }, config: { fspath: folder } },
  });
  const repository = client.seed(backupRepositories, {
    metadata: {
      namespace: NAMESPACE,
      name: "notes-default-kopia",
      labels: { [LABELS.volumeNamespace]: "notes", [LABELS.storageLocation]: "default", [LABELS.repositoryType]: "kopia" },
    },
    spec: { backupStorageLocation: "default", maintenanceFrequency: "1h0m0s", repositoryType: "kopia", volumeNamespace: "notes" },
    status: { phase: "Ready" },
  });
  await createRepositoryService({ client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: NAMESPACE }).ensure(repository, location);
}

let started = 0;
let moved = 0;
function realMover(pod: Pod, client: FakeKubeClient): Promise<string> | undefined {
  if (started >= real) return undefined;
  const own = join(folder, `mover-${++started}`);
  mkdirSync(own);
  const terminationLogPath = join(own, "termination-log");
  return runDataMoverBackup({
    ...{ client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: NAMESPACE, nodeName: pod.spec.nodeName ?? "" },
    ...(pod.metadata.uid === undefined ? {} : { podUid: pod.metadata.uid }),
    ...{ volumePath: volume, volumeMode: "Filesystem", secretPath: join(own, "none"), terminationLogPath, dataUploadName: pod.metadata.name ?? "" },
  }).then((code) => {
    const message = readFileSync(terminationLogPath, "utf8");
    if (code !== 0) throw new Error(`a real mover failed: ${message}`);
    moved++;
    return message;
  });
}

try {
  const beganMs = systemClock.monotonicMs();
  const { completed, seconds, requests, all } = await moveManyUploads({ uploads, nodes, prepare, realMover });
  const perUpload = Object.fromEntries([...requests].toSorted((a, b) => b[1] - a[1]).map(([what, count]) => [what, Math.round((count / uploads) * 100) / 100]));
  const wallSeconds = Math.round((systemClock.monotonicMs() - beganMs) / 1_000);
  const { user, system } = process.cpuUsage();
  const cpuSeconds = Math.round((user + system) / 1e6);
  const each = Math.round((all / uploads) * 10) / 10;
  process.stdout.write(
    `${JSON.stringify({ uploads, nodes, completed, realMovers: moved, virtualSeconds: seconds, wallSeconds, cpuSeconds, requestsEach: each, perUpload })}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
