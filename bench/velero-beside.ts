/** A real Velero with its node-agent, installed beside Drayage in the same real cluster: another namespace, another bucket of the same store. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { peer } from "../test/compat/peers.ts";
import { type Harness, KEYS, REGION } from "../test/e2e/harness.ts";
import { peerImage } from "../test/real-cluster/images.ts";
import { runFolder } from "../test/real-cluster/machine.ts";
import type { RealCluster } from "../test/real-cluster/real-cluster.ts";

export const BESIDE = "velero-beside";
export const BUCKET_BESIDE = "beside";

/** Installs it as its users do, and waits until its location is found good. The harness's store has to have its bucket. */
export async function installVeleroBeside(harness: Harness): Promise<void> {
  const cluster = harness.cluster as RealCluster;
  const folder = runFolder();
  cluster.importImage(await peerImage(folder, "velero", { entrypoint: ["/velero"], programs: ["velero", "velero-restore-helper"] }));
  const plugin = "velero-plugin-for-aws";
  cluster.importImage(await peerImage(folder, plugin, { entrypoint: ["/bin/cp", `/${plugin}`, "/target/"], programs: [plugin], tools: ["cp"] }));
  const keys = join(folder, "keys-beside");
  writeFileSync(keys, `[default]\naws_access_key_id = ${KEYS.accessKeyId}\naws_secret_access_key = ${KEYS.secretAccessKey}\n`, { mode: 0o600 });
  const env = { ...process.env, KUBECONFIG: cluster.kubeconfigPath };
  await promisify(execFile)(
    peer("velero"),
    [
      ...[
        "install",
        "--namespace",
        BESIDE,
        "--image",
        "localhost/velero:1",
        "--plugins",
        `localhost/${plugin}:1`,
        "--provider",
        "aws",
        "--bucket",
        BUCKET_BESIDE,
      ],
      ...["--secret-file", keys, "--backup-location-config", `region=${REGION},s3ForcePathStyle=true,s3Url=${harness.store.url}`],
      ...["--use-volume-snapshots=false", "--features=EnableCSI", "--use-node-agent", "--kubelet-root-dir", cluster.kubeletRoot],
      ...["--velero-pod-cpu-request=0", "--velero-pod-mem-request=0", "--wait"],
    ],
    { env, timeout: 180_000 },
  );
}
