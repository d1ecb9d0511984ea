/**
 * `npm run real-cluster`: the e2e scenarios on a real Kubernetes of one node (test/real-cluster), or a command of your own in its surroundings.
 *
 *   node tools/real-cluster.ts [ARGUMENT OF VITEST]…
 *
 * Everything runs in network, mount and process namespaces of its own: addresses, mounts and processes go with them, however it ends. This process takes away what does not:
 * loop devices, control groups and the folder.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { detachLoopDevices, removeCgroups } from "../test/real-cluster/leftovers.ts";
import { FOLDER_VARIABLE } from "../test/real-cluster/machine.ts";

const root = resolve(import.meta.dirname, "..");
const PREFIX = "dray-real-";
/** In the folder of a run: the process that takes it away. */
const OWNER = "owner";
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;

/** Debian's packages, each with a file by which it is known. */
const PACKAGES: Readonly<Record<string, string>> = {
  containerd: "/usr/bin/containerd",
  runc: "/usr/sbin/runc",
  "containernetworking-plugins": "/usr/lib/cni/bridge",
  iproute2: "/usr/sbin/ip",
  "util-linux": "/usr/bin/unshare",
};

/** Why it cannot run here, with the command that helps; undefined where it can. */
export function whyNoRealCluster(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "it wants Linux and root";
  const missing = Object.entries(PACKAGES)
    .filter(([, path]) => ![path, path.replace("/usr/sbin/", "/sbin/"), path.replace("/usr/bin/", "/bin/")].some((place) => existsSync(place)))
    .map(([name]) => name);
  if (missing.length > 0) return `not found: ${missing.join(", ")}; install with: apt-get install ${missing.join(" ")}`;
  try {
    execFileSync("unshare", ["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"], { stdio: "ignore", env: { ...process.env, PATH } });
  } catch {
    return "this machine permits no namespaces (unshare --net --mount --pid): run it in a virtual machine or a privileged container";
  }
  return undefined;
}

/** Prepared inside: the loopback interface, and folders of programs that keep state beside ours. PID 1 is the shell, which takes the exit codes of whatever is left to it. */
const INSIDE = `
set -e
ip link set lo up
mkdir -p /var/lib/cni
for folder in /run /var/lib/cni /var/log; do mount -t tmpfs tmpfs $folder; done
set +e
"$@"
exit $?
`;

/** Runs a command in namespaces of its own and returns its exit code; what it leaves behind is taken away. */
export function runInRealCluster(words: readonly string[]): number {
  removeAbandoned();
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(join(folder, OWNER), String(process.pid));
  try {
    const { status } = spawnSync(
      "unshare",
      ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--", "sh", "-c", INSIDE, "sh", ...words],
      { cwd: root, stdio: "inherit", env: { ...process.env, PATH, [FOLDER_VARIABLE]: folder } },
    );
    return status ?? 1;
  } finally {
    takeAway(folder);
  }
}

/** Of runs whose process was killed before it could. */
function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(PREFIX))) {
    const owner = join(tmpdir(), name, OWNER);
    if (existsSync(owner) && !existsSync(`/proc/${readFileSync(owner, "utf8")}`)) takeAway(join(tmpdir(), name));
  }
}

function takeAway(folder: string): void {
  detachLoopDevices(folder);
  removeCgroups(true, folder);
  rmSync(folder, { recursive: true, force: true });
}

if (import.meta.main) {
  const why = whyNoRealCluster();
  if (why === undefined) {
    const vitest = join(root, "node_modules", ".bin", "vitest");
    process.exitCode = runInRealCluster([process.execPath, vitest, "run", "--project", "real-cluster", ...process.argv.slice(2)]);
  } else {
    process.stderr.write(`Cannot run the real cluster: ${why}\n`);
    process.exitCode = 1;
  }
}
