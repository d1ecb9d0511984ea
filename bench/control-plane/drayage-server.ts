/** Our server as a process beside a cluster, started as its pod would. */
import { spawn } from "node:child_process";
import { systemClock } from "@drayage/base";
import { SERVER_ENVIRONMENT } from "@drayage/install";
import type { PeerProcess } from "../../test/compat/peers.ts";
import { KEYS, VELERO } from "../../test/e2e/harness.ts";
import { ensureBundle } from "../../tools/bundle.ts";

const OUTPUT_KEPT = 64 << 10;
const PATIENCE_MS = 5_000;

export async function startDrayage(kubeconfigPath: string): Promise<PeerProcess> {
  const child = spawn(
    process.execPath,
    [
      ...[...profiling(), await ensureBundle(), "server", "--namespace", VELERO, "--kubeconfig", kubeconfigPath],
      ...["--backup-sync-period=5s", "--store-validation-frequency=5s", "--metrics-address", ""],
    ],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...SERVER_ENVIRONMENT, AWS_ACCESS_KEY_ID: KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey },
    },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_KEPT);
    });
  }
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const cancel = systemClock.after(PATIENCE_MS, () => child.kill("SIGKILL"));
    await ended;
    cancel();
  };
  return { process: child, output: () => output, stop };
}

/** With BENCH_PROFILE a folder, V8 leaves its profile of the server there. */
function profiling(): readonly string[] {
  const folder = process.env["BENCH_PROFILE"];
  return folder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${folder}`];
}
